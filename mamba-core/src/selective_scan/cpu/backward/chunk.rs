//! The gradients of one chunk of one part: of its tokens, and what they add to those of its channels.

use super::super::total::{Places, add};
use super::super::{Ahead, Dims, Rows, Scan, TILE, Tokens, tiles};
use super::{Carry, TokenGrads};
use crate::cpu::{
    Block, Disjoint, Float, Kernel, LANES, Lanes, Part, Row, Step, array, exp2, read_columns, sigmoid, sums,
};
use std::f32::consts::LN_2;

/// Memory of a thread.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) tokens: Tokens,
    rows: Rows,
    grads: RowGrads,
    /// The states before the chunk and after each of its steps, and `exp(delta a)` of each step, for one tile.
    h: Vec<Row>,
    decay: Vec<Row>,
    state: Vec<Row>,
}

/// Gradients of a block's channels, one row for every token of a chunk.
#[derive(Default)]
struct RowGrads {
    /// Of `<c, h> + d u`.
    y: Vec<Row>,
    /// Of the gate, over `<c, h> + d u`.
    z: Vec<Row>,
    /// `sum over states of G b`
    gb: Vec<Row>,
    /// `sum over states of G exp(delta a) h a`, times `log2 e`
    ga: Vec<Row>,
}

/// The arrays that all parts write to.
pub(super) struct Output<'a, E> {
    pub(super) u: Places<'a, E>,
    pub(super) delta: Disjoint<'a, E>,
    pub(super) z: Disjoint<'a, E>,
}

/// One chunk of one part.
pub(super) struct BackwardChunk<'a, E> {
    pub(super) scan: &'a Scan<'a, E>,
    pub(super) arrays: &'a [(&'a [E], usize)],
    pub(super) chunk_states: &'a [f32],
    pub(super) grad_y: &'a [E],
    pub(super) part: &'a Part,
    /// The first step.
    pub(super) first: usize,
    pub(super) carry: &'a mut Carry,
    /// `[steps, tiles]`
    pub(super) grad_tokens: &'a mut [TokenGrads],
    pub(super) scratch: &'a mut Scratch,
    pub(super) output: &'a Output<'a, E>,
}

impl<E: Float> Kernel for BackwardChunk<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let Self { scan, arrays, part, carry, grad_tokens, scratch, .. } = self;
        let Scratch { tokens, rows, grads, h, decay, state } = scratch;
        let n = scan.dims.d_state;
        let steps = tokens.steps.len();
        h.resize((steps + 1) * TILE, Row::ZERO);
        decay.resize(steps * TILE, Row::ZERO);
        state.resize(n, Row::ZERO);
        grad_tokens.fill(TokenGrads::default());
        for (i, block) in part.blocks().enumerate() {
            rows.read::<V, E>(scan, part, block, &tokens.steps);
            grads.read::<V, E>(scan, part, block, &tokens.steps, rows, self.grad_y);
            let from = scan.chunk_state_at(part, self.first, block);
            read_columns(&self.chunk_states[from..from + block.width * n], state);
            let next = self.first.checked_sub(scan.config.chunk).unwrap_or(scan.dims.length);
            let to = (&self.output.u, scan.dims.u_channels);
            let ahead = Ahead::of(scan, arrays, to, part, block, [self.first, next]);
            let mut tile = Tile {
                ahead: &ahead,
                first: 0,
                rates: &carry.rates[i * n..(i + 1) * n],
                state,
                h,
                decay,
                grad_state: &mut carry.state[i * n..(i + 1) * n],
                grad_a: &mut carry.a[i * n..(i + 1) * n],
                grad_tokens,
            };
            let whole = n - n % TILE;
            for first in (0..whole).step_by(TILE) {
                tile.first = first;
                tile.run::<V, TILE>(tokens, rows, grads);
            }
            for first in whole..n {
                tile.first = first;
                tile.run::<V, 1>(tokens, rows, grads);
            }
            let (grad_d, grad_bias) = (&mut carry.d[i], &mut carry.delta_bias[i]);
            self.output.write::<V>(scan, part, block, tokens, rows, grads, grad_d, grad_bias);
        }
    }
}

