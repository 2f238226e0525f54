//! What the spans of the backward pass hand to each other, where there are several: each from a zero gradient behind it,
//! then from span to span, last to first.

use super::plan::Plan;
use super::tile::{Ahead, Line, Lines, Tile, decay, fill_grads, of_channels, place, put_states, rates};
use cubecl::prelude::*;

/// What a span hands back from a zero gradient behind it, written as that behind the span before; the sum of its deltas.
#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn span_grad<F: Float, N: Size, W: Size, Q: Size>(
    u: &Tensor<Vector<F, W>>,
    delta: &Tensor<Vector<F, W>>,
    a: &Tensor<f32>,
    b: &Tensor<Vector<F, N>>,
    c: &Tensor<Vector<F, N>>,
    delta_bias: &Tensor<f32>,
    grad_y: &Tensor<Vector<F, W>>,
    z: ComptimeOption<&Tensor<Vector<F, W>>>,
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
    let bias = of_channels::<W>(delta_bias, &place, plan);
    let rates = rates::<W>(a, &place, plan);
    let mut carry = Array::<Vector<f32, W>>::new(plan.states);
    #[unroll(plan.unroll)]
    for j in 0..plan.states {
        carry[j] = Vector::new(0.0);
    }
    let mut sum = Vector::<f32, W>::new(0.0);
    let mut alive = f32::new(1.0);

    let mut tile = Tile::<W, Q>::new(plan);
    let mut g = Shared::<[Vector<f32, W>]>::new_slice(comptime![plan.tile * plan.lanes()]);
    let mut ahead = Ahead::<F, N, W>::new(plan);
    let used = (end - start).div_ceil(plan.tile);
    let last = start + (used - 1) * plan.tile;
    let lines = Lines::new(u, delta, b, c, &z, &place, plan);
    let of_grad = Line::of_channels(grad_y, &place, plan);
    ahead.read(u, delta, b, c, &z, &steps, &place, &lines, last, end, plan);
    ahead.read_grad(grad_y, &steps, &place, &of_grad, last, end, plan);
    for back in 0..used {
        let first = start + (used - 1 - back) * plan.tile;
        tile.fill(&ahead, bias, &place, end - first, plan);
        fill_grads(&mut g, &ahead, &place, end - first, z.is_some(), plan);
        sync_cube();
        let next = first.max(start + plan.tile) - plan.tile;
        ahead.read(u, delta, b, c, &z, &steps, &place, &lines, next, end, plan);
        ahead.read_grad(grad_y, &steps, &place, &of_grad, next, end, plan);
        #[unroll(plan.unroll)]
        for i in 0..plan.tile {
            let t = plan.tile - 1 - i;
            let delta_t = tile.token(t, &place, plan).delta;
            let g_t = g[t * plan.lanes() + place.lane];
            let keep = tile.keep[t];
            #[unroll]
            for q in 0..comptime![plan.states / plan.quad] {
                let c_t = tile.c(t, q, &place, plan);
                #[unroll]
                for k in 0..plan.quad {
                    let j = comptime![q * plan.quad + k];
                    let grad = fma(Vector::new(c_t.extract(k)), g_t, carry[j]);
                    carry[j] = decay(delta_t, rates[j], plan) * Vector::new(keep) * grad;
                }
            }
            sum += delta_t;
            alive *= keep;
        }
        sync_cube();
    }

    if place.active {
        let row = (place.batch * n_spans + place.span) * d_inner;
        put_states(carries, &carry, row - d_inner, &place, plan);
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
