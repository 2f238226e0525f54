//! The residual stream and its norm, between two mixers (Gu & Dao 2023, section 3.4; Zhang & Sennrich 2019).
//!
//! ```text
//! s = hidden + residual
//! y = s / sqrt(mean(s^2) + epsilon) * gamma
//! ```
//!
//! In plain tensor operations these are some ten passes over the stream, and more going back. The kernels make it one.

mod autodiff;
mod backend;
mod cpu;
#[cfg(feature = "cube")]
mod cube;
pub mod reference;

use burn::tensor::Tensor;

/// What [`add_rms_norm()`] returns.
#[derive(Clone, Debug)]
pub struct AddRmsNormOutput {
    /// The norm of the sum: `[batch, length, d_model]`, in the dtype of `hidden`.
    pub normed: Tensor<3>,
    /// The sum: `[batch, length, d_model]`, f32.
    pub sum: Tensor<3>,
}

/// Adds `residual` to `hidden`, and normalises the sum before it is rounded.
///
/// # Shapes
/// - `hidden`, `residual`: `[batch, length, d_model]`, f32, f16 or bf16, each in a dtype of its own.
/// - `gamma`: `[d_model]`.
///
/// The arithmetic is in f32; f64 stays f64, and is the [reference](mod@reference).
///
/// # Panics
/// If shapes do not fit together; the message names the argument.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mamba_core::add_rms_norm;
///
/// let device = Device::default();
/// let (hidden, residual) = (Tensor::<3>::ones([2, 10, 8], &device), Tensor::<3>::ones([2, 10, 8], &device));
/// let out = add_rms_norm(hidden, Some(residual), Tensor::ones([8], &device), 1e-5);
/// assert_eq!(out.sum.max().into_scalar::<f32>(), 2.0);
/// // The root of the mean square is 1.
/// assert!((out.normed - 1.0).abs().max().into_scalar::<f32>() < 1e-5);
/// ```
pub fn add_rms_norm(
    hidden: Tensor<3>,
    residual: Option<Tensor<3>>,
    gamma: Tensor<1>,
    epsilon: f64,
) -> AddRmsNormOutput {
    let [_, _, d_model] = hidden.dims();
    if let Some(residual) = &residual {
        let (actual, expected) = (residual.dims(), hidden.dims());
        assert!(actual == expected, "add_rms_norm: `residual` has shape {actual:?}, expected {expected:?}");
    }
    let actual = gamma.dims();
    assert!(actual == [d_model], "add_rms_norm: `gamma` has shape {actual:?}, expected {:?}", [d_model]);
    if backend::serves(&hidden, residual.as_ref(), &gamma) {
        return backend::add_rms_norm(hidden, residual, gamma, epsilon);
    }
    reference::add_rms_norm(hidden, residual, gamma, epsilon)
}
