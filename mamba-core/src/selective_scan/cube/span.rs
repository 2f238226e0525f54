//! What spans of tokens hand to each other, where several are scanned side by side: in the forward pass states, from the
//! first span to the last, in the backward pass gradients of states, from the last to the first.
//!
//! [`span_edge`] finds what each span adds, [`pass_on`] what then reaches each. With `R_t` the sum of delta over the
//! tokens behind `t`, a span ends with the sum over its tokens of `exp(R_t a) b_t delta_t u_t`; with `P_t` the sum up to
//! `t` and `g_t` the gradient of `<c_t, h_t>`, it hands back the sum of `exp(P_t a) c_t g_t`. Either sum starts at the
//! edge: no product of many exponentials, whose errors would add up.

use super::ahead::Ahead;
use super::place::{Line, Lines, Place, no_states, of_channels, place, put_states};
use super::plan::Plan;
use super::tile::{Tile, fill_grads};
use super::unit::{decay_once, rates};
use crate::cube::{Math, exp_scaled};
use cubecl::prelude::*;

/// What a span adds to the states behind it or, given `grad_y`, to the gradients of the states before it, and the sum of
/// its deltas.
#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn span_edge<F: Float, N: Size, W: Size, Q: Size>(
    u: &Tensor<Vector<F, W>>,
    delta: &Tensor<Vector<F, W>>,
    a: &Tensor<f32>,
    // b or, for gradients, c
    bc: &Tensor<Vector<F, N>>,
    delta_bias: &Tensor<f32>,
    grad_y: ComptimeOption<&Tensor<Vector<F, W>>>,
    z: ComptimeOption<&Tensor<Vector<F, W>>>,
    steps: ComptimeOption<&Tensor<i32>>,
    // [batch, n_spans, d_inner, d_state]
    edges: &mut Tensor<f32>,
    // [batch, n_spans, d_inner, 2]: the sum of delta, up to a reset, and 0 if a reset cut the span, else 1.
    sums: &mut Tensor<f32>,
    n_orders: usize,
    segment: usize,
    span: usize,
    #[comptime] plan: Plan,
    #[define(F)] _dtype: ElemType,
) {
    let d_inner = delta.shape(2);
    let length = delta.shape(1);
    let n_spans = edges.shape(1);
    let place = place(d_inner, n_spans, bc.shape(2), n_orders, segment, 0usize, 1usize, plan);
    let of_grad = grad_y.is_some();
    let nobody_behind = if comptime![of_grad] { place.span == 0 } else { place.span == n_spans - 1 };
    // The grid may be larger than the work; a whole cube leaves then.
    if place.batch >= delta.shape(0) || nobody_behind {
        terminate!();
    }
    let start = place.span * span;
    let end = (start + span).min(length);
    let bias = of_channels::<W>(delta_bias, &place, plan);
    let rates = rates::<W>(a, &place, plan);
    let mut edge = no_states::<W>(plan);
    let mut sum = Vector::<f32, W>::new(0.0);
    let mut alive = f32::new(1.0);

    let resets = steps.is_some();
    let size!(R) = plan.run * plan.wide;
    let mut tile = Tile::<Q, R>::new(plan);
    let mut g = Shared::<[Vector<f32, W>]>::new_slice(comptime![if of_grad { plan.tile * plan.lanes() } else { 1 }]);
    let mut ahead = Ahead::<F, N, W>::new(&steps, plan);
    let lines = Lines::new(u, delta, bc, bc, &z, &place, plan);
    let tiles = (end - start).div_ceil(plan.tile);
    let first = first_of(0usize, tiles, start, of_grad, plan);
    ahead.look_up(&steps, &place, length, first, end, plan);
    ahead.read(u, delta, bc, bc, &z, &place, &lines, first, end, plan);
    read_grad(&mut ahead, &grad_y, &place, first, end, plan);
    ahead.look_up(&steps, &place, length, first_of(1usize, tiles, start, of_grad, plan), end, plan);
    for i in 0..tiles {
        let first = first_of(i, tiles, start, of_grad, plan);
        if first + plan.tile <= end {
            tile.fill(&ahead, bias, &place, plan.tile, true, false, resets, plan);
        } else {
            tile.fill(&ahead, bias, &place, end - first, false, false, resets, plan);
        }
        if comptime![of_grad] {
            fill_grads(&mut g, &ahead, &place, end - first, z.is_some(), plan);
        }
        sync_cube();
        let next = first_of(i + 1, tiles, start, of_grad, plan);
        ahead.read(u, delta, bc, bc, &z, &place, &lines, next, end, plan);
        read_grad(&mut ahead, &grad_y, &place, next, end, plan);
        ahead.look_up(&steps, &place, length, first_of(i + 2, tiles, start, of_grad, plan), end, plan);
        // The others hand nothing on.
        if place.active {
            #[unroll(plan.unroll)]
            for r in 0..plan.runs() {
                let r = if comptime![of_grad] { r } else { plan.runs() - 1 - r };
                let run = tile.run(r, &place, plan);
                #[unroll]
                for k in 0..plan.run {
                    let k = comptime![if of_grad { k } else { plan.run - 1 - k }];
                    let t = r * plan.run + k;
                    let token = run.token::<W>(k, plan);
                    let mut weight = token.x;
                    if comptime![of_grad] {
                        weight = g[t * plan.lanes() + place.lane];
                        if comptime![resets] {
                            alive *= tile.keep[t];
                        }
                        sum += token.delta * Vector::new(alive);
                    }
                    if comptime![resets] {
                        weight *= Vector::new(alive);
                    }
                    #[unroll]
                    for q in 0..comptime![plan.states / plan.quad] {
                        let bc_t = tile.b(t, q, &place, plan);
                        #[unroll]
                        for k in 0..plan.quad {
                            let j = comptime![q * plan.quad + k];
                            let kept = decay_once(sum, rates[j], comptime![j == 0 && plan.coarse()], plan);
                            edge[j] = fma(kept, weight * Vector::new(bc_t.extract(k)), edge[j]);
                        }
                    }
                    if comptime![!of_grad] {
                        sum += token.delta * Vector::new(alive);
                        if comptime![resets] {
                            alive *= tile.keep[t];
                        }
                    }
                }
            }
        }
        sync_cube();
    }

    if place.active {
        let row = (place.batch * n_spans + place.span) * d_inner;
        put_states(edges, &edge, row, &place, plan);
        if place.part == 0 {
            #[unroll]
            for lane in 0..plan.wide {
                let slot = row + place.channel + lane;
                sums[slot * 2] = sum.extract(lane);
                sums[slot * 2 + 1] = alive;
            }
        }
    }
}