impl RowGrads {
    #[inline(always)]
    fn read<V: Lanes, E: Float>(
        &mut self,
        scan: &Scan<'_, E>,
        part: &Part,
        block: Block,
        steps: &[Step],
        rows: &Rows,
        grad_y: &[E],
    ) {
        for rows in [&mut self.z, &mut self.gb, &mut self.ga] {
            rows.resize(steps.len(), Row::ZERO);
        }
        self.gb.fill(Row::ZERO);
        self.ga.fill(Row::ZERO);
        scan.gather(grad_y, scan.y_channels(), part, block, steps, &mut self.y);
        if scan.z.is_none() {
            return;
        }
        for t in 0..steps.len() {
            for lane in (0..LANES).step_by(V::WIDTH) {
                let (z, grad) = (V::load(&rows.z[t].0[lane..]), V::load(&self.y[t].0[lane..]));
                let sigmoid = sigmoid(z);
                let silu = z * sigmoid;
                (grad * silu).store(&mut self.y[t].0[lane..]);
                // silu' = sigmoid + silu (1 - sigmoid)
                let slope = silu.mul_add(V::splat(1.0) - sigmoid, sigmoid);
                (grad * slope).store(&mut self.z[t].0[lane..]);
            }
        }
    }
}

/// The states from `first` on, of a block in a chunk.
struct Tile<'a, E> {
    ahead: &'a Ahead<'a, E>,
    first: usize,
    rates: &'a [Row],
    /// Before the chunk.
    state: &'a [Row],
    h: &'a mut [Row],
    decay: &'a mut [Row],
    grad_state: &'a mut [Row],
    grad_a: &'a mut [Row],
    grad_tokens: &'a mut [TokenGrads],
}

impl<E: Float> Tile<'_, E> {
    #[inline(always)]
    fn run<V: Lanes, const N: usize>(&mut self, tokens: &Tokens, rows: &mut Rows, grads: &mut RowGrads) {
        for lane in (0..LANES).step_by(V::WIDTH) {
            self.recompute::<V, N>(lane, tokens, rows);
            self.reverse::<V, N>(lane, tokens, rows, grads);
        }
    }

    /// The recurrence again; keeps every state and decay.
    #[inline(always)]
    fn recompute<V: Lanes, const N: usize>(&mut self, lane: usize, tokens: &Tokens, rows: &mut Rows) {
        let (first, n, size) = (self.first, self.rates.len(), N * V::WIDTH);
        let (h, decay) = (Row::values_mut(self.h), Row::values_mut(self.decay));
        let rate: [V; N] = array(|j| V::load(&self.rates[first + j].0[lane..]));
        let mut state: [V; N] = array(|j| V::load(&self.state[first + j].0[lane..]));
        for j in 0..N {
            state[j].store(&mut h[j * V::WIDTH..]);
        }
        let tokens = tokens.steps.iter().zip(tokens.b.chunks_exact(n)).zip(tokens.c.chunks_exact(n));
        let rows = rows.delta.iter().zip(&rows.x).zip(&mut rows.y);
        let kept = h[size..].chunks_exact_mut(size).zip(decay.chunks_exact_mut(size));
        for (t, ((((step, b), c), ((delta, x), y)), (h, decay))) in tokens.zip(rows).zip(kept).enumerate() {
            if lane == 0 {
                self.ahead.prefetch(first, t);
            }
            if step.reset {
                state = [V::splat(0.0); N];
            }
            let (delta, x) = (V::load(&delta.0[lane..]), V::load(&x.0[lane..]));
            let (b, c) = (&b[first..first + N], &c[first..first + N]);
            let mut sum = V::load(&y.0[lane..]);
            for j in 0..N {
                let e = exp2(delta * rate[j]);
                state[j] = e.mul_add(state[j], x * V::splat(b[j]));
                sum = state[j].mul_add(V::splat(c[j]), sum);
                e.store(&mut decay[j * V::WIDTH..]);
                state[j].store(&mut h[j * V::WIDTH..]);
            }
            sum.store(&mut y.0[lane..]);
        }
    }

    /// The gradients, from the last step to the first.
    #[inline(always)]
    fn reverse<V: Lanes, const N: usize>(&mut self, lane: usize, tokens: &Tokens, rows: &Rows, grads: &mut RowGrads) {
        let (first, n, size) = (self.first, self.rates.len(), N * V::WIDTH);
        let (h, decay) = (Row::values(self.h), Row::values(self.decay));
        let rate: [V; N] = array(|j| V::load(&self.rates[first + j].0[lane..]));
        let mut next: [V; N] = array(|j| V::load(&self.grad_state[first + j].0[lane..]));
        let zero = V::splat(0.0);
        let mut grad_a = [zero; N];
        for t in (0..tokens.steps.len()).rev() {
            let at = |row: &Row| V::load(&row.0[lane..]);
            let (delta, x, g) = (at(&rows.delta[t]), at(&rows.x[t]), at(&grads.y[t]));
            let (mut gb, mut ga) = (at(&grads.gb[t]), at(&grads.ga[t]));
            let (b, c) = (&tokens.b[t * n + first..][..N], &tokens.c[t * n + first..][..N]);
            let (before, after) = h[t * size..][..2 * size].split_at(size);
            let decay = &decay[t * size..][..size];
            let mut grad = [zero; N];
            let mut of_tokens = [zero; 8];
            for j in 0..N {
                grad[j] = g.mul_add(V::splat(c[j]), next[j]);
                gb = grad[j].mul_add(V::splat(b[j]), gb);
                of_tokens[j] = grad[j] * x;
                of_tokens[TILE + j] = g * V::load(&after[j * V::WIDTH..]);
            }
            gb.store(&mut grads.gb[t].0[lane..]);
            if tokens.steps[t].reset {
                next = [zero; N];
            } else {
                for j in 0..N {
                    next[j] = grad[j] * V::load(&decay[j * V::WIDTH..]);
                    let of_rate = next[j] * V::load(&before[j * V::WIDTH..]);
                    ga = of_rate.mul_add(rate[j], ga);
                    grad_a[j] = of_rate.mul_add(delta, grad_a[j]);
                }
                ga.store(&mut grads.ga[t].0[lane..]);
            }
            let of_tokens = sums(of_tokens);
            let sum = &mut self.grad_tokens[t * tiles(n) + tiles(first)];
            *sum = array(|k| sum[k] + of_tokens[k]);
        }
        for j in 0..N {
            next[j].store(&mut self.grad_state[first + j].0[lane..]);
            // Sums over chunks of sums over steps: rounding grows with the length of either, not with the sequence.
            let sum = &mut self.grad_a[first + j].0[lane..];
            (V::load(sum) + grad_a[j]).store(sum);
        }
    }
}

