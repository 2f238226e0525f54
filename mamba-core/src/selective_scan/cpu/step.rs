//! One token from a state, as in decoding: vectors over the states of a channel, which lie side by side.

use super::{Block, Dims, Scan, ScanConfig, ScanInputs};
use crate::cpu::{
    Disjoint, Float, Kernel, LANES, Lanes, Part, Row, exp2, pieces_per_task, sigmoid, softplus, sums, vectorised,
};
use crate::selective_scan::backend::Path;
use burn::backend::{Backend, TensorMetadata};
use rayon::prelude::*;
use std::f32::consts::LOG2_E;

/// Channels whose sums over states are taken together.
const TOGETHER: usize = 8;

/// Whether this scan is one token that nobody asks gradients of, and its states fill vectors.
pub(super) fn is_step<B: Backend>(inputs: &ScanInputs<B>, config: ScanConfig) -> bool {
    let [_, length, d_inner] = inputs.delta.shape().dims();
    let [_, d_state] = inputs.a.shape().dims();
    let plain = matches!(inputs.path, Path::Straight) && inputs.u.shape()[2] == d_inner;
    length == 1 && plain && !config.save && !config.fresh && d_state.is_multiple_of(LANES)
}

/// The outputs; `state` goes on by the token.
pub(super) fn step<E: Float>(scan: &Scan<'_, E>, state: &mut [f32]) -> Vec<E> {
    // A state takes an exponential.
    const WORK: usize = 4;
    let Dims { batch, d_inner, d_state, .. } = scan.dims;
    let work = WORK * state.len();
    let mut y = E::zeros(batch * d_inner);
    let (places, states) = (Disjoint::new(&mut y), Disjoint::new(state));
    let parts = scan.parts(false);
    let blocks: Vec<_> = parts.iter().flat_map(|part| part.blocks().map(move |block| (part, block))).collect();
    blocks.par_iter().with_min_len(pieces_per_task(blocks.len(), work)).for_each(|&(part, block)| {
        let at = part.batch * d_inner + block.start;
        // SAFETY: only this block has these channels in this batch row.
        let (y, state) = unsafe { (places.get(at, block.width), states.get(at * d_state, block.width * d_state)) };
        vectorised(Step { scan, part, block, at, y, state });
    });
    y
}

/// The step of a block of channels, the first of which is `at`.
struct Step<'a, E> {
    scan: &'a Scan<'a, E>,
    part: &'a Part,
    block: Block,
    at: usize,
    y: &'a mut [E],
    state: &'a mut [f32],
}

impl<E: Float> Kernel for Step<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let Self { scan, part, block: Block { start, width }, at, y, state } = self;
        let n = scan.dims.d_state;
        let tokens = at..at + width;
        let u = Row::read(&scan.u[tokens.clone()]);
        let [mut delta, mut out] = [Row::read(&scan.delta[tokens.clone()]), Row::ZERO];
        let [bias, d] = [scan.delta_bias, scan.d].map(|x| Row::read(&x[start..start + width]));
        for lane in (0..LANES).step_by(V::WIDTH) {
            let mut size = V::load(&delta.0[lane..]) + V::load(&bias.0[lane..]);
            if scan.config.delta_softplus {
                size = softplus(size).0;
            }
            size.store(&mut delta.0[lane..]);
        }
        let group = scan.group_at(part, 0);
        let (b, c) = (&scan.b[group..group + n], &scan.c[group..group + n]);
        let a = &scan.a[start * n..];
        for first in (0..width).step_by(TOGETHER) {
            let mut found = [V::splat(0.0); TOGETHER];
            for (channel, found) in (first..width).zip(&mut found) {
                let (size, x) = (V::splat(delta.0[channel] * LOG2_E), V::splat(delta.0[channel] * u.0[channel]));
                for k in (0..n).step_by(V::WIDTH) {
                    let [mut b_k, mut c_k] = [Row::ZERO; 2];
                    E::read(&b[k..k + V::WIDTH], &mut b_k.0[..V::WIDTH]);
                    E::read(&c[k..k + V::WIDTH], &mut c_k.0[..V::WIDTH]);
                    let i = channel * n + k;
                    let kept = exp2(size * V::load(&a[i..]));
                    let h = kept.mul_add(V::load(&state[i..]), x * V::load(&b_k.0));
                    h.store(&mut state[i..]);
                    *found = h.mul_add(V::load(&c_k.0), *found);
                }
            }
            let sums = sums(found);
            out.0[first..first + TOGETHER].copy_from_slice(&sums);
        }
        let z = scan.z.map(|z| Row::read(&z[tokens]));
        for lane in (0..LANES).step_by(V::WIDTH) {
            let at = |row: &Row| V::load(&row.0[lane..]);
            let mut y = at(&u).mul_add(at(&d), at(&out));
            if let Some(z) = &z {
                y = y * (at(z) * sigmoid(at(z)));
            }
            y.store(&mut out.0[lane..]);
        }
        out.write(y);
    }
}
