//! CubeCL. A unit owns a few neighbouring elements.

use super::backend::GeluBackend;
use crate::cube::{address_type, empty, grid, vector_size};
use burn::backend::TensorMetadata;
use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::tensor::FloatTensor;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;
use std::f32::consts::FRAC_1_SQRT_2;

/// `1 / sqrt(2 pi)`
const PEAK: f32 = 0.398_942_3;

/// The unit, or given the gradient of its output that of its input.
#[cube(launch_unchecked, address_type = "dynamic")]
fn apply<F: Float, N: Size>(
    x: &Tensor<Vector<F, N>>,
    grad_y: ComptimeOption<&Tensor<Vector<F, N>>>,
    y: &mut Tensor<Vector<F, N>>,
    #[define(F)] _dtype: ElemType,
) {
    if ABSOLUTE_POS >= y.len() {
        terminate!();
    }
    let x = Vector::<f32, N>::cast_from(x[ABSOLUTE_POS]);
    let (half, one) = (Vector::<f32, N>::new(0.5), Vector::<f32, N>::new(1.0));
    let below = half * (one + (x * Vector::new(FRAC_1_SQRT_2)).erf());
    #[comptime]
    match &grad_y {
        ComptimeOption::Some(grad_y) => {
            let density = Vector::new(PEAK) * (-half * x * x).exp();
            let grad = Vector::<f32, N>::cast_from(grad_y[ABSOLUTE_POS]) * (below + x * density);
            y[ABSOLUTE_POS] = Vector::cast_from(grad);
        }
        ComptimeOption::None => y[ABSOLUTE_POS] = Vector::cast_from(x * below),
    }
}

fn launch(x: CubeTensor, grad_y: Option<CubeTensor>) -> CubeTensor {
    let (x, grad_y) = (into_contiguous(x), grad_y.map(into_contiguous));
    let shape = x.shape();
    let channels = *shape.as_slice().last().unwrap_or(&1);
    let client = x.client.clone();
    let y = empty(&x, [shape.num_elements()], x.dtype);
    let read: Vec<_> = std::iter::once(&x).chain(&grad_y).collect();
    let wide = vector_size(&read, channels);
    let (cubes, dim) = grid(&client, shape.num_elements() / wide);
    let dtype = dtype_to_storage_type(x.dtype);
    // SAFETY: both inputs have as many elements as the output, which the kernel checks.
    unsafe {
        apply::launch_unchecked(
            &client,
            cubes,
            dim,
            address_type(&[&x]),
            wide,
            x.into_tensor_arg(),
            grad_y.map(|grad_y| grad_y.into_tensor_arg()).into(),
            y.clone().into_tensor_arg(),
            dtype,
        );
    }
    burn_cubecl::ops::reshape(y, shape)
}

impl GeluBackend for CubeBackend {
    fn gelu_forward(x: FloatTensor<Self>) -> FloatTensor<Self> {
        launch(x, None)
    }

    fn gelu_grad(x: FloatTensor<Self>, grad_y: FloatTensor<Self>) -> FloatTensor<Self> {
        launch(x, Some(grad_y))
    }
}
