//! What the kernels are compiled for, what a thread works on, and where it finds that in the tensors.

use crate::cube::{Math, Step, step_at};
use cubecl::prelude::*;

/// What the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Plan {
    pub width: usize,
    /// Tokens of a thread.
    pub chunk: usize,
    /// Channels of a thread.
    pub channels: usize,
    /// Tokens that are read together.
    pub tile: usize,
    /// Taps that are read together.
    pub taps: usize,
    pub silu: bool,
    pub reverse: bool,
    /// Whether a token may not see what is before it.
    pub resets: bool,
    /// Whether nothing is before the first token.
    pub fresh: bool,
    /// Whether the final state has a gradient.
    pub final_grad: bool,
    /// Going back: neighbours of a cube, and chunks that share it and add up what they give to the parameters.
    pub lanes: usize,
    pub strands: usize,
    pub math: Math,
}

impl Plan {
    /// Inputs before a token that it sees.
    pub(super) fn before(&self) -> usize {
        self.width - 1
    }
}

/// What a thread works on. Vectors are those of its channels.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Place {
    pub(super) batch: usize,
    pub(super) chunk: usize,
    /// Which vector of a token, and of how many.
    pub(super) vector: usize,
    pub(super) vectors: usize,
    pub(super) order: usize,
    /// The first of its tokens, and that behind the last.
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) length: usize,
}

#[cube]
impl Place {
    pub(super) fn new(
        batch: usize,
        chunk: usize,
        vector: usize,
        vectors: usize,
        length: usize,
        n_orders: usize,
        #[comptime] plan: Plan,
    ) -> Place {
        Place {
            batch,
            chunk,
            vector,
            vectors,
            order: vector / (vectors / n_orders),
            start: chunk * plan.chunk,
            end: (chunk * plan.chunk + plan.chunk).min(length),
            length,
        }
    }

    /// Of a token in a tensor of our own.
    pub(super) fn of(&self, token: usize) -> usize {
        (self.batch * self.length + token) * self.vectors + self.vector
    }

    /// Of a row of the state.
    pub(super) fn of_state(&self, row: usize, #[comptime] plan: Plan) -> usize {
        (self.batch * comptime![plan.before().max(1)] + row) * self.vectors + self.vector
    }

    /// The end of the tokens that see inputs of this chunk: up to `before` of the next do.
    pub(super) fn halo(&self, #[comptime] plan: Plan) -> usize {
        (self.end + plan.before()).min(self.length)
    }

    /// Step `t` of the walk.
    pub(super) fn step(&self, steps: &ComptimeOption<&Tensor<i32>>, t: usize, #[comptime] plan: Plan) -> Step {
        step_at(steps, self.batch, self.order, t, self.length, plan.reverse)
    }

    /// That of input `s`, counted from `before` tokens ahead of the first: the initial state's are always kept.
    pub(super) fn step_of_input(&self, steps: &ComptimeOption<&Tensor<i32>>, s: usize, #[comptime] plan: Plan) -> Step {
        let t = s.max(plan.before()) - plan.before();
        let step = self.step(steps, t.min(self.length - 1), plan);
        Step { place: step.place, keep: select(s < plan.before(), f32::new(1.0), step.keep) }
    }
}

/// Where the vectors of a thread lie in a `[batch, length, channels]` tensor whose channels are neighbours.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Rows {
    pub(super) first: usize,
    pub(super) stride: usize,
}

#[cube]
impl Rows {
    pub(super) fn of<F: Float, N: Size>(x: &Tensor<Vector<F, N>>, place: &Place, #[comptime] plan: Plan) -> Rows {
        Rows { first: place.batch * (x.stride(0) / plan.channels) + place.vector, stride: x.stride(1) / plan.channels }
    }

    pub(super) fn at(&self, token: usize) -> usize {
        self.first + token * self.stride
    }
}
