//! The backward kernels: spans of tokens side by side as in the forward pass, each from its end to its start.
//!
//! A cube goes through its span chunk by chunk and tile by tile. It finds the states of a tile again, from the state that
//! was saved before the chunk, and keeps them; then it walks the tile backwards. With `g_t` the gradient of `<c_t, h_t>`
//! and `G_t` that of `h_t`, `G_t = c_t g_t + exp(delta_(t+1) a) G_(t+1)`, and all other gradients are products with it.
//! Those of b and c are sums over channels: the cube's own here, of all cubes in [`sum_blocks`].

use super::plan::Plan;
use super::tile::{Ahead, Place, Tile, place, rates};
use crate::cube::{sigmoid, step_at};
use cubecl::prelude::*;

/// The gradients of `<c, h> + d u` for all tokens of a tile: `[tile, channels]` in shared memory.
#[cube]
fn fill_grads<F: Float>(
    to: &mut Shared<[f32]>,
    ahead: &Ahead<F>,
    place: &Place,
    tokens: usize,
    #[comptime] gated: bool,
    #[comptime] plan: Plan,
) {
    #[unroll(plan.unroll)]
    for i in 0..plan.tokens_of_unit() {
        let t = place.part + i * plan.split;
        if t < plan.tile {
            let mut grad = f32::cast_from(ahead.grad[i]);
            if comptime![gated] {
                let z = f32::cast_from(ahead.z[i]);
                grad *= z * sigmoid(z);
            }
            to[t * plan.channels + place.column] = select(t < tokens && place.active, grad, f32::new(0.0));
        }
    }
}

/// What a span hands back from a zero gradient behind it, written as that behind the span before; the sum of its deltas.
#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn span_grad<F: Float>(
    u: &Tensor<F>,
    delta: &Tensor<F>,
    a: &Tensor<f32>,
    b: &Tensor<F>,
    c: &Tensor<F>,
    delta_bias: &Tensor<f32>,
    grad_y: &Tensor<F>,
    z: ComptimeOption<&Tensor<F>>,
    steps: ComptimeOption<&Tensor<i32>>,
    // [batch, n_spans, d_inner, d_state]: every span but the first writes the slot before its own.
    carries: &mut Tensor<f32>,
    // [batch, n_spans, d_inner, 2]: the sum of delta, and 0 if a reset cut the span, else 1.
    sums: &mut Tensor<f32>,
    n_orders: usize,
    segment: usize,
    span: usize,
    #[comptime] plan: Plan,
    #[define(F)] _dtype: ElemType,
) {
    let d_inner = delta.shape(2);
    let length = delta.shape(1);
    let n_spans = carries.shape(1);
    let place = place(d_inner, n_spans, b.shape(2), n_orders, segment, plan);
    // The grid may be larger than the work; a whole cube leaves then.
    if place.batch >= delta.shape(0) || place.span == 0 {
        terminate!();
    }
    let start = place.span * span;
    let end = (start + span).min(length);
    let bias = delta_bias[place.channel];
    let rates = rates(a, &place, plan);
    let quads = comptime![plan.states / 4];
    let mut carry = Array::<f32>::new(plan.states);
    #[unroll(plan.unroll)]
    for j in 0..plan.states {
        carry[j] = f32::new(0.0);
    }
    let mut sum = f32::new(0.0);
    let mut alive = f32::new(1.0);

    let mut tile = Tile::new(plan);
    let mut g = Shared::<[f32]>::new_slice(comptime![plan.tile * plan.channels]);
    let mut ahead = Ahead::<F>::new(plan);
    let used = (end - start).div_ceil(plan.tile);
    for back in 0..used {
        let first = start + (used - 1 - back) * plan.tile;
        ahead.read(u, delta, b, c, &z, &steps, &place, first, end, plan);
        ahead.read_grad(grad_y, &steps, &place, first, end, plan);
        tile.fill::<F>(&ahead, bias, &place, end - first, plan);
        fill_grads::<F>(&mut g, &ahead, &place, end - first, z.is_some(), plan);
        sync_cube();
        #[unroll(plan.unroll)]
        for i in 0..plan.tile {
            let t = plan.tile - 1 - i;
            let delta_t = tile.delta[t * plan.channels + place.column];
            let g_t = g[t * plan.channels + place.column];
            let keep = tile.keep[t];
            #[unroll]
            for q in 0..quads {
                let c_t = tile.b_c[((plan.tile + t) * plan.split + place.part) * quads + q];
                #[unroll]
                for k in 0..4usize {
                    let j = comptime![q * 4 + k];
                    carry[j] = (delta_t * rates[j]).exp() * keep * fma(c_t.extract(k), g_t, carry[j]);
                }
            }
            sum += delta_t;
            alive *= keep;
        }
        sync_cube();
    }

    if place.active {
        let slot = (place.batch * n_spans + place.span) * d_inner + place.channel;
        #[unroll(plan.unroll)]
        for j in 0..plan.states {
            let n = place.part * plan.states + j;
            if n < plan.d_state {
                carries[(slot - d_inner) * plan.d_state + n] = carry[j];
            }
        }
        if place.part == 0 {
            sums[slot * 2] = sum;
            sums[slot * 2 + 1] = alive;
        }
    }
}

