//! The scan on the CPU: vectors over channels, threads over batch rows and blocks of channels.
//!
//! A task walks through the tokens chunk by chunk. For every block of channels it first gathers what it needs of the
//! chunk in the order of the walk, as f32 and one row for every token; the recurrence then runs over all tokens of the
//! chunk with a few states at a time, so that everything it touches stays in the first-level cache.

#![cfg(any(feature = "flex", feature = "ndarray"))]

mod backward;
mod forward;
mod step;
mod total;

use super::backend::{Gate, NOTHING_SAVED, ScanConfig, ScanGrads, ScanInputs, SelectiveScanBackend};
use crate::cpu::{
    Block, CpuBackend, Float, LANES, Lanes, Part, Row, Step, Walk, parts, parts_per_task, prefetch, softplus, tensor,
};
use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use half::{bf16, f16};
use std::ops::Range;
use total::{Places, Total};

/// States that the recurrence takes at a time.
const TILE: usize = 4;

#[derive(Clone, Copy)]
struct Dims {
    batch: usize,
    length: usize,
    d_inner: usize,
    /// Channels of `u`: `d_inner`, or as many as one order has.
    u_channels: usize,
    d_state: usize,
    n_groups: usize,
}

/// The arguments as slices.
struct Scan<'a, E> {
    u: &'a [E],
    delta: &'a [E],
    b: &'a [E],
    c: &'a [E],
    z: Option<&'a [E]>,
    a: &'a [f32],
    d: &'a [f32],
    delta_bias: &'a [f32],
    initial_state: &'a [f32],
    walk: Walk,
    dims: Dims,
    config: ScanConfig,
}

impl<E: Float> Scan<'_, E> {
    /// What is gathered, and how many channels it has.
    fn arrays<'b>(&'b self, grad_y: Option<&'b [E]>) -> Vec<(&'b [E], usize)> {
        let Dims { d_inner, u_channels, .. } = self.dims;
        let grad_y = grad_y.map(|grad_y| (grad_y, self.y_channels()));
        let others = [Some((self.delta, d_inner)), self.z.map(|z| (z, d_inner)), grad_y];
        [(self.u, u_channels)].into_iter().chain(others.into_iter().flatten()).collect()
    }

    /// The chunks of the walk.
    fn chunks(&self, steps: Range<usize>) -> impl DoubleEndedIterator<Item = Range<usize>> {
        let (chunk, end) = (self.config.chunk, steps.end);
        steps.step_by(chunk).map(move |first| first..end.min(first + chunk))
    }

    /// Where the states of `block` start, in the states before the chunk that starts with step `first`.
    fn chunk_state_at(&self, part: &Part, first: usize, block: Block) -> usize {
        let Dims { length, d_inner, d_state, .. } = self.dims;
        let chunk = self.config.chunk;
        ((part.batch * length.div_ceil(chunk) + first / chunk) * d_inner + block.start) * d_state
    }

    /// Channels of the outputs.
    fn y_channels(&self) -> usize {
        self.dims.d_inner / self.config.summed
    }

    /// All channels that read one channel of `u` belong to different orders.
    fn n_orders(&self) -> usize {
        (self.dims.d_inner / self.dims.u_channels).max(self.walk.n_orders())
    }

    /// Everything there is to do; with `shared` the parts of all orders that have the same channels are neighbours.
    fn parts(&self, shared: bool) -> Vec<Part> {
        let Dims { batch, d_inner, n_groups, .. } = self.dims;
        parts([batch, d_inner], self.n_orders(), n_groups, shared, self.work())
    }

    /// The parts in tasks, which take their orders one after the other. Where orders share channels of an output, a task
    /// has all of them: nobody else adds to these channels, and they stay in its cache.
    fn tasks(&self, shared: bool) -> Vec<Vec<Part>> {
        let parts = self.parts(shared);
        let per_task = parts_per_task(&parts, if shared { self.n_orders() } else { 1 }, self.work());
        let task = |parts: &[Part]| {
            let mut parts = parts.to_vec();
            parts.sort_by_key(|part| part.order);
            parts
        };
        parts.chunks(per_task).map(task).collect()
    }

    /// Values that the scan touches.
    fn work(&self) -> usize {
        let Dims { batch, length, d_inner, d_state, .. } = self.dims;
        batch * length * d_inner * d_state
    }

    /// Where the channels of `block` start at `place`, in arrays with `channels` of them.
    #[inline(always)]
    fn at(&self, part: &Part, place: usize, channels: usize, block: Block) -> usize {
        (part.batch * self.dims.length + place) * channels + block.start % channels
    }

    /// Where the states of the group start at `place`, in `b` and `c`.
    #[inline(always)]
    fn group_at(&self, part: &Part, place: usize) -> usize {
        let Dims { length, d_state, n_groups, .. } = self.dims;
        ((part.batch * length + place) * n_groups + part.group) * d_state
    }

    /// Copies the block's channels at every step; `from` has `channels`.
    ///
    /// The rows lie far apart. Nothing but copies in this loop, so that the processor waits for many of them at once.
    #[inline(always)]
    fn gather(&self, from: &[E], channels: usize, part: &Part, block: Block, steps: &[Step], rows: &mut Vec<Row>) {
        rows.resize(steps.len(), Row::ZERO);
        for (step, row) in steps.iter().zip(rows) {
            let start = self.at(part, step.place, channels, block);
            row.copy_from(&from[start..start + block.width]);
        }
    }
}

