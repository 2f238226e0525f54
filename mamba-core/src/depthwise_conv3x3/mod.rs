//! The depthwise convolution of 3 x 3 before a scan across an image (Liu et al. 2024, arXiv:2401.10166, section 4.2),
//! channels last as the scan.
//!
//! ```text
//! y[r, s] = silu(bias + sum over i, j of weight[i, j] x[r + i - 1, s + j - 1])      (or without silu)
//! ```
//!
//! Beyond the image, x is zero.

mod autodiff;
mod backend;
mod cpu;
#[cfg(feature = "cube")]
mod cube;
pub mod reference;

use burn::tensor::Tensor;

/// The optional arguments of [`depthwise_conv3x3()`].
#[derive(Clone, Debug, Default)]
pub struct DepthwiseConv3x3Options {
    bias: Option<Tensor<1>>,
    silu: bool,
}

impl DepthwiseConv3x3Options {
    /// No bias, no activation.
    pub fn new() -> Self {
        Self::default()
    }

    /// The bias: `[channels]`.
    pub fn with_bias(mut self, bias: Tensor<1>) -> Self {
        self.bias = Some(bias);
        self
    }

    /// Whether the output goes through a SiLU.
    pub fn with_silu(mut self, silu: bool) -> Self {
        self.silu = silu;
        self
    }
}

/// The convolution with a padding of one, forward and differentiable.
///
/// # Shapes
/// - `x`: `[batch, height, width, channels]`, f32, f16 or bf16.
/// - `weight`: `[channels, 1, 3, 3]`, as of a Burn convolution with as many groups as channels.
/// - Returns the shape of `x`, in its dtype.
///
/// The arithmetic is in f32. f64, which stays f64, and devices without kernels get the [reference](mod@reference).
///
/// # Panics
/// If shapes do not fit together, or if a dimension is zero; the message names the argument.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mamba_core::{DepthwiseConv3x3Options, depthwise_conv3x3};
///
/// let device = Device::default();
/// let (x, weight) = (Tensor::ones([2, 4, 5, 8], &device), Tensor::ones([8, 1, 3, 3], &device));
/// let y = depthwise_conv3x3(x, weight, DepthwiseConv3x3Options::new());
/// // A corner sees four places.
/// assert_eq!(y.slice([0..1, 0..1, 0..1, 0..1]).into_scalar::<f32>(), 4.0);
/// ```
pub fn depthwise_conv3x3(x: Tensor<4>, weight: Tensor<4>, options: DepthwiseConv3x3Options) -> Tensor<4> {
    let dims @ [_, _, _, channels] = x.dims();
    assert!(!dims.contains(&0), "depthwise_conv3x3: `x` has shape {dims:?}, expected no dimension of zero");
    let (actual, expected) = (weight.dims(), [channels, 1, 3, 3]);
    assert!(actual == expected, "depthwise_conv3x3: `weight` has shape {actual:?}, expected {expected:?}");
    if let Some(bias) = &options.bias {
        let actual = bias.dims();
        assert!(actual == [channels], "depthwise_conv3x3: `bias` has shape {actual:?}, expected {:?}", [channels]);
    }
    if backend::serves(&x, &weight, options.bias.as_ref()) {
        return backend::depthwise_conv3x3(x, weight, options);
    }
    reference::depthwise_conv3x3(x, weight, options)
}
