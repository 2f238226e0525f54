//! The same through Burn.

use burn::tensor::{DType, Tensor, module};

/// As [`layer_norm()`](super::layer_norm()).
pub fn layer_norm<const D: usize>(x: Tensor<D>, gamma: Tensor<1>, beta: Tensor<1>, epsilon: f64) -> Tensor<D> {
    // Squares may be beyond f16, and bf16 has too few digits for sums.
    let (dtype, wide) = (x.dtype(), if x.dtype() == DType::F64 { DType::F64 } else { DType::F32 });
    module::layer_norm(x.cast(wide), gamma.cast(wide), Some(beta.cast(wide)), epsilon).cast(dtype)
}
