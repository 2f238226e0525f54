//! The depthwise convolution agrees with Burn's on CPUs and elsewhere with its reference, which runs on these, and so do its
//! gradients.

use crate::devices::TestDevice;
use burn::tensor::activation::silu;
use burn::tensor::{DType, Device, Distribution, Tensor, Tolerance};
use burn::tensor::{module, ops::ConvOptions};
use mamba_core::depthwise_conv3x3::reference;
use mamba_core::{DepthwiseConv3x3Options, depthwise_conv3x3};

on_every_device!(depthwise_convolutions_are_exact);

type Conv = fn(Tensor<4>, Tensor<4>, Option<Tensor<1>>, bool) -> Tensor<4>;

/// What `conv` gives, and the gradients of the input, the weight and the bias.
fn run(
    conv: Conv,
    inputs: (&Tensor<4>, &Tensor<4>, &Tensor<1>),
    (has_bias, has_silu): (bool, bool),
    (device, dtype): (&Device, DType),
) -> Vec<Tensor<1>> {
    let device = device.clone().autodiff();
    // The numbers are the same on all devices.
    let leaf = |x: Tensor<1>| Tensor::<1>::from_data(x.into_data(), (&device, dtype)).require_grad();
    let (x, weight, bias) = (inputs.0.clone().flatten(0, 3), inputs.1.clone().flatten(0, 3), inputs.2.clone());
    let leaves = [leaf(x), leaf(weight), leaf(bias)];
    let [x, weight, bias] = leaves.clone();
    let y = conv(x.reshape(inputs.0.dims()), weight.reshape(inputs.1.dims()), has_bias.then_some(bias), has_silu);
    // Weights that differ from place to place.
    let gradients = y.clone().cast(DType::F32).square().sum().backward();
    let grads = leaves.iter().take(if has_bias { 3 } else { 2 });
    let grads = grads.map(|leaf| leaf.grad(&gradients).expect("it was asked for"));
    std::iter::once(y.inner().flatten(0, 3)).chain(grads).collect()
}

fn burns(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>, has_silu: bool) -> Tensor<4> {
    let [channels, ..] = weight.dims();
    let options = ConvOptions::new([1, 1], [1, 1], [1, 1], channels);
    let y = module::conv2d(x.permute([0, 3, 1, 2]), weight, bias, options).permute([0, 2, 3, 1]);
    if has_silu { silu(y) } else { y }
}

fn options(bias: Option<Tensor<1>>, has_silu: bool) -> DepthwiseConv3x3Options {
    let plain = DepthwiseConv3x3Options::new().with_silu(has_silu);
    if let Some(bias) = bias { plain.with_bias(bias) } else { plain }
}

fn depthwise_convolutions_are_exact(device: &TestDevice) {
    let by_reference: Conv = |x, weight, bias, silu| reference::depthwise_conv3x3(x, weight, options(bias, silu));
    let by_operator: Conv = |x, weight, bias, silu| depthwise_conv3x3(x, weight, options(bias, silu));
    let oracle = if ["flex", "ndarray"].contains(&device.name) { burns } else { by_reference };
    // One place, rows and columns alone, rows and columns in several pieces, channels that are multiples of 1, 2 and 4.
    for shape @ [_, _, _, channels] in
        [[1, 1, 1, 1], [2, 1, 5, 3], [1, 4, 1, 6], [3, 9, 7, 8], [2, 13, 3, 40], [1, 2, 19, 4]]
    {
        let random = |shape: [usize; 4]| Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), &device.device);
        let (x, weight) = (random(shape), random([channels, 1, 3, 3]));
        let bias = random([1, 1, 1, channels]).reshape([channels]);
        for has in [(true, false), (false, false), (true, true), (false, true)] {
            let expected = run(oracle, (&x, &weight, &bias), has, (&device.device, DType::F32));
            for (dtype, tolerance) in [(DType::F32, 1e-4), (DType::F16, 0.02), (DType::BF16, 0.1)] {
                if !device.device.supports_dtype(dtype) {
                    continue;
                }
                let actual = run(by_operator, (&x, &weight, &bias), has, (&device.device, dtype));
                for (actual, expected) in actual.into_iter().zip(&expected) {
                    let actual = actual.cast(DType::F32).into_data();
                    // Of the largest: sums of numbers that are rounded to eight bits lose what cancels.
                    let largest = expected.clone().abs().max().into_scalar::<f32>().max(1.0);
                    let tolerance = Tolerance::<f32>::absolute(tolerance * largest);
                    actual.assert_approx_eq::<f32>(&expected.clone().into_data(), tolerance);
                }
            }
        }
    }
}
