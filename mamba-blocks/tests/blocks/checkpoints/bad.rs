//! What is refused, and with which words.

use super::memory::peak_of;
use super::{copy, folder};
use crate::device;
use burn::tensor::DType;
use mamba_blocks::{CheckpointError, LoadOptions, MambaLm, TensorProblem};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;
use std::fs;
use std::path::Path;

#[track_caller]
fn error(path: &Path) -> CheckpointError {
    let error = MambaLm::from_pretrained(path, &device()).expect_err("the checkpoint is bad");
    println!("{error}");
    error
}

#[track_caller]
fn problems(path: &Path) -> Vec<TensorProblem> {
    match error(path) {
        CheckpointError::Tensors { problems, .. } => problems.0,
        other => panic!("{other:?}"),
    }
}

/// Writes `path` again with other settings.
fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut json = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut json);
    fs::write(path, json.to_string()).unwrap();
}

/// Writes the safetensors file `path` again with other tensors: `change` gets the name of each, and returns its new name
/// and dtype, or nothing.
fn edit_tensors(path: &Path, change: impl Fn(&str) -> Option<(String, Option<Dtype>)>) {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.tensors().into_iter().filter_map(|(name, view)| {
        let (name, dtype) = change(&name)?;
        let dtype = dtype.unwrap_or(view.dtype());
        Some((name, TensorView::new(dtype, view.shape().to_vec(), view.data()).unwrap()))
    });
    fs::write(path, safetensors::serialize(tensors.collect::<Vec<_>>(), None).unwrap()).unwrap();
}

#[test]
fn files_that_are_not_there() {
    let place = copy("deep_sharded");
    assert!(matches!(error(&place.path().join("absent")), CheckpointError::Read { .. }));
    let shard = place.path().join("model-00002-of-00003.safetensors");
    fs::remove_file(&shard).unwrap();
    assert!(matches!(error(place.path()), CheckpointError::Read { path, .. } if path == shard));

    let place = copy("narrow");
    fs::remove_file(place.path().join("model.safetensors")).unwrap();
    assert!(matches!(error(place.path()), CheckpointError::NoWeights { .. }));
    fs::write(place.path().join("pytorch_model.bin"), "").unwrap();
    assert!(matches!(error(place.path()), CheckpointError::Damaged { .. }));
    fs::remove_file(place.path().join("config.json")).unwrap();
    assert!(matches!(error(place.path()), CheckpointError::Read { .. }));
}

#[test]
fn shards_outside_of_the_folder() {
    for name in ["../narrow/model.safetensors", "/etc/passwd", "..", ".", "", "a/b.safetensors", "./x.safetensors"] {
        let place = copy("deep_sharded");
        edit(&place.path().join("model.safetensors.index.json"), |index| {
            index["weight_map"]["backbone.norm_f.weight"] = name.into();
        });
        assert!(matches!(error(place.path()), CheckpointError::ShardOutside { shard, .. } if shard == name));
    }
}

#[test]
fn an_index_that_contradicts_its_shards() {
    let place = copy("deep_sharded");
    edit(&place.path().join("model.safetensors.index.json"), |index| {
        let map = index["weight_map"].as_object_mut().unwrap();
        let (first, last) = (map.values().next().unwrap().clone(), "model-00003-of-00003.safetensors");
        let key = map.iter().find(|(_, file)| **file == first).unwrap().0.clone();
        map[&key] = last.into();
    });
    assert!(error(place.path()).to_string().contains("the index says so"));

    let place = copy("deep_sharded");
    fs::copy(
        place.path().join("model-00001-of-00003.safetensors"),
        place.path().join("model-00002-of-00003.safetensors"),
    )
    .unwrap();
    assert!(error(place.path()).to_string().contains("as well"));
}

#[test]
fn lying_headers() {
    let place = copy("narrow");
    let path = place.path().join("model.safetensors");
    let original = fs::read(&path).unwrap();
    let header = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let huge = r#"{"x":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}"#;
    let overflow = r#"{"x":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#;
    let files = [
        original[..7].to_vec(),
        original[..original.len() / 2].to_vec(),
        [&u64::MAX.to_le_bytes(), &original[8..]].concat(),
        [&(1_u64 << 40).to_le_bytes(), &original[8..]].concat(),
        header(huge),
        header(overflow),
        header("{}{}"),
        header(&"[".repeat(100_000)),
        [&original[..], &[0]].concat(),
    ];
    for file in files {
        fs::write(&path, file).unwrap();
        assert!(matches!(error(place.path()), CheckpointError::Damaged { path: named, .. } if named == path));
    }
}

#[test]
fn a_hostile_pickle_is_not_run() {
    assert!(matches!(error(&folder("hostile")), CheckpointError::Tensors { .. }));
    assert!(!Path::new("hostile_pickle_ran").exists());
    // As a bare pickle, without the archive around it.
    let place = copy("hostile");
    let pickle = b"\x80\x02cos\nsystem\nX\x18\x00\x00\x00touch hostile_pickle_ran\x85R.";
    fs::write(place.path().join("pytorch_model.bin"), pickle).unwrap();
    assert!(matches!(error(place.path()), CheckpointError::Damaged { .. }));
    assert!(!Path::new("hostile_pickle_ran").exists());
}

