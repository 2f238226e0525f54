//! The forward pass.

use super::{Chunk, Conv, Dims, Past, prefetch_next};
use crate::cpu::{Disjoint, Float, Kernel, LANES, Lanes, Part, Row, parts_per_task, sigmoid, vectorised};
use rayon::prelude::*;

/// Returns `y` and the final state.
pub(super) fn forward<E: Float>(conv: &Conv<'_, E>) -> (Vec<E>, Vec<E>) {
    let Dims { batch, length, channels, width } = conv.dims;
    let mut y = E::zeros(batch * length * channels);
    let mut final_state = E::zeros(conv.initial_state.len());
    let (to_y, to_state) = (Disjoint::new(&mut y), Disjoint::new(&mut final_state));
    let parts = conv.parts();
    let per_task = parts_per_task(&parts, 1, batch * length * channels * width);
    parts.par_chunks(per_task).for_each(|parts| {
        let mut pasts: Vec<Past> = parts.iter().map(|part| Past::new(conv, part)).collect();
        let mut chunk = Chunk::default();
        for steps in conv.chunks() {
            for (part, past) in parts.iter().zip(&mut pasts) {
                let first = steps.start;
                chunk.read_steps(conv, part, steps.clone(), past);
                vectorised(ForwardChunk { conv, part, first, chunk: &mut chunk, past, y: &to_y });
            }
        }
        for (part, past) in parts.iter().zip(&pasts) {
            for (block, past_x) in part.blocks().zip(past.x.chunks_exact((width - 1).max(1))) {
                for (row, x) in past_x.iter().enumerate() {
                    let seen = if width - 2 - row <= past.reach { x } else { &Row::ZERO };
                    // SAFETY: only this part has these channels in this batch row.
                    seen.write(unsafe { to_state.get(conv.state_at(part, row, block), block.width) });
                }
            }
        }
    });
    (y, final_state)
}

/// One chunk of one part.
struct ForwardChunk<'a, E> {
    conv: &'a Conv<'a, E>,
    part: &'a Part,
    /// The first step.
    first: usize,
    chunk: &'a mut Chunk,
    past: &'a mut Past,
    y: &'a Disjoint<'a, E>,
}

impl<E: Float> Kernel for ForwardChunk<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let Self { conv, part, first, chunk, past, y } = self;
        let width = conv.dims.width;
        for (i, block) in part.blocks().enumerate() {
            chunk.read_x(conv, part, i, block, past);
            let weights = &past.weights[i * width..(i + 1) * width];
            let bias = Row::read(&conv.bias[block.start..block.start + block.width]);
            for (t, step) in chunk.steps.iter().enumerate() {
                prefetch_next(conv, conv.x, part, first + t, block);
                let mut out = Row::ZERO;
                for lane in (0..LANES).step_by(V::WIDTH) {
                    let mut y: V = chunk.at(t, lane, weights, &bias);
                    if conv.config.silu {
                        y = y * sigmoid(y);
                    }
                    y.store(&mut out.0[lane..]);
                }
                // SAFETY: only this part has these channels in this batch row.
                out.write(unsafe { y.get(conv.at(part, step.place, block), block.width) });
            }
        }
    }
}
