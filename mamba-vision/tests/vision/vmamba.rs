//! VMamba against PyTorch, its sizes, and what is wrong with files and settings.

use crate::fixture::{check, file, tensor};
use crate::{assert_close, device, random};
use burn::module::Module;
use mamba_blocks::ConfigError;
use mamba_vision::{PatchEmbedType, Ss2dConfig, VMamba, VMambaConfig, WeightsError};

fn v05() -> VMambaConfig {
    VMambaConfig::new(8, vec![1, 2, 1]).with_num_classes(5)
}

fn v0() -> VMambaConfig {
    VMambaConfig::vanilla(4, vec![1, 1, 2, 1]).with_num_classes(5).with_d_state(5)
}

#[test]
fn logits_and_every_gradient_are_those_of_pytorch() {
    let s1 = VMambaConfig::new(8, vec![1, 1]).with_ssm_ratio(1.0).with_num_classes(3);
    for (fixture, config) in [("vmamba_v05", v05()), ("vmamba_s1", s1), ("vmamba_v0", v0())] {
        check(fixture, &device(), |path, device| config.load(path, device).unwrap(), VMamba::forward);
    }
}

#[test]
fn files_with_older_names_and_shapes_give_the_same() {
    let device = device();
    let model = v0().load(file("vmamba_v0_legacy.pth"), &device).unwrap();
    let logits = model.forward(tensor("vmamba_v0", "images", &device));
    assert_close("logits", logits, tensor("vmamba_v0", "logits", &device), 1e-5);
}

#[test]
fn published_sizes_have_their_parameter_counts() {
    for (config, expected) in [
        (VMambaConfig::tiny_s2l5(), 30_705_832),
        (VMambaConfig::tiny(), 30_249_064),
        (VMambaConfig::small_s2l15(), 50_147_752),
        (VMambaConfig::small(), 49_012_840),
        (VMambaConfig::base_s2l15(), 88_557_800),
        (VMambaConfig::base(), 86_614_504),
        (VMambaConfig::vanilla_tiny(), 22_893_448),
        (VMambaConfig::vanilla_small(), 44_417_416),
        (VMambaConfig::vanilla_base(), 76_254_056),
    ] {
        assert_eq!(config.init(&device()).num_params(), expected);
    }
}

#[test]
fn every_stage_gives_features_of_half_the_size() {
    let model = v05().init(&device());
    let features = model.features(random([2, 3, 64, 96], &device()));
    let dims: Vec<_> = features.iter().map(|stage| stage.dims()).collect();
    assert_eq!(dims, [[2, 16, 24, 8], [2, 8, 12, 16], [2, 4, 6, 32]]);
    // Images of any size.
    for [height, width] in [[4, 4], [33, 7], [5, 64]] {
        for config in [v05(), v0()] {
            assert_eq!(config.init(&device()).forward(random([1, 3, height, width], &device())).dims(), [1, 5]);
        }
    }
}

#[test]
fn a_convolutional_stem_makes_patches_of_four_pixels() {
    let config = v05().with_patch_embed(PatchEmbedType::ConvStem);
    let model = config.init(&device());
    let sides = |height, width| model.features(random([2, 3, height, width], &device()))[0].dims();
    assert_eq!(sides(64, 96), [2, 16, 24, 8]);
    assert_eq!([sides(4, 4), sides(33, 7)], [[2, 1, 1, 8], [2, 8, 2, 8]]);
    let error = VMambaConfig { d_model: 1, ..config }.try_init(&device()).unwrap_err();
    assert!(matches!(error, ConfigError::OutOfRange { name: "d_model", .. }), "{error}");
}

/// With every direction alike, a scan of the transposed image is the transpose of the scan.
#[test]
fn a_scan_sees_rows_and_columns_alike() {
    let device = device();
    let mut scan = Ss2dConfig::new(6).init(&device);
    let alike = |weight: burn::tensor::Tensor<3>| weight.narrow(0, 0, 1).repeat_dim(0, 4);
    scan.x_proj_weight = scan.x_proj_weight.map(alike);
    scan.dt_projs_weight = scan.dt_projs_weight.map(alike);
    scan.dt_projs_bias = scan.dt_projs_bias.map(|bias| bias.narrow(0, 0, 1).repeat_dim(0, 4));
    scan.conv2d.weight = scan.conv2d.weight.map(|weight| (weight.clone() + weight.swap_dims(2, 3)) / 2.0);
    let x = random([2, 5, 8, 6], &device);
    let transposed = scan.forward(x.clone().swap_dims(1, 2)).swap_dims(1, 2);
    assert_close("transposed", transposed, scan.forward(x), 1e-5);
}

#[test]
fn a_file_of_another_model_is_refused() {
    let error = v05().load(file("vmamba_v0.pth"), &device()).unwrap_err();
    assert!(matches!(&error, WeightsError::Tensors { .. }), "{error}");
    assert!(error.to_string().contains("`patch_embed.0.weight`"), "{error}");
}

#[test]
fn settings_that_make_no_model_are_refused() {
    let error = |config: VMambaConfig| config.try_init(&device()).unwrap_err();
    assert_eq!(error(VMambaConfig::new(4, vec![])), ConfigError::Zero { name: "depths" });
    assert_eq!(error(VMambaConfig::new(4, vec![1, 0])), ConfigError::Zero { name: "depths" });
    assert_eq!(error(VMambaConfig::new(0, vec![1])), ConfigError::Zero { name: "d_model" });
    assert!(matches!(error(VMambaConfig::new(4, vec![1; 40])), ConfigError::TooLarge { name: "depths", .. }));
    for ratio in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let error = error(v05().with_ssm_ratio(ratio));
        assert!(matches!(error, ConfigError::OutOfRange { name: "ssm_ratio", .. }), "{error}");
    }
    assert!(matches!(error(v05().with_mlp_ratio(Some(0.0))), ConfigError::OutOfRange { name: "mlp_ratio", .. }));
}
