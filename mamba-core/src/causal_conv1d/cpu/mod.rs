//! The convolution on the CPU: vectors over channels, threads over batch rows and blocks of channels.
//!
//! A task walks through the tokens chunk by chunk and keeps the last `width - 1` inputs of every block of channels.

#![cfg(any(feature = "flex", feature = "ndarray"))]

mod backward;
mod forward;
mod step;

use super::backend::{CausalConv1dBackend, ConvConfig, ConvGrads, ConvInputs};
use crate::cpu::{Block, CpuBackend, Float, Lanes, Part, Row, Step, Walk, parts, prefetch, read_columns, tensor};
use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use half::{bf16, f16};
use std::ops::Range;

/// Tokens that a task convolves before it goes on to its next channels.
const CHUNK: usize = 64;

#[derive(Clone, Copy)]
struct Dims {
    batch: usize,
    length: usize,
    channels: usize,
    width: usize,
}

/// The arguments as slices.
struct Conv<'a, E> {
    x: &'a [E],
    weight: &'a [f32],
    bias: &'a [f32],
    initial_state: &'a [E],
    walk: Walk,
    dims: Dims,
    config: ConvConfig,
}

impl<E: Float> Conv<'_, E> {
    fn parts(&self) -> Vec<Part> {
        let Dims { batch, length, channels, width } = self.dims;
        parts([batch, channels], self.walk.n_orders(), 1, false, batch * length * channels * width)
    }

    /// The chunks of the walk.
    fn chunks(&self) -> impl Iterator<Item = Range<usize>> {
        let length = self.dims.length;
        (0..length).step_by(CHUNK).map(move |first| first..length.min(first + CHUNK))
    }

    /// Where the block's channels start at `place`.
    #[inline(always)]
    fn at(&self, part: &Part, place: usize, block: Block) -> usize {
        (part.batch * self.dims.length + place) * self.dims.channels + block.start
    }

    /// Where the block's channels start in a row of the state.
    #[inline(always)]
    fn state_at(&self, part: &Part, row: usize, block: Block) -> usize {
        (part.batch * self.dims.width.saturating_sub(1).max(1) + row) * self.dims.channels + block.start
    }
}

/// What one part knows of the past.
struct Past {
    /// `[blocks, width]`
    weights: Vec<Row>,
    /// The inputs before the chunk, newest last: `[blocks, width - 1]`.
    x: Vec<Row>,
    /// How many of them the last step saw.
    reach: usize,
}

impl Past {
    fn new<E: Float>(conv: &Conv<'_, E>, part: &Part) -> Self {
        let width = conv.dims.width;
        let mut past = Self {
            weights: vec![Row::ZERO; part.len() * width],
            x: vec![Row::ZERO; part.len() * (width - 1)],
            reach: width - 1,
        };
        for (i, block) in part.blocks().enumerate() {
            let Block { start, width: channels } = block;
            let weights = &mut past.weights[i * width..(i + 1) * width];
            read_columns(&conv.weight[start * width..(start + channels) * width], weights);
            for (row, x) in past.x[i * (width - 1)..(i + 1) * (width - 1)].iter_mut().enumerate() {
                if !conv.config.fresh {
                    let at = conv.state_at(part, row, block);
                    *x = Row::read(&conv.initial_state[at..at + channels]);
                }
            }
        }
        past
    }
}

/// A chunk of the walk, and a block's inputs there.
#[derive(Default)]
struct Chunk {
    steps: Vec<Step>,
    /// How many inputs before the current one every step sees.
    reach: Vec<usize>,
    /// The inputs before the chunk and those of its steps.
    x: Vec<Row>,
}

impl Chunk {
    fn read_steps<E: Float>(&mut self, conv: &Conv<'_, E>, part: &Part, steps: Range<usize>, past: &mut Past) {
        self.steps.clear();
        self.steps.extend(conv.walk.steps(part.batch, part.order, steps));
        self.reach.clear();
        self.reach.extend(self.steps.iter().map(|step| {
            past.reach = if step.reset { 0 } else { (past.reach + 1).min(conv.dims.width - 1) };
            past.reach
        }));
    }

    /// Reads the inputs of block number `i`; its past becomes that of the next chunk.
    #[inline(always)]
    fn read_x<E: Float>(&mut self, conv: &Conv<'_, E>, part: &Part, i: usize, block: Block, past: &mut Past) {
        let kept = conv.dims.width - 1;
        let past = &mut past.x[i * kept..(i + 1) * kept];
        self.x.resize(kept + self.steps.len(), Row::ZERO);
        self.x[..kept].copy_from_slice(past);
        for (step, row) in self.steps.iter().zip(&mut self.x[kept..]) {
            let at = conv.at(part, step.place, block);
            row.copy_from(&conv.x[at..at + block.width]);
        }
        past.copy_from_slice(&self.x[self.steps.len()..]);
    }