#[test]
fn a_pickle_that_unpacks_to_much_more() {
    device(); // What it takes to start it is not counted.
    let (error, peak) = peak_of(|| error(&folder("compressed")));
    assert!(error.to_string().contains("compressed"), "{error}");
    assert!(peak < 100_000, "{peak} bytes");
}

#[cfg(unix)]
#[test]
fn files_without_end() {
    for name in ["config.json", "model.safetensors"] {
        let place = copy("narrow");
        let path = place.path().join(name);
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        assert!(matches!(error(place.path()), CheckpointError::Damaged { path: named, .. } if named == path));
    }
}

#[test]
fn tensors_that_the_configuration_does_not_describe() {
    let place = copy("untied");
    edit_tensors(&place.path().join("model.safetensors"), |name| match name {
        "backbone.layers.1.mixer.D" => None,
        "lm_head.weight" => Some(("score.weight".into(), None)),
        "backbone.norm_f.weight" => Some((name.into(), Some(Dtype::I32))),
        _ => Some((name.into(), None)),
    });
    edit(&place.path().join("config.json"), |config| config["conv_kernel"] = 3.into());
    let problems = problems(place.path());
    let file = place.path().join("model.safetensors");
    let conv = |layer| TensorProblem::Shape {
        key: format!("backbone.layers.{layer}.mixer.conv1d.weight"),
        file: file.clone(),
        found: vec![40, 1, 4],
        expected: vec![40, 1, 3],
    };
    let expected = [
        TensorProblem::DType { key: "backbone.norm_f.weight".into(), file: file.clone(), found: "I32".into() },
        TensorProblem::Missing { key: "lm_head.weight".into(), expected: vec![37, 20] },
        conv(0),
        conv(1),
        TensorProblem::Missing { key: "backbone.layers.1.mixer.D".into(), expected: vec![40] },
        conv(2),
        TensorProblem::Unexpected { key: "score.weight".into(), file: file.clone(), found: vec![37, 20] },
    ];
    assert_eq!(problems, expected);
    let message = error(place.path()).to_string();
    let folder = place.path().display().to_string();
    for word in [folder.as_str(), "`lm_head.weight` is missing", "[40, 1, 4]", "[40, 1, 3]", "and 2 more"] {
        assert!(message.contains(word), "{message}");
    }
}

#[test]
fn configurations_of_other_models() {
    let changes: [(&str, Value, &str); 12] = [
        ("model_type", "llama".into(), "llama"),
        ("model_type", 3.into(), "model_type"),
        ("hidden_act", "gelu".into(), "gelu"),
        ("time_step_rank", "full".into(), "full"),
        ("time_step_rank", 0.into(), "dt_rank"),
        ("hidden_size", 0.into(), "d_model"),
        ("hidden_size", (-8).into(), "-8"),
        ("hidden_size", u64::MAX.into(), "d_model"),
        ("num_hidden_layers", (1 << 20).into(), "layers.1.norm.weight"),
        ("intermediate_size", (1 << 20).into(), "1048576"),
        ("layer_norm_epsilon", 0.into(), "norm_epsilon"),
        ("use_bias", true.into(), "in_proj.bias"),
    ];
    for (setting, value, word) in changes {
        let place = copy("narrow");
        edit(&place.path().join("config.json"), |config| config[setting] = value);
        let message = error(place.path()).to_string();
        assert!(message.contains(word), "{setting}: {message}");
    }
    let changes: [(&str, Value, &str); 6] = [
        ("rms_norm", false.into(), "rms_norm"),
        ("d_intermediate", 64.into(), "d_intermediate"),
        ("attn_layer_idx", vec![1].into(), "attn_layer_idx"),
        ("ssm_cfg", serde_json::json!({"layer": "Mamba2"}), "Mamba2"),
        ("d_model", Value::Null, "model_type"),
        ("pad_vocab_size_multiple", 0.into(), "pad_vocab_size_multiple"),
    ];
    for (setting, value, word) in changes {
        let place = copy("narrow_original");
        edit(&place.path().join("config.json"), |config| config[setting] = value);
        let message = error(place.path()).to_string();
        assert!(message.contains(word), "{setting}: {message}");
    }
}

#[test]
fn a_tied_head_with_another_weight() {
    let place = copy("untied");
    edit(&place.path().join("config.json"), |config| config["tie_word_embeddings"] = true.into());
    assert!(matches!(error(place.path()), CheckpointError::UntiedHead { key, .. } if key == "lm_head.weight"));
}

#[test]
fn weights_that_would_hide_those_of_burn() {
    let place = copy("narrow");
    let model = MambaLm::from_pretrained(place.path(), &device()).unwrap();
    let error = model.save_burnpack(place.path()).unwrap_err();
    assert!(error.to_string().contains("model.safetensors"), "{error}");
    fs::write(place.path().join("file"), "").unwrap();
    let error = model.save_pretrained(place.path().join("file")).unwrap_err();
    assert!(matches!(error, CheckpointError::Write { .. }), "{error}");
}

#[test]
fn a_dtype_for_no_parameters() {
    let options = LoadOptions::new().with_dtype(DType::I32);
    let error = MambaLm::from_pretrained_with(folder("plain"), options, &device()).unwrap_err();
    assert!(matches!(error, CheckpointError::DType { .. }));
}
