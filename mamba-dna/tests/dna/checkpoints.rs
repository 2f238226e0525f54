//! Checkpoints there and back, and what is wrong with others.

use crate::caduceus::folder;
use crate::{assert_same, device, random_tokens};
use burn::tensor::Device;
use mamba_blocks::{CheckpointError, TensorProblem};
use mamba_dna::{CaduceusClassifier, CaduceusConfig, CaduceusMaskedLm, Combine, MambaDna};
use std::fs;
use tempfile::TempDir;

#[test]
fn a_model_is_the_same_after_a_checkpoint() {
    let device = device();
    let configs = [
        CaduceusConfig::new(8, 2),
        CaduceusConfig::new(8, 1).with_fused_add_norm(false).with_bias(true).with_dt_rank(Some(3)),
        CaduceusConfig::new(6, 1).with_rcps(false).with_bidirectional_weight_tie(false),
        CaduceusConfig::new(6, 1).with_bidirectional_strategy(Combine::Multiply).with_conv_bias(false),
    ];
    for config in configs {
        let place = TempDir::new().unwrap();
        let tokens = random_tokens([2, 13], 3, &device);
        let model = config.try_init_masked_lm(&device).unwrap();
        model.save_pretrained(&config, place.path()).unwrap();
        assert_eq!(CaduceusConfig::from_pretrained(place.path()).unwrap(), config);
        let loaded = CaduceusMaskedLm::from_pretrained(place.path(), &device).unwrap();
        assert_same("masked", loaded.forward(tokens.clone()), model.forward(tokens.clone()));

        let classifier = config.classifier(model.caduceus, 5);
        classifier.save_pretrained(&config, place.path()).unwrap();
        let loaded = CaduceusClassifier::from_pretrained(place.path(), &device).unwrap();
        assert_same("classes", loaded.forward(tokens.clone()), classifier.forward(tokens));
    }
    let place = TempDir::new().unwrap();
    let model = MambaDna::try_init(&MambaDna::config(8, 1), &device).unwrap();
    model.save_pretrained(place.path()).unwrap();
    let loaded = MambaDna::from_pretrained(place.path(), &device).unwrap();
    let tokens = random_tokens([1, 9], 3, &device);
    assert_same("causal", loaded.forward(tokens.clone()), model.forward(tokens));
}

/// A copy of a fixture whose configuration is changed.
fn changed(name: &str, from: &str, to: &str) -> TempDir {
    let place = TempDir::new().unwrap();
    for file in ["config.json", "model.safetensors", "pytorch_model.bin"] {
        if let Ok(bytes) = fs::read(folder(name).join(file)) {
            fs::write(place.path().join(file), bytes).unwrap();
        }
    }
    let path = place.path().join("config.json");
    let config = fs::read_to_string(&path).unwrap();
    assert!(config.contains(from), "{config}");
    fs::write(path, config.replacen(from, to, 1)).unwrap();
    place
}

fn error(place: &TempDir, device: &Device) -> CheckpointError {
    CaduceusMaskedLm::from_pretrained(place.path(), device).unwrap_err()
}

#[test]
fn keys_of_the_complement_map_are_read_as_numbers() {
    let sorted_as_text = r#""complement_map": {"0": 0, "1": 1, "10": 7, "11": 11, "12": 12, "13": 13, "14": 14, "15": 15,
        "2": 2, "3": 3, "4": 4, "5": 5, "6": 6, "7": 10, "8": 9, "9": 8}, "other": {"#;
    let place = changed("ps", "\"complement_map\": {", sorted_as_text);
    CaduceusMaskedLm::from_pretrained(place.path(), &device()).unwrap();
}

