//! One token from a state, as in decoding.

use super::{Conv, Dims};
use crate::cpu::{
    Block, Disjoint, Float, Kernel, LANES, Lanes, Part, Row, pieces_per_task, read_columns, sigmoid, vectorised,
};
use rayon::prelude::*;

/// The widest window that fits the stack.
const WIDEST: usize = 8;

/// Whether this is one token from a state.
pub(super) fn is_step<E>(conv: &Conv<'_, E>) -> bool {
    let Dims { length, width, .. } = conv.dims;
    length == 1 && (2..=WIDEST).contains(&width) && conv.walk.is_straight() && !conv.config.fresh
}

/// Returns `y` and the state after the token.
pub(super) fn step<E: Float>(conv: &Conv<'_, E>) -> (Vec<E>, Vec<E>) {
    let Dims { batch, channels, width, .. } = conv.dims;
    let (mut y, mut state) = (E::zeros(batch * channels), E::zeros(conv.initial_state.len()));
    let (to_y, to_state) = (&Disjoint::new(&mut y), &Disjoint::new(&mut state));
    let parts = conv.parts();
    let per_task = pieces_per_task(parts.len(), batch * channels * width);
    let steps = parts.par_iter().map(|part| Step { conv, part, y: to_y, state: to_state });
    steps.with_min_len(per_task).for_each(vectorised);
    (y, state)
}

struct Step<'a, E> {
    conv: &'a Conv<'a, E>,
    part: &'a Part,
    y: &'a Disjoint<'a, E>,
    state: &'a Disjoint<'a, E>,
}

impl<E: Float> Kernel for Step<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let Self { conv, part, y, state } = self;
        let width = conv.dims.width;
        let [mut weights, mut window] = [[Row::ZERO; WIDEST]; 2];
        for block in part.blocks() {
            let Block { start, width: channels } = block;
            read_columns(&conv.weight[start * width..(start + channels) * width], &mut weights[..width]);
            for (row, x) in window[..width - 1].iter_mut().enumerate() {
                let at = conv.state_at(part, row, block);
                x.copy_from(&conv.initial_state[at..at + channels]);
            }
            let at = conv.at(part, 0, block);
            window[width - 1].copy_from(&conv.x[at..at + channels]);
            let mut out = Row::read(&conv.bias[start..start + channels]);
            for lane in (0..LANES).step_by(V::WIDTH) {
                let mut sum = V::load(&out.0[lane..]);
                for (x, weight) in window[..width].iter().zip(&weights).rev() {
                    sum = V::load(&x.0[lane..]).mul_add(V::load(&weight.0[lane..]), sum);
                }
                if conv.config.silu {
                    sum = sum * sigmoid(sum);
                }
                sum.store(&mut out.0[lane..]);
            }
            // SAFETY: only this part has these channels in this batch row.
            out.write(unsafe { y.get(at, channels) });
            for (row, x) in window[1..width].iter().enumerate() {
                // SAFETY: as above.
                x.write(unsafe { state.get(conv.state_at(part, row, block), channels) });
            }
        }
    }
}
