//! What a cube works on, and how it brings the tokens of a tile into shared memory.

use super::plan::Plan;
use crate::cube::{exp_scaled, sigmoids, softplus, step_at};
use cubecl::prelude::*;

/// What a unit works on.
#[derive(CubeType, Clone, Copy)]
pub(crate) struct Place {
    pub batch: usize,
    pub span: usize,
    /// The first of the unit's neighbouring channels.
    pub channel: usize,
    pub order: usize,
    pub group: usize,
    /// Units beyond a segment compute on its last channels and write nothing.
    pub active: bool,
    /// The number of the unit's channels within the cube.
    pub lane: usize,
    /// Which share of the channels' states.
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
    let unit = UNIT_POS as usize;
    let lane = if comptime![plan.in_plane] { unit / plan.split } else { unit % plan.lanes() };
    let within = block % per_segment * plan.channels + lane * plan.wide;
    let channel = block / per_segment * segment + within.min(segment - plan.wide);
    Place {
        batch: CUBE_POS / blocks / n_spans,
        span: CUBE_POS / blocks % n_spans,
        channel,
        order: channel / (d_inner / n_orders),
        group: channel / (d_inner / n_groups),
        active: within < segment,
        lane,
        part: if comptime![plan.in_plane] { unit % plan.split } else { unit / plan.lanes() },
    }
}

/// What the units of a channel add up to, of one value for each of `split` tokens: every unit gets the sum of its part's.
///
/// In every round a unit hands over the half of its sums that its partner keeps.
#[cube]
pub(crate) fn sum_of_parts<W: Size>(
    values: &mut Array<Vector<f32, W>>,
    place: &Place,
    #[comptime] plan: Plan,
) -> Vector<f32, W> {
    let rounds = comptime![plan.split.ilog2()];
    #[unroll]
    for round in 0..rounds {
        let half = comptime![plan.split >> (round + 1)];
        let upper = place.part & half != 0;
        #[unroll]
        for i in 0..half {
            let low = values[i];
            let high = values[i + half];
            let given = select(upper, low, high);
            let kept = select(upper, high, low);
            values[i] = kept + plane_shuffle_xor(given, comptime![half as u32]);
        }
    }
    values[0]
}

/// Where a unit's states before the chunk of token `first` are saved: the first of them, and from one to the next.
#[cube]
pub(crate) fn saved_at(length: usize, d_inner: usize, place: &Place, first: usize, #[comptime] plan: Plan) -> Line {
    let slot = place.batch * length.div_ceil(plan.chunk) + first / plan.chunk;
    Line {
        start: ((slot * plan.d_state + place.part * plan.states) * d_inner + place.channel) / plan.wide,
        stride: d_inner / plan.wide,
    }
}

/// The values of a unit's channels in a tensor of one for every channel.
#[cube]
pub(crate) fn of_channels<W: Size>(x: &Tensor<f32>, place: &Place, #[comptime] plan: Plan) -> Vector<f32, W> {
    let mut values = Vector::<f32, W>::new(0.0);
    #[unroll]
    for lane in 0..plan.wide {
        values.insert(lane, x[place.channel + lane]);
    }
    values
}

/// The unit's states in a `[.., d_inner, d_state]` tensor, whose row of channels is `row`; those beyond `d_state` are zero.
#[cube]
pub(crate) fn of_states<W: Size>(
    x: &Tensor<f32>,
    row: usize,
    place: &Place,
    #[comptime] plan: Plan,
) -> Array<Vector<f32, W>> {
    let mut states = Array::<Vector<f32, W>>::new(plan.states);
    #[unroll]
    for j in 0..plan.states {
        let n = place.part * plan.states + j;
        let mut state = Vector::<f32, W>::new(0.0);
        if n < plan.d_state {
            #[unroll]
            for lane in 0..plan.wide {
                state.insert(lane, x[(row + place.channel + lane) * plan.d_state + n]);
            }
        }
        states[j] = state;
    }
    states
}

