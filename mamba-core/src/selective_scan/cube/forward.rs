//! The forward kernels. A cube owns some channels of one span of tokens and goes through it tile by tile.
//!
//! Its units bring what a tile needs into shared memory (step sizes, inputs, b and c), each for some tokens of one
//! channel. Then every unit runs the recurrence of its share of that channel's states through the tile, and the units of
//! a channel add up what they found.
//!
//! One span is the whole sequence if the channels of all batch rows keep the device busy. Otherwise there are three
//! launches, so that spans run side by side: every span from a zero state ([`span_state`]), the states passed from span
//! to span ([`state_passing`]), every span again from its true state ([`scan`]).

#![allow(clippy::collapsible_if, reason = "branches of the generated kernel and branches of its generation")]

use super::plan::Plan;
use super::tile::{Ahead, Line, Lines, Tile, of_channels, of_states, place, put_states, rates, saved_at};
use crate::cube::{sigmoids, step_at};
use cubecl::prelude::*;

/// The state that a span ends with from zero, written as the next one's entry, and the sum of its deltas.
#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn span_state<F: Float, N: Size, W: Size, Q: Size>(
    u: &Tensor<Vector<F, W>>,
    delta: &Tensor<Vector<F, W>>,
    a: &Tensor<f32>,
    b: &Tensor<Vector<F, N>>,
    delta_bias: &Tensor<f32>,
    steps: ComptimeOption<&Tensor<i32>>,
    // [batch, n_spans, d_inner, d_state]: every span but the last writes the slot behind its own.
    entries: &mut Tensor<f32>,
    // [batch, n_spans, d_inner, 2]: the sum of delta, and 0 if a reset cut the span, else 1.
    sums: &mut Tensor<f32>,
    n_orders: usize,
    segment: usize,
    span: usize,
    #[comptime] plan: Plan,
    #[define(F)] _dtype: ElemType,
) {
    let d_inner = delta.shape(2);
    let n_spans = entries.shape(1);
    let place = place(d_inner, n_spans, b.shape(2), n_orders, segment, plan);
    // The grid may be larger than the work; a whole cube leaves then.
    if place.batch >= delta.shape(0) || place.span == n_spans - 1 {
        terminate!();
    }
    let start = place.span * span;
    let end = start + span;
    let bias = of_channels::<W>(delta_bias, &place, plan);
    let rates = rates::<W>(a, &place, plan);
    let mut h = Array::<Vector<f32, W>>::new(plan.states);
    #[unroll(plan.unroll)]
    for j in 0..plan.states {
        h[j] = Vector::new(0.0);
    }
    let mut sum = Vector::<f32, W>::new(0.0);
    let mut alive = f32::new(1.0);

    let resets = steps.is_some();
    let z = ComptimeOption::<&Tensor<Vector<F, W>>>::new_None();
    let mut tile = Tile::<W, Q>::new(plan);
    let mut ahead = Ahead::<F, N, W>::new(plan);
    let lines = Lines::new(u, delta, b, b, &z, &place, plan);
    ahead.read(u, delta, b, b, &z, &steps, &place, &lines, start, end, plan);
    for first in range_stepped(start, end, plan.tile) {
        tile.fill(&ahead, bias, &place, end - first, plan);
        sync_cube();
        ahead.read(u, delta, b, b, &z, &steps, &place, &lines, first + plan.tile, end, plan);
        #[unroll(plan.unroll)]
        for t in 0..plan.tile {
            tile.advance(&mut h, &rates, t, &place, resets, plan);
            sum += tile.token(t, &place, plan).delta;
            alive *= tile.keep[t];
        }
        sync_cube();
    }

    if place.active {
        let row = (place.batch * n_spans + place.span) * d_inner;
        put_states(entries, &h, row + d_inner, &place, plan);
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

/// Turns the states of spans from zero into their true entry states, one thread for every channel and state.
#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn state_passing(
    a: &Tensor<f32>,
    sums: &Tensor<f32>,
    initial_state: &Tensor<f32>,
    entries: &mut Tensor<f32>,
) {
    let n_spans = entries.shape(1);
    let d_inner = entries.shape(2);
    let d_state = entries.shape(3);
    let row = d_inner * d_state;
    if ABSOLUTE_POS >= entries.shape(0) * row {
        terminate!();
    }
    let within = ABSOLUTE_POS % row;
    let first = ABSOLUTE_POS / row * n_spans;
    let a_n = a[within];
    let mut h = initial_state[ABSOLUTE_POS];
    entries[first * row + within] = h;
    for s in 1..n_spans {
        let before = ((first + s - 1) * d_inner + within / d_state) * 2;
        let slot = (first + s) * row + within;
        h = (a_n * sums[before]).exp() * sums[before + 1] * h + entries[slot];
        entries[slot] = h;
    }
}

/// Every span from its entry state: the outputs, the states before every chunk, and from the last span the final state.
#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn scan<F: Float, N: Size, W: Size, Q: Size>(
    u: &Tensor<Vector<F, W>>,
    delta: &Tensor<Vector<F, W>>,
    a: &Tensor<f32>,
    b: &Tensor<Vector<F, N>>,
    c: &Tensor<Vector<F, N>>,
    d: &Tensor<f32>,
    delta_bias: &Tensor<f32>,
    // [batch, n_spans, d_inner, d_state]
    entries: &Tensor<f32>,
    z: ComptimeOption<&Tensor<Vector<F, W>>>,
    steps: ComptimeOption<&Tensor<i32>>,
    y: &mut Tensor<Vector<F, W>>,
    final_state: &mut Tensor<f32>,
    // [batch, n_chunks, d_state, d_inner], so that neighbours write side by side
    mut chunk_states: ComptimeOption<&mut Tensor<Vector<f32, W>>>,
    n_orders: usize,
    segment: usize,
    span: usize,
    #[comptime] plan: Plan,
    #[define(F)] _dtype: ElemType,
) {
    let d_inner = delta.shape(2);
    let length = delta.shape(1);
    let n_spans = entries.shape(1);
    let place = place(d_inner, n_spans, b.shape(2), n_orders, segment, plan);
    if place.batch >= delta.shape(0) {
        terminate!();
    }
    let start = place.span * span;
    let end = (start + span).min(length);
    let bias = of_channels::<W>(delta_bias, &place, plan);
    let skip = of_channels::<W>(d, &place, plan);
    let rates = rates::<W>(a, &place, plan);
    let mut h = of_states::<W>(entries, (place.batch * n_spans + place.span) * d_inner, &place, plan);

    let resets = steps.is_some();
    let mut tile = Tile::<W, Q>::new(plan);
    // [tile, split, lanes]: what the units of a channel add to its outputs.
    let mut sums = Shared::<[Vector<f32, W>]>::new_slice(comptime![plan.tile * plan.units()]);
    let mut ahead = Ahead::<F, N, W>::new(plan);
    let mut u_t = Array::<Vector<f32, W>>::new(plan.tokens_of_unit());
    let mut z_t = Array::<Vector<f32, W>>::new(plan.tokens_of_unit());
    let lines = Lines::new(u, delta, b, c, &z, &place, plan);
    let out = Line::packed(length, d_inner, &place, plan);
    ahead.read(u, delta, b, c, &z, &steps, &place, &lines, start, end, plan);
    for first in range_stepped(start, end, plan.tile) {
        tile.fill(&ahead, bias, &place, end - first, plan);
        #[unroll(plan.unroll)]
        for i in 0..plan.tokens_of_unit() {
            u_t[i] = Vector::cast_from(ahead.u[i]);
            z_t[i] = Vector::cast_from(ahead.z[i]);
        }
        #[comptime]
        if let ComptimeOption::Some(chunk_states) = chunk_states.as_mut() {
            if first % plan.chunk == 0 && place.active {
                let at = saved_at(length, d_inner, &place, first, plan);
                #[unroll(plan.unroll)]
                for j in 0..plan.states {
                    if place.part * plan.states + j < plan.d_state {
                        chunk_states[at.at(j)] = h[j];
                    }
                }
            }
        }
        sync_cube();
        ahead.read(u, delta, b, c, &z, &steps, &place, &lines, first + plan.tile, end, plan);
        #[unroll(plan.unroll)]
        for t in 0..plan.tile {
            tile.advance(&mut h, &rates, t, &place, resets, plan);
            sums[(t * plan.split + place.part) * plan.lanes() + place.lane] = tile.read_out(&h, t, &place, plan);
        }
        sync_cube();
        #[unroll(plan.unroll)]
        for i in 0..plan.tokens_of_unit() {
            let t = place.part + i * plan.split;
            if t < plan.tile && first + t < end && place.active {
                let mut y_t = skip * u_t[i];
                #[unroll(plan.unroll)]
                for part in 0..plan.split {
                    y_t += sums[(t * plan.split + part) * plan.lanes() + place.lane];
                }
                if z.is_some() {
                    y_t *= z_t[i] * sigmoids(z_t[i], plan.wide, plan.math);
                }
                let step = step_at(&steps, place.batch, place.order, first + t, length, plan.reverse);
                y[out.at(step.place)] = Vector::cast_from(y_t);
            }
        }
    }

    if place.span == n_spans - 1 && place.active {
        put_states(final_state, &h, place.batch * d_inner, &place, plan);
    }
}
