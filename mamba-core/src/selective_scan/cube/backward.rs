//! The backward kernel: spans of tokens side by side as in the forward pass, each from its end to its start. What reaches
//! a span's end is found before, in `span_grad.rs`.
//!
//! A cube goes through its span tile by tile. It finds the states of a tile again, from the state that was saved before
//! the chunk, and keeps them; then it walks the tile backwards. With `g_t` the gradient of `<c_t, h_t>`
//! and `G_t` that of `h_t`, `G_t = c_t g_t + exp(delta_(t+1) a) G_(t+1)`, and all other gradients are products with it.
//! Those of b and c are sums over channels: the cube's own here, of all cubes in [`sum_blocks`].

use super::plan::Plan;
use super::tile::{Ahead, Line, Lines, Place, Tile, decay, fill_grads, place, rates, saved_at};
use crate::cube::{exp_scale, sigmoid, step_at};
use cubecl::prelude::*;

/// What a unit needs again of the tokens that it has brought in, when their gradients are complete.
#[derive(CubeType)]
struct Own {
    u: Array<f32>,
    /// Delta after the bias.
    pre: Array<f32>,
    z: Array<f32>,
    grad: Array<f32>,
}

#[cube]
impl Own {
    fn new(#[comptime] plan: Plan) -> Own {
        Own {
            u: Array::new(plan.tokens_of_unit()),
            pre: Array::new(plan.tokens_of_unit()),
            z: Array::new(plan.tokens_of_unit()),
            grad: Array::new(plan.tokens_of_unit()),
        }
    }

    fn take<F: Float, N: Size>(&mut self, ahead: &Ahead<F, N>, bias: f32, #[comptime] plan: Plan) {
        #[unroll(plan.unroll)]
        for i in 0..plan.tokens_of_unit() {
            self.u[i] = f32::cast_from(ahead.u[i]);
            self.pre[i] = f32::cast_from(ahead.delta[i]) + bias;
            self.z[i] = f32::cast_from(ahead.z[i]);
            self.grad[i] = f32::cast_from(ahead.grad[i]);
        }
    }
}

/// The state that was saved before the chunk that starts with token `first`.
#[cube]
fn read_state(
    to: &mut Array<f32>,
    chunk_states: &Tensor<f32>,
    length: usize,
    d_inner: usize,
    place: &Place,
    first: usize,
    #[comptime] plan: Plan,
) {
    let at = saved_at(length, d_inner, place, first, plan);
    #[unroll(plan.unroll)]
    for j in 0..plan.states {
        to[j] = f32::new(0.0);
        if place.part * plan.states + j < plan.d_state {
            to[j] = chunk_states[at + j * d_inner];
        }
    }
}