impl<E: Float> Output<'_, E> {
    /// Puts the gradients of a block's tokens in their places; adds to those of its channels.
    #[inline(always)]
    #[allow(clippy::too_many_arguments, reason = "inlined into one place")]
    fn write<V: Lanes>(
        &self,
        scan: &Scan<'_, E>,
        part: &Part,
        block: Block,
        tokens: &Tokens,
        rows: &Rows,
        grads: &RowGrads,
        grad_d: &mut Row,
        grad_bias: &mut Row,
    ) {
        let Dims { d_inner, u_channels, .. } = scan.dims;
        let d = Row::read(&scan.d[block.start..block.start + block.width]);
        let [mut sum_d, mut sum_bias] = [Row::ZERO; 2];
        for (t, step) in tokens.steps.iter().enumerate() {
            let [mut grad_u, mut grad_delta, mut grad_z] = [Row::ZERO; 3];
            for lane in (0..LANES).step_by(V::WIDTH) {
                let at = |row: &Row| V::load(&row.0[lane..]);
                let (u, g, gb, d) = (at(&rows.u[t]), at(&grads.y[t]), at(&grads.gb[t]), at(&d));
                gb.mul_add(at(&rows.delta[t]), d * g).store(&mut grad_u.0[lane..]);
                let mut grad = at(&grads.ga[t]).mul_add(V::splat(LN_2), u * gb);
                if scan.config.delta_softplus {
                    grad = grad * at(&rows.slope[t]);
                }
                grad.store(&mut grad_delta.0[lane..]);
                (at(&sum_bias) + grad).store(&mut sum_bias.0[lane..]);
                g.mul_add(u, at(&sum_d)).store(&mut sum_d.0[lane..]);
                (at(&grads.z[t]) * u.mul_add(d, at(&rows.y[t]))).store(&mut grad_z.0[lane..]);
            }
            let (to, to_u) = (scan.at(part, step.place, d_inner, block), scan.at(part, step.place, u_channels, block));
            // SAFETY: only this task has these channels in this batch row.
            unsafe {
                self.u.put(&grad_u, to_u, block.width);
                grad_delta.write(self.delta.get(to, block.width));
                if scan.z.is_some() {
                    grad_z.write(self.z.get(to, block.width));
                }
            }
        }
        add(&mut grad_d.0, &sum_d.0);
        add(&mut grad_bias.0, &sum_bias.0);
    }
}
