//! The backward pass: the chunks from the last to the first, the states of each recomputed from the one before it.
//!
//! With `g_t` the gradient of `<c_t, h_t> + d u_t` and `G_t` that of `h_t`,
//!
//! ```text
//! G_t = c_t g_t + exp(delta_(t+1) a) G_(t+1)
//! ```
//!
//! and all other gradients are products with `G_t`. Those of `b` and `c` are sums over channels: every part adds up its
//! own for a window of some chunks, then the parts are added in their order.

mod chunk;

use super::forward::read_rates;
use super::total::add;
use super::{Dims, Scan, TILE, Total, tiles};
use crate::cpu::{
    Block, Disjoint, Float, LANES, Part, Row, parts_per_task, pieces_per_task, read_columns, vectorised, write_columns,
};
use chunk::{BackwardChunk, Output, Scratch};
use rayon::prelude::*;
use std::ops::Range;

/// Values of `b`'s gradient that a part holds.
const WINDOW: usize = 1 << 14;

/// The gradients, named and shaped as the inputs.
pub(super) struct Grads<E> {
    pub(super) u: Total<E>,
    pub(super) delta: Vec<E>,
    pub(super) a: Vec<f32>,
    pub(super) b: Vec<E>,
    pub(super) c: Vec<E>,
    pub(super) d: Vec<f32>,
    pub(super) delta_bias: Vec<f32>,
    pub(super) initial_state: Vec<f32>,
    pub(super) z: Option<Vec<E>>,
}

/// What a part carries from window to window.
struct Carry {
    /// `[blocks, d_state]`, as the next three: `a` times `log2 e`
    rates: Vec<Row>,
    /// The gradient of the state after the step that comes next.
    state: Vec<Row>,
    a: Vec<Row>,
    /// `[blocks]`
    d: Vec<Row>,
    delta_bias: Vec<Row>,
}

/// The gradients of a token's `b` and `c`, of one tile of states: four or one of each, from places 0 and 4 on.
type TokenGrads = [f32; 8];

pub(super) fn backward<E: Float>(
    scan: &Scan<'_, E>,
    chunk_states: &[f32],
    grad_y: &[E],
    grad_final_state: &[f32],
) -> Grads<E> {
    let Dims { batch, length, d_inner, u_channels, d_state: n, n_groups } = scan.dims;
    let shared = u_channels < d_inner;
    let mut grad_u = Total::new(batch * length * u_channels, shared);
    let mut grad_delta = E::zeros(batch * length * d_inner);
    let mut grad_z = E::zeros(if scan.z.is_some() { batch * length * d_inner } else { 0 });
    let [mut grad_b, mut grad_c] = [(); 2].map(|()| f32::zeros(batch * length * n_groups * n));

    let rounds = scan.rounds(shared);
    let chunk = scan.config.chunk;
    let window = chunk * (WINDOW / (n * chunk)).clamp(1, length.div_ceil(chunk));
    let carry = |part: &Part| Carry::new(scan, part, grad_final_state);
    let mut carries: Vec<Vec<Carry>> = rounds.iter().map(|parts| parts.iter().map(carry).collect()).collect();
    // [parts of a round, window, tiles]
    let most_parts = rounds.iter().map(Vec::len).max().unwrap_or(0);
    let mut tokens = vec![vec![TokenGrads::default(); window.min(length) * tiles(n)]; most_parts];
    let output = Output { u: grad_u.places(), delta: Disjoint::new(&mut grad_delta), z: Disjoint::new(&mut grad_z) };
    let arrays = &scan.arrays(Some(grad_y));
    for first in (0..length).step_by(window).rev() {
        let steps = first..length.min(first + window);
        for (parts, carries) in rounds.iter().zip(&mut carries) {
            let per_task = parts_per_task(parts, batch * steps.len() * d_inner * n / rounds.len());
            let tokens = &mut tokens[..parts.len()];
            let tasks = parts.par_chunks(per_task).zip(carries.par_chunks_mut(per_task));
            let tasks = tasks.zip(tokens.par_chunks_mut(per_task));
            tasks.for_each_init(Scratch::default, |scratch, ((parts, carries), tokens)| {
                for chunk in scan.chunks(steps.clone()).rev() {
                    for ((part, carry), tokens) in parts.iter().zip(&mut *carries).zip(&mut *tokens) {
                        scratch.tokens.read(scan, part, chunk.clone());
                        let (first, in_window, output) = (chunk.start, chunk.start - steps.start, &output);
                        let grad_tokens = &mut tokens[in_window * tiles(n)..][..chunk.len() * tiles(n)];
                        let task = BackwardChunk {
                            scan,
                            arrays,
                            chunk_states,
                            grad_y,
                            part,
                            first,
                            carry,
                            grad_tokens,
                            scratch,
                            output,
                        };
                        vectorised(task);
                    }
                }
            });
            add_parts(scan, parts, tokens, steps.clone(), &mut grad_b, &mut grad_c);
        }
    }

    let mut grads = Grads {
        u: grad_u,
        delta: grad_delta,
        a: vec![0.0; d_inner * n],
        b: E::round(grad_b),
        c: E::round(grad_c),
        d: vec![0.0; d_inner],
        delta_bias: vec![0.0; d_inner],
        initial_state: vec![0.0; batch * d_inner * n],
        z: scan.z.map(|_| grad_z),
    };
    let mut of_block = vec![0.0; LANES * n];
    for (part, carry) in rounds.iter().flatten().zip(carries.iter().flatten()) {
        for (i, Block { start, width }) in part.blocks().enumerate() {
            let to = (part.batch * d_inner + start) * n;
            write_columns(&carry.state[i * n..(i + 1) * n], &mut grads.initial_state[to..to + width * n]);
            write_columns(&carry.a[i * n..(i + 1) * n], &mut of_block[..width * n]);
            add(&mut grads.a[start * n..(start + width) * n], &of_block);
            add(&mut grads.d[start..start + width], &carry.d[i].0);
            add(&mut grads.delta_bias[start..start + width], &carry.delta_bias[i].0);
        }
    }
    grads
}

