//! The forward kernel. A thread owns a few neighbouring channels of one chunk of tokens and slides a window of `width` inputs
//! along it. What it needs of its neighbours' tokens it reads again. It asks for a tile of tokens before it works on the first
//! of them; tiles that lie within the chunk have code of their own, which asks for no token whether it is there.

#![allow(clippy::collapsible_if, reason = "branches of the generated kernel and branches of its generation")]

use super::place::{Place, Plan};
use super::thread::{Thread, Tile, slide, zeros};
use crate::cube::sigmoids;
use cubecl::prelude::*;

/// The convolution of every chunk, and from the last one the final state.
#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn conv<F: Float, N: Size, W: Size>(
    x: &Tensor<Vector<F, N>>,
    weight: &Tensor<Vector<f32, W>>,
    bias: &Tensor<Vector<f32, N>>,
    initial_state: &Tensor<Vector<F, N>>,
    steps: ComptimeOption<&Tensor<i32>>,
    y: &mut Tensor<Vector<F, N>>,
    final_state: &mut Tensor<Vector<F, N>>,
    n_chunks: usize,
    n_orders: usize,
    #[comptime] plan: Plan,
    #[define(F)] _dtype: ElemType,
) {
    let vectors = x.shape(2) / plan.channels;
    let row = ABSOLUTE_POS / vectors;
    if row >= x.shape(0) * n_chunks {
        terminate!();
    }
    let vector = ABSOLUTE_POS % vectors;
    let place = Place::new(row / n_chunks, row % n_chunks, vector, vectors, x.shape(1), n_orders, plan);
    let thread = Thread::<N>::new(x, weight, bias, place, plan);
    let place = &thread.place;
    let mut window = zeros::<N>(plan);
    #[unroll]
    for i in 0..comptime![plan.before()] {
        let input = thread.input(x, initial_state, &steps, i, plan);
        slide(&mut window, input.value, Vector::new(input.keep), plan);
    }

    for first in range_stepped(place.start, place.end, plan.tile) {
        if first + plan.tile <= place.end {
            conv_tile(x, &steps, y, &thread, &mut window, first, true, plan);
        } else {
            conv_tile(x, &steps, y, &thread, &mut window, first, false, plan);
        }
    }

    if place.chunk == n_chunks - 1 {
        if comptime![plan.width == 1] {
            final_state[place.of_state(0, plan)] = Vector::new(F::new(0.0));
        }
        #[unroll]
        for k in 1..plan.width {
            final_state[place.of_state(k - 1, plan)] = Vector::cast_from(window[k]);
        }
    }
}

/// The outputs of the steps from `first` on, of all of a tile if it is `whole`.
#[cube]
#[allow(clippy::too_many_arguments, reason = "what is read, what is carried, and where")]
fn conv_tile<F: Float, N: Size>(
    x: &Tensor<Vector<F, N>>,
    steps: &ComptimeOption<&Tensor<i32>>,
    y: &mut Tensor<Vector<F, N>>,
    thread: &Thread<N>,
    window: &mut Array<Vector<f32, N>>,
    first: usize,
    #[comptime] whole: bool,
    #[comptime] plan: Plan,
) {
    let place = &thread.place;
    let tile = Tile::read(x, &thread.rows, steps, place, first, place.end, whole, plan);
    #[unroll]
    for i in 0..plan.tile {
        if whole || first + i < place.end {
            slide(window, Vector::cast_from(tile.values[i]), Vector::new(tile.keeps[i]), plan);
            let mut out = thread.filter.at(&*window, plan);
            if comptime![plan.silu] {
                out *= sigmoids(out, plan.channels, plan.math);
            }
            y[place.of(tile.tokens[i])] = Vector::cast_from(out);
        }
    }
}
