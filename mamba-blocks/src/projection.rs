use burn::nn::Linear;
use burn::tensor::Tensor;
use mamba_core::linear;

/// [`Linear::forward`] through [`mamba_core::linear()`].
pub(crate) fn project<const D: usize>(layer: &Linear, x: Tensor<D>) -> Tensor<D> {
    linear(x, layer.weight.val(), layer.bias.as_ref().map(|bias| bias.val()))
}
