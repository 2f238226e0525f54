//! Chapter 'Your first Mamba layer'.

use crate::{largest_difference, random};
use burn::nn::LinearConfig;
use burn::tensor::Device;

// ANCHOR: module
use burn::{module::Module, nn::Linear, tensor::Tensor};
use mamba_blocks::{Mamba, MambaConfig};

#[derive(Module, Debug)]
struct Tagger {
    mamba: Mamba,
    head: Linear,
}

impl Tagger {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.head.forward(self.mamba.forward(x.clone()) + x)
    }
}
// ANCHOR_END: module

// ANCHOR: init
fn tagger(d_model: usize, labels: usize, device: &Device) -> Tagger {
    let mamba = MambaConfig::new(d_model).with_d_state(16).init(device);
    Tagger { mamba, head: LinearConfig::new(d_model, labels).init(device) }
}
// ANCHOR_END: init

// ANCHOR: state
/// In two pieces: the second goes on from the state of the first.
fn in_pieces(mamba: &Mamba, x: Tensor<3>) -> Tensor<3> {
    let [batch, length, _] = x.dims();
    let half = length / 2;
    let state = mamba.init_state(batch, &x.device());
    let (first, state) = mamba.forward_with_state(x.clone().narrow(1, 0, half), state);
    let (second, _) = mamba.forward_with_state(x.narrow(1, half, length - half), state);
    Tensor::cat(vec![first, second], 1)
}

/// One token at a time, as in text generation.
fn in_steps(mamba: &Mamba, x: Tensor<3>) -> Tensor<3> {
    let [batch, length, _] = x.dims();
    let mut state = mamba.init_state(batch, &x.device());
    let mut outputs = Vec::new();
    for t in 0..length {
        let (y, next) = mamba.step(x.clone().narrow(1, t, 1).squeeze_dim(1), state);
        outputs.push(y);
        state = next;
    }
    Tensor::stack(outputs, 1)
}
// ANCHOR_END: state

#[test]
fn a_module_of_ones_own_holds_a_mamba() {
    let device = Device::default().autodiff();
    let tagger = tagger(64, 5, &device);
    let scores = tagger.forward(random([2, 100, 64], &device));
    assert_eq!(scores.dims(), [2, 100, 5]);
    let grads = scores.mean().backward();
    assert!(tagger.mamba.a_log.val().grad(&grads).is_some());
}

#[test]
fn pieces_and_steps_are_the_whole() {
    let device = Device::default();
    let mamba = MambaConfig::new(16).init(&device);
    let x = random([2, 11, 16], &device);
    let whole = mamba.forward(x.clone());
    assert!(largest_difference(whole.clone(), in_pieces(&mamba, x.clone())) < 1e-5);
    assert!(largest_difference(whole, in_steps(&mamba, x)) < 1e-5);
}

#[test]
fn the_readme_and_the_minimal_program_show_this_module() {
    let anchored = include_str!("first_layer.rs").split("// ANCHOR: module\n").nth(1);
    let listing =
        anchored.and_then(|rest| rest.split("// ANCHOR_END: module\n").next()).expect("the anchors are above");
    assert!(include_str!("../../README.md").contains(listing));
    assert!(include_str!("../../examples/minimal/src/main.rs").contains(listing));
}