    /// The convolution at step `t` of the chunk.
    #[inline(always)]
    fn at<V: Lanes>(&self, t: usize, lane: usize, weights: &[Row], bias: &Row) -> V {
        let now = weights.len() - 1;
        let mut sum = V::load(&bias.0[lane..]);
        for back in 0..=self.reach[t] {
            sum = V::load(&self.x[now + t - back].0[lane..]).mul_add(V::load(&weights[now - back].0[lane..]), sum);
        }
        sum
    }
}

/// Asks for the block's row of the next chunk.
#[inline(always)]
fn prefetch_next<E: Float>(conv: &Conv<'_, E>, from: &[E], part: &Part, step: usize, block: Block) {
    let step = step + CHUNK;
    if step < conv.dims.length {
        prefetch(from, conv.at(part, conv.walk.step(part.batch, part.order, step).place, block));
    }
}

fn with_slices<B: CpuBackend, E: Float, R>(
    inputs: ConvInputs<B>,
    config: ConvConfig,
    f: impl FnOnce(&Conv<'_, E>, &B::Device) -> R,
) -> R {
    let ConvInputs { x, weight, bias, initial_state, path } = inputs;
    let [batch, length, channels] = x.shape().dims();
    let [_, width] = weight.shape().dims();
    let device = x.device();
    let [x, weight, bias, initial_state] = [x, weight, bias, initial_state].map(B::contiguous);
    let conv = Conv {
        x: B::elements(&x),
        weight: B::elements(&weight),
        bias: B::elements(&bias),
        initial_state: B::elements(&initial_state),
        walk: Walk::new::<B>(path, length, config.reverse),
        dims: Dims { batch, length, channels, width },
        config,
    };
    f(&conv, &device)
}

fn conv<B: CpuBackend, E: Float>(inputs: ConvInputs<B>, config: ConvConfig) -> (FloatTensor<B>, FloatTensor<B>) {
    with_slices::<B, E, _>(inputs, config, |conv, device| {
        let Dims { batch, length, channels, width } = conv.dims;
        let (y, final_state) = if step::is_step(conv) { step::step(conv) } else { forward::forward(conv) };
        (
            tensor::<B, _, 3>(y, [batch, length, channels], device),
            tensor::<B, _, 3>(final_state, [batch, (width - 1).max(1), channels], device),
        )
    })
}

fn conv_backward<B: CpuBackend, E: Float>(
    inputs: ConvInputs<B>,
    grad_y: FloatTensor<B>,
    grad_final_state: FloatTensor<B>,
    config: ConvConfig,
) -> ConvGrads<B> {
    with_slices::<B, E, _>(inputs, config, |conv, device| {
        let Dims { batch, length, channels, width } = conv.dims;
        let [grad_y, grad_final_state] = [grad_y, grad_final_state].map(B::contiguous);
        let grads = backward::backward(conv, B::elements(&grad_y), B::elements(&grad_final_state));
        ConvGrads {
            x: tensor::<B, _, 3>(grads.x, [batch, length, channels], device),
            weight: tensor::<B, _, 2>(grads.weight, [channels, width], device),
            bias: tensor::<B, _, 1>(grads.bias, [channels], device),
            initial_state: tensor::<B, _, 3>(grads.initial_state, [batch, (width - 1).max(1), channels], device),
        }
    })
}

macro_rules! causal_conv1d_backend {
    ($Backend:ty) => {
        impl CausalConv1dBackend for $Backend {
            fn causal_conv1d(inputs: ConvInputs<Self>, config: ConvConfig) -> (FloatTensor<Self>, FloatTensor<Self>) {
                match inputs.x.dtype() {
                    DType::F32 => conv::<Self, f32>(inputs, config),
                    DType::F16 => conv::<Self, f16>(inputs, config),
                    DType::BF16 => conv::<Self, bf16>(inputs, config),
                    other => panic!("causal_conv1d: no kernel for {other:?}, expected F32, F16 or BF16"),
                }
            }

            fn causal_conv1d_backward(
                inputs: ConvInputs<Self>,
                grad_y: FloatTensor<Self>,
                grad_state: FloatTensor<Self>,
                config: ConvConfig,
            ) -> ConvGrads<Self> {
                match inputs.x.dtype() {
                    DType::F32 => conv_backward::<Self, f32>(inputs, grad_y, grad_state, config),
                    DType::F16 => conv_backward::<Self, f16>(inputs, grad_y, grad_state, config),
                    DType::BF16 => conv_backward::<Self, bf16>(inputs, grad_y, grad_state, config),
                    other => panic!("causal_conv1d: no kernel for {other:?}, expected F32, F16 or BF16"),
                }
            }
        }
    };
}

#[cfg(feature = "flex")]
causal_conv1d_backend!(burn::backend::Flex);
#[cfg(feature = "ndarray")]
causal_conv1d_backend!(burn::backend::NdArray);