/// Turns what spans hand back from zero into what truly reaches every span's end.
#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn grad_passing(
    a: &Tensor<f32>,
    sums: &Tensor<f32>,
    grad_final_state: &Tensor<f32>,
    carries: &mut Tensor<f32>,
) {
    let n_spans = carries.shape(1);
    let d_inner = carries.shape(2);
    let d_state = carries.shape(3);
    let row = d_inner * d_state;
    if ABSOLUTE_POS >= carries.shape(0) * row {
        terminate!();
    }
    let within = ABSOLUTE_POS % row;
    let first = ABSOLUTE_POS / row * n_spans;
    let a_n = a[within];
    let mut carry = grad_final_state[ABSOLUTE_POS];
    carries[(first + n_spans - 1) * row + within] = carry;
    for i in 1..n_spans {
        let s = n_spans - i;
        let after = ((first + s) * d_inner + within / d_state) * 2;
        let slot = (first + s - 1) * row + within;
        carry = (a_n * sums[after]).exp() * sums[after + 1] * carry + carries[slot];
        carries[slot] = carry;
    }
}

/// All gradients of a span.
#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn scan_backward<F: Float>(
    u: &Tensor<F>,
    delta: &Tensor<F>,
    a: &Tensor<f32>,
    b: &Tensor<F>,
    c: &Tensor<F>,
    d: &Tensor<f32>,
    delta_bias: &Tensor<f32>,
    // [batch, n_chunks, d_inner, d_state]
    chunk_states: &Tensor<f32>,
    // [batch, n_spans, d_inner, d_state]: the gradients of the states behind the spans
    carries: &Tensor<f32>,
    grad_y: &Tensor<F>,
    z: ComptimeOption<&Tensor<F>>,
    steps: ComptimeOption<&Tensor<i32>>,
    grad_u: &mut Tensor<F>,
    grad_delta: &mut Tensor<F>,
    mut grad_z: ComptimeOption<&mut Tensor<F>>,
    // [batch, length, n_groups, blocks, 2, d_state]: those of b and c, by cube
    grad_bc: &mut Tensor<f32>,
    // [batch * n_spans, d_inner, d_state + 2]: those of a, d and delta_bias, by span
    grad_params: &mut Tensor<f32>,
    grad_initial_state: &mut Tensor<f32>,
    n_orders: usize,
    segment: usize,
    span: usize,
    #[comptime] plan: Plan,
    #[define(F)] _dtype: ElemType,
) {
    let d_inner = delta.shape(2);
    let length = delta.shape(1);
    let n_groups = b.shape(2);
    let blocks = grad_bc.shape(3);
    let n_spans = carries.shape(1);
    let place = place(d_inner, n_spans, n_groups, n_orders, segment, plan);
    if place.batch >= delta.shape(0) {
        terminate!();
    }
    let block = CUBE_POS % blocks;
    let start = place.span * span;
    let end = (start + span).min(length);
    let bias = delta_bias[place.channel];
    let skip = d[place.channel];
    let rates = rates(a, &place, plan);
    let quads = comptime![plan.states / 4];
    let slot = (place.batch * n_spans + place.span) * d_inner + place.channel;
    let mut carry = Array::<f32>::new(plan.states);
    let mut grad_a = Array::<f32>::new(plan.states);
    #[unroll(plan.unroll)]
    for j in 0..plan.states {
        let n = place.part * plan.states + j;
        carry[j] = f32::new(0.0);
        grad_a[j] = f32::new(0.0);
        if n < plan.d_state {
            carry[j] = carries[slot * plan.d_state + n];
        }
    }
    let mut grad_d = f32::new(0.0);
    let mut grad_bias = f32::new(0.0);

    let resets = steps.is_some();
    let gated = z.is_some();
    let mut tile = Tile::new(plan);
    let mut g = Shared::<[f32]>::new_slice(comptime![plan.tile * plan.channels]);
    // [tile, split, channels]: what the units of a channel add up: <G, b>, <G, exp(delta a) h a>, <c, h>
    let mut sums_gb = Shared::<[f32]>::new_slice(comptime![plan.tile * plan.units()]);
    let mut sums_ga = Shared::<[f32]>::new_slice(comptime![plan.tile * plan.units()]);
    let mut sums_y = Shared::<[f32]>::new_slice(comptime![plan.tile * plan.units()]);
    // [sums, channels + 1]: what the channels add up
    let row = comptime![plan.channels + 1];
    let mut sums_bc = Shared::<[f32]>::new_slice(comptime![plan.sums() * row]);
    let mut ahead = Ahead::<F>::new(plan);
    // The state before every tile of a chunk.
    let tiles = comptime![plan.chunk.div_ceil(plan.tile)];
    let mut entries = Array::<f32>::new(comptime![tiles * plan.states]);
    // The state before and after every token of a tile, and the decay.
    let mut h = Array::<f32>::new(comptime![(plan.tile + 1) * plan.states]);
    let mut decays = Array::<f32>::new(comptime![plan.tile * plan.states]);

    let n_chunks = (end - start).div_ceil(plan.chunk);
    for chunk_back in 0..n_chunks {
        let chunk_start = start + (n_chunks - 1 - chunk_back) * plan.chunk;
        let chunk_end = (chunk_start + plan.chunk).min(end);
        let used = (chunk_end - chunk_start).div_ceil(plan.tile);
        let state =
            ((place.batch * chunk_states.shape(1) + chunk_start / plan.chunk) * d_inner + place.channel) * plan.d_state;
        let mut entry = Array::<f32>::new(plan.states);
        #[unroll(plan.unroll)]
        for j in 0..plan.states {
            let n = place.part * plan.states + j;
            entry[j] = f32::new(0.0);
            if n < plan.d_state {
                entry[j] = chunk_states[state + n];
            }
            entries[j] = entry[j];
        }
        for k in 1..used {
            let first = chunk_start + (k - 1) * plan.tile;
            ahead.read(u, delta, b, c, &z, &steps, &place, first, chunk_end, plan);
            tile.fill::<F>(&ahead, bias, &place, chunk_end - first, plan);
            sync_cube();
            #[unroll(plan.unroll)]
            for t in 0..plan.tile {
                tile.advance(&mut entry, &rates, t, &place, resets, plan);
            }
            #[unroll(plan.unroll)]
            for j in 0..plan.states {
                entries[k * plan.states + j] = entry[j];
            }
            sync_cube();
        }

        for tile_back in 0..used {
            let k = used - 1 - tile_back;
            let first = chunk_start + k * plan.tile;
            ahead.read(u, delta, b, c, &z, &steps, &place, first, chunk_end, plan);
            ahead.read_grad(grad_y, &steps, &place, first, chunk_end, plan);
            tile.fill::<F>(&ahead, bias, &place, chunk_end - first, plan);
            fill_grads::<F>(&mut g, &ahead, &place, chunk_end - first, gated, plan);
            sync_cube();

            #[unroll(plan.unroll)]
            for j in 0..plan.states {
                h[j] = entries[k * plan.states + j];
            }
            #[unroll(plan.unroll)]
            for t in 0..plan.tile {
                let delta_t = tile.delta[t * plan.channels + place.column];
                let x = tile.x[t * plan.channels + place.column];
                let mut y = f32::new(0.0);
                #[unroll]
                for q in 0..quads {
                    let b_t = tile.b_c[(t * plan.split + place.part) * quads + q];
                    let c_t = tile.b_c[((plan.tile + t) * plan.split + place.part) * quads + q];
                    #[unroll]
                    for i in 0..4usize {
                        let j = comptime![q * 4 + i];
                        let at = t * plan.states + j;
                        let mut kept = (delta_t * rates[j]).exp();
                        if comptime![resets] {
                            kept *= tile.keep[t];
                        }
                        decays[at] = kept;
                        let h_t = fma(kept, h[at], x * b_t.extract(i));
                        h[at + plan.states] = h_t;
                        y = fma(h_t, c_t.extract(i), y);
                    }
                }
                if comptime![gated] {
                    sums_y[(t * plan.split + place.part) * plan.channels + place.column] = y;
                }
            }

            #[unroll(plan.unroll)]
            for step_back in 0..comptime![plan.tile / plan.summed] {
                #[unroll(plan.unroll)]
                for token_back in 0..plan.summed {
                    let s = plan.summed - 1 - token_back;
                    let t = plan.tile - 1 - step_back * plan.summed - token_back;
                    let delta_t = tile.delta[t * plan.channels + place.column];
                    let x = tile.x[t * plan.channels + place.column];
                    let g_t = g[t * plan.channels + place.column];
                    let mut gb = f32::new(0.0);
                    let mut ga = f32::new(0.0);
                    #[unroll]
                    for q in 0..quads {
                        let b_t = tile.b_c[(t * plan.split + place.part) * quads + q];
                        let c_t = tile.b_c[((plan.tile + t) * plan.split + place.part) * quads + q];
                        #[unroll]
                        for i in 0..4usize {
                            let j = comptime![q * 4 + i];
                            let at = t * plan.states + j;
                            let grad = fma(c_t.extract(i), g_t, carry[j]);
                            gb = fma(grad, b_t.extract(i), gb);
                            carry[j] = decays[at] * grad;
                            let of_rate = carry[j] * h[at];
                            ga = fma(of_rate, rates[j], ga);
                            grad_a[j] = fma(of_rate, delta_t, grad_a[j]);
                            let n = place.part * plan.states + j;
                            sums_bc[(2 * s * plan.padded_states() + n) * row + place.column] = grad * x;
                            sums_bc[((2 * s + 1) * plan.padded_states() + n) * row + place.column] =
                                g_t * h[at + plan.states];
                        }
                    }
                    sums_gb[(t * plan.split + place.part) * plan.channels + place.column] = gb;
                    sums_ga[(t * plan.split + place.part) * plan.channels + place.column] = ga;
                }
                sync_cube();
                let first_summed = first + plan.tile - (step_back + 1) * plan.summed;
                for i in 0..comptime![plan.sums().div_ceil(plan.units())] {
                    let index = UNIT_POS as usize + i * plan.units();
                    let n = index % plan.padded_states();
                    let which = index / plan.padded_states() % 2;
                    let t = first_summed + index / plan.padded_states() / 2;
                    if index < plan.sums() && n < plan.d_state && t < chunk_end {
                        let mut sum = f32::new(0.0);
                        #[unroll(plan.unroll)]
                        for column in 0..plan.channels {
                            sum += sums_bc[index * row + column];
                        }
                        let step = step_at(&steps, place.batch, place.order, t, length, plan.reverse);
                        let token = ((place.batch * length + step.place) * n_groups + place.group) * blocks + block;
                        grad_bc[(token * 2 + which) * plan.d_state + n] = sum;
                    }
                }
                sync_cube();
            }

            #[unroll(plan.unroll)]
            for i in 0..plan.tokens_of_unit() {
                let t = place.part + i * plan.split;
                if t < plan.tile && first + t < chunk_end && place.active {
                    let at = t * plan.units() + place.column;
                    let mut gb = f32::new(0.0);
                    let mut ga = f32::new(0.0);
                    let u_t = f32::cast_from(ahead.u[i]);
                    let mut y = skip * u_t;
                    #[unroll(plan.unroll)]
                    for part in 0..plan.split {
                        gb += sums_gb[at + part * plan.channels];
                        ga += sums_ga[at + part * plan.channels];
                        if comptime![gated] {
                            y += sums_y[at + part * plan.channels];
                        }
                    }
                    let pre = f32::cast_from(ahead.delta[i]) + bias;
                    let delta_t = tile.delta[t * plan.channels + place.column];
                    let g_t = g[t * plan.channels + place.column];
                    let mut grad_pre = fma(gb, u_t, ga);
                    if comptime![plan.delta_softplus] {
                        grad_pre *= select(pre > 20.0, f32::new(1.0), sigmoid(pre));
                    }
                    let step = step_at(&steps, place.batch, place.order, first + t, length, plan.reverse);
                    let to = (place.batch * length + step.place) * d_inner + place.channel;
                    grad_u[to] = F::cast_from(fma(gb, delta_t, skip * g_t));
                    grad_delta[to] = F::cast_from(grad_pre);
                    #[comptime]
                    if let ComptimeOption::Some(grad_z) = grad_z.as_mut() {
                        let z_t = f32::cast_from(ahead.z[i]);
                        let grad = f32::cast_from(ahead.grad[i]);
                        let s = sigmoid(z_t);
                        grad_z[to] = F::cast_from(grad * y * s * (1.0 + z_t * (1.0 - s)));
                    }
                    grad_bias += grad_pre;
                    grad_d = fma(g_t, u_t, grad_d);
                }
            }
            sync_cube();
        }
    }

    // The shares of the units of a channel.
    sums_gb[UNIT_POS as usize] = grad_d;
    sums_ga[UNIT_POS as usize] = grad_bias;
    sync_cube();
    if place.active {
        let params = slot * comptime![plan.d_state + 2];
        let initial = (place.batch * d_inner + place.channel) * plan.d_state;
        #[unroll(plan.unroll)]
        for j in 0..plan.states {
            let n = place.part * plan.states + j;
            if n < plan.d_state {
                grad_params[params + n] = grad_a[j];
                if place.span == 0 {
                    grad_initial_state[initial + n] = carry[j];
                }
            }
        }
        if place.part == 0 {
            let mut sum_d = f32::new(0.0);
            let mut sum_bias = f32::new(0.0);
            #[unroll(plan.unroll)]
            for part in 0..plan.split {
                sum_d += sums_gb[part * plan.channels + place.column];
                sum_bias += sums_ga[part * plan.channels + place.column];
            }
            grad_params[params + comptime![plan.d_state]] = sum_d;
            grad_params[params + comptime![plan.d_state + 1]] = sum_bias;
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
