//! The forward kernels: a thread owns one channel of one chunk of tokens, and all its states.
//!
//! Long sequences take three launches, so that chunks run side by side: every chunk from a zero state
//! ([`chunk_state`]), the states passed from chunk to chunk ([`state_passing`]), every chunk again from its true state
//! ([`chunk_scan`]). A sequence of one chunk takes the last alone.

use crate::cube::{sigmoid, softplus, step_at};
use cubecl::prelude::*;

/// Which part of the scan a thread computes.
#[derive(CubeType, Clone, Copy)]
pub(crate) struct Lane {
    pub batch: usize,
    pub chunk: usize,
    pub channel: usize,
    pub order: usize,
    pub group: usize,
}

/// Position `index` of `[batch, n_chunks, d_inner]`.
#[cube]
fn lane(index: usize, d_inner: usize, n_chunks: usize, n_groups: usize, n_orders: usize) -> Lane {
    let channel = index % d_inner;
    Lane {
        batch: index / d_inner / n_chunks,
        chunk: index / d_inner % n_chunks,
        channel,
        order: channel / (d_inner / n_orders),
        group: channel / (d_inner / n_groups),
    }
}

/// Offset of a token's row.
#[cube]
pub(crate) fn offset(batch_stride: usize, token_stride: usize, batch: usize, place: usize) -> usize {
    batch * batch_stride + place * token_stride
}

/// Offset of a token's channel in a `[batch, length, channels]` tensor; fewer channels are shared by the orders.
#[cube]
pub(crate) fn at<F: Float>(x: &Tensor<F>, batch: usize, place: usize, channel: usize) -> usize {
    batch * x.stride(0) + place * x.stride(1) + channel % x.shape(2)
}

/// Offset of a token's states in a `[batch, length, n_groups, d_state]` tensor.
#[cube]
pub(crate) fn states_at<F: Float>(x: &Tensor<F>, batch: usize, place: usize, group: usize) -> usize {
    batch * x.stride(0) + place * x.stride(1) + group * x.stride(2)
}

/// Delta as the recurrence uses it.
#[cube]
pub(crate) fn step_size(delta: f32, bias: f32, #[comptime] delta_softplus: bool) -> f32 {
    if comptime![delta_softplus] { softplus(delta + bias) } else { delta + bias }
}

/// The state that a chunk ends with from zero, written as the next one's entry, and the sum of its deltas.
#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn chunk_state<F: Float>(
    u: &Tensor<F>,
    delta: &Tensor<F>,
    a: &Tensor<f32>,
    b: &Tensor<F>,
    delta_bias: &Tensor<f32>,
    steps: ComptimeOption<&Tensor<i32>>,
    // [batch, n_chunks, d_inner, d_state]: every chunk but the last writes the slot behind its own.
    entries: &mut Tensor<f32>,
    // [batch, n_chunks, d_inner, 2]: the sum of delta, and 0 if a reset cut the chunk, else 1.
    sums: &mut Tensor<f32>,
    n_orders: usize,
    #[comptime] d_state: usize,
    #[comptime] chunk: usize,
    #[comptime] delta_softplus: bool,
    #[comptime] reverse: bool,
    #[define(F)] _dtype: ElemType,
) {
    let d_inner = delta.shape(2);
    let length = delta.shape(1);
    let n_chunks = entries.shape(1);
    if ABSOLUTE_POS >= delta.shape(0) * n_chunks * d_inner {
        terminate!();
    }
    let lane = lane(ABSOLUTE_POS, d_inner, n_chunks, b.shape(2), n_orders);
    if lane.chunk == n_chunks - 1 {
        terminate!();
    }

    let unroll = comptime![d_state <= 16];
    let bias = delta_bias[lane.channel];
    let mut h = Array::<f32>::new(d_state);
    let mut a_n = Array::<f32>::new(d_state);
    #[unroll(unroll)]
    for n in 0..d_state {
        h[n] = f32::new(0.0);
        a_n[n] = a[lane.channel * d_state + n];
    }
    let mut sum = f32::new(0.0);
    let mut alive = f32::new(1.0);
    let start = lane.chunk * chunk;
    for t in start..start + chunk {
        let step = step_at(&steps, lane.batch, lane.order, t, length, reverse);
        let pre = f32::cast_from(delta[at::<F>(delta, lane.batch, step.place, lane.channel)]);
        let dt = step_size(pre, bias, delta_softplus);
        let dt_u = dt * f32::cast_from(u[at::<F>(u, lane.batch, step.place, lane.channel)]);
        let b_t = states_at::<F>(b, lane.batch, step.place, lane.group);
        #[unroll(unroll)]
        for n in 0..d_state {
            h[n] = (dt * a_n[n]).exp() * step.keep * h[n] + dt_u * f32::cast_from(b[b_t + n]);
        }
        sum += dt;
        alive *= step.keep;
    }

    let slot = (lane.batch * n_chunks + lane.chunk) * d_inner + lane.channel;
    #[unroll(unroll)]
    for n in 0..d_state {
        entries[(slot + d_inner) * d_state + n] = h[n];
    }
    sums[slot * 2] = sum;
    sums[slot * 2 + 1] = alive;
}

