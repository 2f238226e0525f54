//! The tokens that a cube works on, in shared memory.

#![allow(clippy::collapsible_if, reason = "branches of the generated kernel and branches of its generation")]

use super::ahead::Ahead;
use super::place::{Place, within};
use super::plan::Plan;
use super::unit::{Held, step_sizes};
use crate::cube::sigmoids;
use cubecl::prelude::*;

/// A tile in shared memory.
#[derive(CubeType)]
pub(crate) struct Tile<Q: Size, R: Size> {
    /// `[runs, lanes]`: delta after bias and softplus, of the tokens of a run side by side.
    delta: Shared<[Vector<f32, R>]>,
    /// `[runs, lanes]`: that times u.
    x: Shared<[Vector<f32, R>]>,
    /// `[tile]`: 0 where the state is forgotten, else 1.
    pub keep: Shared<[f32]>,
    /// `[tile, quads]`
    b: Shared<[Vector<f32, Q>]>,
    c: Shared<[Vector<f32, Q>]>,
}

/// What a unit reads of a run of tokens.
#[derive(CubeType, Clone, Copy)]
pub(crate) struct Run<R: Size> {
    delta: Vector<f32, R>,
    x: Vector<f32, R>,
}

/// What it reads of one of them.
#[derive(CubeType, Clone, Copy)]
pub(crate) struct Token<W: Size> {
    pub delta: Vector<f32, W>,
    pub x: Vector<f32, W>,
}

#[cube]
impl<R: Size> Run<R> {
    pub fn token<W: Size>(&self, #[comptime] i: usize, #[comptime] plan: Plan) -> Token<W> {
        Token::<W> { delta: one_of_run(self.delta, i, plan), x: one_of_run(self.x, i, plan) }
    }
}

/// The channels of the `i`th token of a run.
#[cube]
pub(crate) fn one_of_run<W: Size, R: Size>(
    run: Vector<f32, R>,
    #[comptime] i: usize,
    #[comptime] plan: Plan,
) -> Vector<f32, W> {
    let mut token = Vector::<f32, W>::new(0.0);
    #[unroll]
    for lane in 0..plan.wide {
        token.insert(lane, run.extract(comptime![i * plan.wide + lane]));
    }
    token
}

/// Puts them there.
#[cube]
pub(crate) fn put_in_run<W: Size, R: Size>(
    run: &mut Vector<f32, R>,
    token: Vector<f32, W>,
    #[comptime] i: usize,
    #[comptime] plan: Plan,
) {
    #[unroll]
    for lane in 0..plan.wide {
        run.insert(comptime![i * plan.wide + lane], token.extract(lane));
    }
}

#[cube]
impl<Q: Size, R: Size> Tile<Q, R> {
    pub fn new(#[comptime] plan: Plan) -> Tile<Q, R> {
        Tile::<Q, R> {
            delta: Shared::new_slice(comptime![plan.runs() * plan.lanes()]),
            x: Shared::new_slice(comptime![plan.runs() * plan.lanes()]),
            keep: Shared::new_slice(plan.tile),
            b: Shared::new_slice(comptime![plan.tile * plan.quads()]),
            c: Shared::new_slice(comptime![plan.tile * plan.quads()]),
        }
    }

    pub fn run(&self, r: usize, place: &Place, #[comptime] plan: Plan) -> Run<R> {
        let at = r * plan.lanes() + place.lane;
        Run::<R> { delta: self.delta[at], x: self.x[at] }
    }

    /// b of the quad `q` of a unit's states at a token.
    pub fn b(&self, t: usize, q: usize, place: &Place, #[comptime] plan: Plan) -> Vector<f32, Q> {
        self.b[t * plan.quads() + place.part * comptime![plan.states / plan.quad] + q]
    }

    /// c of the same.
    pub fn c(&self, t: usize, q: usize, place: &Place, #[comptime] plan: Plan) -> Vector<f32, Q> {
        self.c[t * plan.quads() + place.part * comptime![plan.states / plan.quad] + q]
    }

