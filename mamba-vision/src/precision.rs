//! What is computed in f32 whatever the dtype of the parameters.

use burn::tensor::{DType, Tensor};

/// f16 and bf16 become f32; f64 stays.
pub(crate) fn at_least_f32<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if x.dtype() == DType::F64 { x } else { x.cast(DType::F32) }
}