/// Writes the unit's states into such a tensor.
#[cube]
pub(crate) fn put_states<W: Size>(
    x: &mut Tensor<f32>,
    states: &Array<Vector<f32, W>>,
    row: usize,
    place: &Place,
    #[comptime] plan: Plan,
) {
    #[unroll]
    for j in 0..plan.states {
        let n = place.part * plan.states + j;
        if n < plan.d_state {
            #[unroll]
            for lane in 0..plan.wide {
                x[(row + place.channel + lane) * plan.d_state + n] = states[j].extract(lane);
            }
        }
    }
}

/// Delta as the recurrence uses it.
#[cube]
fn step_sizes<W: Size>(delta: Vector<f32, W>, bias: Vector<f32, W>, #[comptime] plan: Plan) -> Vector<f32, W> {
    let mut sizes = delta + bias;
    if comptime![plan.delta_softplus] {
        #[unroll]
        for lane in 0..plan.wide {
            sizes.insert(lane, softplus(sizes.extract(lane), plan.math));
        }
    }
    sizes
}

/// What a state keeps of itself over a step.
#[cube]
pub(crate) fn decay<W: Size>(delta: Vector<f32, W>, rate: Vector<f32, W>, #[comptime] plan: Plan) -> Vector<f32, W> {
    let mut kept = delta * rate;
    #[unroll]
    for lane in 0..plan.wide {
        kept.insert(lane, exp_scaled(kept.extract(lane), plan.math));
    }
    kept
}

