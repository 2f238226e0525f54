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
pub(crate) struct Tile<W: Size, Q: Size> {
    /// `[tile, lanes]`: delta after bias and softplus.
    delta: Shared<[Vector<f32, W>]>,
    /// `[tile, lanes]`: that times u.
    x: Shared<[Vector<f32, W>]>,
    /// `[tile]`: 0 where the state is forgotten, else 1.
    pub keep: Shared<[f32]>,
    /// `[tile, quads]`
    b: Shared<[Vector<f32, Q>]>,
    c: Shared<[Vector<f32, Q>]>,
}

/// What a unit reads of a token.
#[derive(CubeType, Clone, Copy)]
pub(crate) struct Token<W: Size> {
    pub delta: Vector<f32, W>,
    pub x: Vector<f32, W>,
}

#[cube]
impl<W: Size, Q: Size> Tile<W, Q> {
    pub fn new(#[comptime] plan: Plan) -> Tile<W, Q> {
        Tile::<W, Q> {
            delta: Shared::new_slice(comptime![plan.tile * plan.lanes()]),
            x: Shared::new_slice(comptime![plan.tile * plan.lanes()]),
            keep: Shared::new_slice(plan.tile),
            b: Shared::new_slice(comptime![plan.tile * plan.quads()]),
            c: Shared::new_slice(comptime![plan.tile * plan.quads()]),
        }
    }

    pub fn token(&self, t: usize, place: &Place, #[comptime] plan: Plan) -> Token<W> {
        let at = t * plan.lanes() + place.lane;
        Token::<W> { delta: self.delta[at], x: self.x[at] }
    }

    /// b of the quad `q` of a unit's states at a token.
    pub fn b(&self, t: usize, q: usize, place: &Place, #[comptime] plan: Plan) -> Vector<f32, Q> {
        self.b[t * plan.quads() + place.part * comptime![plan.states / plan.quad] + q]
    }

    /// c of the same.
    pub fn c(&self, t: usize, q: usize, place: &Place, #[comptime] plan: Plan) -> Vector<f32, Q> {
        self.c[t * plan.quads() + place.part * comptime![plan.states / plan.quad] + q]
    }

    /// Brings in what a unit has read; tokens from the `tokens`th of the tile on change nothing.
    pub fn fill<F: Float, N: Size>(
        &mut self,
        ahead: &Ahead<F, N, W>,
        bias: Vector<f32, W>,
        place: &Place,
        tokens: usize,
        #[comptime] resets: bool,
        #[comptime] plan: Plan,
    ) {
        #[unroll(plan.unroll)]
        for i in 0..plan.tokens_of_unit() {
            let t = place.part + i * plan.split;
            if within(t, plan.tile, plan.split) {
                let read = step_sizes(Vector::cast_from(ahead.delta[i]), bias, plan);
                let mut delta = Vector::<f32, W>::new(0.0);
                let mut x = Vector::<f32, W>::new(0.0);
                let mut keep = f32::new(1.0);
                if t < tokens {
                    delta = read;
                    keep = ahead.keep[i];
                    if place.active {
                        x = read * Vector::cast_from(ahead.u[i]);
                    }
                }
                self.delta[t * plan.lanes() + place.lane] = delta;
                self.x[t * plan.lanes() + place.lane] = x;
                if comptime![resets] {
                    if place.lane == 0 {
                        self.keep[t] = keep;
                    }
                }
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
                        b.insert(k, f32::cast_from(ahead.b[at].extract(lane)));
                        c.insert(k, f32::cast_from(ahead.c[at].extract(lane)));
                    }
                }
                self.b[index] = b;
                self.c[index] = c;
            }
        }
    }

    /// The recurrence of a unit's states at one token.
    pub fn advance(
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
                grad = Vector::cast_from(ahead.grad[i]);
                if comptime![gated] {
                    let z = Vector::<f32, W>::cast_from(ahead.z[i]);
                    grad *= z * sigmoids(z, plan.wide, plan.math);
                }
            }
            to[t * plan.lanes() + place.lane] = grad;
        }
    }
}
