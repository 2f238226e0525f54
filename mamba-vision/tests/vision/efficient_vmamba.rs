//! EfficientVMamba against the original (`fixtures/make_local.py`), its sizes, and what is wrong with files and settings.

use crate::fixture::{check, file, parameters, tensor};
use crate::{assert_close, device, random};
use mamba_blocks::{ConfigError, TensorProblem};
use mamba_vision::{EfficientVMamba, EfficientVMambaConfig, VMambaConfig, WeightsError};

fn small() -> EfficientVMambaConfig {
    EfficientVMambaConfig::new(8, vec![1, 1, 1]).with_num_classes(5).with_drop_path(0.0)
}

#[test]
fn logits_and_every_gradient_are_those_of_the_original() {
    // In training, batch norms look at the batch.
    check("efficient_vmamba", &device(), |path, device| small().load(path, device).unwrap(), EfficientVMamba::forward);
    let model = small().load(file("efficient_vmamba.pth"), &device()).unwrap();
    let logits = model.forward(tensor("efficient_vmamba", "images", &device()));
    assert_close("evaluated", logits, tensor("efficient_vmamba", "evaluated", &device()), 1e-5);
}

#[test]
fn published_sizes_have_their_parameter_counts() {
    for (config, expected) in [
        (EfficientVMambaConfig::tiny(), 6_493_660),
        (EfficientVMambaConfig::small(), 11_273_688),
        (EfficientVMambaConfig::base(), 33_717_136),
    ] {
        assert_eq!(parameters(&config.init(&device())), expected);
    }
}

#[test]
fn every_stage_gives_features_of_half_the_size() {
    let model = small().init(&device());
    let features = model.features(random([2, 3, 64, 96], &device()));
    let dims: Vec<_> = features.iter().map(|stage| stage.dims()).collect();
    assert_eq!(dims, [[2, 16, 24, 8], [2, 8, 12, 16], [2, 4, 6, 32]]);
    for [height, width] in [[4, 4], [33, 7], [5, 64]] {
        assert_eq!(model.forward(random([1, 3, height, width], &device())).dims(), [1, 5]);
    }
}

#[test]
fn a_file_of_another_model_is_refused() {
    let error = VMambaConfig::vanilla(8, vec![1, 1]).load(file("efficient_vmamba.pth"), &device()).unwrap_err();
    let WeightsError::Tensors { problems, .. } = &error else { panic!("{error}") };
    let branch = "layers.0.blocks.0.conv_branch.0.weight";
    let is_it = |problem: &TensorProblem| matches!(problem, TensorProblem::Unexpected { key, .. } if key == branch);
    assert!(problems.0.iter().any(is_it), "{problems:?}");
}

#[test]
fn settings_that_make_no_model_are_refused() {
    let error = |config: EfficientVMambaConfig| config.try_init(&device()).unwrap_err();
    assert_eq!(error(EfficientVMambaConfig::new(8, vec![])), ConfigError::Zero { name: "depths" });
    assert_eq!(error(EfficientVMambaConfig::new(8, vec![1, 0])), ConfigError::Zero { name: "depths" });
    let narrow = error(EfficientVMambaConfig::new(4, vec![1]));
    assert!(matches!(narrow, ConfigError::OutOfRange { name: "d_model", .. }), "{narrow}");
}