    /// Brings in what a unit has read, c only if there are `outputs`; tokens from the `tokens`th of the tile on change
    /// nothing, and none is asked if the tile is `whole`.
    #[allow(clippy::too_many_arguments, reason = "what the kernels differ in")]
    pub fn fill<F: Float, N: Size, W: Size>(
        &mut self,
        ahead: &Ahead<F, N, W>,
        bias: Vector<f32, W>,
        place: &Place,
        tokens: usize,
        #[comptime] whole: bool,
        #[comptime] outputs: bool,
        #[comptime] resets: bool,
        #[comptime] plan: Plan,
    ) {
        #[unroll(plan.unroll)]
        for own in 0..plan.runs_of_unit() {
            let r = place.part + own * plan.split;
            if within(r, plan.runs(), plan.split) {
                let mut deltas = Vector::<f32, R>::new(0.0);
                let mut xs = Vector::<f32, R>::new(0.0);
                #[unroll]
                for i in 0..plan.run {
                    let t = r * plan.run + i;
                    let from = own * plan.run + i;
                    let read = step_sizes(ahead.delta.get(from), bias, plan);
                    let mut delta = Vector::<f32, W>::new(0.0);
                    let mut x = Vector::<f32, W>::new(0.0);
                    let mut keep = f32::new(1.0);
                    if whole || t < tokens {
                        delta = read;
                        keep = ahead.keep[from];
                        if whole || place.active {
                            x = read * ahead.u.get(from);
                        }
                    }
                    put_in_run(&mut deltas, delta, i, plan);
                    put_in_run(&mut xs, x, i, plan);
                    if comptime![resets] {
                        if place.lane == 0 {
                            self.keep[t] = keep;
                        }
                    }
                }
                let at = r * plan.lanes() + place.lane;
                self.delta[at] = deltas;
                self.x[at] = xs;
            }
        }
        #[unroll(plan.unroll)]
        for i in 0..plan.quads_of_unit() {
            let index = UNIT_POS as usize + i * plan.units();
            if within(index, comptime![plan.tile * plan.quads()], plan.units()) {
                let mut b = Vector::<f32, Q>::new(0.0);
                let mut c = Vector::<f32, Q>::new(0.0);
                #[unroll]
                for k in 0..plan.quad {
                    // States without a number stay zero.
                    if within(index % plan.quads() * plan.quad + k, plan.d_state, plan.padded_states()) {
                        let at = i * comptime![plan.quad / plan.vector] + comptime![k / plan.vector];
                        let lane = comptime![k % plan.vector];
                        b.insert(k, ahead.b.get(at).extract(lane));
                        if comptime![outputs] {
                            c.insert(k, ahead.c.get(at).extract(lane));
                        }
                    }
                }
                self.b[index] = b;
                if comptime![outputs] {
                    self.c[index] = c;
                }
            }
        }
    }

    /// The recurrence of a unit's states at one token.
    pub fn advance<W: Size>(
        &self,
        h: &mut Array<Vector<f32, W>>,
        rates: &Array<Vector<f32, W>>,
        t: usize,
        place: &Place,
        #[comptime] resets: bool,
        #[comptime] plan: Plan,
    ) {
        let mut token = Held::<W, Q>::new(1usize, plan);
        token.read(self, t, 1usize, place, false, plan);
        token.advance(h, rates, 0usize, resets, plan);
    }
}

/// The gradients of `<c, h> + d u` for all tokens of a tile: `[tile, lanes]` in shared memory.
#[cube]
pub(crate) fn fill_grads<F: Float, N: Size, W: Size>(
    to: &mut Shared<[Vector<f32, W>]>,
    ahead: &Ahead<F, N, W>,
    place: &Place,
    tokens: usize,
    #[comptime] gated: bool,
    #[comptime] plan: Plan,
) {
    #[unroll(plan.unroll)]
    for i in 0..plan.tokens_of_unit() {
        let t = place.part + i * plan.split;
        if t < plan.tile {
            let mut grad = Vector::<f32, W>::new(0.0);
            if t < tokens && place.active {
                grad = ahead.grad.get(i);
                if comptime![gated] {
                    let z = ahead.z.get(i);
                    grad *= z * sigmoids(z, plan.wide, plan.math);
                }
            }
            to[t * plan.lanes() + place.lane] = grad;
        }
    }
}
