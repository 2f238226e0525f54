//! What a cube works on, and how it brings the tokens of a tile into shared memory.

use super::plan::Plan;
use crate::cube::{exp_scale, exp_scaled, sigmoid, softplus, step_at};
use cubecl::prelude::*;

/// b of two states of a token, and c of the same.
pub(crate) type Pair = Vector<f32, Const<4>>;

/// What a unit works on.
#[derive(CubeType, Clone, Copy)]
pub(crate) struct Place {
    pub batch: usize,
    pub span: usize,
    pub channel: usize,
    pub order: usize,
    pub group: usize,
    /// Units beyond a segment compute on its last channel and write nothing.
    pub active: bool,
    /// The channel's number within the cube.
    pub column: usize,
    /// Which share of the channel's states.
    pub part: usize,
}

/// The channels of a cube lie in one segment: they share their group and their order.
#[cube]
pub(crate) fn place(
    d_inner: usize,
    n_spans: usize,
    n_groups: usize,
    n_orders: usize,
    segment: usize,
    #[comptime] plan: Plan,
) -> Place {
    let per_segment = segment.div_ceil(plan.channels);
    let blocks = d_inner / segment * per_segment;
    let block = CUBE_POS % blocks;
    let column = UNIT_POS as usize % plan.channels;
    let within = block % per_segment * plan.channels + column;
    let channel = block / per_segment * segment + within.min(segment - 1);
    Place {
        batch: CUBE_POS / blocks / n_spans,
        span: CUBE_POS / blocks % n_spans,
        channel,
        order: channel / (d_inner / n_orders),
        group: channel / (d_inner / n_groups),
        active: within < segment,
        column,
        part: UNIT_POS as usize / plan.channels,
    }
}

/// Offset of a unit's first state in those that were saved before the chunk of token `first`; the next are `d_inner`
/// apart.
#[cube]
pub(crate) fn saved_at(length: usize, d_inner: usize, place: &Place, first: usize, #[comptime] plan: Plan) -> usize {
    let slot = place.batch * length.div_ceil(plan.chunk) + first / plan.chunk;
    (slot * plan.d_state + place.part * plan.states) * d_inner + place.channel
}

/// Delta as the recurrence uses it.
#[cube]
fn step_size(delta: f32, bias: f32, #[comptime] plan: Plan) -> f32 {
    if comptime![plan.delta_softplus] { softplus(delta + bias, plan.ptx) } else { delta + bias }
}

/// What a state keeps of itself over a step.
#[cube]
pub(crate) fn decay(delta: f32, rate: f32, #[comptime] plan: Plan) -> f32 {
    exp_scaled(delta * rate, plan.ptx)
}

/// `a` of a unit's states, scaled for [`decay`]; those beyond `d_state` are zero and so are their states.
#[cube]
pub(crate) fn rates(a: &Tensor<f32>, place: &Place, #[comptime] plan: Plan) -> Array<f32> {
    let mut rates = Array::<f32>::new(plan.states);
    #[unroll]
    for j in 0..plan.states {
        let n = place.part * plan.states + j;
        rates[j] = f32::new(0.0);
        if n < plan.d_state {
            rates[j] = a[place.channel * plan.d_state + n] * comptime![exp_scale(plan.ptx)];
        }
    }
    rates
}

/// Where a unit finds the tokens of a tensor: at token 0, and from one to the next.
#[derive(CubeType, Clone, Copy)]
pub(crate) struct Line {
    pub start: usize,
    pub stride: usize,
}

#[cube]
impl Line {
    /// Of a unit's channel in a `[batch, length, channels]` tensor; fewer channels are shared by the orders.
    pub fn of_channel<F: Float>(x: &Tensor<F>, place: &Place) -> Line {
        Line { start: place.batch * x.stride(0) + place.channel % x.shape(2), stride: x.stride(1) }
    }

    /// Of a group's first state in a `[batch, length, n_groups, d_state]` tensor.
    fn of_group<F: Float, N: Size>(x: &Tensor<Vector<F, N>>, place: &Place) -> Line {
        Line { start: place.batch * x.stride(0) + place.group * x.stride(2), stride: x.stride(1) }
    }

    pub fn at(&self, token: usize) -> usize {
        self.start + token * self.stride
    }
}

/// The lines along which a unit reads. They do not change from tile to tile.
#[derive(CubeType, Clone, Copy)]
pub(crate) struct Lines {
    pub u: Line,
    pub delta: Line,
    /// Equal to those of delta if there is no gate.
    pub z: Line,
    pub b: Line,
    pub c: Line,
}

