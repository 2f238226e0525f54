use super::{Expected, folder, logits};
use crate::device;
use burn::tensor::DType;
use mamba_blocks::{CheckpointError, GenerationConfig, LoadOptions, MambaLm, MambaLmConfig};
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

/// Those that transformers was asked about.
fn names() -> Vec<String> {
    let entries = fs::read_dir(folder("")).unwrap().map(|entry| entry.unwrap());
    let with_answer = entries.filter(|entry| entry.path().join("expected.safetensors").exists());
    let mut names: Vec<_> = with_answer.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    assert!(names.len() >= 8, "{names:?}");
    names
}

fn largest_difference(left: &[f32], right: &[f32]) -> f32 {
    assert_eq!(left.len(), right.len());
    left.iter().zip(right).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max)
}

#[test]
fn logits_and_greedy_text_are_those_of_transformers() {
    let device = device();
    for name in names() {
        let expected = Expected::open(&name);
        let model = MambaLm::from_pretrained(folder(&name), &device).unwrap();
        let difference = largest_difference(&logits(&model, expected.prompt(&device)), &expected.logits);
        println!("{name}: largest difference {difference:e}");
        assert!(difference <= 1e-4, "{name}: {difference:e}");

        let config = GenerationConfig::new(expected.greedy.len());
        let tokens = model.generate(expected.prompt(&device), &config, |_| ControlFlow::Continue(())).unwrap();
        assert_eq!(tokens, [expected.greedy], "{name}");
    }
}

#[test]
fn all_layouts_of_the_same_weights_give_the_same_bits() {
    let device = device();
    // With the vocabulary padded, a GPU may multiply by the head in another order; flex may not.
    let padded = match std::env::var("MAMBA_TEST_DEVICE").as_deref() {
        Err(_) | Ok("flex") if cfg!(feature = "flex") => 0.0,
        _ => 1e-5,
    };
    let cases = [
        ("narrow", "narrow_original", padded),
        ("narrow", "narrow_renamed", padded),
        ("untied", "untied_original", padded),
        ("plain", "plain_original", 0.0),
        ("untied", "untied_bin", 0.0),
        ("deep", "deep_sharded", 0.0),
    ];
    for (left, right, tolerance) in cases {
        let [left_model, right_model] =
            [left, right].map(|name| MambaLm::from_pretrained(folder(name), &device).unwrap());
        let prompt = Expected::open(left).prompt(&device);
        // A single token goes through the head in its own way.
        for prompt in [prompt.clone().narrow(1, 0, 1), prompt.repeat_dim(1, 7)] {
            let difference =
                largest_difference(&logits(&left_model, prompt.clone()), &logits(&right_model, prompt.clone()));
            println!("{left} and {right}, {:?}: {difference:e}", prompt.dims());
            assert!(difference <= tolerance, "{left} and {right}, {:?}: {difference:e}", prompt.dims());
        }
    }
}

type Save = fn(&MambaLm, &Path) -> Result<(), CheckpointError>;

const SAVES: [Save; 2] = [|model, path| model.save_pretrained(path), |model, path| model.save_burnpack(path)];

#[test]
fn an_exported_model_is_the_same_model() {
    let device = device();
    for name in names() {
        let prompt = Expected::open(&name).prompt(&device);
        let model = MambaLm::from_pretrained(folder(&name), &device).unwrap();
        for save in SAVES {
            let export = tempfile::tempdir().unwrap();
            save(&model, export.path()).unwrap();
            assert_eq!(fs::read_dir(export.path()).unwrap().count(), 2, "{name}: something is left behind");

            let again = MambaLm::from_pretrained(export.path(), &device).unwrap();
            assert_eq!(logits(&model, prompt.clone()), logits(&again, prompt.clone()), "{name}");
            let config = |path| MambaLmConfig::from_pretrained(path).unwrap();
            assert_eq!(config(folder(&name)), config(export.path().to_path_buf()), "{name}");
        }
    }
}

#[test]
fn half_precision_is_near_and_keeps_the_scan_in_f32() {
    let device = device();
    let expected = Expected::open("plain");
    for (dtype, tolerance) in [(DType::BF16, 3e-2), (DType::F16, 3e-3)] {
        if !device.supports_dtype(dtype) {
            println!("skipped: the device has no {dtype:?}");
            continue;
        }
        let options = LoadOptions::new().with_dtype(dtype);
        let model = MambaLm::from_pretrained_with(folder("plain"), options, &device).unwrap();
        let mixer = &model.layers[0].mixer;
        assert_eq!([model.embedding.weight.dtype(), mixer.in_proj.weight.dtype()], [dtype; 2]);
        let dt_bias = mixer.dt_proj.bias.as_ref().unwrap();
        assert_eq!([mixer.a_log.dtype(), mixer.d.dtype(), dt_bias.dtype()], [DType::F32; 3]);

        let found = logits(&model, expected.prompt(&device));
        let norm = |x: &mut dyn Iterator<Item = f32>| x.map(|x| x * x).sum::<f32>().sqrt();
        let difference = norm(&mut found.iter().zip(&expected.logits).map(|(x, y)| x - y));
        let error = difference / norm(&mut expected.logits.iter().copied());
        println!("{dtype:?}: relative error {error:e}");
        assert!(error <= tolerance, "{dtype:?}: {error:e}");

        // What was rounded stays as it is in a round trip.
        let export = tempfile::tempdir().unwrap();
        model.save_pretrained(export.path()).unwrap();
        let options = LoadOptions::new().with_dtype(dtype);
        let again = MambaLm::from_pretrained_with(export.path(), options, &device).unwrap();
        assert_eq!(found, logits(&again, expected.prompt(&device)));
    }
}
