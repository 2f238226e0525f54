//! The backward kernel: spans of tokens side by side as in the forward pass, each from its end to its start. What reaches
//! a span's end is found before, in `span.rs`.
//!
//! A cube goes through its span tile by tile. It finds the states of a tile again, from the state that was saved before
//! the chunk, and keeps them; then it walks the tile backwards. With `g_t` the gradient of `<c_t, h_t>`
//! and `G_t` that of `h_t`, `G_t = c_t g_t + exp(delta_(t+1) a) G_(t+1)`, and all other gradients are products with it.
//! Those of b and c are sums over channels: the cube's own here, of all cubes in `sums.rs`.

use super::ahead::Ahead;
use super::place::{Line, Lines, Place, earlier, no_states, of_channels, of_states, place, put_states, saved_at};
use super::plan::Plan;
use super::sums::{Sums, sum_of_channels};
use super::tile::{Tile, fill_grads};
use super::unit::{decay, rates};
use crate::cube::{sigmoid, sigmoids, step_at};
use cubecl::prelude::*;

/// What a unit needs again of the tokens that it has brought in, when their gradients are complete.
#[derive(CubeType)]
struct Own<W: Size> {
    u: Array<Vector<f32, W>>,
    /// Delta after the bias.
    pre: Array<Vector<f32, W>>,
    z: Array<Vector<f32, W>>,
    grad: Array<Vector<f32, W>>,
}

#[cube]
impl<W: Size> Own<W> {
    fn new(#[comptime] plan: Plan) -> Own<W> {
        Own::<W> {
            u: Array::new(plan.tokens_of_unit()),
            pre: Array::new(plan.tokens_of_unit()),
            z: Array::new(plan.tokens_of_unit()),
            grad: Array::new(plan.tokens_of_unit()),
        }
    }

    fn take<F: Float, N: Size>(&mut self, ahead: &Ahead<F, N, W>, bias: Vector<f32, W>, #[comptime] plan: Plan) {
        #[unroll(plan.unroll)]
        for i in 0..plan.tokens_of_unit() {
            self.u[i] = ahead.u.get(i);
            self.pre[i] = ahead.delta.get(i) + bias;
            self.z[i] = ahead.z.get(i);
            self.grad[i] = ahead.grad.get(i);
        }
    }
}

/// The state that was saved before the chunk that starts with token `first`.
#[cube]
fn read_state<W: Size>(
    to: &mut Array<Vector<f32, W>>,
    chunk_states: &Tensor<Vector<f32, W>>,
    length: usize,
    d_inner: usize,
    place: &Place,
    first: usize,
    #[comptime] plan: Plan,
) {
    let at = saved_at(length, d_inner, place, first, plan);
    #[unroll(plan.unroll)]
    for j in 0..plan.states {
        to[j] = Vector::new(0.0);
        if place.part * plan.states + j < plan.d_state {
            to[j] = chunk_states[at.at(j, plan)];
        }
    }
}

/// Copies a unit's states, those of `from` from state `from_start` on, to `to` from `to_start` on.
#[cube]
fn copy_states<W: Size>(
    to: &mut Array<Vector<f32, W>>,
    to_start: usize,
    from: &Array<Vector<f32, W>>,
    from_start: usize,
    #[comptime] plan: Plan,
) {
    #[unroll(plan.unroll)]
    for j in 0..plan.states {
        to[to_start + j] = from[from_start + j];
    }
}

/// What the backward walk carries from token to token.
#[derive(CubeType)]
struct Walk<W: Size> {
    /// The gradient of the unit's states behind the token.
    carry: Array<Vector<f32, W>>,
    grad_a: Array<Vector<f32, W>>,
    grad_d: Vector<f32, W>,
    grad_bias: Vector<f32, W>,
}