/// What is gathered and written next: by the part's next block or, after its last, in its next chunk. It is asked for while
/// the recurrence runs, which takes about as long as the memory does; every tile of states asks for a share.
struct Ahead<'a, E> {
    scan: &'a Scan<'a, E>,
    /// Arrays, and how many channels they have.
    arrays: &'a [(&'a [E], usize)],
    /// The same of an output.
    to: (&'a Places<'a, E>, usize),
    part: &'a Part,
    block: Block,
    /// The first step of the chunk; `length` or more if there is none.
    first: usize,
}

impl<'a, E: Float> Ahead<'a, E> {
    /// What follows `block` of the chunk that starts with step `first`; the next chunk starts with step `next`.
    #[inline(always)]
    fn of(
        scan: &'a Scan<'a, E>,
        arrays: &'a [(&'a [E], usize)],
        to: (&'a Places<'a, E>, usize),
        part: &'a Part,
        block: Block,
        [first, next]: [usize; 2],
    ) -> Self {
        let after = part.after(block);
        Self { scan, arrays, to, part, block: after, first: if after.start > block.start { first } else { next } }
    }

    /// The rows of step `t`; the share of the tile that starts with state `first`.
    #[inline(always)]
    fn prefetch(&self, first: usize, t: usize) {
        let Self { scan, part, block, .. } = *self;
        let Dims { length, d_state, .. } = scan.dims;
        let (tile, step) = (tiles(first), self.first + t);
        if step < length && tile < self.arrays.len() {
            let place = scan.walk.step(part.batch, part.order, step).place;
            for &(from, channels) in self.arrays[tile..].iter().step_by(tiles(d_state)) {
                prefetch(from, scan.at(part, place, channels, block));
            }
            if tile == 0 {
                let (to, channels) = self.to;
                to.prefetch(scan.at(part, place, channels, block));
            }
        }
    }
}

/// How many times the recurrence runs over a chunk.
#[inline(always)]
fn tiles(d_state: usize) -> usize {
    d_state / TILE + d_state % TILE
}

/// What the tokens of a chunk have in common for all channels of a group, in the order of the walk.
#[derive(Default)]
struct Tokens {
    /// Batch row, order, group and first step.
    of: Option<[usize; 4]>,
    steps: Vec<Step>,
    /// `[steps, d_state]`
    b: Vec<f32>,
    c: Vec<f32>,
}

impl Tokens {
    /// Does nothing if these tokens were the last ones read.
    fn read<E: Float>(&mut self, scan: &Scan<'_, E>, part: &Part, steps: Range<usize>) {
        let of = Some([part.batch, part.order, part.group, steps.start]);
        if std::mem::replace(&mut self.of, of) == of {
            return;
        }
        let n = scan.dims.d_state;
        self.steps.clear();
        self.steps.extend(scan.walk.steps(part.batch, part.order, steps));
        for (to, from) in [(&mut self.b, scan.b), (&mut self.c, scan.c)] {
            to.resize(self.steps.len() * n, 0.0);
            for (step, to) in self.steps.iter().zip(to.chunks_exact_mut(n)) {
                let start = scan.group_at(part, step.place);
                E::read(&from[start..start + n], to);
            }
        }
    }
}

