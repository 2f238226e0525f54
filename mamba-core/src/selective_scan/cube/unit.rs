//! What a unit computes: step sizes, decays, the recurrence of its states, and sums with the other units of its channels.

use super::place::{Place, of_states};
use super::plan::Plan;
use super::tile::Tile;
use crate::cube::{exp_scaled, exp2_by_arithmetic, softplus};
use cubecl::prelude::*;

/// Delta as the recurrence uses it.
#[cube]
pub(crate) fn step_sizes<W: Size>(
    delta: Vector<f32, W>,
    bias: Vector<f32, W>,
    #[comptime] plan: Plan,
) -> Vector<f32, W> {
    let mut sizes = delta + bias;
    if comptime![plan.delta_softplus] {
        #[unroll]
        for lane in 0..plan.wide {
            sizes.insert(lane, softplus(sizes.extract(lane), plan.bf16, plan.math));
        }
    }
    sizes
}

// ANCHOR: decay
/// What a state keeps of itself over a step.
#[cube]
pub(crate) fn decay<W: Size>(delta: Vector<f32, W>, rate: Vector<f32, W>, #[comptime] plan: Plan) -> Vector<f32, W> {
    let mut kept = delta * rate;
    #[unroll]
    for lane in 0..plan.wide {
        kept.insert(lane, exp_scaled(kept.extract(lane), plan.math));
    }
    kept
}
// ANCHOR_END: decay

/// The same, if it is `coarse` with the first channel's by arithmetic: what other exponentials wait for is the special unit.
#[cube]
pub(crate) fn decay_once<W: Size>(
    delta: Vector<f32, W>,
    rate: Vector<f32, W>,
    #[comptime] coarse: bool,
    #[comptime] plan: Plan,
) -> Vector<f32, W> {
    let mut kept = delta * rate;
    #[unroll]
    for lane in 0..plan.wide {
        if comptime![coarse && lane == 0] {
            kept.insert(lane, exp2_by_arithmetic(delta.extract(lane), rate.extract(lane) * comptime![1.0f32 / 240.0]));
        } else {
            kept.insert(lane, exp_scaled(kept.extract(lane), plan.math));
        }
    }
    kept
}

/// `a` of a unit's states, scaled for [`decay`]; those beyond `d_state` are zero and so are their states.
#[cube]
pub(crate) fn rates<W: Size>(a: &Tensor<f32>, place: &Place, #[comptime] plan: Plan) -> Array<Vector<f32, W>> {
    let mut rates = of_states::<W>(a, 0, place, plan);
    #[unroll]
    for j in 0..plan.states {
        rates[j] *= Vector::new(comptime![plan.math.exp_scale()]);
    }
    rates
}

/// What a unit reads of neighbouring tokens of a tile, all of it before the first is used: a compiler that is left to
/// itself reads each token when it needs it, and waits.
#[derive(CubeType)]
pub(crate) struct Held<W: Size, Q: Size> {
    delta: Array<Vector<f32, W>>,
    x: Array<Vector<f32, W>>,
    keep: Array<f32>,
    b: Array<Vector<f32, Q>>,
    c: Array<Vector<f32, Q>>,
}

#[cube]
impl<W: Size, Q: Size> Held<W, Q> {
    pub fn new(#[comptime] count: usize, #[comptime] plan: Plan) -> Held<W, Q> {
        let quads = comptime![count * plan.states / plan.quad];
        Held::<W, Q> {
            delta: Array::new(count),
            x: Array::new(count),
            keep: Array::new(count),
            b: Array::new(quads),
            c: Array::new(quads),
        }
    }

    /// `count` tokens, whole runs, from the run `first` on; their c too, if outputs are read.
    pub fn read<R: Size>(
        &mut self,
        tile: &Tile<Q, R>,
        first: usize,
        #[comptime] count: usize,
        place: &Place,
        #[comptime] outputs: bool,
        #[comptime] plan: Plan,
    ) {
        let quads = comptime![plan.states / plan.quad];
        #[unroll]
        for r in 0..comptime![count / plan.run] {
            let run = tile.run(first + r, place, plan);
            #[unroll]
            for k in 0..plan.run {
                let i = comptime![r * plan.run + k];
                let t = first * plan.run + i;
                let token = run.token::<W>(k, plan);
                self.delta[i] = token.delta;
                self.x[i] = token.x;
                self.keep[i] = tile.keep[t];
                #[unroll]
                for q in 0..quads {
                    self.b[i * quads + q] = tile.b(t, q, place, plan);
                    if comptime![outputs] {
                        self.c[i * quads + q] = tile.c(t, q, place, plan);
                    }
                }
            }
        }
    }

    // ANCHOR: advance
    /// The recurrence of a unit's states at the token `i` of them.
    pub fn advance(
        &self,
        h: &mut Array<Vector<f32, W>>,
        rates: &Array<Vector<f32, W>>,
        i: usize,
        #[comptime] resets: bool,
        #[comptime] plan: Plan,
    ) {
        let quads = comptime![plan.states / plan.quad];
        #[unroll]
        for q in 0..quads {
            let b = self.b[i * quads + q];
            #[unroll]
            for k in 0..plan.quad {
                let j = comptime![q * plan.quad + k];
                let mut kept = decay(self.delta[i], rates[j], plan);
                if comptime![resets] {
                    kept *= Vector::new(self.keep[i]);
                }
                h[j] = fma(kept, h[j], self.x[i] * Vector::new(b.extract(k)));
            }
        }
    }
    // ANCHOR_END: advance

    /// What a unit's states add to the outputs of that token.
    pub fn read_out(&self, h: &Array<Vector<f32, W>>, i: usize, #[comptime] plan: Plan) -> Vector<f32, W> {
        let quads = comptime![plan.states / plan.quad];
        let mut sum = Vector::<f32, W>::new(0.0);
        #[unroll]
        for q in 0..quads {
            let c = self.c[i * quads + q];
            #[unroll]
            for k in 0..plan.quad {
                sum = fma(h[comptime![q * plan.quad + k]], Vector::new(c.extract(k)), sum);
            }
        }
        sum
    }
}