#[cube]
impl Lines {
    pub fn new<F: Float, N: Size>(
        u: &Tensor<F>,
        delta: &Tensor<F>,
        b: &Tensor<Vector<F, N>>,
        c: &Tensor<Vector<F, N>>,
        z: &ComptimeOption<&Tensor<F>>,
        place: &Place,
    ) -> Lines {
        let of_z = #[comptime]
        match z {
            ComptimeOption::Some(z) => Line { start: place.batch * z.stride(0) + place.channel, stride: z.stride(1) },
            ComptimeOption::None => Line::of_channel(delta, place),
        };
        Lines {
            u: Line::of_channel(u, place),
            delta: Line::of_channel(delta, place),
            z: of_z,
            b: Line::of_group(b, place),
            c: Line::of_group(c, place),
        }
    }
}

/// A unit's share of a tile as it comes from memory, ahead of its use.
///
/// Nothing is computed from a value here, or the unit would wait for it before it asks for the next.
#[derive(CubeType)]
pub(crate) struct Ahead<F: Float, N: Size> {
    pub u: Array<F>,
    pub delta: Array<F>,
    pub z: Array<F>,
    /// Those of the gradient of the outputs; only the backward kernels fill it.
    pub grad: Array<F>,
    keep: Array<f32>,
    /// Pairs of b and of c.
    b: Array<Vector<F, N>>,
    c: Array<Vector<F, N>>,
}

#[cube]
impl<F: Float, N: Size> Ahead<F, N> {
    pub fn new(#[comptime] plan: Plan) -> Ahead<F, N> {
        Ahead::<F, N> {
            u: Array::new(plan.tokens_of_unit()),
            delta: Array::new(plan.tokens_of_unit()),
            z: Array::new(plan.tokens_of_unit()),
            grad: Array::new(plan.tokens_of_unit()),
            keep: Array::new(plan.tokens_of_unit()),
            b: Array::new(comptime![plan.pairs_of_unit() * 2 / plan.vector]),
            c: Array::new(comptime![plan.pairs_of_unit() * 2 / plan.vector]),
        }
    }

    /// Asks for the tile that starts with token `first`. Behind the last token of the span, `end - 1`, it reads that.
    #[allow(clippy::too_many_arguments, reason = "the tensors of the kernels")]
    pub fn read(
        &mut self,
        u: &Tensor<F>,
        delta: &Tensor<F>,
        b: &Tensor<Vector<F, N>>,
        c: &Tensor<Vector<F, N>>,
        z: &ComptimeOption<&Tensor<F>>,
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
        let pairs = comptime![plan.padded_states() / 2];
        let vectors = comptime![2 / plan.vector];
        #[unroll(plan.unroll)]
        for i in 0..plan.pairs_of_unit() {
            let index = UNIT_POS as usize + i * plan.units();
            if index < comptime![plan.tile * pairs] {
                let t = (first + index / pairs).min(end - 1);
                let step = step_at(steps, place.batch, place.order, t, length, plan.reverse);
                #[unroll]
                for k in 0..vectors {
                    let n = (index % pairs * 2 + k * plan.vector).min(comptime![plan.d_state - plan.vector]);
                    self.b[i * vectors + k] = b[(lines.b.at(step.place) + n) / plan.vector];
                    self.c[i * vectors + k] = c[(lines.c.at(step.place) + n) / plan.vector];
                }
            }
        }
    }

