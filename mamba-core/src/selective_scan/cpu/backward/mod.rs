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
use crate::cpu::{Block, Disjoint, Float, LANES, Part, Row, pieces_per_task, read_columns, vectorised, write_columns};
use chunk::{BackwardChunk, Output, Scratch};
use rayon::prelude::*;
use std::ops::Range;

/// Values of `b`'s gradient that a part holds, or where orders share channels its parts of all orders together.
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

    let tasks = scan.tasks(shared);
    let (chunk, held) = (scan.config.chunk, if shared { WINDOW / scan.n_orders() } else { WINDOW });
    let window = chunk * (held / (n * chunk)).clamp(1, length.div_ceil(chunk));
    let carry = |part: &Part| Carry::new(scan, part, grad_final_state);
    let mut carries: Vec<Vec<Carry>> = tasks.iter().map(|parts| parts.iter().map(carry).collect()).collect();
    // [tasks, parts, window, tiles]
    let of_part = vec![TokenGrads::default(); window.min(length) * tiles(n)];
    let mut tokens: Vec<_> = tasks.iter().map(|parts| vec![of_part.clone(); parts.len()]).collect();
    let output = Output { u: grad_u.places(), delta: Disjoint::new(&mut grad_delta), z: Disjoint::new(&mut grad_z) };
    let arrays = &scan.arrays(Some(grad_y));
    for first in (0..length).step_by(window).rev() {
        let steps = first..length.min(first + window);
        let work = tasks.par_iter().zip(&mut carries).zip(&mut tokens);
        work.for_each_init(Scratch::default, |scratch, ((parts, carries), tokens)| {
            for chunk in scan.chunks(steps.clone()).rev() {
                for ((part, carry), tokens) in parts.iter().zip(&mut *carries).zip(&mut *tokens) {
                    scratch.tokens.read(scan, part, chunk.clone());
                    let (first, in_window, output) = (chunk.start, chunk.start - steps.start, &output);
                    let grad_tokens = &mut tokens[in_window * tiles(n)..][..chunk.len() * tiles(n)];
                    let kernel = BackwardChunk {
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
                    vectorised(kernel);
                }
            }
        });
        add_parts(scan, &tasks, &tokens, steps, &mut grad_b, &mut grad_c);
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
    for (part, carry) in tasks.iter().flatten().zip(carries.iter().flatten()) {
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
    tasks: &[Vec<Part>],
    tokens: &[Vec<Vec<TokenGrads>>],
    steps: Range<usize>,
    grad_b: &mut [f32],
    grad_c: &mut [f32],
) {
    const STEPS: usize = 64;
    let n = scan.dims.d_state;
    let (grad_b, grad_c) = (Disjoint::new(grad_b), Disjoint::new(grad_c));
    let mut parts: Vec<_> = tasks.iter().flatten().zip(tokens.iter().flatten()).collect();
    parts.sort_by_key(|(part, _)| (part.order, part.batch, part.group));
    // Parts of different orders may have one place at different steps: one order at a time.
    for parts in parts.chunk_by(|(x, _), (y, _)| x.order == y.order) {
        let sums: Vec<_> = parts.chunk_by(|(x, _), (y, _)| (x.batch, x.group) == (y.batch, y.group)).collect();
        let pieces = steps.len().div_ceil(STEPS);
        let at_least = pieces_per_task(sums.len() * pieces, parts.len() * steps.len() * n);
        (0..sums.len() * pieces).into_par_iter().with_min_len(at_least).for_each(|task| {
            let (parts, first) = (sums[task / pieces], steps.start + task % pieces * STEPS);
            let piece = first..steps.end.min(first + STEPS);
            for (part, tokens) in parts {
                let tokens = tokens[(first - steps.start) * tiles(n)..].chunks_exact(tiles(n));
                for (step, tokens) in scan.walk.steps(part.batch, part.order, piece.clone()).zip(tokens) {
                    let at = scan.group_at(part, step.place);
                    // SAFETY: a walk visits every place once, and other tasks have other batch rows, groups or steps.
                    add_tiles(unsafe { grad_b.get(at, n) }, unsafe { grad_c.get(at, n) }, tokens);
                }
            }
        });
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
