//! What a cube works on, and how it brings the tokens of a tile into shared memory.

use super::plan::Plan;
use crate::cube::{softplus, step_at};
use cubecl::prelude::*;

/// States of a token that are read together.
pub(crate) type Four = Vector<f32, Const<4>>;

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

/// Offset of a token's row.
#[cube]
pub(crate) fn offset(batch_stride: usize, token_stride: usize, batch: usize, place: usize) -> usize {
    batch * batch_stride + place * token_stride
}

/// Offset of a token's channel in a `[batch, length, channels]` tensor; fewer channels are shared by the orders.
#[cube]
pub(crate) fn at<F: Float>(x: &Tensor<F>, batch: usize, place: usize, channel: usize) -> usize {
    batch * x.stride(0) + place * x.stride(1) + channel % x.shape(2)
}

/// Offset of a token's states in a `[batch, length, n_groups, d_state]` tensor.
#[cube]
pub(crate) fn states_at<F: Float>(x: &Tensor<F>, batch: usize, place: usize, group: usize) -> usize {
    batch * x.stride(0) + place * x.stride(1) + group * x.stride(2)
}

/// Delta as the recurrence uses it.
#[cube]
pub(crate) fn step_size(delta: f32, bias: f32, #[comptime] delta_softplus: bool) -> f32 {
    if comptime![delta_softplus] { softplus(delta + bias) } else { delta + bias }
}

/// `a` of a unit's states; those beyond `d_state` are zero and so are their states.
#[cube]
pub(crate) fn rates(a: &Tensor<f32>, place: &Place, #[comptime] plan: Plan) -> Array<f32> {
    let mut rates = Array::<f32>::new(plan.states);
    #[unroll]
    for j in 0..plan.states {
        let n = place.part * plan.states + j;
        rates[j] = f32::new(0.0);
        if n < plan.d_state {
            rates[j] = a[place.channel * plan.d_state + n];
        }
    }
    rates
}

/// A unit's share of a tile as it comes from memory, ahead of its use.
///
/// Nothing is computed from a value here, or the unit would wait for it before it asks for the next.
#[derive(CubeType)]
pub(crate) struct Ahead<F: Float> {
    pub u: Array<F>,
    pub delta: Array<F>,
    pub z: Array<F>,
    /// Those of the gradient of the outputs; only the backward kernels fill it.
    pub grad: Array<F>,
    keep: Array<f32>,
    /// Quadruples of b and c.
    b_c: Array<F>,
}

#[cube]
impl<F: Float> Ahead<F> {
    pub fn new(#[comptime] plan: Plan) -> Ahead<F> {
        Ahead::<F> {
            u: Array::new(plan.tokens_of_unit()),
            delta: Array::new(plan.tokens_of_unit()),
            z: Array::new(plan.tokens_of_unit()),
            grad: Array::new(plan.tokens_of_unit()),
            keep: Array::new(plan.tokens_of_unit()),
            b_c: Array::new(comptime![4 * plan.quads_of_unit()]),
        }
    }

    /// Asks for the tile that starts with token `first`. Behind the last token of the span, `end - 1`, it reads that.
    #[allow(clippy::too_many_arguments, reason = "the tensors of the kernels")]
    pub fn read(
        &mut self,
        u: &Tensor<F>,
        delta: &Tensor<F>,
        b: &Tensor<F>,
        c: &Tensor<F>,
        z: &ComptimeOption<&Tensor<F>>,
        steps: &ComptimeOption<&Tensor<i32>>,
        place: &Place,
        first: usize,
        end: usize,
        #[comptime] plan: Plan,
    ) {
        let length = delta.shape(1);
        #[unroll(plan.unroll)]
        for i in 0..plan.tokens_of_unit() {
            let t = (first + place.part + i * plan.split).min(end - 1);
            let step = step_at(steps, place.batch, place.order, t, length, plan.reverse);
            self.u[i] = u[at::<F>(u, place.batch, step.place, place.channel)];
            self.delta[i] = delta[at::<F>(delta, place.batch, step.place, place.channel)];
            self.keep[i] = step.keep;
            #[comptime]
            if let ComptimeOption::Some(z) = z {
                self.z[i] = z[offset(z.stride(0), z.stride(1), place.batch, step.place) + place.channel];
            }
        }
        // First those of b, then those of c.
        let quads = comptime![plan.padded_states() / 4];
        #[unroll(plan.unroll)]
        for i in 0..plan.quads_of_unit() {
            let index = UNIT_POS as usize + i * plan.units();
            let t = (first + index / quads % plan.tile).min(end - 1);
            let step = step_at(steps, place.batch, place.order, t, length, plan.reverse);
            let n = index % quads * 4;
            let of_b = states_at::<F>(b, place.batch, step.place, place.group);
            let of_c = states_at::<F>(c, place.batch, step.place, place.group);
            #[unroll]
            for k in 0..4usize {
                let n = (n + k).min(comptime![plan.d_state - 1]);
                self.b_c[i * 4 + k] = if index < comptime![plan.tile * quads] { b[of_b + n] } else { c[of_c + n] };
            }
        }
    }

