//! The backward kernels. With `g` the gradient of the ungated output and `G` that of the state
//! (Gu & Dao 2023, appendix D; `E` = `exp(delta a)`):
//!
//! ```text
//! G_t = c_t g_t + E_(t+1) G_(t+1)          dc_t = sum_e g_t h_t             db_t = sum_e G_t delta_t u_t
//! du_t = d g_t + sum_n G_t delta_t b_t     ddelta_t = sum_n G_t (b_t u_t + a E_t h_(t-1))
//! da = sum_t G_t delta_t E_t h_(t-1)       dd = sum_t g_t u_t
//! ```
//!
//! Chunks run side by side as in the forward pass: what every chunk hands back from a zero gradient
//! ([`chunk_grad`]), the hand-over from chunk to chunk ([`grad_passing`]), and every chunk with the gradient that
//! reaches it ([`scan_backward`]), where the states are recomputed from the chunk's entry state, tile by tile.

#![allow(clippy::manual_is_multiple_of, reason = "not a method of numbers in kernels")]

use super::forward::{at, offset, states_at, step_size};
use crate::cube::{sigmoid, step_at};
use cubecl::prelude::*;

/// Tokens whose states a thread holds at once. Chunks are multiples of it.
pub(crate) const TILE: usize = 16;

/// The gradient of the state before every chunk if none reaches the chunk's end, and the sum of its deltas.
#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn chunk_grad<F: Float>(
    delta: &Tensor<F>,
    a: &Tensor<f32>,
    c: &Tensor<F>,
    delta_bias: &Tensor<f32>,
    grad_y: &Tensor<F>,
    z: ComptimeOption<&Tensor<F>>,
    steps: ComptimeOption<&Tensor<i32>>,
    // [batch, n_chunks, d_inner, d_state]: every chunk but the first writes the slot before its own.
    carries: &mut Tensor<f32>,
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
    let n_chunks = carries.shape(1);
    if ABSOLUTE_POS >= delta.shape(0) * n_chunks * d_inner {
        terminate!();
    }
    let channel = ABSOLUTE_POS % d_inner;
    let chunk_index = ABSOLUTE_POS / d_inner % n_chunks;
    let batch = ABSOLUTE_POS / d_inner / n_chunks;
    let order = channel / (d_inner / n_orders);
    let group = channel / (d_inner / c.shape(2));
    if chunk_index == 0 {
        terminate!();
    }

    let unroll = comptime![d_state <= 16];
    let bias = delta_bias[channel];
    let mut carry = Array::<f32>::new(d_state);
    let mut a_n = Array::<f32>::new(d_state);
    #[unroll(unroll)]
    for n in 0..d_state {
        carry[n] = f32::new(0.0);
        a_n[n] = a[channel * d_state + n];
    }
    let mut sum = f32::new(0.0);
    let mut alive = f32::new(1.0);
    let start = chunk_index * chunk;
    let end = (start + chunk).min(length);
    for i in 0..end - start {
        let step = step_at(&steps, batch, order, end - 1 - i, length, reverse);
        let dt = step_size(f32::cast_from(delta[at::<F>(delta, batch, step.place, channel)]), bias, delta_softplus);
        let grad = f32::cast_from(grad_y[at::<F>(grad_y, batch, step.place, channel)]);
        #[comptime]
        let g = match &z {
            ComptimeOption::Some(z) => {
                let z_t = f32::cast_from(z[offset(z.stride(0), z.stride(1), batch, step.place) + channel]);
                grad * z_t * sigmoid(z_t)
            }
            ComptimeOption::None => grad,
        };
        let c_t = states_at::<F>(c, batch, step.place, group);
        #[unroll(unroll)]
        for n in 0..d_state {
            carry[n] = (dt * a_n[n]).exp() * step.keep * (f32::cast_from(c[c_t + n]) * g + carry[n]);
        }
        sum += dt;
        alive *= step.keep;
    }

    let slot = (batch * n_chunks + chunk_index) * d_inner + channel;
    #[unroll(unroll)]
    for n in 0..d_state {
        carries[(slot - d_inner) * d_state + n] = carry[n];
    }
    sums[slot * 2] = sum;
    sums[slot * 2 + 1] = alive;
}

