//! Puts tensors and kernels together.

use super::backward::conv_backward;
use super::forward::conv;
use super::place::Plan;
use super::step::conv_step;
use crate::causal_conv1d::backend::{CausalConv1dBackend, ConvConfig, ConvGrads, ConvInputs};
use crate::cube::{Math, address_type, empty, rows, small_cubes, steps_i32, sum_of_params, vector_size};
use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::tensor::FloatTensor;
use burn::backend::{DType, TensorMetadata};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::CubeDim;

/// Tokens that a thread reads before it works on the first.
const TILE: usize = 8;

/// Bytes of a token that a thread reads at once.
const BYTES: usize = 8;

/// Threads of a cube going back: of neighbouring channels, and of neighbouring chunks.
const LANES: usize = 32;
const STRANDS: usize = 4;

/// The inputs as the kernels read them.
struct Prepared {
    x: CubeTensor,
    weight: CubeTensor,
    bias: CubeTensor,
    initial_state: CubeTensor,
    steps: Option<CubeTensor>,
    n_orders: usize,
}

impl Prepared {
    fn new(inputs: ConvInputs<CubeBackend>) -> Self {
        let ConvInputs { x, weight, bias, initial_state, path } = inputs;
        let steps = steps_i32(path);
        Self {
            x: rows(x),
            weight: into_contiguous(weight),
            bias: into_contiguous(bias),
            initial_state: into_contiguous(initial_state),
            n_orders: steps.as_ref().map_or(1, |steps| steps.shape()[1]),
            steps,
        }
    }

    /// Whether this is one token from a state.
    fn is_step(&self, config: ConvConfig) -> bool {
        let [_, width] = self.weight.shape().dims();
        let [_, length, _] = self.x.shape().dims();
        length == 1 && width > 1 && self.steps.is_none() && !config.fresh
    }

    /// For kernels that read `others` beside the inputs.
    fn plan(&self, config: ConvConfig, others: &[&CubeTensor]) -> Plan {
        let [_, width] = self.weight.shape().dims();
        let [_, length, channels] = self.x.shape().dims();
        let ConvConfig { silu, reverse, fresh, final_grad } = config;
        let tensors = [&[&self.x, &self.bias, &self.initial_state], others].concat();
        let channels = vector_size(&tensors, channels / self.n_orders).min(BYTES / self.x.dtype.size());
        Plan {
            width,
            chunk: TILE.max(4 * channels),
            channels,
            tile: TILE.min(length),
            taps: vector_size(&[&self.weight], width),
            silu,
            reverse,
            resets: self.steps.is_some(),
            fresh,
            final_grad,
            lanes: LANES,
            strands: STRANDS,
            math: Math::of(&self.x.client),
        }
    }

    /// Going back a thread takes more tokens, since it reads its neighbours' as well and adds up what it gives to the
    /// parameters: so many that all cubes run at the same time.
    fn plan_back(&self, config: ConvConfig, others: &[&CubeTensor]) -> Plan {
        const PROCESSORS: u32 = 128;
        // A kernel is compiled for each.
        const CHUNKS: [usize; 11] = [32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024];
        let plan = self.plan(config, others);
        let [batch, length, channels] = self.x.shape().dims();
        let processors = self.x.client.properties().hardware.num_streaming_multiprocessors.unwrap_or(PROCESSORS);
        // That a processor of an H200 holds, by the registers that they take.
        let threads = if plan.channels > 2 { 384 } else { 512 };
        let cubes = threads * processors as usize / (plan.lanes * plan.strands);
        let groups = cubes / (batch * (channels / plan.channels).div_ceil(plan.lanes)).max(1);
        let tokens = length.div_ceil(groups.max(1) * plan.strands);
        let chunk = CHUNKS.into_iter().find(|&chunk| tokens <= chunk).unwrap_or(CHUNKS[CHUNKS.len() - 1]);
        Plan { chunk, tile: TILE.max(plan.width).min(length), ..plan }
    }
}

