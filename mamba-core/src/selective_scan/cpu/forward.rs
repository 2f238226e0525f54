//! The forward pass.

use super::total::Places;
use super::{Ahead, Dims, Rows, Scan, TILE, Tokens, Total};
use crate::cpu::{
    Block, Disjoint, Float, Kernel, LANES, Lanes, Part, Row, array, exp2, read_columns, sigmoid, vectorised,
    write_columns,
};
use rayon::prelude::*;
use std::f32::consts::LOG2_E;

pub(super) struct Output<E> {
    pub(super) y: Total<E>,
    pub(super) final_state: Vec<f32>,
    pub(super) chunk_states: Vec<f32>,
}

pub(super) fn forward<E: Float>(scan: &Scan<'_, E>) -> Output<E> {
    let Dims { batch, length, d_inner, d_state, .. } = scan.dims;
    let summed = scan.config.summed > 1;
    let saved = scan.config.saved_shape([batch, length, d_inner], d_state);
    let mut out = Output {
        y: Total::new(batch * length * scan.y_channels(), summed),
        final_state: vec![0.0; batch * d_inner * d_state],
        chunk_states: vec![0.0; saved.iter().product()],
    };
    let (y, final_state, chunk_states) =
        (out.y.places(), Disjoint::new(&mut out.final_state), Disjoint::new(&mut out.chunk_states));
    let arrays = &scan.arrays(None);
    scan.tasks(summed).par_iter().for_each(|parts| {
        let mut states: Vec<States> = parts.iter().map(|part| States::new(scan, part)).collect();
        let (mut tokens, mut rows) = (Tokens::default(), Rows::default());
        for steps in scan.chunks(0..length) {
            for (part, states) in parts.iter().zip(&mut states) {
                tokens.read(scan, part, steps.clone());
                let first = steps.start;
                let (tokens, rows, y, chunk_states) = (&tokens, &mut rows, &y, &chunk_states);
                vectorised(ForwardChunk { scan, arrays, part, first, tokens, states, rows, y, chunk_states });
            }
        }
        for (part, states) in parts.iter().zip(&states) {
            for (block, state) in part.blocks().zip(states.now.chunks_exact(d_state)) {
                let to = (part.batch * d_inner + block.start) * d_state;
                // SAFETY: only this part has these channels in this batch row.
                write_columns(state, unsafe { final_state.get(to, block.width * d_state) });
            }
        }
    });
    out
}

/// The states of a part, `[blocks, d_state]`.
struct States {
    now: Vec<Row>,
    rates: Vec<Row>,
}

impl States {
    fn new<E>(scan: &Scan<'_, E>, part: &Part) -> Self {
        let Dims { d_inner, d_state: n, .. } = scan.dims;
        let mut states = Self { now: vec![Row::ZERO; part.len() * n], rates: read_rates(scan, part) };
        if scan.config.fresh {
            return states;
        }
        for (block, state) in part.blocks().zip(states.now.chunks_exact_mut(n)) {
            let from = (part.batch * d_inner + block.start) * n;
            read_columns(&scan.initial_state[from..from + block.width * n], state);
        }
        states
    }
}

/// `a` for the blocks of a part, times `log2 e` for the sake of `exp2`: `[blocks, d_state]`.
pub(super) fn read_rates<E>(scan: &Scan<'_, E>, part: &Part) -> Vec<Row> {
    let n = scan.dims.d_state;
    let mut rates = vec![Row::ZERO; part.len() * n];
    for (Block { start, width }, rates) in part.blocks().zip(rates.chunks_exact_mut(n)) {
        read_columns(&scan.a[start * n..(start + width) * n], rates);
    }
    for rate in &mut rates {
        rate.0 = rate.0.map(|a| a * LOG2_E);
    }
    rates
}

/// One chunk of one part.
struct ForwardChunk<'a, E> {
    scan: &'a Scan<'a, E>,
    arrays: &'a [(&'a [E], usize)],
    part: &'a Part,
    /// The first step.
    first: usize,
    tokens: &'a Tokens,
    states: &'a mut States,
    rows: &'a mut Rows,
    y: &'a Places<'a, E>,
    chunk_states: &'a Disjoint<'a, f32>,
}