/// Turns what chunks hand back from zero into what truly reaches every chunk's end.
#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn grad_passing(
    a: &Tensor<f32>,
    sums: &Tensor<f32>,
    grad_final_state: &Tensor<f32>,
    carries: &mut Tensor<f32>,
) {
    let n_chunks = carries.shape(1);
    let d_inner = carries.shape(2);
    let d_state = carries.shape(3);
    let row = d_inner * d_state;
    if ABSOLUTE_POS >= carries.shape(0) * row {
        terminate!();
    }
    let within = ABSOLUTE_POS % row;
    let first = ABSOLUTE_POS / row * n_chunks;
    let a_n = a[within];
    let mut carry = grad_final_state[ABSOLUTE_POS];
    carries[(first + n_chunks - 1) * row + within] = carry;
    for i in 1..n_chunks {
        let c = n_chunks - i;
        let after = ((first + c) * d_inner + within / d_state) * 2;
        let slot = (first + c - 1) * row + within;
        carry = (a_n * sums[after]).exp() * sums[after + 1] * carry + carries[slot];
        carries[slot] = carry;
    }
}

/// All gradients of one chunk. A cube owns a block of channels of one segment, over which it sums those of b and c: a
/// segment's channels share their group and their order.
#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn scan_backward<F: Float>(
    u: &Tensor<F>,
    delta: &Tensor<F>,
    a: &Tensor<f32>,
    b: &Tensor<F>,
    c: &Tensor<F>,
    d: &Tensor<f32>,
    delta_bias: &Tensor<f32>,
    entries: &Tensor<f32>,
    carries: &Tensor<f32>,
    grad_y: &Tensor<F>,
    z: ComptimeOption<&Tensor<F>>,
    steps: ComptimeOption<&Tensor<i32>>,
    grad_u: &mut Tensor<F>,
    grad_delta: &mut Tensor<F>,
    mut grad_z: ComptimeOption<&mut Tensor<F>>,
    // [batch, length, n_groups, blocks, 2, d_state]: those of b and c, by block of channels
    grad_bc: &mut Tensor<f32>,
    // [batch * n_chunks, d_inner, d_state + 2]: those of a, d and delta_bias, by chunk
    grad_params: &mut Tensor<f32>,
    grad_initial_state: &mut Tensor<f32>,
    n_orders: usize,
    segment: usize,
    // TILE, as a number that the device's compiler does not know.
    tile_length: usize,
    #[comptime] block: usize,
    #[comptime] d_state: usize,
    #[comptime] chunk: usize,
    #[comptime] delta_softplus: bool,
    #[comptime] reverse: bool,
    // Whether a tile's tokens are unrolled into registers; else all loops are left to run time.
    #[comptime] registers: bool,
    #[define(F)] _dtype: ElemType,
) {
    let d_inner = delta.shape(2);
    let length = delta.shape(1);
    let n_chunks = entries.shape(1);
    let n_groups = b.shape(2);
    let blocks = grad_bc.shape(3);
    let per_group = d_inner / n_groups;
    // The grid may be larger than the work; a whole cube leaves then.
    if CUBE_POS >= delta.shape(0) * n_chunks * n_groups * blocks {
        terminate!();
    }
    let block_index = CUBE_POS % blocks;
    let group = CUBE_POS / blocks % n_groups;
    let chunk_index = CUBE_POS / blocks / n_groups % n_chunks;
    let batch = CUBE_POS / blocks / n_groups / n_chunks;
    let unit = UNIT_POS as usize;
    // Units beyond the segment compute on the last channel with zero weight and write nothing.
    let segment_blocks = segment.div_ceil(block);
    let within = block_index % segment_blocks * block + unit;
    let active = within < segment;
    let channel = group * per_group + block_index / segment_blocks * segment + within.min(segment - 1);
    let weight = select(active, f32::new(1.0), f32::new(0.0));
    let order = channel / (d_inner / n_orders);

    let tiles = comptime![chunk / TILE];
    let tokens = if comptime![registers] { TILE.runtime() } else { tile_length };
    let n_states = if comptime![registers] { d_state.runtime() } else { a.shape(1) };
    let start = chunk_index * chunk;
    let end = (start + chunk).min(length);
    let slot = (batch * n_chunks + chunk_index) * d_inner + channel;
    let skip = d[channel];
    let bias = delta_bias[channel];

    // Forward through the chunk: the state before every tile, and the gate's gradient, which needs the output.
    let unroll = comptime![registers && d_state <= 16];
    let mut tile_states = Array::<f32>::new(comptime![tiles * d_state]);
    let mut h = Array::<f32>::new(d_state);
    #[unroll(unroll)]
    for n in 0..n_states {
        h[n] = entries[slot * d_state + n];
    }
    for t in start..end {
        if (t - start) % TILE == 0 {
            let tile = (t - start) / TILE;
            #[unroll(unroll)]
            for n in 0..n_states {
                tile_states[tile * d_state + n] = h[n];
            }
        }
        let step = step_at(&steps, batch, order, t, length, reverse);
        let dt = step_size(f32::cast_from(delta[at::<F>(delta, batch, step.place, channel)]), bias, delta_softplus);
        let u_t = f32::cast_from(u[at::<F>(u, batch, step.place, channel)]);
        let b_t = states_at::<F>(b, batch, step.place, group);
        let c_t = states_at::<F>(c, batch, step.place, group);
        let mut y = skip * u_t;
        #[unroll(unroll)]
        for n in 0..n_states {
            let h_n = (dt * a[channel * d_state + n]).exp() * step.keep * h[n] + dt * u_t * f32::cast_from(b[b_t + n]);
            h[n] = h_n;
            y += h_n * f32::cast_from(c[c_t + n]);
        }
        #[comptime]
        if let ComptimeOption::Some(grad_z) = grad_z.as_mut() {
            #[comptime]
            if let ComptimeOption::Some(z) = &z {
                let z_t = f32::cast_from(z[offset(z.stride(0), z.stride(1), batch, step.place) + channel]);
                let s = sigmoid(z_t);
                let grad = f32::cast_from(grad_y[at::<F>(grad_y, batch, step.place, channel)]);
                if active {
                    grad_z[(batch * length + step.place) * d_inner + channel] =
                        F::cast_from(grad * y * s * (1.0 + z_t * (1.0 - s)));
                }
            }
        }
    }

    // Backward, tile by tile.
    let mut carry = Array::<f32>::new(d_state);
    let mut grad_a = Array::<f32>::new(d_state);
    #[unroll(unroll)]
    for n in 0..n_states {
        carry[n] = carries[slot * d_state + n];
        grad_a[n] = f32::new(0.0);
    }
    let mut grad_d = f32::new(0.0);
    let mut grad_bias = f32::new(0.0);

    let row = comptime![block + 1];
    let mut shared = Shared::<[f32]>::new_slice(comptime![2 * TILE * row]);
    let mut halves = Shared::<[f32]>::new_slice(comptime![4 * TILE]);

    let used = (end - start).div_ceil(TILE);
    for back in 0..used {
        let tile = used - 1 - back;
        let first = start + tile * TILE;
        // Tokens behind the end have zero delta and gradients: the identity.
        let mut dt = Array::<f32>::new(TILE);
        let mut slope = Array::<f32>::new(TILE);
        let mut u_t = Array::<f32>::new(TILE);
        let mut g = Array::<f32>::new(TILE);
        let mut keep = Array::<f32>::new(TILE);
        let mut grad_dt = Array::<f32>::new(TILE);
        let mut grad_ut = Array::<f32>::new(TILE);
        #[unroll(registers)]
        for i in 0..tokens {
            dt[i] = f32::new(0.0);
            slope[i] = f32::new(0.0);
            u_t[i] = f32::new(0.0);
            g[i] = f32::new(0.0);
            keep[i] = f32::new(1.0);
            grad_dt[i] = f32::new(0.0);
            grad_ut[i] = f32::new(0.0);
            if first + i < end {
                let step = step_at(&steps, batch, order, first + i, length, reverse);
                let pre = f32::cast_from(delta[at::<F>(delta, batch, step.place, channel)]) + bias;
                let grad = f32::cast_from(grad_y[at::<F>(grad_y, batch, step.place, channel)]) * weight;
                dt[i] = step_size(pre, f32::new(0.0), delta_softplus);
                slope[i] = if comptime![delta_softplus] {
                    select(pre > 20.0, f32::new(1.0), sigmoid(pre))
                } else {
                    f32::new(1.0)
                };
                u_t[i] = f32::cast_from(u[at::<F>(u, batch, step.place, channel)]);
                keep[i] = step.keep;
                #[comptime]
                let gated = match &z {
                    ComptimeOption::Some(z) => {
                        let z_t = f32::cast_from(z[offset(z.stride(0), z.stride(1), batch, step.place) + channel]);
                        grad * z_t * sigmoid(z_t)
                    }
                    ComptimeOption::None => grad,
                };
                g[i] = gated;
            }
        }

        for n in 0..n_states {
            let a_n = a[channel * d_state + n];
            let entry = tile_states[tile * d_state + n];
            let mut h_n = Array::<f32>::new(TILE);
            let mut decays = Array::<f32>::new(TILE);
            let mut b_n = Array::<f32>::new(TILE);
            let mut c_n = Array::<f32>::new(TILE);
            let mut state = entry;
            #[unroll(registers)]
            for i in 0..tokens {
                b_n[i] = f32::new(0.0);
                c_n[i] = f32::new(0.0);
                if first + i < end {
                    let step = step_at(&steps, batch, order, first + i, length, reverse);
                    b_n[i] = f32::cast_from(b[states_at::<F>(b, batch, step.place, group) + n]);
                    c_n[i] = f32::cast_from(c[states_at::<F>(c, batch, step.place, group) + n]);
                }
                decays[i] = (dt[i] * a_n).exp() * keep[i];
                state = decays[i] * state + dt[i] * u_t[i] * b_n[i];
                h_n[i] = state;
            }
            let mut later = carry[n];
            let mut sum_a = f32::new(0.0);
            #[unroll(registers)]
            for j in 0..tokens {
                let i = tokens - 1 - j;
                let before = select(i == 0, entry, h_n[i.max(1) - 1]);
                let kept = decays[i] * before;
                let big_g = c_n[i] * g[i] + later;
                grad_dt[i] += big_g * (b_n[i] * u_t[i] + a_n * kept);
                grad_ut[i] += big_g * dt[i] * b_n[i];
                sum_a += big_g * dt[i] * kept;
                shared[i * row + unit] = big_g * dt[i] * u_t[i] * weight;
                shared[(TILE + i) * row + unit] = g[i] * h_n[i];
                later = decays[i] * big_g;
            }
            carry[n] = later;
            grad_a[n] += sum_a;

            // Sums over the block's channels: every row of `shared` in two halves, in a fixed order.
            sync_cube();
            if unit < comptime![4 * TILE] {
                let sum_row = unit % (2 * TILE);
                let half = unit / (2 * TILE);
                let mut sum = f32::new(0.0);
                let width = CUBE_DIM as usize / 2;
                for i in 0..width {
                    sum += shared[sum_row * row + half * width + i];
                }
                halves[unit] = sum;
            }
            sync_cube();
            if unit < comptime![2 * TILE] {
                let t = first + unit % TILE;
                if t < end {
                    let step = step_at(&steps, batch, order, t, length, reverse);
                    let token = ((batch * length + step.place) * n_groups + group) * blocks + block_index;
                    grad_bc[(token * 2 + unit / TILE) * d_state + n] = halves[unit] + halves[unit + 2 * TILE];
                }
            }
        }

        #[unroll(registers)]
        for i in 0..tokens {
            if first + i < end && active {
                let step = step_at(&steps, batch, order, first + i, length, reverse);
                let grad_pre = grad_dt[i] * slope[i];
                grad_delta[(batch * length + step.place) * d_inner + channel] = F::cast_from(grad_pre);
                grad_u[(batch * length + step.place) * d_inner + channel] = F::cast_from(grad_ut[i] + skip * g[i]);
                grad_bias += grad_pre;
                grad_d += g[i] * u_t[i];
            }
        }
    }

    if active {
        let params = slot * comptime![d_state + 2];
        #[unroll(unroll)]
        for n in 0..n_states {
            grad_params[params + n] = grad_a[n];
        }
        grad_params[params + comptime![d_state]] = grad_d;
        grad_params[params + comptime![d_state + 1]] = grad_bias;
        if chunk_index == 0 {
            #[unroll(unroll)]
            for n in 0..n_states {
                grad_initial_state[(batch * d_inner + channel) * d_state + n] = carry[n];
            }
        }
    }
}

/// The gradients of b and c from those of the blocks of channels; a thread sums one number of each, in a fixed order.
#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn sum_blocks<F: Float>(
    // [batch, length, n_groups, blocks, 2, d_state]
    grad_bc: &Tensor<f32>,
    grad_b: &mut Tensor<F>,
    grad_c: &mut Tensor<F>,
    #[define(F)] _dtype: ElemType,
) {
    if ABSOLUTE_POS >= grad_b.len() {
        terminate!();
    }
    let blocks = grad_bc.shape(3);
    let d_state = grad_bc.shape(5);
    let first = ABSOLUTE_POS / d_state * blocks * 2 * d_state + ABSOLUTE_POS % d_state;
    let mut sum_b = f32::new(0.0);
    let mut sum_c = f32::new(0.0);
    for block in 0..blocks {
        sum_b += grad_bc[first + 2 * block * d_state];
        sum_c += grad_bc[first + (2 * block + 1) * d_state];
    }
    grad_b[ABSOLUTE_POS] = F::cast_from(sum_b);
    grad_c[ABSOLUTE_POS] = F::cast_from(sum_c);
}
