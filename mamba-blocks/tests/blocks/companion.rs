//! The companion-matrix layer: a convolution, a recurrence, and any autoregression.

use crate::{assert_close, device, random};
use burn::module::Param;
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::Tensor;
use mamba_blocks::{Companion, CompanionConfig};
use mamba_core::{SelectiveScanOptions, selective_scan};

const PHI: [f32; 4] = [0.5, -0.3, 0.2, 0.1];

#[test]
fn the_convolution_is_the_recurrence() {
    let device = device();
    for (channels, d_state, length) in [(1, 1, 1), (3, 5, 9), (2, 8, 33)] {
        let layer = CompanionConfig::new(channels).with_d_state(d_state).init(&device);
        let input = random([2, length, channels], &device);
        let state = layer.init_state(2, &device);
        let (expected, last) = layer.forward_with_state(input.clone(), state.clone());
        assert_close("convolution", layer.forward(input.clone()), expected.clone(), 1e-5);
        if length > 1 {
            let (first, state) = layer.forward_with_state(input.clone().narrow(1, 0, length / 2), state);
            let rest = input.narrow(1, length / 2, length - length / 2);
            let (second, state) = layer.forward_with_state(rest, state);
            assert_close("in two pieces", Tensor::cat(vec![first, second], 1), expected, 1e-6);
            assert_close("state", state, last, 1e-6);
        }
    }
}

/// The response of an autoregressive process to a pulse, and its next values.
fn process(length: usize) -> (Vec<f32>, Vec<f32>) {
    let mut values = vec![1.0, 0.7, -0.4, 0.9];
    while values.len() <= length {
        let end = values.len();
        values.push((0..4).map(|lag| PHI[lag] * values[end - 1 - lag]).sum());
    }
    (values[..length].to_vec(), values[1..=length].to_vec())
}

#[test]
fn an_autoregression_is_reproduced_exactly_where_a_diagonal_matrix_cannot() {
    let device = device().autodiff();
    let length = 24;
    let (values, next) = process(length);
    let row = |values: &[f32]| Tensor::<1>::from_floats(values, &device).reshape([1, length, 1]);
    let (input, target) = (row(&values), row(&next));
    // Its own first values are no forecasts.
    let error = |output: Tensor<3>| (output - target.clone()).narrow(1, 3, length - 3).square().mean();

    let mut layer: Companion = CompanionConfig::new(1).with_d_state(4).init(&device);
    let set = |values: [f32; 4]| Param::from_tensor(Tensor::<2>::from_floats([values], &device));
    (layer.a, layer.b, layer.c) = (set([0.0; 4]), set([1.0, 0.0, 0.0, 0.0]), set(PHI));
    let companion = error(layer.forward(input.clone())).into_scalar::<f32>();
    assert!(companion < 1e-12, "{companion:e}");

    // A diagonal one with as many states, trained on the same: its response is a sum of exponentials.
    let mut diagonal = CompanionConfig::new(1).with_d_state(4).init(&device);
    let mut optimizer = AdamConfig::new().init();
    let mut least = f32::INFINITY;
    for _ in 0..400 {
        let rates = diagonal.a.val().exp().neg();
        let b_c = |param: &Param<Tensor<2>>| param.val().reshape([1, 1, 1, 4]).repeat_dim(1, length);
        let delta = Tensor::ones([1, length, 1], &device);
        let options = SelectiveScanOptions::new().with_d(diagonal.d.val());
        let output = selective_scan(input.clone(), delta, rates, b_c(&diagonal.b), b_c(&diagonal.c), options).y;
        let loss = error(output);
        least = least.min(loss.clone().into_scalar::<f32>());
        let gradients = GradientsParams::from_grads(loss.backward(), &diagonal);
        diagonal = optimizer.step(2e-2, diagonal, gradients);
    }
    println!("companion {companion:e}, diagonal {least:e}");
    assert!(least > 1e-5, "{least:e}");
}

#[test]
fn gradients_are_those_of_the_recurrence() {
    let device = device().autodiff();
    let layer = CompanionConfig::new(2).with_d_state(3).init(&device);
    let input = random([2, 7, 2], &device);
    let weight: Tensor<3> = random([2, 7, 2], &device);
    let whole = (layer.forward(input.clone()) * weight.clone()).sum().backward();
    let state = layer.init_state(2, &device);
    let stepped = (layer.forward_with_state(input, state).0 * weight).sum().backward();
    for param in [&layer.a, &layer.b, &layer.c] {
        assert_close("gradient", param.grad(&whole).unwrap(), param.grad(&stepped).unwrap(), 1e-4);
    }
    assert_close("gradient of d", layer.d.grad(&whole).unwrap(), layer.d.grad(&stepped).unwrap(), 1e-4);
}

#[test]
#[should_panic(expected = "expected [batch, length, 2]")]
fn other_channels_are_a_mistake() {
    CompanionConfig::new(2).init(&device()).forward(random([1, 4, 3], &device()));
}
