//! The forward kernels. A cube owns some channels of one span of tokens and goes through it tile by tile.
//!
//! Its units bring what a tile needs into shared memory (step sizes, inputs, b and c), each for some tokens of one
//! channel. Then every unit runs the recurrence of its share of that channel's states through the tile, and the units of
//! a channel add up what they found.
//!
//! One span is the whole sequence if the channels of all batch rows keep the device busy. Otherwise there are three
//! launches, so that spans run side by side: every span from a zero state ([`span_state`]), the states passed from span
//! to span ([`state_passing`]), every span again from its true state ([`scan`]).

use super::plan::Plan;
use super::tile::{Ahead, Tile, place, rates};
use crate::cube::{sigmoid, step_at};
use cubecl::prelude::*;

/// The state that a span ends with from zero, written as the next one's entry, and the sum of its deltas.
#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn span_state<F: Float>(
    u: &Tensor<F>,
    delta: &Tensor<F>,
    a: &Tensor<f32>,
    b: &Tensor<F>,
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
    let bias = delta_bias[place.channel];
    let rates = rates(a, &place, plan);
    let mut h = Array::<f32>::new(plan.states);
    #[unroll(plan.unroll)]
    for j in 0..plan.states {
        h[j] = f32::new(0.0);
    }
    let mut sum = f32::new(0.0);
    let mut alive = f32::new(1.0);

    let resets = steps.is_some();
    let z = ComptimeOption::<&Tensor<F>>::new_None();
    let mut tile = Tile::new(plan);
    let mut ahead = Ahead::<F>::new(plan);
    ahead.read(u, delta, b, b, &z, &steps, &place, start, end, plan);
    for first in range_stepped(start, end, plan.tile) {
        tile.fill::<F>(&ahead, bias, &place, end - first, plan);
        sync_cube();
        ahead.read(u, delta, b, b, &z, &steps, &place, first + plan.tile, end, plan);
        #[unroll(plan.unroll)]
        for t in 0..plan.tile {
            tile.advance(&mut h, &rates, t, &place, resets, plan);
            sum += tile.delta[t * plan.channels + place.column];
            alive *= tile.keep[t];
        }
        sync_cube();
    }

    if place.active {
        let slot = (place.batch * n_spans + place.span) * d_inner + place.channel;
        #[unroll(plan.unroll)]
        for j in 0..plan.states {
            let n = place.part * plan.states + j;
            if n < plan.d_state {
                entries[(slot + d_inner) * plan.d_state + n] = h[j];
            }
        }
        if place.part == 0 {
            sums[slot * 2] = sum;
            sums[slot * 2 + 1] = alive;
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
pub(crate) fn scan<F: Float>(
    u: &Tensor<F>,
    delta: &Tensor<F>,
    a: &Tensor<f32>,
    b: &Tensor<F>,
    c: &Tensor<F>,
    d: &Tensor<f32>,
    delta_bias: &Tensor<f32>,
    // [batch, n_spans, d_inner, d_state]
    entries: &Tensor<f32>,
    z: ComptimeOption<&Tensor<F>>,
    steps: ComptimeOption<&Tensor<i32>>,
    y: &mut Tensor<F>,
    final_state: &mut Tensor<f32>,
    // [batch, n_chunks, d_inner, d_state]
    chunk_states: &mut Tensor<f32>,
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
    let bias = delta_bias[place.channel];
    let skip = d[place.channel];
    let rates = rates(a, &place, plan);
    let entry = ((place.batch * n_spans + place.span) * d_inner + place.channel) * plan.d_state;
    let mut h = Array::<f32>::new(plan.states);
    #[unroll(plan.unroll)]
    for j in 0..plan.states {
        let n = place.part * plan.states + j;
        h[j] = f32::new(0.0);
        if n < plan.d_state {
            h[j] = entries[entry + n];
        }
    }

    let resets = steps.is_some();
    let mut tile = Tile::new(plan);
    // [tile, split, channels]: what the units of a channel add to its outputs.
    let mut sums = Shared::<[f32]>::new_slice(comptime![plan.tile * plan.units()]);
    let mut ahead = Ahead::<F>::new(plan);
    let mut u_t = Array::<f32>::new(plan.tokens_of_unit());
    let mut z_t = Array::<f32>::new(plan.tokens_of_unit());
    ahead.read(u, delta, b, c, &z, &steps, &place, start, end, plan);
    for first in range_stepped(start, end, plan.tile) {
        tile.fill::<F>(&ahead, bias, &place, end - first, plan);
        #[unroll(plan.unroll)]
        for i in 0..plan.tokens_of_unit() {
            u_t[i] = f32::cast_from(ahead.u[i]);
            z_t[i] = f32::cast_from(ahead.z[i]);
        }
        if first % plan.chunk == 0 && place.active {
            let slot =
                ((place.batch * chunk_states.shape(1) + first / plan.chunk) * d_inner + place.channel) * plan.d_state;
            #[unroll(plan.unroll)]
            for j in 0..plan.states {
                let n = place.part * plan.states + j;
                if n < plan.d_state {
                    chunk_states[slot + n] = h[j];
                }
            }
        }
        sync_cube();
        let next = first + plan.tile;
        ahead.read(u, delta, b, c, &z, &steps, &place, next, end, plan);
        #[unroll(plan.unroll)]
        for t in 0..plan.tile {
            tile.advance(&mut h, &rates, t, &place, resets, plan);
            sums[(t * plan.split + place.part) * plan.channels + place.column] = tile.read_out(&h, t, &place, plan);
        }
        sync_cube();
        #[unroll(plan.unroll)]
        for i in 0..plan.tokens_of_unit() {
            let t = place.part + i * plan.split;
            if t < plan.tile && first + t < end && place.active {
                let mut out = skip * u_t[i];
                #[unroll(plan.unroll)]
                for part in 0..plan.split {
                    out += sums[(t * plan.split + part) * plan.channels + place.column];
                }
                if z.is_some() {
                    out *= z_t[i] * sigmoid(z_t[i]);
                }
                let step = step_at(&steps, place.batch, place.order, first + t, length, plan.reverse);
                y[(place.batch * length + step.place) * d_inner + place.channel] = F::cast_from(out);
            }
        }
    }

    if place.span == n_spans - 1 && place.active {
        let row = (place.batch * d_inner + place.channel) * plan.d_state;
        #[unroll(plan.unroll)]
        for j in 0..plan.states {
            let n = place.part * plan.states + j;
            if n < plan.d_state {
                final_state[row + n] = h[j];
            }
        }
    }
}
