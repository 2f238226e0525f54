//! The same through Burn.

use burn::tensor::{Tensor, activation};

/// As [`gelu()`](super::gelu()).
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activation::gelu(x)
}
