//! One token from a state, as in decoding. A thread owns a few neighbouring channels.

use super::place::{Place, Plan, Rows};
use super::thread::{Filter, slide, zeros};
use crate::cube::sigmoids;
use cubecl::prelude::*;

/// The output, and the state after the token.
#[cube(launch_unchecked, address_type = "dynamic")]
#[allow(clippy::too_many_arguments, reason = "what is read and written")]
pub(super) fn conv_step<F: Float, N: Size, W: Size>(
    x: &Tensor<Vector<F, N>>,
    weight: &Tensor<Vector<f32, W>>,
    bias: &Tensor<Vector<f32, N>>,
    // The state before the token, where it is not the one that is overwritten.
    from: ComptimeOption<&Tensor<Vector<F, N>>>,
    state: &mut Tensor<Vector<F, N>>,
    y: &mut Tensor<Vector<F, N>>,
    #[comptime] plan: Plan,
    #[define(F)] _dtype: ElemType,
) {
    let vectors = x.shape(2) / plan.channels;
    let batch = ABSOLUTE_POS / vectors;
    if batch >= x.shape(0) {
        terminate!();
    }
    let place = Place::new(batch, 0usize, ABSOLUTE_POS % vectors, vectors, 1usize, 1usize, plan);
    let filter = Filter::<N>::read(weight, bias, &place, plan);
    let token = x[Rows::of(x, &place, plan).at(0usize)];
    let mut window = zeros::<N>(plan);
    #[unroll]
    for k in 0..comptime![plan.before()] {
        let before = #[comptime]
        match &from {
            ComptimeOption::Some(from) => from[place.of_state(k, plan)],
            ComptimeOption::None => state[place.of_state(k, plan)],
        };
        slide(&mut window, Vector::cast_from(before), Vector::new(1.0), plan);
    }
    slide(&mut window, Vector::cast_from(token), Vector::new(1.0), plan);
    #[unroll]
    for k in 1..plan.width {
        state[place.of_state(k - 1, plan)] = Vector::cast_from(window[k]);
    }
    let mut out = filter.at(&window, plan);
    if comptime![plan.silu] {
        out *= sigmoids(out, plan.channels, plan.math);
    }
    y[place.of(0usize)] = Vector::cast_from(out);
}
