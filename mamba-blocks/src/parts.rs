//! What mixers of every kind are made of.

use burn::nn::{LayerNorm, Linear};
use burn::tensor::{DType, Tensor};
use mamba_core::{columns, layer_norm, linear};

/// [`Linear::forward`] through [`mamba_core::linear()`], which has other routes to the product on some devices.
///
/// # Panics
/// If the last dimension of `x` is not that of the layer's inputs.
///
/// ```
/// use burn::{nn::LinearConfig, tensor::{Device, Tensor}};
/// use mamba_blocks::parts::project;
///
/// let device = Device::default();
/// let layer = LinearConfig::new(4, 6).init(&device);
/// assert_eq!(project(&layer, Tensor::<3>::ones([2, 10, 4], &device)).dims(), [2, 10, 6]);
/// ```
pub fn project<const D: usize>(layer: &Linear, x: Tensor<D>) -> Tensor<D> {
    linear(x, layer.weight.val(), layer.bias.as_ref().map(|bias| bias.val()))
}

/// [`LayerNorm::forward`] through [`mamba_core::layer_norm()`], which has a kernel for it on some devices. The norm adds
/// Burn's default of 1e-5 to the variance: it keeps its own to itself.
///
/// # Panics
/// If the last dimension of `x` is not that of the norm.
///
/// ```
/// use burn::{nn::LayerNormConfig, tensor::{Device, Distribution, Tensor}};
/// use mamba_blocks::parts::normalize;
///
/// let device = Device::default();
/// let (norm, x) = (LayerNormConfig::new(4).init(&device), Tensor::<3>::random([2, 10, 4], Distribution::Default, &device));
/// assert!((normalize(&norm, x.clone()) - norm.forward(x)).abs().max().into_scalar::<f32>() < 1e-4);
/// ```
pub fn normalize<const D: usize>(norm: &LayerNorm, x: Tensor<D>) -> Tensor<D> {
    const EPSILON: f64 = 1e-5;
    match &norm.beta {
        Some(beta) => layer_norm(x, norm.gamma.val(), beta.val(), EPSILON),
        None => norm.forward(x),
    }
}

/// The two halves of what `layer` returns, each with half of its outputs: `x` and `z` of a gated mixer.
///
/// # Panics
/// If the last dimension of `x` is not that of the layer's inputs.
///
/// ```
/// use burn::{nn::LinearConfig, tensor::{Device, Tensor}};
/// use mamba_blocks::parts::project_in_halves;
///
/// let device = Device::default();
/// let in_proj = LinearConfig::new(4, 2 * 8).with_bias(false).init(&device);
/// let (x, z) = project_in_halves(&in_proj, Tensor::<3>::ones([2, 10, 4], &device));
/// assert_eq!((x.dims(), z.dims()), ([2, 10, 8], [2, 10, 8]));
/// ```
pub fn project_in_halves<const D: usize>(layer: &Linear, x: Tensor<D>) -> (Tensor<D>, Tensor<D>) {
    let [_, d_output] = layer.weight.dims();
    let half = d_output / 2;
    if x.is_autodiff() {
        // The gradient of a slice is padded to the whole: cheap for the weight, not for every token.
        let weight = layer.weight.val();
        let from = |start| {
            let bias = layer.bias.as_ref().map(|bias| bias.val().narrow(0, start, half));
            linear(x.clone(), weight.clone().narrow(1, start, half), bias)
        };
        (from(0), from(half))
    } else {
        let both = project(layer, x);
        (columns(both.clone(), 0, half), columns(both, half, half))
    }
}

/// f16 and bf16 become f32, f64 stays: for what is computed in f32 whatever the dtype of the parameters.
///
/// ```
/// use burn::tensor::{DType, Device, Tensor};
/// use mamba_blocks::parts::at_least_f32;
///
/// let half = Tensor::<1>::ones([3], (&Device::default(), DType::BF16));
/// assert_eq!(at_least_f32(half).dtype(), DType::F32);
/// ```
pub fn at_least_f32<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if x.dtype() == DType::F64 { x } else { x.cast(DType::F32) }
}
