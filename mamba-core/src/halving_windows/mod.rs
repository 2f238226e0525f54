//! What a convolution of 3 x 3 at every second place sees, so that the convolution is one product (im2col; Chellapilla, Puri
//! & Simard 2006).
//!
//! ```text
//! y[r, s, 3 i + j] = x[2 r + i - 1, 2 s + j - 1]         beyond the image, x is zero
//! ```
//!
//! In plain tensor operations each of the nine is a copy, and so is their concatenation; here it is one kernel each way.

mod autodiff;
mod backend;
mod cpu;
#[cfg(feature = "cube")]
mod cube;
pub mod reference;

use burn::tensor::Tensor;

/// Places of the window.
const PLACES: usize = 9;

/// The windows of 3 x 3 around every second place, with a padding of one; differentiable.
///
/// # Shapes
/// - `x`: `[batch, height, width, channels]`, f32, f16, bf16 or f64.
/// - Returns `[batch, ceil(height / 2), ceil(width / 2), 9 * channels]`, the windows row by row, each place with all its
///   channels.
///
/// f64 and devices without kernels get the [reference](mod@reference).
///
/// # Panics
/// If a dimension is zero.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mamba_core::halving_windows;
///
/// let x = Tensor::<4>::ones([2, 5, 6, 4], &Device::default());
/// let windows = halving_windows(x);
/// assert_eq!(windows.dims(), [2, 3, 3, 36]);
/// // The first begins beyond the corner.
/// assert_eq!(windows.slice([0..1, 0..1, 0..1, 0..1]).into_scalar::<f32>(), 0.0);
/// ```
pub fn halving_windows(x: Tensor<4>) -> Tensor<4> {
    let dims = x.dims();
    assert!(!dims.contains(&0), "halving_windows: `x` has shape {dims:?}, expected no dimension of zero");
    if backend::serves(&x) {
        return backend::halving_windows(x);
    }
    reference::halving_windows(x)
}