/// Asks for the gradients of the outputs of a tile, if it is gradients that are handed on.
#[cube]
fn read_grad<F: Float, N: Size, W: Size>(
    ahead: &mut Ahead<F, N, W>,
    grad_y: &ComptimeOption<&Tensor<Vector<F, W>>>,
    place: &Place,
    first: usize,
    end: usize,
    #[comptime] plan: Plan,
) {
    #[comptime]
    if let ComptimeOption::Some(_) = grad_y {
        let grad_y = grad_y.unwrap();
        ahead.read_grad(grad_y, place, &Line::of_channels(grad_y, place, plan), first, end, plan);
    }
}

/// The first token of the `i`th tile that is visited, at most the last: gradients come from the start of a span, states
/// from its end.
#[cube]
fn first_of(i: usize, tiles: usize, start: usize, #[comptime] of_grad: bool, #[comptime] plan: Plan) -> usize {
    let i = i.min(tiles - 1);
    let tile = if comptime![of_grad] { i } else { tiles - 1 - i };
    start + tile * plan.tile
}

// ANCHOR: pass_on
/// Turns what spans add into what reaches each of them, one unit for every channel and state.
#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn pass_on(
    a: &Tensor<f32>,
    sums: &Tensor<f32>,
    // The initial state, or the gradient of the final one.
    outer: &Tensor<f32>,
    // [batch, n_spans, d_inner, d_state]
    edges: &mut Tensor<f32>,
    #[comptime] math: Math,
    #[comptime] of_grad: bool,
    // Whether that is zero, and not read.
    #[comptime] fresh: bool,
) {
    // Spans that are read together: each takes a while to come.
    const TOGETHER: usize = 16;
    let (n_spans, d_inner, d_state) = (edges.shape(1), edges.shape(2), edges.shape(3));
    let row = d_inner * d_state;
    if ABSOLUTE_POS >= edges.shape(0) * row {
        terminate!();
    }
    let first_span = ABSOLUTE_POS / row * n_spans;
    let within = ABSOLUTE_POS % row;
    let rate = a[within] * comptime![math.exp_scale()];
    let mut edge = if comptime![fresh] { f32::new(0.0) } else { outer[ABSOLUTE_POS] };
    let mut sum = Array::<f32>::new(TOGETHER);
    let mut alive = Array::<f32>::new(TOGETHER);
    let mut added = Array::<f32>::new(TOGETHER);
    for first in range_stepped(0, n_spans, TOGETHER) {
        #[unroll]
        for k in 0..TOGETHER {
            let i = (first + k).min(n_spans - 1);
            let span = first_span + if comptime![of_grad] { n_spans - 1 - i } else { i };
            let of_channel = (span * d_inner + within / d_state) * 2;
            sum[k] = sums[of_channel];
            alive[k] = sums[of_channel + 1];
            added[k] = edges[span * row + within];
        }
        #[unroll]
        for k in 0..TOGETHER {
            let i = first + k;
            if i < n_spans {
                let span = first_span + if comptime![of_grad] { n_spans - 1 - i } else { i };
                edges[span * row + within] = edge;
                edge = fma(exp_scaled(rate * sum[k], math) * alive[k], edge, added[k]);
            }
        }
    }
}
// ANCHOR_END: pass_on
