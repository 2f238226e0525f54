//! What the CubeCL kernels of all operators share.

use crate::selective_scan::Path;
use burn::backend::DType;
use burn::backend::ops::IntTensorOps;
use burn::tensor::{IntDType, Shape};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::client::Client;
use cubecl::prelude::*;

/// Where step `t` of a walk reads and writes, and whether the state is kept before it (1) or zeroed (0).
#[derive(CubeType, Clone, Copy)]
pub(crate) struct Step {
    pub place: usize,
    pub keep: f32,
}

/// The step `t` of the walk of `order` through the tokens of `batch`.
#[cube]
pub(crate) fn step_at(
    steps: &ComptimeOption<&Tensor<i32>>,
    batch: usize,
    order: usize,
    t: usize,
    length: usize,
    #[comptime] reverse: bool,
) -> Step {
    let t = if comptime![reverse] { length - 1 - t } else { t };
    #[comptime]
    match steps {
        ComptimeOption::Some(steps) => {
            let row = (batch % steps.shape(0)) * steps.stride(0) + (order % steps.shape(1)) * steps.stride(1);
            let entry = u32::cast_from(steps[row + t * steps.stride(2)]);
            Step { place: (entry / 2) as usize, keep: 1.0 - f32::cast_from(entry % 2) }
        }
        ComptimeOption::None => Step { place: t, keep: f32::new(1.0) },
    }
}

/// `1 / (1 + exp(-x))` without overflow.
#[cube]
pub(crate) fn sigmoid(x: f32) -> f32 {
    let e = (-x.abs()).exp();
    let small = e / (1.0 + e);
    select(x < 0.0, small, 1.0 - small)
}

/// `ln(1 + exp(x))`, the identity above 20 as in the original.
///
/// `ln(1 + y) = 2 atanh(y / (2 + y))` as a series keeps the relative accuracy for small results, which a logarithm
/// near one does not have in every shading language.
#[cube]
pub(crate) fn softplus(x: f32) -> f32 {
    let y = (-x.abs()).exp();
    let s = y / (2.0 + y);
    let q = s * s;
    let series = 1.0
        + q * (0.333_333_34
            + q * (0.2
                + q * (0.142_857_15
                    + q * (0.111_111_11 + q * (0.090_909_09 + q * (0.076_923_08 + q * 0.066_666_67))))));
    let soft = x.max(0.0) + 2.0 * s * series;
    select(x > 20.0, x, soft)
}

/// An uninitialised contiguous tensor beside `like`.
pub(crate) fn empty<const D: usize>(like: &CubeTensor, shape: [usize; D], dtype: DType) -> CubeTensor {
    let shape = Shape::from(shape);
    let handle = like.client.empty(shape.num_elements() * dtype.size());
    CubeTensor::new_contiguous(like.client.clone(), like.device.clone(), shape, handle, dtype)
}

/// `tensor` with neighbours of the last dimension side by side; other strides may be anything.
pub(crate) fn rows(tensor: CubeTensor) -> CubeTensor {
    match tensor.meta.strides().last() {
        Some(1) => tensor,
        _ => into_contiguous(tensor),
    }
}

/// The widest address that any of the tensors needs.
pub(crate) fn address_type(tensors: &[&CubeTensor]) -> AddressType {
    tensors.iter().map(|tensor| tensor.required_address_type()).max().unwrap_or_default()
}

/// Cubes of one unit for every element.
pub(crate) fn grid(client: &Client, elements: usize) -> (CubeCount, CubeDim) {
    let cube_dim = CubeDim::new(client, elements);
    (calculate_cube_count_elemwise(client, elements, cube_dim), cube_dim)
}

/// The table of steps as the kernels read it; Burn's default integer may be wider.
pub(crate) fn steps_i32(path: Path<CubeBackend>) -> Option<CubeTensor> {
    match path {
        Path::Straight => None,
        Path::Steps(steps) => Some(CubeBackend::int_cast(steps, IntDType::I32)),
    }
}

/// What chunks add to the gradients of parameters: `[rows, channels, columns + 1 or columns + 2]`, the sums of which go to
/// `matrix` `[channels, columns]` and to one or two vectors `[channels]`. A thread sums one number, in a fixed order.
#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn sum_params(
    partial: &Tensor<f32>,
    matrix: &mut Tensor<f32>,
    vector: &mut Tensor<f32>,
    mut second: ComptimeOption<&mut Tensor<f32>>,
) {
    let width = partial.shape(2);
    let columns = matrix.shape(1);
    let row = partial.shape(1) * width;
    if ABSOLUTE_POS >= row {
        terminate!();
    }
    let mut sum = f32::new(0.0);
    for i in 0..partial.shape(0) {
        sum += partial[i * row + ABSOLUTE_POS];
    }
    let channel = ABSOLUTE_POS / width;
    let column = ABSOLUTE_POS % width;
    if column < columns {
        matrix[channel * columns + column] = sum;
    } else if column == columns {
        vector[channel] = sum;
    } else {
        #[comptime]
        if let ComptimeOption::Some(second) = second.as_mut() {
            second[channel] = sum;
        }
    }
}
