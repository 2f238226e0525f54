//! Puts tensors and kernels together.

use super::kernels::{Plan, conv, conv_backward};
use crate::causal_conv1d::backend::{CausalConv1dBackend, ConvConfig, ConvGrads, ConvInputs};
use crate::cube::{Math, address_type, empty, rows, small_cubes, steps_i32, sum_of_params, vector_size};
use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::tensor::FloatTensor;
use burn::backend::{DType, TensorMetadata};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

/// Tokens that a thread reads before it works on the first.
const AHEAD: usize = 4;

/// Channels of a thread, at most.
const CHANNELS: usize = 4;

/// The inputs as the kernels read them.
struct Prepared {
    x: CubeTensor,
    weight: CubeTensor,
    bias: CubeTensor,
    initial_state: CubeTensor,
    steps: Option<CubeTensor>,
    n_chunks: usize,
    n_orders: usize,
}

impl Prepared {
    fn new(inputs: ConvInputs<CubeBackend>, chunk: usize) -> Self {
        let ConvInputs { x, weight, bias, initial_state, path } = inputs;
        let [_, length, _] = x.shape().dims();
        let steps = steps_i32(path);
        Self {
            x: rows(x),
            weight: into_contiguous(weight),
            bias: into_contiguous(bias),
            initial_state: into_contiguous(initial_state),
            n_orders: steps.as_ref().map_or(1, |steps| steps.shape()[1]),
            steps,
            n_chunks: length.div_ceil(chunk),
        }
    }

    /// For kernels that read `others` beside the inputs.
    fn plan(&self, config: ConvConfig, others: &[&CubeTensor], most: usize) -> Plan {
        let [_, width] = self.weight.shape().dims();
        let [_, _, channels] = self.x.shape().dims();
        let ConvConfig { silu, reverse, chunk } = config;
        let tensors = [&[&self.x, &self.initial_state], others].concat();
        let channels = vector_size(&tensors, channels / self.n_orders).min(most);
        let (resets, math) = (self.steps.is_some(), Math::of(&self.x.client));
        Plan { width, chunk, channels, ahead: AHEAD, silu, reverse, resets, math }
    }
}

impl CausalConv1dBackend for CubeBackend {
    fn causal_conv1d(inputs: ConvInputs<Self>, config: ConvConfig) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let p = Prepared::new(inputs, config.chunk);
        let plan = p.plan(config, &[], CHANNELS);
        let [batch, length, channels] = p.x.shape().dims();
        let client = p.x.client.clone();
        let dtype = dtype_to_storage_type(p.x.dtype);
        let y = empty(&p.x, [batch, length, channels], p.x.dtype);
        let final_state = empty(&p.x, p.initial_state.shape().dims::<3>(), p.x.dtype);
        let address = address_type(&[&p.x, &y]);
        let (cubes, dim) = small_cubes(&client, batch * p.n_chunks * channels / plan.channels);
        // SAFETY: every index is below the shapes, which the caller checked, and orders are permutations.
        unsafe {
            conv::launch_unchecked(
                &client,
                cubes,
                dim,
                address,
                plan.channels,
                p.x.into_tensor_arg(),
                p.weight.into_tensor_arg(),
                p.bias.into_tensor_arg(),
                p.initial_state.into_tensor_arg(),
                p.steps.map(|steps| steps.into_tensor_arg()).into(),
                y.clone().into_tensor_arg(),
                final_state.clone().into_tensor_arg(),
                p.n_chunks,
                p.n_orders,
                plan,
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
        let config = ConvConfig { chunk: chunk_back(&inputs, config.chunk), ..config };
        let p = Prepared::new(inputs, config.chunk);
        let grad_y = rows(grad_y);
        let grad_final_state = into_contiguous(grad_final_state);
        let plan = p.plan(config, &[&grad_y, &grad_final_state], CHANNELS);
        let [batch, length, channels] = p.x.shape().dims();
        let client = p.x.client.clone();
        let dtype = dtype_to_storage_type(p.x.dtype);
        let grad_x = empty(&p.x, [batch, length, channels], p.x.dtype);
        let grad_params = empty(&p.x, [batch * p.n_chunks, plan.width + 1, channels], DType::F32);
        let grad_initial_state = empty(&p.x, p.initial_state.shape().dims::<3>(), p.x.dtype);
        let address = address_type(&[&p.x, &grad_x, &grad_y, &grad_params]);
        let (cubes, dim) = small_cubes(&client, batch * p.n_chunks * channels / plan.channels);
        // SAFETY: every index is below the shapes, which the caller checked, and orders are permutations.
        unsafe {
            conv_backward::launch_unchecked(
                &client,
                cubes,
                dim,
                address,
                plan.channels,
                p.x.into_tensor_arg(),
                p.weight.into_tensor_arg(),
                p.bias.into_tensor_arg(),
                p.initial_state.into_tensor_arg(),
                p.steps.map(|steps| steps.into_tensor_arg()).into(),
                grad_y.into_tensor_arg(),
                grad_final_state.into_tensor_arg(),
                grad_x.clone().into_tensor_arg(),
                grad_params.clone().into_tensor_arg(),
                grad_initial_state.clone().into_tensor_arg(),
                p.n_chunks,
                p.n_orders,
                plan,
                dtype,
            );
        }
        let (weight, bias, _) = sum_of_params(grad_params, plan.width);
        ConvGrads { x: grad_x, weight, bias, initial_state: grad_initial_state }
    }
}

/// Tokens of a thread going back: twice as many as forward, since a thread reads its neighbours' as well and writes sums for
/// the parameters, if enough threads are left.
fn chunk_back(inputs: &ConvInputs<CubeBackend>, chunk: usize) -> usize {
    const PROCESSORS: u32 = 128;
    const THREADS: usize = 256;
    let [batch, length, channels] = inputs.x.shape().dims();
    let processors = inputs.x.client.properties().hardware.num_streaming_multiprocessors.unwrap_or(PROCESSORS) as usize;
    let threads = batch * length.div_ceil(2 * chunk) * channels / CHANNELS;
    if threads >= THREADS * processors { 2 * chunk } else { chunk }
}
