//! The convolutions of hierarchical models, channels last as everything around them.
//!
//! Burn has these convolutions; the modules here are its own. But its kernels take channels first, and those for the
//! gradients of a depthwise one work, on GPUs, through one small product for every channel. Here the depthwise one is
//! `mamba-core`'s, and the others are one product.

use burn::nn::conv::Conv2d;
use burn::tensor::Tensor;
use mamba_core::{DepthwiseConv3x3Options, depthwise_conv3x3, halving_windows, linear};
use std::array::from_fn;

/// A depthwise convolution of 3 x 3 with a padding of one: `[batch, height, width, channels]`, the same shape.
pub(crate) fn depthwise(conv: &Conv2d, x: Tensor<4>) -> Tensor<4> {
    depthwise_conv3x3(x, conv.weight.val(), options(conv))
}

/// The same and a SiLU.
pub(crate) fn depthwise_silu(conv: &Conv2d, x: Tensor<4>) -> Tensor<4> {
    depthwise_conv3x3(x, conv.weight.val(), options(conv).with_silu(true))
}

fn options(conv: &Conv2d) -> DepthwiseConv3x3Options {
    let plain = DepthwiseConv3x3Options::new();
    match &conv.bias {
        Some(bias) => plain.with_bias(bias.val()),
        None => plain,
    }
}

/// `x` with so many zeros behind every dimension. `Tensor::pad` makes them on the host where gradients are tracked
/// (burn-autodiff 0.22.1), and a device waits for them.
pub(crate) fn zero_padded<const D: usize>(x: Tensor<D>, behind: [usize; D]) -> Tensor<D> {
    let dims = x.dims();
    let shape: [usize; D] = from_fn(|i| dims[i] + behind[i]);
    Tensor::zeros(shape, (&x.device(), x.dtype())).slice_assign(dims.map(|size| 0..size), x)
}

/// A convolution of 3 x 3 at every second place with a padding of one: from `[batch, height, width, channels]` to
/// `[batch, ceil(height / 2), ceil(width / 2), out_channels]`.
pub(crate) fn halving(conv: &Conv2d, x: Tensor<4>) -> Tensor<4> {
    let [out_channels, channels, ..] = conv.weight.dims();
    let weight = conv.weight.val().permute([2, 3, 1, 0]).reshape([9 * channels, out_channels]);
    linear(halving_windows(x), weight, conv.bias.as_ref().map(|bias| bias.val()))
}

/// A convolution of 1 x 1: from `[batch, height, width, channels]` to `[batch, height, width, out_channels]`.
pub(crate) fn pointwise(conv: &Conv2d, x: Tensor<4>) -> Tensor<4> {
    let [out_channels, channels, ..] = conv.weight.dims();
    let weight = conv.weight.val().reshape([out_channels, channels]).transpose();
    linear(x, weight, conv.bias.as_ref().map(|bias| bias.val()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::nn::PaddingConfig2d;
    use burn::nn::conv::Conv2dConfig;
    use burn::tensor::{Device, Distribution};

    /// The same through Burn, and the gradients of both: of the input, the weight and the bias.
    fn compare(config: Conv2dConfig, own: fn(&Conv2d, Tensor<4>) -> Tensor<4>) {
        let device = Device::default().autodiff();
        for [height, width] in [[1, 1], [1, 5], [4, 1], [2, 2], [3, 4], [7, 6], [8, 9]] {
            for bias in [true, false] {
                let conv = config.clone().with_bias(bias).init(&device);
                let [channels, _] = config.channels;
                let x = Tensor::<4>::random([2, height, width, channels], Distribution::Default, &device);
                let by_burn = |x: Tensor<4>| conv.forward(x.permute([0, 3, 1, 2])).permute([0, 2, 3, 1]);
                let found: [&dyn Fn(Tensor<4>) -> Tensor<4>; 2] = [&|x| own(&conv, x), &by_burn];
                let [mine, burns] = found.map(|forward| {
                    let x = x.clone().detach().require_grad();
                    let y = forward(x.clone());
                    // Weights that differ from place to place.
                    let grads = y.clone().powi_scalar(2).sum().backward();
                    let mut all = vec![y.into_data(), x.grad(&grads).expect("of the input").into_data()];
                    all.push(conv.weight.val().grad(&grads).expect("of the weight").into_data());
                    all.extend(
                        conv.bias.as_ref().map(|bias| bias.val().grad(&grads).expect("of the bias").into_data()),
                    );
                    all
                });
                for (mine, burns) in mine.iter().zip(&burns) {
                    assert_eq!(mine.shape(), burns.shape(), "{height} x {width}");
                    let tolerance = burn::tensor::Tolerance::<f32>::rel_abs(1e-5, 1e-5);
                    mine.assert_approx_eq(burns, tolerance);
                }
            }
        }
    }

    fn three(channels: [usize; 2]) -> Conv2dConfig {
        Conv2dConfig::new(channels, [3, 3]).with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
    }

    #[test]
    fn depthwise_is_burns_convolution() {
        compare(three([5, 5]).with_groups(5), depthwise);
    }

    #[test]
    fn halving_is_burns_convolution() {
        compare(three([3, 4]).with_stride([2, 2]), halving);
    }

    #[test]
    fn pointwise_is_burns_convolution() {
        compare(Conv2dConfig::new([3, 4], [1, 1]), pointwise);
    }
}
