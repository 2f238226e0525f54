//! What a unit reads from memory before its cube needs it.

use super::place::{Line, Lines, Place, within};
use super::plan::Plan;
use super::unread::Unread;
use crate::cube::{Step, entry_at};
use cubecl::prelude::*;

/// A unit's share of a tile as it comes from memory, ahead of its use.
///
/// Nothing is computed from a value here, or the unit would wait for it before it asks for the next.
#[derive(CubeType)]
pub(crate) struct Ahead<F: Float, N: Size, W: Size> {
    pub u: Unread<F, W>,
    pub delta: Unread<F, W>,
    pub z: Unread<F, W>,
    /// Those of the gradient of the outputs; only the backward kernels fill it.
    pub grad: Unread<F, W>,
    /// Whether the state before a token is kept, and where the token lies.
    pub keep: Array<f32>,
    pub place: Array<usize>,
    /// Quads of b and of c.
    pub b: Unread<F, N>,
    pub c: Unread<F, N>,
    /// What the table, if there is one, says of the steps of the next tile: of the unit's tokens, and of its quads.
    entries: ComptimeOption<Array<i32>>,
    quad_entries: ComptimeOption<Array<i32>>,
}

#[cube]
impl<F: Float, N: Size, W: Size> Ahead<F, N, W> {
    pub fn new(steps: &ComptimeOption<&Tensor<i32>>, #[comptime] plan: Plan) -> Ahead<F, N, W> {
        Ahead::<F, N, W> {
            u: Unread::new(plan.tokens_of_unit(), plan.wide, plan.bf16),
            delta: Unread::new(plan.tokens_of_unit(), plan.wide, plan.bf16),
            z: Unread::new(plan.tokens_of_unit(), plan.wide, plan.bf16),
            grad: Unread::new(plan.tokens_of_unit(), plan.wide, plan.bf16),
            keep: Array::new(plan.tokens_of_unit()),
            place: Array::new(plan.tokens_of_unit()),
            b: Unread::new(comptime![plan.quads_of_unit() * plan.quad / plan.vector], plan.vector, plan.bf16),
            c: Unread::new(comptime![plan.quads_of_unit() * plan.quad / plan.vector], plan.vector, plan.bf16),
            entries: entries(steps, plan.tokens_of_unit()),
            quad_entries: entries(steps, plan.quads_of_unit()),
        }
    }

    /// Asks for the steps of the tile that starts with token `first`, if a table has them: a tile ahead of
    /// [`Ahead::read`], which would wait for them before it asks for anything.
    pub fn look_up(
        &mut self,
        steps: &ComptimeOption<&Tensor<i32>>,
        place: &Place,
        length: usize,
        first: usize,
        end: usize,
        #[comptime] plan: Plan,
    ) {
        #[comptime]
        if let ComptimeOption::Some(_) = steps {
            let entries = self.entries.as_mut().unwrap();
            #[unroll(plan.unroll)]
            for i in 0..plan.tokens_of_unit() {
                let t = token(i, place, first, end, plan);
                entries[i] = entry_at(steps, place.batch, place.order, t, length, plan.reverse);
            }
            let entries = self.quad_entries.as_mut().unwrap();
            #[unroll(plan.unroll)]
            for i in 0..plan.quads_of_unit() {
                let t = token_of_quad(i, first, end, plan);
                entries[i] = entry_at(steps, place.batch, place.order, t, length, plan.reverse);
            }
        }
    }

    /// Asks for the tile that starts with token `first`, whose steps were looked up last. Behind the last token of the
    /// span, `end - 1`, it reads that.
    #[allow(clippy::too_many_arguments, reason = "the tensors of the kernels")]
    pub fn read(
        &mut self,
        u: &Tensor<Vector<F, W>>,
        delta: &Tensor<Vector<F, W>>,
        b: &Tensor<Vector<F, N>>,
        c: &Tensor<Vector<F, N>>,
        z: &ComptimeOption<&Tensor<Vector<F, W>>>,
        place: &Place,
        lines: &Lines,
        first: usize,
        end: usize,
        #[comptime] plan: Plan,
    ) {
        let length = delta.shape(1);
        #[unroll(plan.unroll)]
        for i in 0..plan.tokens_of_unit() {
            let step = step(&self.entries, i, token(i, place, first, end, plan), length, plan);
            self.u.put(i, u[lines.u.at(step.place, plan)]);
            self.delta.put(i, delta[lines.delta.at(step.place, plan)]);
            self.keep[i] = step.keep;
            self.place[i] = step.place;
            #[comptime]
            if let ComptimeOption::Some(z) = z {
                self.z.put(i, z[lines.z.at(step.place, plan)]);
            }
        }
        let vectors = comptime![plan.quad / plan.vector];
        #[unroll(plan.unroll)]
        for i in 0..plan.quads_of_unit() {
            let index = UNIT_POS as usize + i * plan.units();
            if within(index, comptime![plan.tile * plan.quads()], plan.units()) {
                let step = step(&self.quad_entries, i, token_of_quad(i, first, end, plan), length, plan);
                #[unroll]
                for k in 0..vectors {
                    let n = index % plan.quads() * vectors + k;
                    let n = n.min(comptime![plan.d_state / plan.vector - 1]);
                    self.b.put(i * vectors + k, b[lines.b.at(step.place, plan) + n]);
                    self.c.put(i * vectors + k, c[lines.c.at(step.place, plan) + n]);
                }
            }
        }
    }

    /// Asks for the gradients of the outputs of the same tokens, before other steps are looked up.
    pub fn read_grad(
        &mut self,
        grad_y: &Tensor<Vector<F, W>>,
        place: &Place,
        line: &Line,
        first: usize,
        end: usize,
        #[comptime] plan: Plan,
    ) {
        #[unroll(plan.unroll)]
        for i in 0..plan.tokens_of_unit() {
            let step = step(&self.entries, i, token(i, place, first, end, plan), grad_y.shape(1), plan);
            self.grad.put(i, grad_y[line.at(step.place, plan)]);
        }
    }
}

/// Room for what a table, if there is one, says of `count` steps.
#[cube]
fn entries(steps: &ComptimeOption<&Tensor<i32>>, #[comptime] count: usize) -> ComptimeOption<Array<i32>> {
    #[comptime]
    match steps {
        ComptimeOption::Some(_) => ComptimeOption::new_Some(Array::new(count)),
        ComptimeOption::None => ComptimeOption::new_None(),
    }
}

/// The step of the `i`th entry or, without entries, step `t`.
#[cube]
fn step(entries: &ComptimeOption<Array<i32>>, i: usize, t: usize, length: usize, #[comptime] plan: Plan) -> Step {
    #[comptime]
    match entries {
        ComptimeOption::Some(entries) => Step::of_entry(entries[i]),
        ComptimeOption::None => Step::plain(t, length, plan.reverse),
    }
}

/// The `i`th token that a unit brings in.
#[cube]
fn token(i: usize, place: &Place, first: usize, end: usize, #[comptime] plan: Plan) -> usize {
    at_most(first + place.token(i, plan), end - 1, plan)
}

/// The token of the `i`th quad that a unit brings in.
#[cube]
fn token_of_quad(i: usize, first: usize, end: usize, #[comptime] plan: Plan) -> usize {
    at_most(first + (UNIT_POS as usize + i * plan.units()) / plan.quads(), end - 1, plan)
}

/// Token `t`, or the last.
#[cube]
fn at_most(t: usize, last: usize, #[comptime] plan: Plan) -> usize {
    if comptime![plan.near] { (t as u32).min(last as u32) as usize } else { t.min(last) }
}
