//! The backward pass, in the order of the walk: every step adds to the gradients of the inputs that it saw.

use super::{Chunk, Conv, Dims, Past, prefetch_next};
use crate::cpu::{
    Block, Disjoint, Float, Kernel, LANES, Lanes, Part, Row, parts_per_task, sigmoid, vectorised, write_columns,
};
use rayon::prelude::*;

/// The gradients, named and shaped as the inputs.
pub(super) struct Grads<E> {
    pub(super) x: Vec<E>,
    pub(super) weight: Vec<f32>,
    pub(super) bias: Vec<f32>,
    pub(super) initial_state: Vec<E>,
}

/// Sums that a part carries from chunk to chunk.
struct Carry {
    /// The gradients of the inputs before the chunk: `[blocks, width - 1]`.
    x: Vec<Row>,
    /// `[blocks, width]`
    weight: Vec<Row>,
    /// `[blocks]`
    bias: Vec<Row>,
}

pub(super) fn backward<E: Float>(conv: &Conv<'_, E>, grad_y: &[E], grad_final_state: &[E]) -> Grads<E> {
    let Dims { batch, length, channels, width } = conv.dims;
    let mut grads = Grads {
        x: E::zeros(batch * length * channels),
        weight: vec![0.0; channels * width],
        bias: vec![0.0; channels],
        initial_state: E::zeros(conv.initial_state.len()),
    };
    let to = Output { x: Disjoint::new(&mut grads.x), initial_state: Disjoint::new(&mut grads.initial_state) };
    let parts = conv.parts();
    let per_task = parts_per_task(&parts, 1, batch * length * channels * width);
    let mut carries: Vec<Carry> = parts
        .iter()
        .map(|part| Carry {
            x: vec![Row::ZERO; part.len() * (width - 1)],
            weight: vec![Row::ZERO; part.len() * width],
            bias: vec![Row::ZERO; part.len()],
        })
        .collect();
    parts.par_chunks(per_task).zip(carries.par_chunks_mut(per_task)).for_each(|(parts, carries)| {
        let mut pasts: Vec<Past> = parts.iter().map(|part| Past::new(conv, part)).collect();
        let mut scratch = Scratch::default();
        for steps in conv.chunks() {
            for ((part, past), carry) in parts.iter().zip(&mut pasts).zip(&mut *carries) {
                scratch.chunk.read_steps(conv, part, steps.clone(), past);
                let (scratch, first, to) = (&mut scratch, steps.start, &to);
                vectorised(BackwardChunk { conv, grad_y, part, first, scratch, past, carry, to });
            }
        }
        for ((part, past), carry) in parts.iter().zip(&pasts).zip(carries) {
            to.write_last(conv, part, grad_final_state, past, carry);
        }
    });

    let mut of_block = vec![0.0; LANES * width];
    for (part, carry) in parts.iter().zip(&carries) {
        for (i, Block { start, width: channels }) in part.blocks().enumerate() {
            write_columns(&carry.weight[i * width..(i + 1) * width], &mut of_block[..channels * width]);
            add(&mut grads.weight[start * width..(start + channels) * width], &of_block);
            add(&mut grads.bias[start..start + channels], &carry.bias[i].0);
        }
    }
    grads
}

fn add(to: &mut [f32], from: &[f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += from;
    }
}

/// Memory of a thread.
#[derive(Default)]
struct Scratch {
    chunk: Chunk,
    /// The gradients of the inputs before the chunk and of those of its steps.
    x: Vec<Row>,
    y: Vec<Row>,
    /// `[width]`
    weight: Vec<Row>,
}

/// The arrays that all parts write to.
struct Output<'a, E> {
    x: Disjoint<'a, E>,
    initial_state: Disjoint<'a, E>,
}

