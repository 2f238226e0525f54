//! Layer normalisation (Ba, Kiros & Hinton 2016, arXiv:1607.06450).
//!
//! ```text
//! y = (x - mean(x)) / sqrt(var(x) + epsilon) * gamma + beta
//! ```
//!
//! In plain tensor operations these are some ten passes over the activations, and more going back, where the gradients of
//! gamma and beta are sums over all tokens; here they are one each way.

mod autodiff;
mod backend;
mod cpu;
#[cfg(feature = "cube")]
mod cube;
pub mod reference;

use burn::tensor::Tensor;

/// The norm of the last dimension, forward and differentiable.
///
/// # Shapes
/// - `x`: `[.., d_model]`, f32, f16 or bf16.
/// - `gamma`, `beta`: `[d_model]`.
/// - Returns `[.., d_model]`, in the dtype of `x`.
///
/// The arithmetic is in f32. f64, which stays f64, and devices without kernels get the [reference](mod@reference).
///
/// # Panics
/// If shapes do not fit together; the message names the argument.
///
/// ```
/// use burn::tensor::{Device, Distribution, Tensor};
/// use mamba_core::layer_norm;
///
/// let device = Device::default();
/// let x = Tensor::<3>::random([2, 10, 8], Distribution::Default, &device);
/// let y = layer_norm(x, Tensor::ones([8], &device), Tensor::zeros([8], &device), 1e-5);
/// assert!(y.mean().into_scalar::<f32>().abs() < 1e-5);
/// ```
pub fn layer_norm<const D: usize>(x: Tensor<D>, gamma: Tensor<1>, beta: Tensor<1>, epsilon: f64) -> Tensor<D> {
    let d_model = x.dims()[D - 1];
    for (name, parameter) in [("gamma", &gamma), ("beta", &beta)] {
        let actual = parameter.dims();
        assert!(actual == [d_model], "layer_norm: `{name}` has shape {actual:?}, expected {:?}", [d_model]);
    }
    if backend::serves(&x, &gamma, &beta) {
        return backend::layer_norm(x, gamma, beta, epsilon);
    }
    reference::layer_norm(x, gamma, beta, epsilon)
}
