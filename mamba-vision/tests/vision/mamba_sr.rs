//! Super-resolution with trained weights, against the original (`fixtures/make_mamba_sr.py`).

use crate::{assert_close, device, fixture};
use burn::module::Module;
use mamba_vision::MambaSrConfig;
use std::path::PathBuf;

fn file(name: &str) -> PathBuf {
    fixture::file(&format!("../opensr-mamba/{name}"))
}

#[test]
fn published_weights_give_what_the_original_gives() {
    let device = device();
    for (name, config) in [
        ("srmodel", MambaSrConfig::opensr_rgb()),
        ("fusionmodel01", MambaSrConfig::opensr_to_10m()),
        ("fusionmodel02", MambaSrConfig::opensr_to_2m5()),
    ] {
        let model = config.load(file(&format!("{name}.pth")), &device).unwrap();
        let tensor = |key| fixture::tensor(&format!("../opensr-mamba/{name}"), key, &device);
        assert_close(name, model.forward(tensor("images")), tensor("output"), 1e-5);
    }
}

#[test]
fn published_sizes_have_their_parameter_counts() {
    // In the files, every one of eight blocks has two more that the models do not use.
    for (config, expected) in [
        (MambaSrConfig::opensr_rgb(), 498_364),
        (MambaSrConfig::opensr_to_10m(), 479_422),
        (MambaSrConfig::opensr_to_2m5(), 479_963),
    ] {
        assert_eq!(config.init(&device()).num_params() + 16, expected);
    }
}

#[test]
fn a_file_of_another_model_is_named() {
    let error = MambaSrConfig::opensr_rgb().load(file("fusionmodel02.pth"), &device()).unwrap_err();
    assert!(error.to_string().contains("they look like fusionmodel02 of opensr-mamba"), "{error}");
    assert!(error.to_string().contains("`conv_first.weight`"), "{error}");
}
