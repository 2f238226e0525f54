//! Vision Mamba against PyTorch, its sizes, and what is wrong with files and settings.

use crate::fixture::{check, file};
use crate::{assert_close, device, random, values};
use burn::module::Module;
use burn::tensor::Tensor;
use mamba_blocks::{ConfigError, TensorProblem};
use mamba_vision::{BiMambaType, ClassToken, Vim, VimConfig, WeightsError};

fn v2() -> VimConfig {
    let config = VimConfig::new(12).with_depth(2).with_patch_size(8).with_stride(8).with_num_classes(5);
    config.with_d_state(4).with_d_conv(3).with_image_size([24, 40])
}

fn v1() -> VimConfig {
    let config = v2().with_image_size([20, 16]).with_stride(4).with_bimamba_type(BiMambaType::V1);
    config.with_class_token(ClassToken::Head).with_divide_out(false)
}

fn mean() -> VimConfig {
    v2().with_image_size([16, 24]).with_in_channels(1).with_class_token(ClassToken::Absent).with_divide_out(false)
}

#[test]
fn logits_and_every_gradient_are_those_of_pytorch() {
    for (fixture, config) in [("vim_v2", v2()), ("vim_v1", v1()), ("vim_mean", mean())] {
        check(fixture, &device(), |path, device| config.load(path, device).unwrap(), Vim::forward);
    }
}

#[test]
fn published_sizes_have_their_parameter_counts() {
    for (config, expected) in [
        (VimConfig::tiny(), 7_148_008),
        (VimConfig::tiny().with_stride(8), 7_250_344),
        (VimConfig::small(), 25_796_584),
        (VimConfig::small().with_stride(8), 26_001_256),
        (VimConfig::base(), 97_598_440),
    ] {
        assert_eq!(config.init(&device()).num_params(), expected);
    }
}

#[test]
fn the_class_token_is_in_the_middle() {
    let model = VimConfig::new(8).with_depth(1).with_stride(8).init(&device());
    // 27 x 27 patches, and the token.
    assert_eq!(model.pos_embed.dims(), [1, 730, 8]);
    assert_eq!(model.class_place(730), Some(364));
    assert_eq!(model.class_place(197), Some(98));
}

#[test]
fn rows_of_a_batch_do_not_see_each_other() {
    let device = device();
    let model = v2().init(&device);
    let images = random([3, 3, 24, 40], &device);
    let together = model.forward(images.clone());
    for row in 0..3 {
        let alone = model.forward(images.clone().narrow(0, row, 1));
        assert_close("alone", alone, together.clone().narrow(0, row, 1), 1e-6);
    }
}

#[test]
fn a_file_of_another_model_is_refused_with_every_tensor_at_fault() {
    let device = device();
    let error = v2().with_depth(3).with_num_classes(7).load(file("vim_v2.pth"), &device).unwrap_err();
    let WeightsError::Tensors { problems, looks_like, .. } = &error else { panic!("{error}") };
    let missing = problems.0.iter().filter(|problem| matches!(problem, TensorProblem::Missing { .. })).count();
    assert_eq!((missing, problems.0.len()), (17, 19), "{error}");
    assert_eq!(looks_like.as_deref(), None);
    let missing = TensorProblem::Missing { key: "layers.2.mixer.A_b_log".into(), expected: vec![24, 4] };
    assert!(problems.0.contains(&missing), "{problems:?}");
    let shape = TensorProblem::Shape {
        key: "head.weight".into(),
        file: file("vim_v2.pth"),
        found: vec![5, 12],
        expected: vec![7, 12],
    };
    assert!(problems.0.contains(&shape), "{problems:?}");

    // One of the other type has tensors that are not expected.
    let error = v2().with_bimamba_type(BiMambaType::V1).load(file("vim_v2.pth"), &device).unwrap_err();
    assert!(error.to_string().contains("`layers.0.mixer.D_b` with shape [24]"), "{error}");
    let error = v2().load(file("no_such_file.pth"), &device).unwrap_err();
    assert!(error.to_string().contains("no_such_file.pth"), "{error}");
    let error = v2().load(file("vim_v2.safetensors"), &device).unwrap_err();
    assert!(error.to_string().contains("`cls_token` is missing"), "{error}");
}

#[test]
fn damaged_files_are_refused() {
    let bytes = std::fs::read(file("vim_mean.pth")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for name in ["cut.pth", "cut.safetensors"] {
        let path = folder.path().join(name);
        for length in [0, 1, 100, bytes.len() / 2, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..length]).unwrap();
            let error = mean().load(&path, &device()).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}

#[test]
fn settings_that_make_no_model_are_refused() {
    let error = |config: VimConfig| config.try_init(&device()).unwrap_err();
    assert_eq!(error(v2().with_depth(0)), ConfigError::Zero { name: "depth" });
    assert_eq!(error(v2().with_image_size([0, 8])), ConfigError::Zero { name: "image_size" });
    assert_eq!(error(v2().with_stride(0)), ConfigError::Zero { name: "stride" });
    assert!(matches!(error(v2().with_patch_size(25)), ConfigError::OutOfRange { name: "patch_size", .. }));
    for drop_path in [-0.1, 1.0, f64::NAN] {
        assert!(matches!(error(v2().with_drop_path(drop_path)), ConfigError::OutOfRange { name: "drop_path", .. }));
    }
}

#[test]
#[should_panic(expected = "expected [batch, 3, 24, 40]")]
fn images_of_another_size_are_a_mistake() {
    v2().init(&device()).forward(random([1, 3, 40, 24], &device()));
}

#[test]
fn paths_are_dropped_in_training_only() {
    let device = device();
    let model = v2().with_depth(3).with_drop_path(0.5).init(&device);
    assert_eq!(model.layers.iter().map(|layer| layer.drop_path.prob).collect::<Vec<_>>(), [0.0, 0.0, 0.25]);
    let images: Tensor<4> = random([4, 3, 24, 40], &device);
    assert_eq!(values(model.forward(images.clone())), values(model.forward(images.clone())));

    let training = device.autodiff();
    let model = v2().with_drop_path(0.5).init(&training);
    let images = images.to_device(&training);
    let draws: Vec<_> = (0..8).map(|_| values(model.forward(images.clone()))).collect();
    assert!(draws.iter().any(|draw| *draw != draws[0]));
}

#[test]
fn tokens_are_shuffled_in_training_only() {
    let device = device();
    let config = v2().with_depth(2).with_shuffle(1.0);
    let model = config.init(&device);
    let images: Tensor<4> = random([2, 3, 24, 40], &device);
    assert_eq!(values(model.forward(images.clone())), values(model.forward(images.clone())));

    let training = device.autodiff();
    let model = config.init(&training);
    let images = images.to_device(&training);
    // The last block always meets its tokens in another order.
    let draws: Vec<_> = (0..4).map(|_| values(model.forward(images.clone()))).collect();
    assert!((1..4).all(|draw| draws[draw] != draws[0]));
    for shuffle in [-0.1, 1.1, f64::NAN] {
        let error = config.clone().with_shuffle(shuffle).try_init(&training).unwrap_err();
        assert!(matches!(error, ConfigError::OutOfRange { name: "shuffle", .. }), "{error}");
    }
}