/// All gradients of a span.
#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn scan_backward<F: Float, N: Size>(
    u: &Tensor<F>,
    delta: &Tensor<F>,
    a: &Tensor<f32>,
    b: &Tensor<Vector<F, N>>,
    c: &Tensor<Vector<F, N>>,
    d: &Tensor<f32>,
    delta_bias: &Tensor<f32>,
    // [batch, n_chunks, d_state, d_inner]
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
    // [batch * n_spans, d_state + 2, d_inner]: those of a, d and delta_bias, by span
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
    let pairs = comptime![plan.states / 2];
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
    // [summed, split, channels]: what the units of a channel add up: <G, b>, <G, exp(delta a) h a>, <c, h>
    let mut sums_gb = Shared::<[f32]>::new_slice(comptime![plan.summed * plan.units()]);
    let mut sums_ga = Shared::<[f32]>::new_slice(comptime![plan.summed * plan.units()]);
    let mut sums_y = Shared::<[f32]>::new_slice(comptime![plan.summed * plan.units()]);
    // [sums, channels + 1]: what the channels add up
    let row = comptime![plan.channels + 1];
    let mut sums_bc = Shared::<[f32]>::new_slice(comptime![plan.sums() * row]);
    let mut ahead = Ahead::<F, N>::new(plan);
    let mut own = Own::new(plan);
    // What is written lies without gaps.
    let out = Line { start: place.batch * length * d_inner + place.channel, stride: d_inner };
    let of_token = blocks * comptime![2 * plan.d_state];
    let of_sums = Line {
        start: (place.batch * length * n_groups + place.group) * of_token + block * comptime![2 * plan.d_state],
        stride: n_groups * of_token,
    };
    // The state before every tile of a chunk, and before and after every token of a tile.
    let mut entries = Array::<f32>::new(comptime![plan.tiles_of_chunk() * plan.states]);
    let mut h = Array::<f32>::new(comptime![(plan.tile + 1) * plan.states]);

    let used = (end - start).div_ceil(plan.tile);
    let last = start + (used - 1) * plan.tile;
    let lines = Lines::new(u, delta, b, c, &z, &place);
    let of_grad = Line::of_channel(grad_y, &place);
    ahead.read(u, delta, b, c, &z, &steps, &place, &lines, last, end, plan);
    ahead.read_grad(grad_y, &steps, &place, &of_grad, last, end, plan);
    for back in 0..used {
        let first = start + (used - 1 - back) * plan.tile;
        if comptime![plan.tiles_of_chunk() == 1] {
            read_state(&mut h, chunk_states, length, d_inner, &place, first, plan);
        } else {
            let in_chunk = (used - 1 - back) % plan.tiles_of_chunk();
            if back == 0 || in_chunk == comptime![plan.tiles_of_chunk() - 1] {
                // From the state before the chunk to those before its other tiles.
                let chunk_start = first - in_chunk * plan.tile;
                let mut early = Ahead::<F, N>::new(plan);
                read_state(&mut h, chunk_states, length, d_inner, &place, chunk_start, plan);
                #[unroll(plan.unroll)]
                for j in 0..plan.states {
                    entries[j] = h[j];
                }
                for i in 0..in_chunk {
                    let none = ComptimeOption::<&Tensor<F>>::new_None();
                    early.read(u, delta, b, b, &none, &steps, &place, &lines, chunk_start + i * plan.tile, end, plan);
                    tile.fill::<F, N>(&early, bias, &place, plan.tile, plan);
                    sync_cube();
                    #[unroll(plan.unroll)]
                    for t in 0..plan.tile {
                        tile.advance(&mut h, &rates, t, &place, resets, plan);
                    }
                    #[unroll(plan.unroll)]
                    for j in 0..plan.states {
                        entries[(i + 1) * plan.states + j] = h[j];
                    }
                    sync_cube();
                }
            }
            #[unroll(plan.unroll)]
            for j in 0..plan.states {
                h[j] = entries[in_chunk * plan.states + j];
            }
        }
        tile.fill::<F, N>(&ahead, bias, &place, end - first, plan);
        fill_grads::<F, N>(&mut g, &ahead, &place, end - first, gated, plan);
        own.take::<F, N>(&ahead, bias, plan);
        sync_cube();
        let next = first.max(start + plan.tile) - plan.tile;
        ahead.read(u, delta, b, c, &z, &steps, &place, &lines, next, end, plan);
        ahead.read_grad(grad_y, &steps, &place, &of_grad, next, end, plan);

        #[unroll(plan.unroll)]
        for t in 0..plan.tile {
            let token = tile.token(t, &place, plan);
            #[unroll]
            for q in 0..pairs {
                let pair = tile.pair(t, q, &place, plan);
                #[unroll]
                for i in 0..2usize {
                    let at = t * plan.states + comptime![q * 2 + i];
                    let mut kept = decay(token.delta, rates[comptime![q * 2 + i]], plan);
                    if comptime![resets] {
                        kept *= tile.keep[t];
                    }
                    h[at + plan.states] = fma(kept, h[at], token.x * pair.extract(i));
                }
            }
        }

        #[unroll(plan.unroll)]
        for step_back in 0..comptime![plan.tile / plan.summed] {
            let low = plan.tile - (step_back + 1) * plan.summed;
            #[unroll(plan.unroll)]
            for token_back in 0..plan.summed {
                let s = plan.summed - 1 - token_back;
                let t = low + s;
                let token = tile.token(t, &place, plan);
                let g_t = g[t * plan.channels + place.column];
                let mut gb = f32::new(0.0);
                let mut ga = f32::new(0.0);
                let mut y = f32::new(0.0);
                #[unroll]
                for q in 0..pairs {
                    let pair = tile.pair(t, q, &place, plan);
                    #[unroll]
                    for i in 0..2usize {
                        let j = comptime![q * 2 + i];
                        let c_t = pair.extract(comptime![i + 2]);
                        let at = t * plan.states + j;
                        let mut kept = decay(token.delta, rates[j], plan);
                        if comptime![resets] {
                            kept *= tile.keep[t];
                        }
                        y = fma(h[at + plan.states], c_t, y);
                        let grad = fma(c_t, g_t, carry[j]);
                        gb = fma(grad, pair.extract(i), gb);
                        carry[j] = kept * grad;
                        let of_rate = carry[j] * h[at];
                        ga = fma(of_rate, rates[j], ga);
                        grad_a[j] = fma(of_rate, token.delta, grad_a[j]);
                        let n = place.part * plan.states + j;
                        sums_bc[(2 * s * plan.padded_states() + n) * row + place.column] = grad * token.x;
                        sums_bc[((2 * s + 1) * plan.padded_states() + n) * row + place.column] =
                            g_t * h[at + plan.states];
                    }
                }
                let at = (s * plan.split + place.part) * plan.channels + place.column;
                sums_gb[at] = gb;
                sums_ga[at] = ga;
                if comptime![gated] {
                    sums_y[at] = y;
                }
            }
            sync_cube();

            #[unroll(plan.unroll)]
            for i in 0..plan.sums_of_unit() {
                let index = UNIT_POS as usize + i * plan.units();
                let n = index % plan.padded_states();
                let which = index / plan.padded_states() % 2;
                let t = first + low + index / plan.padded_states() / 2;
                if index < plan.sums() && n < plan.d_state && t < end {
                    let mut sum = f32::new(0.0);
                    #[unroll(plan.unroll)]
                    for column in 0..plan.channels {
                        sum += sums_bc[index * row + column];
                    }
                    let step = step_at(&steps, place.batch, place.order, t, length, plan.reverse);
                    grad_bc[of_sums.at(step.place) + which * plan.d_state + n] = sum;
                }
            }

            #[unroll(plan.unroll)]
            for i in 0..plan.tokens_of_unit() {
                let t = place.part + i * plan.split;
                if t >= low && t < low + plan.summed && first + t < end && place.active {
                    let at = (t - low) * plan.units() + place.column;
                    let mut gb = f32::new(0.0);
                    let mut ga = f32::new(0.0);
                    let mut y = skip * own.u[i];
                    #[unroll(plan.unroll)]
                    for part in 0..plan.split {
                        gb += sums_gb[at + part * plan.channels];
                        ga += sums_ga[at + part * plan.channels];
                        if comptime![gated] {
                            y += sums_y[at + part * plan.channels];
                        }
                    }
                    let delta_t = tile.token(t, &place, plan).delta;
                    let g_t = g[t * plan.channels + place.column];
                    let mut grad_pre = fma(gb, own.u[i], ga * comptime![1.0 / exp_scale(plan.ptx)]);
                    if comptime![plan.delta_softplus] {
                        grad_pre *= select(own.pre[i] > 20.0, f32::new(1.0), sigmoid(own.pre[i], plan.ptx));
                    }
                    let step = step_at(&steps, place.batch, place.order, first + t, length, plan.reverse);
                    let to = out.at(step.place);
                    grad_u[to] = F::cast_from(fma(gb, delta_t, skip * g_t));
                    grad_delta[to] = F::cast_from(grad_pre);
                    #[comptime]
                    if let ComptimeOption::Some(grad_z) = grad_z.as_mut() {
                        let gate = sigmoid(own.z[i], plan.ptx);
                        grad_z[to] = F::cast_from(own.grad[i] * y * gate * (1.0 + own.z[i] * (1.0 - gate)));
                    }
                    grad_bias += grad_pre;
                    grad_d = fma(g_t, own.u[i], grad_d);
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
        let params = (place.batch * n_spans + place.span) * comptime![plan.d_state + 2] * d_inner + place.channel;
        let initial = (place.batch * d_inner + place.channel) * plan.d_state;
        #[unroll(plan.unroll)]
        for j in 0..plan.states {
            let n = place.part * plan.states + j;
            if n < plan.d_state {
                grad_params[params + n * d_inner] = grad_a[j];
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
            grad_params[params + comptime![plan.d_state] * d_inner] = sum_d;
            grad_params[params + comptime![plan.d_state + 1] * d_inner] = sum_bias;
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
