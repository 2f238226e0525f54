//! The Gaussian error linear unit (Hendrycks & Gimpel 2016, arXiv:1606.08415).
//!
//! ```text
//! y = x / 2 (1 + erf(x / sqrt(2)))
//! ```
//!
//! In plain tensor operations these are five passes over the activations and some seventeen going back; here they are one
//! each way, and the gradient is that of this function rather than of its approximation with a hyperbolic tangent.

mod autodiff;
mod backend;
mod cpu;
#[cfg(feature = "cube")]
mod cube;
pub mod reference;

use burn::tensor::Tensor;

/// The unit for every element, forward and differentiable: f32, f16 or bf16, the arithmetic in f32. Other types, f64 among
/// them, and devices without kernels get the [reference](mod@reference), the gradient of which is the approximation's, off by at
/// most 0.001.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mamba_core::gelu;
///
/// let y = gelu(Tensor::<1>::from_floats([0.0, 1.0], &Device::default()));
/// assert!((y.into_data().iter::<f32>().last().unwrap() - 0.841_345).abs() < 1e-5);
/// ```
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if backend::serves(&x) {
        return backend::gelu(x);
    }
    reference::gelu(x)
}