impl<E: Float> Output<'_, E> {
    /// The gradient of the input `width - 1` steps before `step`.
    #[inline(always)]
    fn write(&self, conv: &Conv<'_, E>, part: &Part, block: Block, step: usize, grad: &Row) {
        // SAFETY: only this part has these channels in this batch row.
        unsafe {
            match step.checked_sub(conv.dims.width - 1) {
                Some(step) => {
                    let place = conv.walk.step(part.batch, part.order, step).place;
                    grad.write(self.x.get(conv.at(part, place, block), block.width));
                }
                None => grad.write(self.initial_state.get(conv.state_at(part, step, block), block.width)),
            }
        }
    }

    /// The gradients of the last `width - 1` inputs, which are the final state as well.
    fn write_last(&self, conv: &Conv<'_, E>, part: &Part, grad_state: &[E], past: &Past, carry: &Carry) {
        let Dims { length, width, .. } = conv.dims;
        for (block, grads) in part.blocks().zip(carry.x.chunks_exact((width - 1).max(1))) {
            for (row, grad) in grads.iter().enumerate() {
                let mut grad = *grad;
                if conv.config.final_grad && width - 2 - row <= past.reach {
                    let at = conv.state_at(part, row, block);
                    add(&mut grad.0, &Row::read(&grad_state[at..at + block.width]).0);
                }
                self.write(conv, part, block, length + row, &grad);
            }
        }
    }
}

/// One chunk of one part.
struct BackwardChunk<'a, E> {
    conv: &'a Conv<'a, E>,
    grad_y: &'a [E],
    part: &'a Part,
    /// The first step.
    first: usize,
    scratch: &'a mut Scratch,
    past: &'a mut Past,
    carry: &'a mut Carry,
    to: &'a Output<'a, E>,
}

impl<E: Float> Kernel for BackwardChunk<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let Self { conv, grad_y, part, first, scratch, past, carry, to } = self;
        let Scratch { chunk, x: grad_x, y: grad_rows, weight: grad_weights } = scratch;
        let width = conv.dims.width;
        let kept = width - 1;
        let steps = chunk.steps.len();
        for (i, block) in part.blocks().enumerate() {
            chunk.read_x(conv, part, i, block, past);
            grad_rows.resize(steps, Row::ZERO);
            for (step, row) in chunk.steps.iter().zip(&mut *grad_rows) {
                let at = conv.at(part, step.place, block);
                row.copy_from(&grad_y[at..at + block.width]);
            }
            grad_x.clear();
            grad_x.extend_from_slice(&carry.x[i * kept..(i + 1) * kept]);
            grad_x.resize(kept + steps, Row::ZERO);

            let weights = &past.weights[i * width..(i + 1) * width];
            let bias = Row::read(&conv.bias[block.start..block.start + block.width]);
            // Sums over chunks of sums over steps: rounding grows with the length of either, not with the sequence.
            grad_weights.clear();
            grad_weights.resize(width, Row::ZERO);
            let mut grad_bias = Row::ZERO;
            for t in 0..steps {
                prefetch_next(conv, conv.x, part, first + t, block);
                prefetch_next(conv, grad_y, part, first + t, block);
                for lane in (0..LANES).step_by(V::WIDTH) {
                    let mut grad = V::load(&grad_rows[t].0[lane..]);
                    if conv.config.silu {
                        let y: V = chunk.at(t, lane, weights, &bias);
                        let sigmoid = sigmoid(y);
                        // silu' = sigmoid (1 + y (1 - sigmoid))
                        grad = grad * sigmoid * y.mul_add(V::splat(1.0) - sigmoid, V::splat(1.0));
                    }
                    (V::load(&grad_bias.0[lane..]) + grad).store(&mut grad_bias.0[lane..]);
                    for back in 0..=chunk.reach[t] {
                        let (weight, sum) = (&weights[kept - back], &mut grad_x[kept + t - back]);
                        grad.mul_add(V::load(&weight.0[lane..]), V::load(&sum.0[lane..])).store(&mut sum.0[lane..]);
                        let (x, sum) = (&chunk.x[kept + t - back], &mut grad_weights[kept - back]);
                        grad.mul_add(V::load(&x.0[lane..]), V::load(&sum.0[lane..])).store(&mut sum.0[lane..]);
                    }
                }
            }
            add(&mut carry.bias[i].0, &grad_bias.0);
            add(Row::values_mut(&mut carry.weight[i * width..(i + 1) * width]), Row::values(grad_weights));
            for (t, grad) in grad_x[..steps].iter().enumerate() {
                to.write(conv, part, block, first + t, grad);
            }
            carry.x[i * kept..(i + 1) * kept].copy_from_slice(&grad_x[steps..]);
        }
    }
}