    /// Asks for the gradients of the outputs of the same tokens.
    #[allow(clippy::too_many_arguments, reason = "where and when")]
    pub fn read_grad(
        &mut self,
        grad_y: &Tensor<F>,
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

/// Delta and delta times u.
type Two = Vector<f32, Const<2>>;

/// A tile in shared memory.
#[derive(CubeType)]
pub(crate) struct Tile {
    /// `[tile, channels]`: delta after bias and softplus, and that times u.
    steps: Shared<[Two]>,
    /// `[tile]`: 0 where the state is forgotten, else 1.
    pub keep: Shared<[f32]>,
    /// `[tile, split * states / 2]`
    b_c: Shared<[Pair]>,
}

/// What a unit reads of a token.
#[derive(CubeType, Clone, Copy)]
pub(crate) struct Token {
    pub delta: f32,
    pub x: f32,
}

#[cube]
impl Tile {
    pub fn new(#[comptime] plan: Plan) -> Tile {
        Tile {
            steps: Shared::new_slice(comptime![plan.tile * plan.channels]),
            keep: Shared::new_slice(plan.tile),
            b_c: Shared::new_slice(comptime![plan.tile * plan.padded_states() / 2]),
        }
    }

    pub fn token(&self, t: usize, place: &Place, #[comptime] plan: Plan) -> Token {
        let step = self.steps[t * plan.channels + place.column];
        Token { delta: step.extract(0usize), x: step.extract(1usize) }
    }

    /// The pair `q` of a unit's states at a token.
    pub fn pair(&self, t: usize, q: usize, place: &Place, #[comptime] plan: Plan) -> Pair {
        self.b_c[(t * plan.split + place.part) * comptime![plan.states / 2] + q]
    }

    /// Brings in what a unit has read; tokens from the `tokens`th of the tile on change nothing.
    pub fn fill<F: Float, N: Size>(
        &mut self,
        ahead: &Ahead<F, N>,
        bias: f32,
        place: &Place,
        tokens: usize,
        #[comptime] plan: Plan,
    ) {
        #[unroll(plan.unroll)]
        for i in 0..plan.tokens_of_unit() {
            let t = place.part + i * plan.split;
            if t < plan.tile {
                let live = t < tokens;
                let delta = step_size(f32::cast_from(ahead.delta[i]), bias, plan);
                let delta = select(live, delta, f32::new(0.0));
                let x = delta * f32::cast_from(ahead.u[i]);
                let mut step = Two::new(delta);
                step.insert(1usize, select(live && place.active, x, f32::new(0.0)));
                self.steps[t * plan.channels + place.column] = step;
                if place.column == 0 {
                    self.keep[t] = select(live, ahead.keep[i], f32::new(1.0));
                }
            }
        }
        let pairs = comptime![plan.padded_states() / 2];
        #[unroll(plan.unroll)]
        for i in 0..plan.pairs_of_unit() {
            let index = UNIT_POS as usize + i * plan.units();
            if index < comptime![plan.tile * pairs] {
                let mut pair = Pair::new(0.0);
                #[unroll]
                for k in 0..2usize {
                    // States without a number stay zero.
                    if index % pairs * 2 + k < plan.d_state {
                        let at = i * comptime![2 / plan.vector] + comptime![k / plan.vector];
                        let lane = comptime![k % plan.vector];
                        pair.insert(k, f32::cast_from(ahead.b[at].extract(lane)));
                        pair.insert(comptime![k + 2], f32::cast_from(ahead.c[at].extract(lane)));
                    }
                }
                self.b_c[index] = pair;
            }
        }
    }

    /// The recurrence of a unit's states at one token.
    pub fn advance(
        &self,
        h: &mut Array<f32>,
        rates: &Array<f32>,
        t: usize,
        place: &Place,
        #[comptime] resets: bool,
        #[comptime] plan: Plan,
    ) {
        let token = self.token(t, place, plan);
        #[unroll]
        for q in 0..comptime![plan.states / 2] {
            let pair = self.pair(t, q, place, plan);
            #[unroll]
            for k in 0..2usize {
                let j = comptime![q * 2 + k];
                let mut kept = decay(token.delta, rates[j], plan);
                if comptime![resets] {
                    kept *= self.keep[t];
                }
                h[j] = fma(kept, h[j], token.x * pair.extract(k));
            }
        }
    }

    /// What a unit's states add to the output of a token.
    pub fn read_out(&self, h: &Array<f32>, t: usize, place: &Place, #[comptime] plan: Plan) -> f32 {
        let mut sum = f32::new(0.0);
        #[unroll]
        for q in 0..comptime![plan.states / 2] {
            let pair = self.pair(t, q, place, plan);
            #[unroll]
            for k in 0..2usize {
                sum = fma(h[comptime![q * 2 + k]], pair.extract(comptime![k + 2]), sum);
            }
        }
        sum
    }
}

/// The gradients of `<c, h> + d u` for all tokens of a tile: `[tile, channels]` in shared memory.
#[cube]
pub(crate) fn fill_grads<F: Float, N: Size>(
    to: &mut Shared<[f32]>,
    ahead: &Ahead<F, N>,
    place: &Place,
    tokens: usize,
    #[comptime] gated: bool,
    #[comptime] plan: Plan,
) {
    #[unroll(plan.unroll)]
    for i in 0..plan.tokens_of_unit() {
        let t = place.part + i * plan.split;
        if t < plan.tile {
            let mut grad = f32::cast_from(ahead.grad[i]);
            if comptime![gated] {
                let z = f32::cast_from(ahead.z[i]);
                grad *= z * sigmoid(z, plan.ptx);
            }
            to[t * plan.channels + place.column] = select(t < tokens && place.active, grad, f32::new(0.0));
        }
    }
}
