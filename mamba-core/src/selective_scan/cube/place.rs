//! What a unit works on, and where it finds that in the tensors.

#![allow(clippy::collapsible_if, reason = "branches of the generated kernel and branches of its generation")]

use super::plan::Plan;
use cubecl::prelude::*;

/// What a unit works on.
#[derive(CubeType, Clone, Copy)]
pub(crate) struct Place {
    pub batch: usize,
    pub span: usize,
    /// The number of the cube's block of channels.
    pub block: usize,
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

/// The channels of a cube lie in one segment: they share their group and their order. A launch covers those of one
/// round, out of `rounds` equal ones.
#[cube]
#[allow(clippy::too_many_arguments, reason = "sizes")]
pub(crate) fn place(
    d_inner: usize,
    n_spans: usize,
    n_groups: usize,
    n_orders: usize,
    segment: usize,
    round: usize,
    rounds: usize,
    #[comptime] plan: Plan,
) -> Place {
    let per_segment = segment.div_ceil(plan.channels);
    let blocks = d_inner / segment * per_segment / rounds;
    let block = round * blocks + CUBE_POS % blocks;
    let unit = UNIT_POS as usize;
    let lane = unit % plan.lanes();
    let within = block % per_segment * plan.channels + lane * plan.wide;
    let channel = block / per_segment * segment + within.min(segment - plan.wide);
    Place {
        batch: CUBE_POS / blocks / n_spans,
        span: CUBE_POS / blocks % n_spans,
        block,
        channel,
        order: channel / (d_inner / n_orders),
        group: channel / (d_inner / n_groups),
        active: within < segment,
        lane,
        part: unit / plan.lanes(),
    }
}

#[cube]
impl Place {
    /// The `i`th token of a tile that the unit brings in.
    pub fn token(&self, i: usize, #[comptime] plan: Plan) -> usize {
        (self.part + i / plan.run * plan.split) * plan.run + i % plan.run
    }

    /// The unit of another part of the same channels.
    pub fn unit(&self, part: usize, #[comptime] plan: Plan) -> usize {
        part * plan.lanes() + self.lane
    }
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

/// States of zeros.
#[cube]
pub(crate) fn no_states<W: Size>(#[comptime] plan: Plan) -> Array<Vector<f32, W>> {
    let mut states = Array::<Vector<f32, W>>::new(plan.states);
    #[unroll]
    for j in 0..plan.states {
        states[j] = Vector::new(0.0);
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

/// What earlier rounds have written, if that is `summed`; else zero.
#[cube]
pub(crate) fn earlier<F: Float, W: Size>(
    written: &mut Tensor<Vector<F, W>>,
    at: usize,
    round: usize,
    #[comptime] summed: bool,
) -> Vector<f32, W> {
    let mut values = Vector::<f32, W>::new(0.0);
    if comptime![summed] {
        if round > 0 {
            values = Vector::cast_from(written[at]);
        }
    }
    values
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
    pub fn packed(length: usize, channels: usize, place: &Place, #[comptime] plan: Plan) -> Line {
        Line {
            start: (place.batch * length * channels + place.channel % channels) / plan.wide,
            stride: channels / plan.wide,
        }
    }

    /// Of a group's first states in a `[batch, length, n_groups, d_state]` tensor.
    fn of_group<F: Float, N: Size>(x: &Tensor<Vector<F, N>>, place: &Place, #[comptime] plan: Plan) -> Line {
        Line {
            start: (place.batch * x.stride(0) + place.group * x.stride(2)) / plan.vector,
            stride: x.stride(1) / plan.vector,
        }
    }

    pub fn at(&self, token: usize, #[comptime] plan: Plan) -> usize {
        if comptime![plan.near] {
            self.start + (token as u32 * self.stride as u32) as usize
        } else {
            self.start + token * self.stride
        }
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

/// Whether the share `index` of a unit is one of `count`, which units take up in turns of `step`: nothing is asked where
/// `count` is whole turns.
#[cube]
pub(crate) fn within(index: usize, #[comptime] count: usize, #[comptime] step: usize) -> bool {
    if comptime![count.is_multiple_of(step)] { true.runtime() } else { index < count }
}
