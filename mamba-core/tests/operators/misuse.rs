//! Shapes that do not fit panic with the name of the argument, its shape and the expected one.

use crate::devices::TestDevice;
use burn::tensor::{Bool, DType, Device, Tensor};
use mamba_core::*;

const BATCH: usize = 2;
const LENGTH: usize = 5;
const CHANNELS: usize = 6;
const STATES: usize = 4;

fn device() -> Device {
    TestDevice::first().device
}

fn zeros<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::zeros(shape, &device())
}

fn no_reset<const D: usize>(shape: [usize; D]) -> Tensor<D, Bool> {
    zeros(shape).greater_scalar(0.5)
}

fn order(rows: usize, length: usize) -> ScanOrder {
    ScanOrder::new(&vec![(0..length).collect(); rows], &device()).expect("a permutation")
}

/// The arguments of a scan that fit together, to be spoiled.
struct Scan {
    u: Tensor<3>,
    delta: Tensor<3>,
    a: Tensor<2>,
    b: Tensor<4>,
    c: Tensor<4>,
    options: SelectiveScanOptions,
}

fn scan(spoil: impl FnOnce(Scan) -> Scan) {
    let tokens = [BATCH, LENGTH, CHANNELS];
    let group = [BATCH, LENGTH, 1, STATES];
    let (u, delta, a, b, c) = (zeros(tokens), zeros(tokens), zeros([CHANNELS, STATES]), zeros(group), zeros(group));
    let Scan { u, delta, a, b, c, options } = spoil(Scan { u, delta, a, b, c, options: SelectiveScanOptions::new() });
    selective_scan(u, delta, a, b, c, options);
}

fn scan_with(spoil: impl FnOnce(SelectiveScanOptions) -> SelectiveScanOptions) {
    scan(|scan| Scan { options: spoil(scan.options), ..scan });
}

fn conv(x: [usize; 3], weight: [usize; 2], spoil: impl FnOnce(CausalConv1dOptions) -> CausalConv1dOptions) {
    causal_conv1d(zeros(x), zeros(weight), spoil(CausalConv1dOptions::new()));
}

fn conv_with(spoil: impl FnOnce(CausalConv1dOptions) -> CausalConv1dOptions) {
    conv([BATCH, LENGTH, CHANNELS], [CHANNELS, 3], spoil);
}

/// Tests that panic with the message.
macro_rules! panics {
    ($($name:ident: $message:literal, $call:expr;)*) => {
        $(#[test]
        #[should_panic(expected = $message)]
        fn $name() {
            $call;
        })*
    };
}

