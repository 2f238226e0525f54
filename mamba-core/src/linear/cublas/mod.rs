//! cuBLASLt on CubeCL's own buffers and stream.

mod launch;
mod matrix;
mod plan;

use super::backend::{Bias, LinearBackend, last_two, with_last};
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{DispatchDevice, TensorMetadata};
use burn::tensor::{DType, Device, Shape, Tensor};
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{CubeBackend, CubeDevice};
use cudarc::cublaslt::sys;
use launch::launch;
use matrix::Matrix;
use plan::Product;
use std::sync::OnceLock;

/// The first version (12.1) without the mistakes of earlier ones in half precision, where rows lie far apart.
const MIN_VERSION: usize = 120_100;

/// A bias at a multiple of these bytes may go into the product.
const BIAS_ALIGNMENT: u64 = 16;

/// Whether this product runs through cuBLASLt: by dtypes, sizes, and device.
pub(super) fn serves<const D: usize>(x: &Tensor<D>, weight: &Tensor<2>, bias: Option<&Tensor<1>>) -> bool {
    let dtype = x.dtype();
    matches!(dtype, DType::F32 | DType::F16 | DType::BF16)
        && weight.dtype() == dtype
        && bias.is_none_or(|bias| bias.dtype() == dtype)
        && !x.dims().contains(&0)
        && !weight.dims().contains(&0)
        && is_at(&x.device())
}

/// Whether cuBLASLt computes on the device.
pub(super) fn is_at(device: &Device) -> bool {
    matches!(device.clone().inner().as_dispatch(), DispatchDevice::Cube(CubeDevice::Cuda(_))) && has_library()
}

/// Whether cuBLASLt can be loaded, and is new enough.
fn has_library() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    // SAFETY: the first call only tries to load the library; the second asks it for a number.
    *FOUND.get_or_init(|| unsafe { sys::is_culib_present() && sys::cublasLtGetVersion() >= MIN_VERSION })
}

impl LinearBackend for CubeBackend {
    fn linear_forward(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: Bias<Self>) -> FloatTensor<Self> {
        let shape = with_last(&x.shape(), weight.shape()[1]);
        let (x, weight) = (Matrix::of(x), Matrix::of(weight));
        match bias {
            Bias::None => product(x, weight, None, shape),
            Bias::Row(bias) if joins(&bias, &weight) => product(x, weight, Some(bias), shape),
            Bias::Row(bias) => {
                let mut row = vec![1; shape.num_dims()];
                row[shape.num_dims() - 1] = weight.layout.cols;
                let bias = Self::float_reshape(bias, Shape::from(row));
                Self::float_add(product(x, weight, None, shape), bias)
            }
        }
    }

    fn linear_grad_x(grad_y: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let shape = with_last(&grad_y.shape(), weight.shape()[0]);
        product(Matrix::of(grad_y), Matrix::of(weight).transposed(), None, shape)
    }

    fn linear_grad_weight(x: FloatTensor<Self>, grad_y: FloatTensor<Self>) -> FloatTensor<Self> {
        let shape = last_two(&x.shape(), &grad_y.shape());
        product(Matrix::of(x).transposed(), Matrix::of(grad_y), None, shape)
    }
}

/// Whether cuBLASLt adds the bias itself. For products that are vectors it may find no way to.
fn joins(bias: &CubeTensor, weight: &Matrix) -> bool {
    let packed = bias.meta.strides()[..] == [1] && bias.handle.offset_start.unwrap_or(0).is_multiple_of(BIAS_ALIGNMENT);
    packed && weight.layout.rows > 1 && weight.layout.cols > 1
}

/// `a b` (+ bias), contiguous and of `shape`.
fn product(a: Matrix, b: Matrix, bias: Option<CubeTensor>, shape: Shape) -> CubeTensor {
    let CubeTensor { client, device, dtype, .. } = a.tensor.clone();
    let handle = client.empty(shape.num_elements() * dtype.size());
    let product = Product { a: a.layout, b: b.layout, dtype, bias: bias.is_some() };
    launch(&client, product, a.tensor.handle, b.tensor.handle, bias.map(|bias| bias.handle), &handle);
    CubeTensor::new_contiguous(client, device, shape, handle, dtype)
}