/// All gradients of a span.
#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn scan_backward<F: Float, U: Float, N: Size, W: Size, Q: Size>(
    u: &Tensor<Vector<F, W>>,
    delta: &Tensor<Vector<F, W>>,
    a: &Tensor<f32>,
    b: &Tensor<Vector<F, N>>,
    c: &Tensor<Vector<F, N>>,
    d: &Tensor<f32>,
    delta_bias: &Tensor<f32>,
    // [batch, n_chunks, d_state, d_inner]
    chunk_states: &Tensor<Vector<f32, W>>,
    // [batch, n_spans, d_inner, d_state]: the gradients of the states behind the spans
    carries: &Tensor<f32>,
    grad_y: &Tensor<Vector<F, W>>,
    z: ComptimeOption<&Tensor<Vector<F, W>>>,
    steps: ComptimeOption<&Tensor<i32>>,
    // [batch, length, d_inner / rounds], f32 if rounds are `summed`
    grad_u: &mut Tensor<Vector<U, W>>,
    grad_delta: &mut Tensor<Vector<F, W>>,
    mut grad_z: ComptimeOption<&mut Tensor<Vector<F, W>>>,
    // [batch, length, groups of a round, blocks, 2, d_state]: those of b and c, by cube
    grad_bc: &mut Tensor<f32>,
    // [batch * n_spans, d_state + 2, d_inner]: those of a, d and delta_bias, by span
    grad_params: &mut Tensor<Vector<f32, W>>,
    grad_initial_state: &mut Tensor<f32>,
    n_orders: usize,
    segment: usize,
    span: usize,
    round: usize,
    rounds: usize,
    #[comptime] summed: bool,
    #[comptime] plan: Plan,
    #[define(F)] _dtype: ElemType,
    #[define(U)] _u_dtype: ElemType,
) {
    let d_inner = delta.shape(2);
    let length = delta.shape(1);
    let n_groups = b.shape(2);
    let groups = grad_bc.shape(2);
    let blocks = grad_bc.shape(3);
    let n_spans = carries.shape(1);
    let place = place(d_inner, n_spans, n_groups, n_orders, segment, round, rounds, plan);
    if place.batch >= delta.shape(0) {
        terminate!();
    }
    let block = place.block % blocks;
    let start = place.span * span;
    let end = (start + span).min(length);
    let bias = of_channels::<W>(delta_bias, &place, plan);
    let skip = of_channels::<W>(d, &place, plan);
    let rates = rates::<W>(a, &place, plan);
    let carry = if comptime![plan.fresh] {
        no_states::<W>(plan)
    } else {
        of_states::<W>(carries, (place.batch * n_spans + place.span) * d_inner, &place, plan)
    };
    let mut walk =
        Walk::<W> { carry, grad_a: Array::new(plan.states), grad_d: Vector::new(0.0), grad_bias: Vector::new(0.0) };
    #[unroll(plan.unroll)]
    for j in 0..plan.states {
        walk.grad_a[j] = Vector::new(0.0);
    }

    let resets = steps.is_some();
    let gated = z.is_some();
    let mut tile = Tile::<Q, W>::new(plan);
    let mut g = Shared::<[Vector<f32, W>]>::new_slice(comptime![plan.tile * plan.lanes()]);
    let mut sums = Sums::<W>::new(plan);
    let mut ahead = Ahead::<F, N, W>::new(&steps, plan);
    let mut own = Own::<W>::new(plan);
    let out = Line::packed(length, d_inner, &place, plan);
    let out_u = Line::packed(length, grad_u.shape(2), &place, plan);
    let of_token = blocks * comptime![2 * plan.d_state];
    let of_sums = Line {
        start: (place.batch * length * groups + place.group % groups) * of_token + block * comptime![2 * plan.d_state],
        stride: groups * of_token,
    };
    // The state before every tile of a chunk, before every window of a tile, before and after every token of a window.
    let mut entries = Array::<Vector<f32, W>>::new(comptime![plan.tiles_of_chunk() * plan.states]);
    let mut before = Array::<Vector<f32, W>>::new(comptime![plan.windows() * plan.states]);
    let mut h = Array::<Vector<f32, W>>::new(comptime![(plan.window + 1) * plan.states]);
    let mut running = Array::<Vector<f32, W>>::new(plan.states);

    let used = (end - start).div_ceil(plan.tile);
    let last = start + (used - 1) * plan.tile;
    let lines = Lines::new(u, delta, b, c, &z, &place, plan);
    let of_grad = Line::of_channels(grad_y, &place, plan);
    ahead.look_up(&steps, &place, length, last, end, plan);
    ahead.read(u, delta, b, c, &z, &place, &lines, last, end, plan);
    ahead.read_grad(grad_y, &place, &of_grad, last, end, plan);
    ahead.look_up(&steps, &place, length, tile_before(last, start, plan), end, plan);
    for back in 0..used {
        let first = start + (used - 1 - back) * plan.tile;
        if comptime![plan.tiles_of_chunk() == 1] {
            read_state(&mut running, chunk_states, length, d_inner, &place, first, plan);
        } else {
            let in_chunk = (used - 1 - back) % plan.tiles_of_chunk();
            if back == 0 || in_chunk == comptime![plan.tiles_of_chunk() - 1] {
                // From the state before the chunk to those before its other tiles.
                let chunk_start = first - in_chunk * plan.tile;
                let mut early = Ahead::<F, N, W>::new(&steps, plan);
                read_state(&mut running, chunk_states, length, d_inner, &place, chunk_start, plan);
                copy_states(&mut entries, 0usize, &running, 0usize, plan);
                early.look_up(&steps, &place, length, chunk_start, end, plan);
                for i in 0..in_chunk {
                    let none = ComptimeOption::<&Tensor<Vector<F, W>>>::new_None();
                    let early_first = chunk_start + i * plan.tile;
                    early.read(u, delta, b, b, &none, &place, &lines, early_first, end, plan);
                    early.look_up(&steps, &place, length, early_first + plan.tile, end, plan);
                    tile.fill(&early, bias, &place, plan.tile, false, false, resets, plan);
                    sync_cube();
                    #[unroll(plan.unroll)]
                    for t in 0..plan.tile {
                        tile.advance(&mut running, &rates, t, &place, resets, plan);
                    }
                    copy_states(&mut entries, (i + 1) * plan.states, &running, 0usize, plan);
                    sync_cube();
                }
            }
            copy_states(&mut running, 0usize, &entries, in_chunk * plan.states, plan);
        }
        tile.fill(&ahead, bias, &place, end - first, false, true, resets, plan);
        fill_grads(&mut g, &ahead, &place, end - first, gated, plan);
        own.take(&ahead, bias, plan);
        sync_cube();
        let next = tile_before(first, start, plan);
        ahead.read(u, delta, b, c, &z, &place, &lines, next, end, plan);
        ahead.read_grad(grad_y, &place, &of_grad, next, end, plan);
        ahead.look_up(&steps, &place, length, tile_before(next, start, plan), end, plan);

        copy_states(&mut before, 0usize, &running, 0usize, plan);
        #[unroll(plan.unroll)]
        for w in 1..plan.windows() {
            #[unroll(plan.unroll)]
            for i in 0..plan.window {
                tile.advance(&mut running, &rates, (w - 1) * plan.window + i, &place, resets, plan);
            }
            copy_states(&mut before, w * plan.states, &running, 0usize, plan);
        }
        #[unroll(plan.unroll)]
        for window_back in 0..plan.windows() {
            let w = plan.windows() - 1 - window_back;
            copy_states(&mut running, 0usize, &before, w * plan.states, plan);
            copy_states(&mut h, 0usize, &running, 0usize, plan);
            #[unroll(plan.unroll)]
            for i in 0..plan.window {
                tile.advance(&mut running, &rates, w * plan.window + i, &place, resets, plan);
                copy_states(&mut h, (i + 1) * plan.states, &running, 0usize, plan);
            }

            #[unroll(plan.unroll)]
            for step_back in 0..comptime![plan.window / plan.summed] {
                let in_window = plan.window - (step_back + 1) * plan.summed;
                let low = w * plan.window + in_window;
                #[unroll(plan.unroll)]
                for token_back in 0..plan.summed {
                    let s = plan.summed - 1 - token_back;
                    let h_at = (in_window + s) * plan.states;
                    step_back_through(
                        &mut walk,
                        &mut sums,
                        &tile,
                        &g,
                        &h,
                        &rates,
                        low + s,
                        s,
                        h_at,
                        &place,
                        resets,
                        gated,
                        plan,
                    );
                }
                sync_cube();

                #[unroll(plan.unroll)]
                for i in 0..plan.sums_of_unit() {
                    let index = UNIT_POS as usize + i * plan.units();
                    let n = index % plan.padded_states();
                    let which = index / plan.padded_states() % 2;
                    let t = first + low + index / plan.padded_states() / 2;
                    if index < plan.sums() && n < plan.d_state && t < end {
                        let step = step_at(&steps, place.batch, place.order, t, length, plan.reverse);
                        grad_bc[of_sums.at(step.place, plan) + which * plan.d_state + n] =
                            sums.over_channels(index, plan);
                    }
                }

                #[unroll(plan.unroll)]
                for i in 0..plan.tokens_of_unit() {
                    let t = place.part + i * plan.split;
                    if t >= low && t < low + plan.summed && first + t < end && place.active {
                        let at = (t - low) * plan.units() + place.lane;
                        let mut gb = Vector::<f32, W>::new(0.0);
                        let mut ga = Vector::<f32, W>::new(0.0);
                        let mut y = skip * own.u[i];
                        #[unroll(plan.unroll)]
                        for part in 0..plan.split {
                            gb += sums.gb[at + part * plan.lanes()];
                            ga += sums.ga[at + part * plan.lanes()];
                            if comptime![gated] {
                                y += sums.y[at + part * plan.lanes()];
                            }
                        }
                        let delta_t = tile.run(t, &place, plan).token::<W>(0usize, plan).delta;
                        let g_t = g[t * plan.lanes() + place.lane];
                        let mut grad_pre = fma(gb, own.u[i], ga * Vector::new(comptime![1.0 / plan.math.exp_scale()]));
                        if comptime![plan.delta_softplus] {
                            #[unroll]
                            for lane in 0..plan.wide {
                                let pre = own.pre[i].extract(lane);
                                let slope = select(pre > 20.0, f32::new(1.0), sigmoid(pre, plan.math));
                                grad_pre.insert(lane, grad_pre.extract(lane) * slope);
                            }
                        }
                        let step = step_at(&steps, place.batch, place.order, first + t, length, plan.reverse);
                        let to = out.at(step.place, plan);
                        let to_u = out_u.at(step.place, plan);
                        let sum = earlier(grad_u, to_u, round, summed) + fma(gb, delta_t, skip * g_t);
                        grad_u[to_u] = Vector::cast_from(sum);
                        grad_delta[to] = Vector::cast_from(grad_pre);
                        #[comptime]
                        if let ComptimeOption::Some(grad_z) = grad_z.as_mut() {
                            let one = Vector::<f32, W>::new(1.0);
                            let gate = sigmoids(own.z[i], plan.wide, plan.math);
                            grad_z[to] = Vector::cast_from(own.grad[i] * y * gate * fma(own.z[i], one - gate, one));
                        }
                        walk.grad_bias += grad_pre;
                        walk.grad_d = fma(g_t, own.u[i], walk.grad_d);
                    }
                }
                sync_cube();
            }
        }
    }

    // The shares of the units of a channel.
    sums.gb[UNIT_POS as usize] = walk.grad_d;
    sums.ga[UNIT_POS as usize] = walk.grad_bias;
    sync_cube();
    if place.active {
        if place.span == 0 {
            put_states(grad_initial_state, &walk.carry, place.batch * d_inner, &place, plan);
        }
        let row = d_inner / plan.wide;
        let params =
            (place.batch * n_spans + place.span) * comptime![plan.d_state + 2] * row + place.channel / plan.wide;
        #[unroll(plan.unroll)]
        for j in 0..plan.states {
            let n = place.part * plan.states + j;
            if n < plan.d_state {
                grad_params[params + n * row] = walk.grad_a[j];
            }
        }
        if place.part == 0 {
            let mut sum_d = Vector::<f32, W>::new(0.0);
            let mut sum_bias = Vector::<f32, W>::new(0.0);
            #[unroll(plan.unroll)]
            for part in 0..plan.split {
                sum_d += sums.gb[part * plan.lanes() + place.lane];
                sum_bias += sums.ga[part * plan.lanes() + place.lane];
            }
            grad_params[params + comptime![plan.d_state] * row] = sum_d;
            grad_params[params + comptime![plan.d_state + 1] * row] = sum_bias;
        }
    }
}

