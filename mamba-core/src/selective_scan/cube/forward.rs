//! The forward kernel. A cube owns some channels of one span of tokens and goes through it tile by tile.
//!
//! Its units bring what a tile needs into shared memory (step sizes, inputs, b and c), each for some tokens of its
//! channels. Then every unit runs the recurrence of its share of their states through the tile, and the units of a
//! channel add up what they found, which meets in shared memory.
//!
//! One span is the whole sequence if the channels of all batch rows keep the device busy. Otherwise spans run side by
//! side, each from the state that `span.rs` has found for it.

#![allow(clippy::collapsible_if, reason = "branches of the generated kernel and branches of its generation")]

use super::ahead::Ahead;
use super::place::{
    Line, Lines, Place, earlier, no_states, of_channels, of_states, place, put_states, saved_at, within,
};
use super::plan::Plan;
use super::tile::{Tile, one_of_run, put_in_run};
use super::unit::{Held, rates};
use super::unread::Unread;
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
    let mut h = if comptime![plan.fresh] {
        no_states::<W>(plan)
    } else {
        of_states::<W>(entries, (place.batch * n_spans + place.span) * d_inner, &place, plan)
    };

    let resets = steps.is_some();
    let size!(R) = plan.run * plan.wide;
    let mut tile = Tile::<Q, R>::new(plan);
    // [runs, units]: what the units of a channel add to its outputs.
    let mut sums = Shared::<[Vector<f32, R>]>::new_slice(comptime![plan.runs() * plan.units()]);
    let mut held = Held::<W, Q>::new(plan.held, plan);
    let mut ahead = Ahead::<F, N, W>::new(&steps, plan);
    let mut own = Own::<F, W>::new(skip, plan);
    let lines = Lines::new(u, delta, b, c, &z, &place, plan);
    let out = Line::packed(length, y.shape(2), &place, plan);
    ahead.look_up(&steps, &place, length, start, end, plan);
    ahead.read(u, delta, b, c, &z, &place, &lines, start, end, plan);
    ahead.look_up(&steps, &place, length, start + plan.tile, end, plan);
    // ANCHOR: tile
    for first in range_stepped(start, end, plan.tile) {
        // Most tiles are whole. Code of their own, which asks for no token whether it is there, saves a tenth of the time.
        let whole = first + plan.tile <= end;
        if whole {
            tile.fill(&ahead, bias, &place, plan.tile, true, true, resets, plan);
        } else {
            tile.fill(&ahead, bias, &place, end - first, false, true, resets, plan);
        }
        #[unroll(plan.unroll)]
        for i in 0..plan.tokens_of_unit() {
            own.u.copy(i, &ahead.u);
            own.z.copy(i, &ahead.z);
            own.to[i] = out.at(ahead.place[i], plan);
            own.before[i] = earlier(y, own.to[i], round, summed);
        }
        #[comptime]
        if let ComptimeOption::Some(chunk_states) = chunk_states.as_mut() {
            if first % plan.chunk == 0 && place.active {
                let at = saved_at(length, d_inner, &place, first, plan);
                #[unroll(plan.unroll)]
                for j in 0..plan.states {
                    if place.part * plan.states + j < plan.d_state {
                        chunk_states[at.at(j, plan)] = h[j];
                    }
                }
            }
        }
        sync_cube();
        ahead.read(u, delta, b, c, &z, &place, &lines, first + plan.tile, end, plan);
        ahead.look_up(&steps, &place, length, first + 2 * plan.tile, end, plan);
        // A branch around it, so that ptxas plans registers for this part alone: up to a tenth of the time.
        if place.active {
            #[unroll(plan.unroll)]
            for i in 0..comptime![plan.tile / plan.held] {
                let from = i * comptime![plan.held / plan.run];
                held.read(&tile, from, plan.held, &place, true, plan);
                #[unroll]
                for r in 0..comptime![plan.held / plan.run] {
                    let mut found = Vector::<f32, R>::new(0.0);
                    #[unroll]
                    for k in 0..plan.run {
                        let t = comptime![r * plan.run + k];
                        held.advance(&mut h, &rates, t, resets, plan);
                        put_in_run(&mut found, held.read_out(&h, t, plan), k, plan);
                    }
                    sums[(from + r) * plan.units() + UNIT_POS as usize] = found;
                }
            }
        }
        sync_cube();
        // ANCHOR_END: tile
        if place.active {
            if whole {
                own.put(y, &sums, &place, plan.tile, true, z.is_some(), summed, plan);
            } else {
                own.put(y, &sums, &place, end - first, false, z.is_some(), summed, plan);
            }
        }
    }

    if place.span == n_spans - 1 && place.active {
        put_states(final_state, &h, place.batch * d_inner, &place, plan);
    }
}

/// What the outputs of a unit's tokens need besides their states.
#[derive(CubeType)]
struct Own<F: Float, W: Size> {
    u: Unread<F, W>,
    z: Unread<F, W>,
    skip: Vector<f32, W>,
    /// Where the outputs go, and what earlier rounds have put there.
    to: Array<usize>,
    before: Array<Vector<f32, W>>,
}

#[cube]
impl<F: Float, W: Size> Own<F, W> {
    fn new(skip: Vector<f32, W>, #[comptime] plan: Plan) -> Own<F, W> {
        Own::<F, W> {
            u: Unread::new(plan.tokens_of_unit(), plan.wide, plan.bf16),
            z: Unread::new(plan.tokens_of_unit(), plan.wide, plan.bf16),
            skip,
            to: Array::new(plan.tokens_of_unit()),
            before: Array::new(plan.tokens_of_unit()),
        }
    }

    /// Writes the outputs of a tile of which `tokens` are there, all if it is `whole`. `sums`: what the units of a channel
    /// add to them.
    #[allow(clippy::too_many_arguments, reason = "what the kernel has at hand")]
    fn put<Y: Float, R: Size>(
        &self,
        y: &mut Tensor<Vector<Y, W>>,
        sums: &Shared<[Vector<f32, R>]>,
        place: &Place,
        tokens: usize,
        #[comptime] whole: bool,
        #[comptime] gated: bool,
        #[comptime] summed: bool,
        #[comptime] plan: Plan,
    ) {
        #[unroll(plan.unroll)]
        for own in 0..plan.runs_of_unit() {
            let r = place.part + own * plan.split;
            if within(r, plan.runs(), plan.split) {
                let mut sum = sums[r * plan.units() + place.unit(0usize, plan)];
                #[unroll(plan.unroll)]
                for part in 1..plan.split {
                    sum += sums[r * plan.units() + place.unit(part, plan)];
                }
                #[unroll]
                for k in 0..plan.run {
                    let i = own * plan.run + k;
                    if whole || r * plan.run + k < tokens {
                        let sum = one_of_run::<W, R>(sum, k, plan);
                        let mut output = output(sum, self.skip, self.u.get(i), self.z.get(i), gated, plan);
                        if comptime![summed] {
                            output += self.before[i];
                        }
                        y[self.to[i]] = Vector::cast_from(output);
                    }
                }
            }
        }
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