/// Turns the states of chunks from zero into their true entry states, one thread for every channel and state.
#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn state_passing(
    a: &Tensor<f32>,
    sums: &Tensor<f32>,
    initial_state: &Tensor<f32>,
    entries: &mut Tensor<f32>,
) {
    let n_chunks = entries.shape(1);
    let d_inner = entries.shape(2);
    let d_state = entries.shape(3);
    let row = d_inner * d_state;
    if ABSOLUTE_POS >= entries.shape(0) * row {
        terminate!();
    }
    let within = ABSOLUTE_POS % row;
    let first = ABSOLUTE_POS / row * n_chunks;
    let a_n = a[within];
    let mut h = initial_state[ABSOLUTE_POS];
    entries[first * row + within] = h;
    for c in 1..n_chunks {
        let before = ((first + c - 1) * d_inner + within / d_state) * 2;
        let slot = (first + c) * row + within;
        h = (a_n * sums[before]).exp() * sums[before + 1] * h + entries[slot];
        entries[slot] = h;
    }
}

/// Every chunk from its entry state: the outputs, and from the last chunk the final state.
#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn chunk_scan<F: Float>(
    u: &Tensor<F>,
    delta: &Tensor<F>,
    a: &Tensor<f32>,
    b: &Tensor<F>,
    c: &Tensor<F>,
    d: &Tensor<f32>,
    delta_bias: &Tensor<f32>,
    entries: &Tensor<f32>,
    z: ComptimeOption<&Tensor<F>>,
    steps: ComptimeOption<&Tensor<i32>>,
    y: &mut Tensor<F>,
    final_state: &mut Tensor<f32>,
    n_orders: usize,
    #[comptime] d_state: usize,
    #[comptime] chunk: usize,
    #[comptime] delta_softplus: bool,
    #[comptime] reverse: bool,
    #[define(F)] _dtype: ElemType,
) {
    let d_inner = delta.shape(2);
    let length = delta.shape(1);
    let n_chunks = entries.shape(1);
    if ABSOLUTE_POS >= delta.shape(0) * n_chunks * d_inner {
        terminate!();
    }
    let lane = lane(ABSOLUTE_POS, d_inner, n_chunks, b.shape(2), n_orders);

    let unroll = comptime![d_state <= 16];
    let bias = delta_bias[lane.channel];
    let skip = d[lane.channel];
    let mut h = Array::<f32>::new(d_state);
    let mut a_n = Array::<f32>::new(d_state);
    #[unroll(unroll)]
    for n in 0..d_state {
        h[n] = entries[ABSOLUTE_POS * d_state + n];
        a_n[n] = a[lane.channel * d_state + n];
    }
    let start = lane.chunk * chunk;
    let end = (start + chunk).min(length);
    for t in start..end {
        let step = step_at(&steps, lane.batch, lane.order, t, length, reverse);
        let pre = f32::cast_from(delta[at::<F>(delta, lane.batch, step.place, lane.channel)]);
        let dt = step_size(pre, bias, delta_softplus);
        let u_t = f32::cast_from(u[at::<F>(u, lane.batch, step.place, lane.channel)]);
        let b_t = states_at::<F>(b, lane.batch, step.place, lane.group);
        let c_t = states_at::<F>(c, lane.batch, step.place, lane.group);
        let mut y_t = skip * u_t;
        #[unroll(unroll)]
        for n in 0..d_state {
            let h_n = (dt * a_n[n]).exp() * step.keep * h[n] + dt * u_t * f32::cast_from(b[b_t + n]);
            h[n] = h_n;
            y_t += h_n * f32::cast_from(c[c_t + n]);
        }
        #[comptime]
        let gated = match &z {
            ComptimeOption::Some(z) => {
                let z_t = f32::cast_from(z[offset(z.stride(0), z.stride(1), lane.batch, step.place) + lane.channel]);
                y_t * z_t * sigmoid(z_t)
            }
            ComptimeOption::None => y_t,
        };
        y[(lane.batch * length + step.place) * d_inner + lane.channel] = F::cast_from(gated);
    }

    if lane.chunk == n_chunks - 1 {
        let row = (lane.batch * d_inner + lane.channel) * d_state;
        #[unroll(unroll)]
        for n in 0..d_state {
            final_state[row + n] = h[n];
        }
    }
}
