//! The same in plain tensor operations.

use super::AddRmsNormOutput;
use burn::tensor::{DType, Tensor};

/// As [`add_rms_norm()`](super::add_rms_norm()).
pub fn add_rms_norm(
    hidden: Tensor<3>,
    residual: Option<Tensor<3>>,
    gamma: Tensor<1>,
    epsilon: f64,
) -> AddRmsNormOutput {
    let dtype = hidden.dtype();
    let hidden = at_least_f32(hidden);
    let sum = match residual {
        Some(residual) => hidden + at_least_f32(residual),
        None => hidden,
    };
    let mean_square = sum.clone().square().mean_dim(2);
    let normed = sum.clone() / (mean_square + epsilon).sqrt() * at_least_f32(gamma).unsqueeze();
    AddRmsNormOutput { normed: normed.cast(dtype), sum }
}

/// f16 and bf16 become f32; f64 stays.
fn at_least_f32<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if x.dtype() == DType::F64 { x } else { x.cast(DType::F32) }
}
