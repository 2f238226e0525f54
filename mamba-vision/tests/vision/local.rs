//! LocalVim and LocalVMamba against the original (`fixtures/make_local.py`), their sizes, the search for directions, and
//! what is wrong with files and settings.

use crate::fixture::{check, file, parameters};
use crate::{device, random};
use burn::module::Param;
use burn::tensor::Tensor;
use mamba_blocks::{ConfigError, TensorProblem};
use mamba_vision::{
    ClassToken, LOCAL_CHOICES, LocalVMamba, LocalVMambaConfig, LocalVim, LocalVimConfig, Order, WeightsError,
};

const WINDOW: Order = Order::window(7);

fn windows() -> Vec<Vec<Order>> {
    vec![
        vec![Order::row(), Order::column().from_the_end(), Order::window(2), WINDOW.from_the_end()],
        vec![Order::row().from_the_end(), Order::column(), Order::window(2).from_the_end(), WINDOW],
    ]
}

fn vim(depth: usize, side: usize) -> LocalVimConfig {
    let config = LocalVimConfig::new(12).with_depth(depth).with_patch_size(4).with_image_size([side, side]);
    config.with_num_classes(5).with_d_state(4).with_d_conv(3).with_drop_path(0.0)
}

fn vmamba(d_model: usize, depths: Vec<usize>) -> LocalVMambaConfig {
    LocalVMambaConfig::new(d_model, depths).with_num_classes(5).with_d_state(3).with_drop_path(0.0)
}

#[test]
fn logits_and_every_gradient_of_local_vim_are_those_of_the_original() {
    let rope = vim(2, 20).with_directions(Some(windows()));
    let class = rope.clone().with_image_size([12, 20]).with_class_token(ClassToken::Middle).with_rope(false);
    for (fixture, config) in [("rope", rope), ("class", class), ("search", vim(1, 16))] {
        let load = |path, device: &_| config.load(path, device).unwrap();
        check(&format!("local_vim_{fixture}"), &device(), load, LocalVim::forward);
    }
}

#[test]
fn logits_and_every_gradient_of_local_vmamba_are_those_of_the_original() {
    let mut directions = windows();
    directions.push(vec![Order::row(), WINDOW]);
    let windows = vmamba(4, vec![1, 2]).with_directions(Some(directions));
    for (fixture, config) in [("local_vmamba", windows), ("local_vmamba_search", vmamba(4, vec![1]))] {
        let load = |path, device: &_| config.load(path, device).unwrap();
        check(fixture, &device(), load, LocalVMamba::forward);
    }
}

#[test]
fn published_sizes_have_their_parameter_counts() {
    for (config, expected) in [
        (LocalVimConfig::tiny(), 7_994_152),
        (LocalVimConfig::tiny_middle_class_token(), 7_994_536),
        (LocalVimConfig::tiny_without_search(), 7_994_152),
        (LocalVimConfig::small(), 27_783_784),
        (LocalVimConfig::small_without_search(), 27_783_784),
        (LocalVimConfig::tiny_search(), 5_473_288),
    ] {
        assert_eq!(parameters(&config.init(&device())), expected);
    }
    for (config, expected) in [
        (LocalVMambaConfig::tiny(), 25_527_160),
        (LocalVMambaConfig::small(), 49_748_536),
        (LocalVMambaConfig::tiny_search(), 4_576_656),
    ] {
        assert_eq!(parameters(&config.init(&device())), expected);
    }
}

#[test]
fn a_search_tells_the_directions_with_the_greatest_weights() {
    let device = device();
    let mut model = vim(1, 16).init(&device);
    let weights = [0.1, 0.9, -0.3, 0.8, 0.7, 0.0, 0.2, 0.95];
    let weights = Tensor::<1>::from_floats(weights, &device).reshape([8, 1, 1, 1]);
    model.layers[0].mixer.merge.weights = Some(Param::from_tensor(weights));
    let found = model.strongest_directions(4).unwrap();
    assert_eq!(found, [[1, 3, 4, 7].map(|choice| LOCAL_CHOICES[choice])]);
    // A model of these.
    let chosen = vim(1, 16).with_directions(Some(found)).init(&device);
    assert_eq!(chosen.forward(random([2, 3, 16, 16], &device)).dims(), [2, 5]);
    assert_eq!(chosen.strongest_directions(4), None);
    let model = vmamba(4, vec![1, 2]).init(&device);
    assert_eq!(model.strongest_directions(4).unwrap().iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 4]);
}

#[test]
fn features_for_dense_tasks_have_the_shape_of_the_image() {
    let device = device();
    let class = vim(3, 20).with_class_token(ClassToken::Middle).with_rope(false);
    for config in [vim(3, 20), class] {
        let model = config.init(&device);
        let features = model.layer_features(random([2, 3, 20, 20], &device), &[0, 2]);
        assert_eq!(features.iter().map(|layer| layer.dims()).collect::<Vec<_>>(), [[2, 5, 5, 12]; 2]);
    }
    let stages = vmamba(4, vec![1, 1]).init(&device).features(random([1, 3, 36, 28], &device));
    assert_eq!(stages.iter().map(|stage| stage.dims()).collect::<Vec<_>>(), [[1, 9, 7, 4], [1, 5, 4, 8]]);
}

#[test]
fn a_file_of_another_model_is_refused() {
    let missing = |error: WeightsError, key: &str| {
        let WeightsError::Tensors { problems, .. } = &error else { panic!("{error}") };
        let is_it =
            |problem: &TensorProblem| matches!(problem, TensorProblem::Missing { key: found, .. } if found == key);
        assert!(problems.0.iter().any(is_it), "{problems:?}");
    };
    let error = vim(1, 20).load(file("local_vim_rope.pth"), &device()).unwrap_err();
    missing(error, "layers.0.mixer.multi_scan.weights");
    let error = vmamba(4, vec![1]).load(file("local_vmamba.pth"), &device()).unwrap_err();
    missing(error, "layers.0.blocks.0.op.multi_scan.weights");
}

#[test]
fn settings_that_make_no_model_are_refused() {
    let error = |config: LocalVimConfig| config.try_init(&device()).unwrap_err();
    let directions = |directions: Vec<Vec<Order>>| error(vim(1, 16).with_directions(Some(directions)));
    assert!(matches!(directions(vec![]), ConfigError::OutOfRange { name: "directions", .. }));
    assert_eq!(directions(vec![vec![]]), ConfigError::Zero { name: "directions" });
    assert_eq!(directions(vec![vec![Order::window(0)]]), ConfigError::Zero { name: "directions" });
    assert!(matches!(error(vim(1, 18)), ConfigError::OutOfRange { name: "image_size", .. }));
    let class = vim(1, 16).with_class_token(ClassToken::Middle);
    assert!(matches!(error(class), ConfigError::OutOfRange { name: "rope", .. }));
    let uneven = vmamba(4, vec![2]).with_directions(Some(windows()[..1].to_vec()));
    assert!(matches!(uneven.try_init(&device()), Err(ConfigError::OutOfRange { name: "directions", .. })));
}