panics! {
    scan_u: "selective_scan: `u` has shape [2, 5, 7], expected [2, 5, 6]",
        scan(|scan| Scan { u: zeros([BATCH, LENGTH, 7]), ..scan });
    scan_delta: "selective_scan: `u` has shape [2, 5, 6], expected [2, 4, 6]",
        scan(|scan| Scan { delta: zeros([BATCH, 4, CHANNELS]), ..scan });
    scan_a: "selective_scan: `a` has shape [7, 4], expected [6, 4]",
        scan(|scan| Scan { a: zeros([7, STATES]), ..scan });
    scan_b: "selective_scan: `b` has shape [2, 5, 1, 3], expected [2, 5, 1, 4]",
        scan(|scan| Scan { b: zeros([BATCH, LENGTH, 1, 3]), ..scan });
    scan_c: "selective_scan: `c` has shape [2, 5, 2, 4], expected [2, 5, 1, 4]",
        scan(|scan| Scan { c: zeros([BATCH, LENGTH, 2, STATES]), ..scan });
    scan_d: "selective_scan: `d` has shape [5], expected [6]",
        scan_with(|options| options.with_d(zeros([5])));
    scan_delta_bias: "selective_scan: `delta_bias` has shape [5], expected [6]",
        scan_with(|options| options.with_delta_bias(zeros([5])));
    scan_z: "selective_scan: `z` has shape [1, 5, 6], expected [2, 5, 6]",
        scan_with(|options| options.with_z(zeros([1, LENGTH, CHANNELS])));
    scan_initial_state: "selective_scan: `initial_state` has shape [2, 4, 6], expected [2, 6, 4]",
        scan_with(|options| options.with_initial_state(zeros([BATCH, STATES, CHANNELS])));
    scan_reset: "selective_scan: `reset` has shape [1, 1, 5], expected [2, 1, 5]",
        scan_with(|options| options.with_reset(no_reset([1, LENGTH])));
    scan_reset_per_order: "selective_scan: `reset` has shape [2, 3, 5], expected [2, 2, 5]",
        scan_with(|options| options.with_order(order(2, LENGTH)).with_reset_per_order(no_reset([BATCH, 3, LENGTH])));
    scan_order: "selective_scan: `order` has shape [1, 4], expected [1, 5]",
        scan_with(|options| options.with_order(order(1, 4)));
    scan_orders: "selective_scan: d_inner 6 is not divisible by the 4 orders",
        scan_with(|options| options.with_order(order(4, LENGTH)));
    scan_groups: "selective_scan: d_inner 6 is not divisible by the 4 groups of `b`",
        scan(|scan| Scan { b: zeros([BATCH, LENGTH, 4, STATES]), c: zeros([BATCH, LENGTH, 4, STATES]), ..scan });
    scan_of_no_tokens: "selective_scan: length is 0, expected at least 1",
        scan(|scan| Scan { u: zeros([BATCH, 0, CHANNELS]), delta: zeros([BATCH, 0, CHANNELS]), ..scan });
    scan_without_states: "selective_scan: d_state is 0, expected at least 1",
        scan(|scan| Scan { a: zeros([CHANNELS, 0]), ..scan });
    scan_of_two_dtypes: ", expected F32 as `u`", {
        // NdArray has no halves, WebGPU no doubles.
        let other = if device().supports_dtype(DType::F64) { DType::F64 } else { DType::F16 };
        scan(|scan| Scan { delta: scan.delta.cast(other), ..scan })
    };
    step_of_another_state: "selective_scan: `initial_state` has shape [2, 6, 3], expected [2, 6, 4]", {
        let (token, group) = (zeros([BATCH, CHANNELS]), zeros([BATCH, 1, STATES]));
        let a = zeros([CHANNELS, STATES]);
        let options = SelectiveStateUpdateOptions::new();
        selective_state_update(zeros([BATCH, CHANNELS, 3]), token.clone(), token, a, group.clone(), group, options)
    };

    linear_x: "linear: `x` has shape [2, 5, 7], expected 6 in the last dimension as in `weight` [6, 4]",
        linear(zeros([BATCH, LENGTH, 7]), zeros([CHANNELS, STATES]), None);
    linear_bias: "linear: `bias` has shape [6], expected [4]",
        linear(zeros([BATCH, LENGTH, CHANNELS]), zeros([CHANNELS, STATES]), Some(zeros([CHANNELS])));

    conv_weight: "causal_conv1d: `weight` has shape [5, 3], expected [6, 3]",
        conv([BATCH, LENGTH, CHANNELS], [5, 3], |options| options);
    conv_bias: "causal_conv1d: `bias` has shape [5], expected [6]",
        conv_with(|options| options.with_bias(zeros([5])));
    conv_initial_state: "causal_conv1d: `initial_state` has shape [2, 3, 6], expected [2, 2, 6]",
        conv_with(|options| options.with_initial_state(zeros([BATCH, 3, CHANNELS])));
    conv_reset: "causal_conv1d: `reset` has shape [2, 1, 4], expected [2, 1, 5]",
        conv_with(|options| options.with_reset(no_reset([BATCH, 4])));
    conv_order: "causal_conv1d: `order` has shape [2, 4], expected [2, 5]",
        conv_with(|options| options.with_order(order(2, 4)));
    conv_orders: "causal_conv1d: 6 channels are not divisible by the 4 orders",
        conv_with(|options| options.with_order(order(4, LENGTH)));
    conv_of_no_tokens: "causal_conv1d: length is 0, expected at least 1",
        conv([BATCH, 0, CHANNELS], [CHANNELS, 3], |options| options);
    conv_of_width_zero: "causal_conv1d: width is 0, expected at least 1",
        conv([BATCH, LENGTH, CHANNELS], [CHANNELS, 0], |options| options);
    conv_step_of_another_state: "causal_conv1d: `initial_state` has shape [2, 3, 6], expected [2, 2, 6]",
        causal_conv1d_step(zeros([BATCH, CHANNELS]), zeros([BATCH, 3, CHANNELS]), zeros([CHANNELS, 3]), None, true);
}