/// The numbers of a block's channels, one row for every token of a chunk.
#[derive(Default)]
struct Rows {
    u: Vec<Row>,
    z: Vec<Row>,
    /// The step size, after bias and softplus.
    delta: Vec<Row>,
    /// The softplus' derivative.
    slope: Vec<Row>,
    /// `delta * u`
    x: Vec<Row>,
    /// `<c, h>`
    y: Vec<Row>,
}

impl Rows {
    #[inline(always)]
    fn read<V: Lanes, E: Float>(&mut self, scan: &Scan<'_, E>, part: &Part, block: Block, steps: &[Step]) {
        for rows in [&mut self.slope, &mut self.x, &mut self.y] {
            rows.resize(steps.len(), Row::ZERO);
        }
        let Dims { d_inner, u_channels, .. } = scan.dims;
        scan.gather(scan.u, u_channels, part, block, steps, &mut self.u);
        scan.gather(scan.delta, d_inner, part, block, steps, &mut self.delta);
        if let Some(z) = scan.z {
            scan.gather(z, d_inner, part, block, steps, &mut self.z);
        }
        let bias = Row::read(&scan.delta_bias[block.start..block.start + block.width]);
        for t in 0..steps.len() {
            for lane in (0..LANES).step_by(V::WIDTH) {
                let mut delta = V::load(&self.delta[t].0[lane..]) + V::load(&bias.0[lane..]);
                if scan.config.delta_softplus {
                    let (smooth, slope) = softplus(delta);
                    delta = smooth;
                    slope.store(&mut self.slope[t].0[lane..]);
                }
                delta.store(&mut self.delta[t].0[lane..]);
                (delta * V::load(&self.u[t].0[lane..])).store(&mut self.x[t].0[lane..]);
            }
            self.y[t] = Row::ZERO;
        }
    }
}

