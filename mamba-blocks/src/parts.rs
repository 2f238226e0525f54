//! What mixers of every kind are made of.

use burn::nn::Linear;
use burn::tensor::{DType, Tensor};
use mamba_core::linear;

/// [`Linear::forward`] through [`mamba_core::linear()`], which has other routes to the product on some devices.
///
/// # Panics
/// If the last dimension of `x` is not that of the layer's inputs.
pub fn project<const D: usize>(layer: &Linear, x: Tensor<D>) -> Tensor<D> {
    linear(x, layer.weight.val(), layer.bias.as_ref().map(|bias| bias.val()))
}

/// The two halves of what `layer` returns, each with half of its outputs: `x` and `z` of a gated mixer.
///
/// # Panics
/// If the last dimension of `x` is not that of the layer's inputs.
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
        (both.clone().narrow(D - 1, 0, half), both.narrow(D - 1, half, half))
    }
}

/// f16 and bf16 become f32, f64 stays: for what is computed in f32 whatever the dtype of the parameters.
pub fn at_least_f32<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if x.dtype() == DType::F64 { x } else { x.cast(DType::F32) }
}