    /// Asks for the gradients of the outputs of the same tokens.
    pub fn read_grad(
        &mut self,
        grad_y: &Tensor<F>,
        steps: &ComptimeOption<&Tensor<i32>>,
        place: &Place,
        first: usize,
        end: usize,
        #[comptime] plan: Plan,
    ) {
        #[unroll(plan.unroll)]
        for i in 0..plan.tokens_of_unit() {
            let t = (first + place.part + i * plan.split).min(end - 1);
            let step = step_at(steps, place.batch, place.order, t, grad_y.shape(1), plan.reverse);
            self.grad[i] = grad_y[offset(grad_y.stride(0), grad_y.stride(1), place.batch, step.place) + place.channel];
        }
    }
}

/// A tile in shared memory.
#[derive(CubeType)]
pub(crate) struct Tile {
    /// `[tile, channels]`: delta after bias and softplus, and delta times u.
    pub delta: Shared<[f32]>,
    pub x: Shared<[f32]>,
    /// `[tile]`: 0 where the state is forgotten, else 1.
    pub keep: Shared<[f32]>,
    /// `[2, tile, split * states / 4]`: b and c.
    pub b_c: Shared<[Four]>,
}

#[cube]
impl Tile {
    pub fn new(#[comptime] plan: Plan) -> Tile {
        Tile {
            delta: Shared::new_slice(comptime![plan.tile * plan.channels]),
            x: Shared::new_slice(comptime![plan.tile * plan.channels]),
            keep: Shared::new_slice(plan.tile),
            b_c: Shared::new_slice(comptime![2 * plan.tile * plan.padded_states() / 4]),
        }
    }

    /// Brings in what a unit has read; tokens from the `tokens`th of the tile on change nothing.
    pub fn fill<F: Float>(
        &mut self,
        ahead: &Ahead<F>,
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
                let delta = step_size(f32::cast_from(ahead.delta[i]), bias, plan.delta_softplus);
                let delta = select(live, delta, f32::new(0.0));
                let x = delta * f32::cast_from(ahead.u[i]);
                self.delta[t * plan.channels + place.column] = delta;
                self.x[t * plan.channels + place.column] = select(live && place.active, x, f32::new(0.0));
                if place.column == 0 {
                    self.keep[t] = select(live, ahead.keep[i], f32::new(1.0));
                }
            }
        }
        let quads = comptime![plan.padded_states() / 4];
        #[unroll(plan.unroll)]
        for i in 0..plan.quads_of_unit() {
            let index = UNIT_POS as usize + i * plan.units();
            if index < comptime![2 * plan.tile * quads] {
                let mut values = Four::new(0.0);
                #[unroll]
                for k in 0..4usize {
                    if index % quads * 4 + k < plan.d_state {
                        values.insert(k, f32::cast_from(ahead.b_c[i * 4 + k]));
                    }
                }
                self.b_c[index] = values;
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
        let delta = self.delta[t * plan.channels + place.column];
        let x = self.x[t * plan.channels + place.column];
        let quads = comptime![plan.states / 4];
        #[unroll]
        for q in 0..quads {
            let b = self.b_c[(t * plan.split + place.part) * quads + q];
            #[unroll]
            for k in 0..4usize {
                let j = comptime![q * 4 + k];
                let mut kept = (delta * rates[j]).exp();
                if comptime![resets] {
                    kept *= self.keep[t];
                }
                h[j] = fma(kept, h[j], x * b.extract(k));
            }
        }
    }

    /// What a unit's states add to the output of a token.
    pub fn read_out(&self, h: &Array<f32>, t: usize, place: &Place, #[comptime] plan: Plan) -> f32 {
        let quads = comptime![plan.states / 4];
        let mut sum = f32::new(0.0);
        #[unroll]
        for q in 0..quads {
            let c = self.b_c[((plan.tile + t) * plan.split + place.part) * quads + q];
            #[unroll]
            for k in 0..4usize {
                sum = fma(h[comptime![q * 4 + k]], c.extract(k), sum);
            }
        }
        sum
    }
}