fn with_slices<B: CpuBackend, E: Float, R>(
    inputs: ScanInputs<B>,
    config: ScanConfig,
    f: impl FnOnce(&Scan<'_, E>, &B::Device) -> R,
) -> R {
    let ScanInputs { u, delta, a, b, c, d, delta_bias, initial_state, gate, path } = inputs;
    let [batch, length, d_inner] = delta.shape().dims();
    let [_, _, u_channels] = u.shape().dims();
    let [_, _, n_groups, d_state] = b.shape().dims();
    let dims = Dims { batch, length, d_inner, u_channels, d_state, n_groups };
    let device = u.device();
    let [u, delta, a, b, c, d, delta_bias, initial_state] =
        [u, delta, a, b, c, d, delta_bias, initial_state].map(B::contiguous);
    let z = match gate {
        Gate::None => None,
        Gate::Silu(z) => Some(B::contiguous(z)),
    };
    let scan = Scan {
        u: B::elements(&u),
        delta: B::elements(&delta),
        b: B::elements(&b),
        c: B::elements(&c),
        z: z.as_ref().map(|z| B::elements(z)),
        a: B::elements(&a),
        d: B::elements(&d),
        delta_bias: B::elements(&delta_bias),
        initial_state: B::elements(&initial_state),
        walk: Walk::new::<B>(path, length, config.reverse),
        dims,
        config,
    };
    f(&scan, &device)
}

/// One token.
fn step<B: CpuBackend, E: Float>(
    mut inputs: ScanInputs<B>,
    config: ScanConfig,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    // The states are written over: what is left in their place is not read.
    let state = std::mem::replace(&mut inputs.initial_state, inputs.a.clone());
    let mut state = B::into_elements(state);
    with_slices::<B, E, _>(inputs, config, |scan, device| {
        let Dims { batch, length, d_inner, d_state, .. } = scan.dims;
        let y = step::step(scan, &mut state);
        (
            tensor::<B, _, 3>(y, [batch, length, d_inner], device),
            tensor::<B, _, 3>(state, [batch, d_inner, d_state], device),
            tensor::<B, _, 4>(vec![0.0], NOTHING_SAVED, device),
        )
    })
}

fn scan<B: CpuBackend, E: Float>(
    inputs: ScanInputs<B>,
    config: ScanConfig,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    if step::is_step(&inputs, config) {
        return step::<B, E>(inputs, config);
    }
    with_slices::<B, E, _>(inputs, config, |scan, device| {
        let Dims { batch, length, d_inner, d_state, .. } = scan.dims;
        let out = forward::forward(scan);
        let saved = config.saved_shape([batch, length, d_inner], d_state);
        (
            tensor::<B, _, 3>(out.y.finish(), [batch, length, scan.y_channels()], device),
            tensor::<B, _, 3>(out.final_state, [batch, d_inner, d_state], device),
            tensor::<B, _, 4>(out.chunk_states, saved, device),
        )
    })
}

fn scan_backward<B: CpuBackend, E: Float>(
    inputs: ScanInputs<B>,
    chunk_states: FloatTensor<B>,
    grad_y: FloatTensor<B>,
    grad_final_state: FloatTensor<B>,
    config: ScanConfig,
) -> ScanGrads<B> {
    with_slices::<B, E, _>(inputs, config, |scan, device| {
        let Dims { batch, length, d_inner, u_channels, d_state, n_groups } = scan.dims;
        let [chunk_states, grad_y, grad_final_state] = [chunk_states, grad_y, grad_final_state].map(B::contiguous);
        let grads =
            backward::backward(scan, B::elements(&chunk_states), B::elements(&grad_y), B::elements(&grad_final_state));
        let tokens = [batch, length, d_inner];
        let grouped = [batch, length, n_groups, d_state];
        ScanGrads {
            u: tensor::<B, _, 3>(grads.u.finish(), [batch, length, u_channels], device),
            delta: tensor::<B, _, 3>(grads.delta, tokens, device),
            a: tensor::<B, _, 2>(grads.a, [d_inner, d_state], device),
            b: tensor::<B, _, 4>(grads.b, grouped, device),
            c: tensor::<B, _, 4>(grads.c, grouped, device),
            d: tensor::<B, _, 1>(grads.d, [d_inner], device),
            delta_bias: tensor::<B, _, 1>(grads.delta_bias, [d_inner], device),
            initial_state: tensor::<B, _, 3>(grads.initial_state, [batch, d_inner, d_state], device),
            gate: grads.z.map_or(Gate::None, |z| Gate::Silu(tensor::<B, _, 3>(z, tokens, device))),
        }
    })
}

macro_rules! selective_scan_backend {
    ($Backend:ty) => {
        impl SelectiveScanBackend for $Backend {
            fn selective_scan(
                inputs: ScanInputs<Self>,
                config: ScanConfig,
            ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
                match inputs.u.dtype() {
                    DType::F32 => scan::<Self, f32>(inputs, config),
                    DType::F16 => scan::<Self, f16>(inputs, config),
                    DType::BF16 => scan::<Self, bf16>(inputs, config),
                    other => panic!("selective_scan: no kernel for {other:?}, expected F32, F16 or BF16"),
                }
            }

            fn selective_scan_backward(
                inputs: ScanInputs<Self>,
                states: FloatTensor<Self>,
                grad_y: FloatTensor<Self>,
                grad_state: FloatTensor<Self>,
                config: ScanConfig,
            ) -> ScanGrads<Self> {
                match inputs.u.dtype() {
                    DType::F32 => scan_backward::<Self, f32>(inputs, states, grad_y, grad_state, config),
                    DType::F16 => scan_backward::<Self, f16>(inputs, states, grad_y, grad_state, config),
                    DType::BF16 => scan_backward::<Self, bf16>(inputs, states, grad_y, grad_state, config),
                    other => panic!("selective_scan: no kernel for {other:?}, expected F32, F16 or BF16"),
                }
            }
        }
    };
}

#[cfg(feature = "flex")]
selective_scan_backend!(burn::backend::Flex);
#[cfg(feature = "ndarray")]
selective_scan_backend!(burn::backend::NdArray);