/// The first token of the tile before that of token `first`; before the first tile, it is its own.
#[cube]
fn tile_before(first: usize, start: usize, #[comptime] plan: Plan) -> usize {
    first - (first - start).min(plan.tile)
}

/// Token `t` of the tile, the `s`th of those whose sums are taken together. The state before it is at `h_at`.
#[cube]
#[allow(clippy::too_many_arguments, reason = "what a unit holds, and where it stands")]
fn step_back_through<W: Size, Q: Size>(
    walk: &mut Walk<W>,
    sums: &mut Sums<W>,
    tile: &Tile<Q, W>,
    g: &Shared<[Vector<f32, W>]>,
    h: &Array<Vector<f32, W>>,
    rates: &Array<Vector<f32, W>>,
    t: usize,
    s: usize,
    h_at: usize,
    place: &Place,
    #[comptime] resets: bool,
    #[comptime] gated: bool,
    #[comptime] plan: Plan,
) {
    let row = comptime![plan.lanes() + 1];
    let token = tile.run(t, place, plan).token::<W>(0usize, plan);
    let g_t = g[t * plan.lanes() + place.lane];
    let mut gb = Vector::<f32, W>::new(0.0);
    let mut ga = Vector::<f32, W>::new(0.0);
    let mut y = Vector::<f32, W>::new(0.0);
    #[unroll]
    for q in 0..comptime![plan.states / plan.quad] {
        let b = tile.b(t, q, place, plan);
        let c = tile.c(t, q, place, plan);
        #[unroll]
        for k in 0..plan.quad {
            let j = comptime![q * plan.quad + k];
            let h_before = h[h_at + j];
            let h_t = h[h_at + plan.states + j];
            let c_t = Vector::<f32, W>::new(c.extract(k));
            let mut kept = decay(token.delta, rates[j], plan);
            if comptime![resets] {
                kept *= Vector::new(tile.keep[t]);
            }
            if comptime![gated] {
                y = fma(h_t, c_t, y);
            }
            let grad = fma(c_t, g_t, walk.carry[j]);
            gb = fma(grad, Vector::new(b.extract(k)), gb);
            walk.carry[j] = kept * grad;
            let of_rate = walk.carry[j] * h_before;
            ga = fma(of_rate, rates[j], ga);
            walk.grad_a[j] = fma(of_rate, token.delta, walk.grad_a[j]);
            let n = place.part * plan.states + j;
            sums.bc[(2 * s * plan.padded_states() + n) * row + place.lane] = sum_of_channels(grad * token.x, plan);
            sums.bc[((2 * s + 1) * plan.padded_states() + n) * row + place.lane] = sum_of_channels(g_t * h_t, plan);
        }
    }
    let at = (s * plan.split + place.part) * plan.lanes() + place.lane;
    sums.gb[at] = gb;
    sums.ga[at] = ga;
    if comptime![gated] {
        sums.y[at] = y;
    }
}