impl<E: Float> Kernel for ForwardChunk<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let Self { scan, arrays, part, first, tokens, states, rows, y, chunk_states } = self;
        let n = scan.dims.d_state;
        let states = states.now.chunks_exact_mut(n).zip(states.rates.chunks_exact(n));
        for (block, (state, rates)) in part.blocks().zip(states) {
            if scan.config.save {
                // SAFETY: only this part has these channels in this batch row.
                let before = unsafe { chunk_states.get(scan.chunk_state_at(part, first, block), block.width * n) };
                write_columns(state, before);
            }
            rows.read::<V, E>(scan, part, block, &tokens.steps);
            let ahead =
                Ahead::of(scan, arrays, (y, scan.y_channels()), part, block, [first, first + scan.config.chunk]);
            let whole = n - n % TILE;
            for first in (0..whole).step_by(TILE) {
                recur::<V, TILE, E>(first, rates, state, tokens, rows, &ahead);
            }
            for first in whole..n {
                recur::<V, 1, E>(first, rates, state, tokens, rows, &ahead);
            }
            write_y::<V, E>(scan, part, block, tokens, rows, y);
        }
    }
}

// ANCHOR: recur
/// The recurrence of the states from `first` on.
#[inline(always)]
fn recur<V: Lanes, const N: usize, E: Float>(
    first: usize,
    rates: &[Row],
    state: &mut [Row],
    tokens: &Tokens,
    rows: &mut Rows,
    ahead: &Ahead<'_, E>,
) {
    let n = state.len();
    for lane in (0..LANES).step_by(V::WIDTH) {
        let rate: [V; N] = array(|j| V::load(&rates[first + j].0[lane..]));
        let mut h: [V; N] = array(|j| V::load(&state[first + j].0[lane..]));
        let tokens = tokens.steps.iter().zip(tokens.b.chunks_exact(n)).zip(tokens.c.chunks_exact(n));
        let rows = rows.delta.iter().zip(&rows.x).zip(&mut rows.y);
        for (t, (((step, b), c), ((delta, x), y))) in tokens.zip(rows).enumerate() {
            if lane == 0 {
                ahead.prefetch(first, t);
            }
            if step.reset {
                h = [V::splat(0.0); N];
            }
            let (delta, x) = (V::load(&delta.0[lane..]), V::load(&x.0[lane..]));
            let (b, c) = (&b[first..first + N], &c[first..first + N]);
            let mut sum = V::load(&y.0[lane..]);
            for j in 0..N {
                h[j] = exp2(delta * rate[j]).mul_add(h[j], x * V::splat(b[j]));
                sum = h[j].mul_add(V::splat(c[j]), sum);
            }
            sum.store(&mut y.0[lane..]);
        }
        for j in 0..N {
            h[j].store(&mut state[first + j].0[lane..]);
        }
    }
}
// ANCHOR_END: recur

/// Adds the skip, applies the gate and puts the rows of `y` in their places.
#[inline(always)]
fn write_y<V: Lanes, E: Float>(
    scan: &Scan<'_, E>,
    part: &Part,
    block: Block,
    tokens: &Tokens,
    rows: &Rows,
    to: &Places<'_, E>,
) {
    let d = Row::read(&scan.d[block.start..block.start + block.width]);
    for (t, step) in tokens.steps.iter().enumerate() {
        let mut out = Row::ZERO;
        for lane in (0..LANES).step_by(V::WIDTH) {
            let at = |row: &Row| V::load(&row.0[lane..]);
            let mut y = at(&rows.u[t]).mul_add(at(&d), at(&rows.y[t]));
            if scan.z.is_some() {
                let z = at(&rows.z[t]);
                y = y * (z * sigmoid(z));
            }
            y.store(&mut out.0[lane..]);
        }
        let at = scan.at(part, step.place, scan.y_channels(), block);
        // SAFETY: only this task has these channels in this batch row.
        unsafe { to.put(&out, at, block.width) };
    }
}