impl Carry {
    fn new<E: Float>(scan: &Scan<'_, E>, part: &Part, grad_final_state: &[f32]) -> Self {
        let Dims { d_inner, d_state: n, .. } = scan.dims;
        let rows = || vec![Row::ZERO; part.len() * n];
        let mut carry = Self {
            rates: read_rates(scan, part),
            state: rows(),
            a: rows(),
            d: vec![Row::ZERO; part.len()],
            delta_bias: vec![Row::ZERO; part.len()],
        };
        if scan.config.final_grad {
            for (block, state) in part.blocks().zip(carry.state.chunks_exact_mut(n)) {
                let from = (part.batch * d_inner + block.start) * n;
                read_columns(&grad_final_state[from..from + block.width * n], state);
            }
        }
        carry
    }
}

/// Adds what the parts hold of `steps` of the walk to the gradients of `b` and `c`.
fn add_parts<E: Float>(
    scan: &Scan<'_, E>,
    parts: &[Part],
    tokens: &[Vec<TokenGrads>],
    steps: Range<usize>,
    grad_b: &mut [f32],
    grad_c: &mut [f32],
) {
    const STEPS: usize = 64;
    let Dims { batch, d_state: n, .. } = scan.dims;
    let (grad_b, grad_c) = (Disjoint::new(grad_b), Disjoint::new(grad_c));
    let mut start = 0;
    // Parts of different orders may have one place at different steps: one order at a time.
    for parts in parts.chunk_by(|x, y| x.order == y.order) {
        let tokens = &tokens[start..start + parts.len()];
        start += parts.len();
        let of_batch = parts.len() / batch;
        let mut start = 0;
        for segment in parts[..of_batch].chunk_by(|x, y| x.group == y.group) {
            let segment = start..start + segment.len();
            start = segment.end;
            let pieces = steps.len().div_ceil(STEPS);
            let at_least = pieces_per_task(batch * pieces, batch * steps.len() * n * segment.len());
            (0..batch * pieces).into_par_iter().with_min_len(at_least).for_each(|task| {
                let (batch, piece) = (task / pieces, task % pieces);
                let part = &parts[batch * of_batch + segment.start];
                let tokens = &tokens[batch * of_batch..][segment.clone()];
                let first = steps.start + piece * STEPS;
                let piece = first..steps.end.min(first + STEPS);
                for (t, step) in piece.clone().zip(scan.walk.steps(part.batch, part.order, piece)) {
                    let (at, from) = (scan.group_at(part, step.place), (t - steps.start) * tiles(n));
                    // SAFETY: a walk visits every place once, and other tasks have other batch rows or other steps.
                    let (b, c) = unsafe { (grad_b.get(at, n), grad_c.get(at, n)) };
                    for tokens in tokens {
                        add_tiles(b, c, &tokens[from..from + tiles(n)]);
                    }
                }
            });
        }
    }
}

/// Adds the tiles of one token to its gradients.
#[inline(always)]
fn add_tiles(b: &mut [f32], c: &mut [f32], tiles: &[TokenGrads]) {
    let whole = b.len() / TILE;
    let ((b, b_rest), (c, c_rest)) = (b.as_chunks_mut::<TILE>(), c.as_chunks_mut::<TILE>());
    for ((b, c), tile) in b.iter_mut().zip(c).zip(tiles) {
        add(b, &tile[..TILE]);
        add(c, &tile[TILE..]);
    }
    for ((b, c), tile) in b_rest.iter_mut().zip(c_rest).zip(&tiles[whole..]) {
        *b += tile[0];
        *c += tile[TILE];
    }
}
