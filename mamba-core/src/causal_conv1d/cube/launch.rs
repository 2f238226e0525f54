//! Puts tensors and kernels together.

use super::kernels::{conv, conv_backward};
use crate::causal_conv1d::backend::{CausalConv1dBackend, ConvConfig, ConvGrads, ConvInputs};
use crate::cube::{address_type, empty, grid, rows, steps_i32, sum_params};
use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::tensor::FloatTensor;
use burn::backend::{DType, TensorMetadata};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;

impl CausalConv1dBackend for CubeBackend {
    fn causal_conv1d(inputs: ConvInputs<Self>, config: ConvConfig) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let ConvInputs { x, weight, bias, initial_state, path } = inputs;
        let [batch, length, channels] = x.shape().dims();
        let [_, width] = weight.shape().dims();
        let n_chunks = length.div_ceil(config.chunk);
        let steps = steps_i32(path);
        let n_orders = steps.as_ref().map_or(1, |steps| steps.shape()[1]);
        let client = x.client.clone();
        let x = rows(x);
        let y = empty(&x, [batch, length, channels], x.dtype);
        let final_state = empty(&x, initial_state.shape().dims::<3>(), x.dtype);
        let dtype = dtype_to_storage_type(x.dtype);
        let address = address_type(&[&x, &y]);
        let (cubes, dim) = grid(&client, batch * n_chunks * channels);
        // SAFETY: every index is below the shapes, which the caller checked, and orders are permutations.
        unsafe {
            conv::launch_unchecked(
                &client,
                cubes,
                dim,
                address,
                x.into_tensor_arg(),
                into_contiguous(weight).into_tensor_arg(),
                into_contiguous(bias).into_tensor_arg(),
                into_contiguous(initial_state).into_tensor_arg(),
                steps.map(|steps| steps.into_tensor_arg()).into(),
                y.clone().into_tensor_arg(),
                final_state.clone().into_tensor_arg(),
                n_chunks,
                n_orders,
                width,
                config.chunk,
                config.silu,
                config.reverse,
                dtype,
            );
        }
        (y, final_state)
    }

    fn causal_conv1d_backward(
        inputs: ConvInputs<Self>,
        grad_y: FloatTensor<Self>,
        grad_final_state: FloatTensor<Self>,
        config: ConvConfig,
    ) -> ConvGrads<Self> {
        let ConvInputs { x, weight, bias, initial_state, path } = inputs;
        let [batch, length, channels] = x.shape().dims();
        let [_, width] = weight.shape().dims();
        let n_chunks = length.div_ceil(config.chunk);
        let steps = steps_i32(path);
        let n_orders = steps.as_ref().map_or(1, |steps| steps.shape()[1]);
        let client = x.client.clone();
        let x = rows(x);
        let grad_x = empty(&x, [batch, length, channels], x.dtype);
        let grad_params = empty(&x, [batch * n_chunks, channels, width + 1], DType::F32);
        let grad_initial_state = empty(&x, initial_state.shape().dims::<3>(), x.dtype);
        let dtype = dtype_to_storage_type(x.dtype);
        let address = address_type(&[&x, &grad_x]);
        let (cubes, dim) = grid(&client, batch * n_chunks * channels);
        // SAFETY: every index is below the shapes, which the caller checked, and orders are permutations.
        unsafe {
            conv_backward::launch_unchecked(
                &client,
                cubes,
                dim,
                address,
                x.into_tensor_arg(),
                into_contiguous(weight).into_tensor_arg(),
                into_contiguous(bias).into_tensor_arg(),
                into_contiguous(initial_state).into_tensor_arg(),
                steps.map(|steps| steps.into_tensor_arg()).into(),
                rows(grad_y).into_tensor_arg(),
                into_contiguous(grad_final_state).into_tensor_arg(),
                grad_x.clone().into_tensor_arg(),
                grad_params.clone().into_tensor_arg(),
                grad_initial_state.clone().into_tensor_arg(),
                n_chunks,
                n_orders,
                width,
                config.chunk,
                config.silu,
                config.reverse,
                dtype,
            );
        }
        let grad_weight = empty(&grad_params, [channels, width], DType::F32);
        let grad_bias = empty(&grad_params, [channels], DType::F32);
        let address = address_type(&[&grad_params]);
        let (cubes, dim) = grid(&client, channels * (width + 1));
        // SAFETY: every index is below the shapes.
        unsafe {
            sum_params::launch_unchecked(
                &client,
                cubes,
                dim,
                address,
                grad_params.into_tensor_arg(),
                grad_weight.clone().into_tensor_arg(),
                grad_bias.clone().into_tensor_arg(),
                None.into(),
            );
        }
        ConvGrads { x: grad_x, weight: grad_weight, bias: grad_bias, initial_state: grad_initial_state }
    }
}