/// `a` of a unit's states, scaled for [`decay`]; those beyond `d_state` are zero and so are their states.
#[cube]
pub(crate) fn rates<W: Size>(a: &Tensor<f32>, place: &Place, #[comptime] plan: Plan) -> Array<Vector<f32, W>> {
    let mut rates = of_states::<W>(a, 0, place, plan);
    #[unroll]
    for j in 0..plan.states {
        rates[j] *= Vector::new(comptime![plan.math.exp_scale()]);
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
    /// Of a unit's channels in a `[batch, length, channels]` tensor; fewer channels are shared by the orders.
    pub fn of_channels<F: Float, W: Size>(x: &Tensor<Vector<F, W>>, place: &Place, #[comptime] plan: Plan) -> Line {
        Line {
            start: (place.batch * x.stride(0) + place.channel % x.shape(2)) / plan.wide,
            stride: x.stride(1) / plan.wide,
        }
    }

    /// Of a unit's channels in such a tensor without gaps.
    pub fn packed(length: usize, d_inner: usize, place: &Place, #[comptime] plan: Plan) -> Line {
        Line { start: (place.batch * length * d_inner + place.channel) / plan.wide, stride: d_inner / plan.wide }
    }

    /// Of a group's first states in a `[batch, length, n_groups, d_state]` tensor.
    fn of_group<F: Float, N: Size>(x: &Tensor<Vector<F, N>>, place: &Place, #[comptime] plan: Plan) -> Line {
        Line {
            start: (place.batch * x.stride(0) + place.group * x.stride(2)) / plan.vector,
            stride: x.stride(1) / plan.vector,
        }
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
    pub fn new<F: Float, N: Size, W: Size>(
        u: &Tensor<Vector<F, W>>,
        delta: &Tensor<Vector<F, W>>,
        b: &Tensor<Vector<F, N>>,
        c: &Tensor<Vector<F, N>>,
        z: &ComptimeOption<&Tensor<Vector<F, W>>>,
        place: &Place,
        #[comptime] plan: Plan,
    ) -> Lines {
        let of_z = #[comptime]
        match z {
            ComptimeOption::Some(z) => {
                Line { start: (place.batch * z.stride(0) + place.channel) / plan.wide, stride: z.stride(1) / plan.wide }
            }
            ComptimeOption::None => Line::of_channels(delta, place, plan),
        };
        Lines {
            u: Line::of_channels(u, place, plan),
            delta: Line::of_channels(delta, place, plan),
            z: of_z,
            b: Line::of_group(b, place, plan),
            c: Line::of_group(c, place, plan),
        }
    }
}

/// A unit's share of a tile as it comes from memory, ahead of its use.
///
/// Nothing is computed from a value here, or the unit would wait for it before it asks for the next.
#[derive(CubeType)]
pub(crate) struct Ahead<F: Float, N: Size, W: Size> {
    pub u: Array<Vector<F, W>>,
    pub delta: Array<Vector<F, W>>,
    pub z: Array<Vector<F, W>>,
    /// Those of the gradient of the outputs; only the backward kernels fill it.
    pub grad: Array<Vector<F, W>>,
    keep: Array<f32>,
    /// Quads of b and of c.
    b: Array<Vector<F, N>>,
    c: Array<Vector<F, N>>,
}

#[cube]
impl<F: Float, N: Size, W: Size> Ahead<F, N, W> {
    pub fn new(#[comptime] plan: Plan) -> Ahead<F, N, W> {
        Ahead::<F, N, W> {
            u: Array::new(plan.tokens_of_unit()),
            delta: Array::new(plan.tokens_of_unit()),
            z: Array::new(plan.tokens_of_unit()),
            grad: Array::new(plan.tokens_of_unit()),
            keep: Array::new(plan.tokens_of_unit()),
            b: Array::new(comptime![plan.quads_of_unit() * plan.quad / plan.vector]),
            c: Array::new(comptime![plan.quads_of_unit() * plan.quad / plan.vector]),
        }
    }

    /// Asks for the tile that starts with token `first`. Behind the last token of the span, `end - 1`, it reads that.
    #[allow(clippy::too_many_arguments, reason = "the tensors of the kernels")]
    pub fn read(
        &mut self,
        u: &Tensor<Vector<F, W>>,
        delta: &Tensor<Vector<F, W>>,
        b: &Tensor<Vector<F, N>>,
        c: &Tensor<Vector<F, N>>,
        z: &ComptimeOption<&Tensor<Vector<F, W>>>,
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
        let vectors = comptime![plan.quad / plan.vector];
        #[unroll(plan.unroll)]
        for i in 0..plan.quads_of_unit() {
            let index = UNIT_POS as usize + i * plan.units();
            if index < comptime![plan.tile * plan.quads()] {
                let t = (first + index / plan.quads()).min(end - 1);
                let step = step_at(steps, place.batch, place.order, t, length, plan.reverse);
                #[unroll]
                for k in 0..vectors {
                    let n = index % plan.quads() * vectors + k;
                    let n = n.min(comptime![plan.d_state / plan.vector - 1]);
                    self.b[i * vectors + k] = b[lines.b.at(step.place) + n];
                    self.c[i * vectors + k] = c[lines.c.at(step.place) + n];
                }
            }
        }
    }

    /// Asks for the gradients of the outputs of the same tokens.
    #[allow(clippy::too_many_arguments, reason = "where and when")]
    pub fn read_grad(
        &mut self,
        grad_y: &Tensor<Vector<F, W>>,
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

/// A tile in shared memory.
#[derive(CubeType)]
pub(crate) struct Tile<W: Size, Q: Size> {
    /// `[tile, lanes]`: delta after bias and softplus.
    delta: Shared<[Vector<f32, W>]>,
    /// `[tile, lanes]`: that times u.
    x: Shared<[Vector<f32, W>]>,
    /// `[tile]`: 0 where the state is forgotten, else 1.
    pub keep: Shared<[f32]>,
    /// `[tile, quads]`
    b: Shared<[Vector<f32, Q>]>,
    c: Shared<[Vector<f32, Q>]>,
}

/// What a unit reads of a token.
#[derive(CubeType, Clone, Copy)]
pub(crate) struct Token<W: Size> {
    pub delta: Vector<f32, W>,
    pub x: Vector<f32, W>,
}

#[cube]
impl<W: Size, Q: Size> Tile<W, Q> {
    pub fn new(#[comptime] plan: Plan) -> Tile<W, Q> {
        Tile::<W, Q> {
            delta: Shared::new_slice(comptime![plan.tile * plan.lanes()]),
            x: Shared::new_slice(comptime![plan.tile * plan.lanes()]),
            keep: Shared::new_slice(plan.tile),
            b: Shared::new_slice(comptime![plan.tile * plan.quads()]),
            c: Shared::new_slice(comptime![plan.tile * plan.quads()]),
        }
    }

    pub fn token(&self, t: usize, place: &Place, #[comptime] plan: Plan) -> Token<W> {
        let at = t * plan.lanes() + place.lane;
        Token::<W> { delta: self.delta[at], x: self.x[at] }
    }

    /// b of the quad `q` of a unit's states at a token.
    pub fn b(&self, t: usize, q: usize, place: &Place, #[comptime] plan: Plan) -> Vector<f32, Q> {
        self.b[t * plan.quads() + place.part * comptime![plan.states / plan.quad] + q]
    }

    /// c of the same.
    pub fn c(&self, t: usize, q: usize, place: &Place, #[comptime] plan: Plan) -> Vector<f32, Q> {
        self.c[t * plan.quads() + place.part * comptime![plan.states / plan.quad] + q]
    }

    /// Brings in what a unit has read; tokens from the `tokens`th of the tile on change nothing.
    pub fn fill<F: Float, N: Size>(
        &mut self,
        ahead: &Ahead<F, N, W>,
        bias: Vector<f32, W>,
        place: &Place,
        tokens: usize,
        #[comptime] plan: Plan,
    ) {
        #[unroll(plan.unroll)]
        for i in 0..plan.tokens_of_unit() {
            let t = place.part + i * plan.split;
            if t < plan.tile {
                let read = step_sizes(Vector::cast_from(ahead.delta[i]), bias, plan);
                let mut delta = Vector::<f32, W>::new(0.0);
                let mut x = Vector::<f32, W>::new(0.0);
                let mut keep = f32::new(1.0);
                if t < tokens {
                    delta = read;
                    keep = ahead.keep[i];
                    if place.active {
                        x = read * Vector::cast_from(ahead.u[i]);
                    }
                }
                self.delta[t * plan.lanes() + place.lane] = delta;
                self.x[t * plan.lanes() + place.lane] = x;
                if place.lane == 0 {
                    self.keep[t] = keep;
                }
            }
        }
        #[unroll(plan.unroll)]
        for i in 0..plan.quads_of_unit() {
            let index = UNIT_POS as usize + i * plan.units();
            if index < comptime![plan.tile * plan.quads()] {
                let mut b = Vector::<f32, Q>::new(0.0);
                let mut c = Vector::<f32, Q>::new(0.0);
                #[unroll]
                for k in 0..plan.quad {
                    // States without a number stay zero.
                    if index % plan.quads() * plan.quad + k < plan.d_state {
                        let at = i * comptime![plan.quad / plan.vector] + comptime![k / plan.vector];
                        let lane = comptime![k % plan.vector];
                        b.insert(k, f32::cast_from(ahead.b[at].extract(lane)));
                        c.insert(k, f32::cast_from(ahead.c[at].extract(lane)));
                    }
                }
                self.b[index] = b;
                self.c[index] = c;
            }
        }
    }

    /// The recurrence of a unit's states at one token.
    pub fn advance(
        &self,
        h: &mut Array<Vector<f32, W>>,
        rates: &Array<Vector<f32, W>>,
        t: usize,
        place: &Place,
        #[comptime] resets: bool,
        #[comptime] plan: Plan,
    ) {
        let mut token = Held::<W, Q>::new(1usize, plan);
        token.read(self, t, 1usize, place, false, plan);
        token.advance(h, rates, 0usize, resets, plan);
    }
}

/// What a unit reads of neighbouring tokens of a tile, all of it before the first is used: a compiler that is left to
/// itself reads each token when it needs it, and waits.
#[derive(CubeType)]
pub(crate) struct Held<W: Size, Q: Size> {
    delta: Array<Vector<f32, W>>,
    x: Array<Vector<f32, W>>,
    keep: Array<f32>,
    b: Array<Vector<f32, Q>>,
    c: Array<Vector<f32, Q>>,
}

#[cube]
impl<W: Size, Q: Size> Held<W, Q> {
    pub fn new(#[comptime] count: usize, #[comptime] plan: Plan) -> Held<W, Q> {
        let quads = comptime![count * plan.states / plan.quad];
        Held::<W, Q> {
            delta: Array::new(count),
            x: Array::new(count),
            keep: Array::new(count),
            b: Array::new(quads),
            c: Array::new(quads),
        }
    }

    /// Tokens from `first` on; their c too, if outputs are read.
    pub fn read(
        &mut self,
        tile: &Tile<W, Q>,
        first: usize,
        #[comptime] count: usize,
        place: &Place,
        #[comptime] outputs: bool,
        #[comptime] plan: Plan,
    ) {
        let quads = comptime![plan.states / plan.quad];
        #[unroll]
        for i in 0..count {
            let token = tile.token(first + i, place, plan);
            self.delta[i] = token.delta;
            self.x[i] = token.x;
            self.keep[i] = tile.keep[first + i];
            #[unroll]
            for q in 0..quads {
                self.b[i * quads + q] = tile.b(first + i, q, place, plan);
                if comptime![outputs] {
                    self.c[i * quads + q] = tile.c(first + i, q, place, plan);
                }
            }
        }
    }

    /// The recurrence of a unit's states at the token `i` of them.
    pub fn advance(
        &self,
        h: &mut Array<Vector<f32, W>>,
        rates: &Array<Vector<f32, W>>,
        i: usize,
        #[comptime] resets: bool,
        #[comptime] plan: Plan,
    ) {
        let quads = comptime![plan.states / plan.quad];
        #[unroll]
        for q in 0..quads {
            let b = self.b[i * quads + q];
            #[unroll]
            for k in 0..plan.quad {
                let j = comptime![q * plan.quad + k];
                let mut kept = decay(self.delta[i], rates[j], plan);
                if comptime![resets] {
                    kept *= Vector::new(self.keep[i]);
                }
                h[j] = fma(kept, h[j], self.x[i] * Vector::new(b.extract(k)));
            }
        }
    }

    /// What a unit's states add to the outputs of that token.
    pub fn read_out(&self, h: &Array<Vector<f32, W>>, i: usize, #[comptime] plan: Plan) -> Vector<f32, W> {
        let quads = comptime![plan.states / plan.quad];
        let mut sum = Vector::<f32, W>::new(0.0);
        #[unroll]
        for q in 0..quads {
            let c = self.c[i * quads + q];
            #[unroll]
            for k in 0..plan.quad {
                sum = fma(h[comptime![q * plan.quad + k]], Vector::new(c.extract(k)), sum);
            }
        }
        sum
    }
}

/// The gradients of `<c, h> + d u` for all tokens of a tile: `[tile, lanes]` in shared memory.
#[cube]
pub(crate) fn fill_grads<F: Float, N: Size, W: Size>(
    to: &mut Shared<[Vector<f32, W>]>,
    ahead: &Ahead<F, N, W>,
    place: &Place,
    tokens: usize,
    #[comptime] gated: bool,
    #[comptime] plan: Plan,
) {
    #[unroll(plan.unroll)]
    for i in 0..plan.tokens_of_unit() {
        let t = place.part + i * plan.split;
        if t < plan.tile {
            let mut grad = Vector::<f32, W>::new(0.0);
            if t < tokens && place.active {
                grad = Vector::cast_from(ahead.grad[i]);
                if comptime![gated] {
                    let z = Vector::<f32, W>::cast_from(ahead.z[i]);
                    grad *= z * sigmoids(z, plan.wide, plan.math);
                }
            }
            to[t * plan.lanes() + place.lane] = grad;
        }
    }
}
