//! How gradients flow: through either output, into any subset of the inputs, with and without checkpointing.

use crate::arrays::{assert_close, assert_same};
use crate::case::{Case, Layout, Leaves, Operator};
use crate::devices::TestDevice;
use crate::grid::BOUND;
use crate::oracle::oracle;
use crate::random::{Options, Spec, Values};
use burn::tensor::{DType, Tensor};
use std::ops::Range;

/// A call with all inputs, longer than a chunk.
fn case(operator: Operator) -> Case {
    let options = Options {
        d: true,
        z: true,
        bias: true,
        activation: true,
        initial_state: true,
        reset: true,
        orders: 2,
        ..Options::default()
    };
    let (batch, length, channels, states, groups) = (2, 70, 6, 4, 2);
    Spec { operator, batch, length, channels, states, groups, options, values: Values::Reference, seed: 3 }.build()
}

fn either_output_may_be_left_out_of_the_loss(device: &TestDevice, operator: Operator) {
    let case = case(operator);
    for left_out in ["y", "final_state"] {
        let mut case = case.clone();
        case.weights.remove(left_out);
        let label = || format!("{} without `{left_out}`", device.name);
        assert_close(&case.run(&device.device, DType::F32), &oracle(&case), BOUND, label);
    }
}

fn any_input_may_be_the_only_one_with_a_gradient(device: &TestDevice, operator: Operator) {
    let case = case(operator);
    let all = case.run(&device.device, DType::F32);
    for only in case.inputs.keys() {
        let leaves = Leaves::new(&case, &device.device.clone().autodiff(), DType::F32, |name| name == only);
        let (y, final_state) = leaves.forward(None, None);
        let one = leaves.gradients(leaves.loss(y, final_state));
        assert_eq!(one.len(), 1, "one gradient was asked for");
        assert_same(&all, &one, || format!("{}, only `{only}`", device.name));
    }
}

fn tracking_gradients_changes_no_output(device: &TestDevice, operator: Operator) {
    let case = case(operator);
    let tracked = case.run(&device.device, DType::F32);
    for device in [device.device.clone(), device.device.clone().autodiff()] {
        let untracked = case.outputs(&device, DType::F32);
        assert_same(&tracked, &untracked, || format!("{device:?}"));
    }
}

/// Slices and transposed tensors, as the outputs of projections are; the gradient of `y` comes in the same layout.
fn inputs_and_gradients_may_have_any_layout(device: &TestDevice, operator: Operator) {
    let case = case(operator);
    let plain = case.run(&device.device, DType::F32);
    for layout in [Layout::Narrowed, Layout::Transposed] {
        let leaves = Leaves::new(&case, &device.device.clone().autodiff(), DType::F32, |_| true).with_layout(layout);
        let (y, final_state) = leaves.forward(None, None);
        let loss = leaves.loss(leaves.lay_out(y), leaves.lay_out(final_state));
        let label = || format!("{}: {layout:?}", device.name);
        assert_close(&plain, &leaves.gradients(loss), BOUND, label);
    }
}

/// The gradient of a sum is one number that is broadcast.
fn the_loss_may_be_a_sum(device: &TestDevice, operator: Operator) {
    let mut case = case(operator);
    case.weights.values_mut().for_each(|weights| weights.values.fill(1.0));
    let leaves = Leaves::new(&case, &device.device.clone().autodiff(), DType::F32, |_| true);
    let (y, final_state) = leaves.forward(None, None);
    let sum = leaves.gradients(y.sum() + final_state.sum());
    assert_close(&case.run(&device.device, DType::F32), &sum, BOUND, || device.name.into());
}

/// A state that several parts of the same sequence share, as when a prompt is continued in two ways.
fn gradients_of_two_continuations_add_up(device: &TestDevice, operator: Operator) {
    let mut case = case(operator);
    case.orders.clear();
    let leaves = Leaves::new(&case, &device.device.clone().autodiff(), DType::F32, |_| true);
    let continuation = |range: Range<usize>, state: &Tensor<3>| {
        let (y, state) = leaves.forward(Some(range), Some(state.clone()));
        y.sum() + state.sum()
    };
    let prompt = || leaves.forward(Some(0..30), None).1;
    let shared = prompt();
    let together = leaves.gradients(continuation(30..50, &shared) + continuation(50..70, &shared));
    let first = leaves.gradients(continuation(30..50, &prompt()));
    let second = leaves.gradients(continuation(50..70, &prompt()));
    let sum = first.iter().map(|(name, first)| (name.clone(), first.zip(&second[name], |x, y| x + y))).collect();
    assert_close(&together, &sum, BOUND, || device.name.into());
}

fn gradient_checkpointing_changes_no_gradient(device: &TestDevice, operator: Operator) {
    let case = case(operator);
    let plain = case.run(&device.device, DType::F32);
    let recomputing = device.device.clone().autodiff().gradient_checkpointing();
    let again = case.run_as(&recomputing, DType::F32, |leaves| leaves.forward(None, None));
    assert_same(&again, &plain, || device.name.into());
}

on_every_device_and_operator!(
    either_output_may_be_left_out_of_the_loss,
    any_input_may_be_the_only_one_with_a_gradient,
    tracking_gradients_changes_no_output,
    gradient_checkpointing_changes_no_gradient,
    inputs_and_gradients_may_have_any_layout,
    the_loss_may_be_a_sum,
    gradients_of_two_continuations_add_up,
);
