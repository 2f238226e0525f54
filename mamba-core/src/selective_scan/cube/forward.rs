//! The forward kernel. A cube owns some channels of one span of tokens and goes through it tile by tile.
//!
//! Its units bring what a tile needs into shared memory (step sizes, inputs, b and c), each for some tokens of its
//! channels. Then every unit runs the recurrence of its share of their states through the tile, and the units of a
//! channel add up what they found: by shuffles where a cube is a plane, else in shared memory.
//!
//! One span is the whole sequence if the channels of all batch rows keep the device busy. Otherwise spans run side by
//! side, each from the state that `span.rs` has found for it.

#![allow(clippy::collapsible_if, reason = "branches of the generated kernel and branches of its generation")]

use super::ahead::Ahead;
use super::place::{Line, Lines, earlier, of_channels, of_states, place, put_states, saved_at};
use super::plan::Plan;
use super::tile::Tile;
use super::unit::{Held, meet, rates, sum_of_parts};
use crate::cube::sigmoids;
use cubecl::prelude::*;

/// Every span from its entry state: the outputs, the states before every chunk, and from the last span the final state.
#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn scan<F: Float, Y: Float, N: Size, W: Size, Q: Size>(
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
    // [batch, length, d_inner / rounds], f32 if rounds are `summed`
    y: &mut Tensor<Vector<Y, W>>,
    final_state: &mut Tensor<f32>,
    // [batch, n_chunks, d_state, d_inner], so that neighbours write side by side
    mut chunk_states: ComptimeOption<&mut Tensor<Vector<f32, W>>>,
    n_orders: usize,
    segment: usize,
    span: usize,
    round: usize,
    rounds: usize,
    #[comptime] summed: bool,
    #[comptime] plan: Plan,
    #[define(F)] _dtype: ElemType,
    #[define(Y)] _y_dtype: ElemType,
) {
    let d_inner = delta.shape(2);
    let length = delta.shape(1);
    let n_spans = entries.shape(1);
    let place = place(d_inner, n_spans, b.shape(2), n_orders, segment, round, rounds, plan);
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
    let mut sums =
        Shared::<[Vector<f32, W>]>::new_slice(comptime![if plan.in_plane { 1 } else { plan.tile * plan.units() }]);
    let mut held = Held::<W, Q>::new(plan.held, plan);
    let mut ahead = Ahead::<F, N, W>::new(&steps, plan);
    let mut u_t = Array::<Vector<f32, W>>::new(plan.tokens_of_unit());
    let mut z_t = Array::<Vector<f32, W>>::new(plan.tokens_of_unit());
    // Where the unit's outputs go, and what is there of earlier rounds.
    let mut to = Array::<usize>::new(plan.tokens_of_unit());
    let mut before = Array::<Vector<f32, W>>::new(plan.tokens_of_unit());
    let lines = Lines::new(u, delta, b, c, &z, &place, plan);
    let out = Line::packed(length, y.shape(2), &place, plan);
    ahead.look_up(&steps, &place, length, start, end, plan);
    ahead.read(u, delta, b, c, &z, &place, &lines, start, end, plan);
    ahead.look_up(&steps, &place, length, start + plan.tile, end, plan);
    // ANCHOR: tile
    for first in range_stepped(start, end, plan.tile) {
        tile.fill(&ahead, bias, &place, end - first, resets, plan);
        #[unroll(plan.unroll)]
        for i in 0..plan.tokens_of_unit() {
            u_t[i] = Vector::cast_from(ahead.u[i]);
            z_t[i] = Vector::cast_from(ahead.z[i]);
            to[i] = out.at(ahead.place[i]);
            before[i] = earlier(y, to[i], round, summed);
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
        meet(plan);
        ahead.read(u, delta, b, c, &z, &place, &lines, first + plan.tile, end, plan);
        ahead.look_up(&steps, &place, length, first + 2 * plan.tile, end, plan);
        if comptime![plan.in_plane] {
            let mut found = Array::<Vector<f32, W>>::new(plan.split);
            #[unroll]
            for i in 0..plan.tile {
                let h_at = comptime![i % plan.held];
                if comptime![h_at == 0] {
                    held.read(&tile, i, plan.held, &place, true, plan);
                }
                let s = comptime![i % plan.split];
                held.advance(&mut h, &rates, h_at, resets, plan);
                found[s] = held.read_out(&h, h_at, plan);
                if comptime![s == plan.split - 1] {
                    let sum = sum_of_parts(&mut found, &place, plan);
                    let own = comptime![i / plan.split];
                    let t = first + comptime![own * plan.split] + place.part;
                    let is_written = t < end && place.active;
                    if comptime![plan.one_block] {
                        let sum = before[own] + output(sum, skip, u_t[own], z_t[own], z.is_some(), plan);
                        if is_written {
                            y[to[own]] = Vector::cast_from(sum);
                        }
                    } else if is_written {
                        let sum = before[own] + output(sum, skip, u_t[own], z_t[own], z.is_some(), plan);
                        y[to[own]] = Vector::cast_from(sum);
                    }
                }
            }
            meet(plan);
            // ANCHOR_END: tile
        } else {
            #[unroll(plan.unroll)]
            for t in 0..plan.tile {
                held.read(&tile, t, 1usize, &place, true, plan);
                held.advance(&mut h, &rates, 0usize, resets, plan);
                sums[(t * plan.split + place.part) * plan.lanes() + place.lane] = held.read_out(&h, 0usize, plan);
            }
            sync_cube();
            #[unroll(plan.unroll)]
            for i in 0..plan.tokens_of_unit() {
                let t = place.part + i * plan.split;
                if t < plan.tile && first + t < end && place.active {
                    let mut sum = Vector::<f32, W>::new(0.0);
                    #[unroll(plan.unroll)]
                    for part in 0..plan.split {
                        sum += sums[(t * plan.split + part) * plan.lanes() + place.lane];
                    }
                    let sum = before[i] + output(sum, skip, u_t[i], z_t[i], z.is_some(), plan);
                    y[to[i]] = Vector::cast_from(sum);
                }
            }
        }
    }

    if place.span == n_spans - 1 && place.active {
        put_states(final_state, &h, place.batch * d_inner, &place, plan);
    }
}

/// The output of a token, of the sum over its states.
#[cube]
fn output<W: Size>(
    sum: Vector<f32, W>,
    skip: Vector<f32, W>,
    u: Vector<f32, W>,
    z: Vector<f32, W>,
    #[comptime] gated: bool,
    #[comptime] plan: Plan,
) -> Vector<f32, W> {
    let mut y = fma(skip, u, sum);
    if comptime![gated] {
        y *= z * sigmoids(z, plan.wide, plan.math);
    }
    y
}