/// One token from a state. A state that nobody else holds is overwritten.
fn step(p: Prepared, config: ConvConfig) -> (CubeTensor, CubeTensor) {
    let plan = p.plan(config, &[]);
    let client = p.x.client.clone();
    let dtype = dtype_to_storage_type(p.x.dtype);
    let [batch, length, channels] = p.x.shape().dims();
    let y = empty(&p.x, [batch, length, channels], p.x.dtype);
    let (from, state) = match p.initial_state.can_mut() {
        true => (None, p.initial_state),
        false => {
            let state = empty(&p.x, p.initial_state.shape().dims::<3>(), p.x.dtype);
            (Some(p.initial_state), state)
        }
    };
    let address = address_type(&[&p.x, &y, &state]);
    let (cubes, dim) = small_cubes(&client, batch * channels / plan.channels);
    // SAFETY: every index is below the shapes, which the caller checked.
    unsafe {
        conv_step::launch_unchecked(
            &client,
            cubes,
            dim,
            address,
            plan.channels,
            plan.taps,
            p.x.into_tensor_arg(),
            p.weight.into_tensor_arg(),
            p.bias.into_tensor_arg(),
            from.map(|from| from.into_tensor_arg()).into(),
            state.clone().into_tensor_arg(),
            y.clone().into_tensor_arg(),
            plan,
            dtype,
        );
    }
    (y, state)
}

impl CausalConv1dBackend for CubeBackend {
    fn causal_conv1d(inputs: ConvInputs<Self>, config: ConvConfig) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let p = Prepared::new(inputs);
        if p.is_step(config) {
            return step(p, config);
        }
        let plan = p.plan(config, &[]);
        let [batch, length, channels] = p.x.shape().dims();
        let n_chunks = length.div_ceil(plan.chunk);
        let client = p.x.client.clone();
        let dtype = dtype_to_storage_type(p.x.dtype);
        let y = empty(&p.x, [batch, length, channels], p.x.dtype);
        let final_state = empty(&p.x, p.initial_state.shape().dims::<3>(), p.x.dtype);
        let address = address_type(&[&p.x, &y]);
        let (cubes, dim) = small_cubes(&client, batch * n_chunks * channels / plan.channels);
        // SAFETY: every index is below the shapes, which the caller checked, and orders are permutations.
        unsafe {
            conv::launch_unchecked(
                &client,
                cubes,
                dim,
                address,
                plan.channels,
                plan.taps,
                p.x.into_tensor_arg(),
                p.weight.into_tensor_arg(),
                p.bias.into_tensor_arg(),
                p.initial_state.into_tensor_arg(),
                p.steps.map(|steps| steps.into_tensor_arg()).into(),
                y.clone().into_tensor_arg(),
                final_state.clone().into_tensor_arg(),
                n_chunks,
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
        let p = Prepared::new(inputs);
        let grad_y = rows(grad_y);
        let grad_final_state = into_contiguous(grad_final_state);
        let plan = p.plan_back(config, &[&grad_y, &grad_final_state]);
        let [batch, length, channels] = p.x.shape().dims();
        let n_chunks = length.div_ceil(plan.chunk);
        let client = p.x.client.clone();
        let dtype = dtype_to_storage_type(p.x.dtype);
        let grad_x = empty(&p.x, [batch, length, channels], p.x.dtype);
        let groups = batch * n_chunks.div_ceil(plan.strands);
        let grad_params = empty(&p.x, [groups, plan.width + 1, channels], DType::F32);
        let grad_initial_state = empty(&p.x, p.initial_state.shape().dims::<3>(), p.x.dtype);
        let address = address_type(&[&p.x, &grad_x, &grad_y, &grad_params]);
        let dim = CubeDim::new_1d((plan.lanes * plan.strands) as u32);
        let cubes = groups * (channels / plan.channels).div_ceil(plan.lanes);
        let cubes = calculate_cube_count_elemwise(&client, cubes * dim.num_elems() as usize, dim);
        // SAFETY: every index is below the shapes, which the caller checked, and orders are permutations.
        unsafe {
            conv_backward::launch_unchecked(
                &client,
                cubes,
                dim,
                address,
                plan.channels,
                plan.taps,
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
                n_chunks,
                p.n_orders,
                plan,
                dtype,
            );
        }
        let (weight, bias, _) = sum_of_params(grad_params, plan.width);
        ConvGrads { x: grad_x, weight, bias, initial_state: grad_initial_state }
    }
}
