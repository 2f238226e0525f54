//! What a unit reads from memory before its cube needs it.

use super::place::{Line, Lines, Place};
use super::plan::Plan;
use crate::cube::step_at;
use cubecl::prelude::*;

/// A unit's share of a tile as it comes from memory, ahead of its use.
///
/// Nothing is computed from a value here, or the unit would wait for it before it asks for the next.
#[derive(CubeType)]
pub(crate) struct Ahead<F: Float, N: Size, W: Size> {
    pub u: Array<Vector<F, W>>,
    pub delta: Array<Vector<F, W>>,
    pub z: Array<Vector<F, W>>,
    /// Those of the gradient of the outputs; only the backward kernels fill it.
    pub grad: Array<Vector<F, W>>,
    pub keep: Array<f32>,
    /// Quads of b and of c.
    pub b: Array<Vector<F, N>>,
    pub c: Array<Vector<F, N>>,
}

#[cube]
impl<F: Float, N: Size, W: Size> Ahead<F, N, W> {
    pub fn new(#[comptime] plan: Plan) -> Ahead<F, N, W> {
        Ahead::<F, N, W> {
            u: Array::new(plan.tokens_of_unit()),
            delta: Array::new(plan.tokens_of_unit()),
            z: Array::new(plan.tokens_of_unit()),
            grad: Array::new(plan.tokens_of_unit()),
            keep: Array::new(plan.tokens_of_unit()),
            b: Array::new(comptime![plan.quads_of_unit() * plan.quad / plan.vector]),
            c: Array::new(comptime![plan.quads_of_unit() * plan.quad / plan.vector]),
        }
    }

    /// Asks for the tile that starts with token `first`. Behind the last token of the span, `end - 1`, it reads that.
    #[allow(clippy::too_many_arguments, reason = "the tensors of the kernels")]
    pub fn read(
        &mut self,
        u: &Tensor<Vector<F, W>>,
        delta: &Tensor<Vector<F, W>>,
        b: &Tensor<Vector<F, N>>,
        c: &Tensor<Vector<F, N>>,
        z: &ComptimeOption<&Tensor<Vector<F, W>>>,
        steps: &ComptimeOption<&Tensor<i32>>,
        place: &Place,
        lines: &Lines,
        first: usize,
        end: usize,
        #[comptime] plan: Plan,
    ) {
        let length = delta.shape(1);
        #[unroll(plan.unroll)]
        for i in 0..plan.tokens_of_unit() {
            let t = (first + place.part + i * plan.split).min(end - 1);
            let step = step_at(steps, place.batch, place.order, t, length, plan.reverse);
            self.u[i] = u[lines.u.at(step.place)];
            self.delta[i] = delta[lines.delta.at(step.place)];
            self.keep[i] = step.keep;
            #[comptime]
            if let ComptimeOption::Some(z) = z {
                self.z[i] = z[lines.z.at(step.place)];
            }
        }
        let vectors = comptime![plan.quad / plan.vector];
        #[unroll(plan.unroll)]
        for i in 0..plan.quads_of_unit() {
            let index = UNIT_POS as usize + i * plan.units();
            if index < comptime![plan.tile * plan.quads()] {
                let t = (first + index / plan.quads()).min(end - 1);
                let step = step_at(steps, place.batch, place.order, t, length, plan.reverse);
                #[unroll]
                for k in 0..vectors {
                    let n = index % plan.quads() * vectors + k;
                    let n = n.min(comptime![plan.d_state / plan.vector - 1]);
                    self.b[i * vectors + k] = b[lines.b.at(step.place) + n];
                    self.c[i * vectors + k] = c[lines.c.at(step.place) + n];
                }
            }
        }
    }

    /// Asks for the gradients of the outputs of the same tokens.
    #[allow(clippy::too_many_arguments, reason = "where and when")]
    pub fn read_grad(
        &mut self,
        grad_y: &Tensor<Vector<F, W>>,
        steps: &ComptimeOption<&Tensor<i32>>,
        place: &Place,
        line: &Line,
        first: usize,
        end: usize,
        #[comptime] plan: Plan,
    ) {
        #[unroll(plan.unroll)]
        for i in 0..plan.tokens_of_unit() {
            let t = (first + place.part + i * plan.split).min(end - 1);
            let step = step_at(steps, place.batch, place.order, t, grad_y.shape(1), plan.reverse);
            self.grad[i] = grad_y[line.at(step.place)];
        }
    }
}
