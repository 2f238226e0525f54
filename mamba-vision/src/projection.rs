//! Projections of every token.

use burn::nn::Linear;
use burn::tensor::Tensor;
use mamba_core::linear;

/// [`Linear::forward`] through [`mamba_core::linear()`].
pub(crate) fn project<const D: usize>(layer: &Linear, x: Tensor<D>) -> Tensor<D> {
    linear(x, layer.weight.val(), layer.bias.as_ref().map(|bias| bias.val()))
}

/// The two halves of what `layer` returns.
pub(crate) fn project_in_halves<const D: usize>(layer: &Linear, x: Tensor<D>) -> (Tensor<D>, Tensor<D>) {
    let [_, d_output] = layer.weight.dims();
    let half = d_output / 2;
    if x.is_autodiff() {
        // The gradient of a slice is padded to the whole: cheap for the weight, not for every token.
        let from = |start| {
            let bias = layer.bias.as_ref().map(|bias| bias.val().narrow(0, start, half));
            linear(x.clone(), layer.weight.val().narrow(1, start, half), bias)
        };
        (from(0), from(half))
    } else {
        let both = project(layer, x);
        (both.clone().narrow(D - 1, 0, half), both.narrow(D - 1, half, half))
    }
}