#[test]
fn configurations_of_other_models_are_refused_by_the_setting() {
    let device = device();
    for (from, to, expected) in [
        ("\"caduceus\"", "\"mamba\"", "`model_type` \"mamba\", expected \"caduceus\""),
        ("\"rms_norm\": true", "\"rms_norm\": false", "`rms_norm` false"),
        ("\"vocab_size\": 16", "\"vocab_size\": 50280", "`vocab_size` 50280"),
        ("\"7\": 10", "\"7\": 8", "`complement_map`"),
        ("\"add\"", "\"max\"", "`bidirectional_strategy` \"max\""),
        ("\"auto\"", "\"none\"", "`dt_rank`"),
        ("\"d_state\": 4", "\"d_state\": 0", "`d_state` is 0"),
        ("\"d_model\": 12", "\"d_model\": -1", "damaged"),
        ("\"d_model\": 12", "\"d_model\": 100000", "claim"),
        ("\"n_layer\": 3", "\"n_layer\": 1000000", "claim"),
        ("\"pad_vocab_size_multiple\": 8", "\"pad_vocab_size_multiple\": 0", "`vocab_size` 16"),
    ] {
        let text = error(&changed("ps", from, to), &device).to_string();
        assert!(text.contains("config.json") || text.contains("claim"), "{text}");
        assert!(text.contains(expected), "{text}: {expected}");
    }
}

#[test]
fn tensors_of_other_models_are_refused_with_their_names() {
    let device = device();
    let problems = |place: &TempDir| match error(place, &device) {
        CheckpointError::Tensors { problems, .. } => problems.0,
        other => panic!("{other}"),
    };
    let more = problems(&changed("ps", "\"n_layer\": 3", "\"n_layer\": 2"));
    assert!(more.iter().all(|problem| matches!(problem, TensorProblem::Unexpected { .. })), "{more:?}");
    assert_eq!(more.len(), 17);
    let fewer = problems(&changed("ps", "\"n_layer\": 3", "\"n_layer\": 4"));
    let missing = "caduceus.backbone.layers.3.mixer.submodule.mamba_rev.A_log".to_string();
    assert!(fewer.contains(&TensorProblem::Missing { key: missing, expected: vec![24, 4] }), "{fewer:?}");
    let shapes = problems(&changed("ps", "\"d_state\": 4", "\"d_state\": 5"));
    assert!(shapes.iter().any(|problem| matches!(problem, TensorProblem::Shape { .. })), "{shapes:?}");
    // A checkpoint of the other order of norms has other names.
    let order = problems(&changed("ps_plain", "\"fused_add_norm\": false", "\"fused_add_norm\": true"));
    assert!(
        order
            .iter()
            .any(|problem| matches!(problem, TensorProblem::Missing { key, .. } if key.ends_with("0.norm.weight")))
    );
    // One that is not tied has projections for both directions.
    let text = error(
        &changed("ps_multiply", "\"bidirectional_weight_tie\": false", "\"bidirectional_weight_tie\": true"),
        &device,
    );
    assert!(matches!(&text, CheckpointError::Untied { key, .. } if key.contains("mamba_rev")), "{text}");
    let text = error(&changed("ps_plain", "\"rcps\": true", "\"rcps\": false"), &device);
    assert!(matches!(text, CheckpointError::Tensors { .. }), "{text}");
}

#[test]
fn damaged_files_are_refused() {
    let device = device();
    for (name, file) in [("ps", "model.safetensors"), ("ph", "pytorch_model.bin")] {
        let bytes = fs::read(folder(name).join(file)).unwrap();
        for length in [0, 1, 100, bytes.len() / 2, bytes.len() - 1] {
            let place = changed(name, "caduceus", "caduceus");
            fs::write(place.path().join(file), &bytes[..length]).unwrap();
            let text = error(&place, &device).to_string();
            assert!(text.contains(file) || text.contains("claim"), "{text}");
        }
    }
    let empty = TempDir::new().unwrap();
    assert!(error(&empty, &device).to_string().contains("config.json"));
}

#[test]
fn a_language_model_is_no_model_of_dna() {
    let path = folder("../checkpoints/plain");
    let error = MambaDna::from_pretrained(path, &device()).unwrap_err();
    assert!(error.to_string().contains("`vocab_size` is 48, expected 12"), "{error}");
}
