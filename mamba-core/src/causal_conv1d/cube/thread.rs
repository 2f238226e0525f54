//! What a thread reads, and how it convolves.

#![allow(clippy::collapsible_if, reason = "branches of the generated kernel and branches of its generation")]

use super::place::{Place, Plan, Rows};
use cubecl::prelude::*;

/// The taps, oldest first, and the bias.
#[derive(CubeType)]
pub(super) struct Filter<N: Size> {
    pub(super) taps: Array<Vector<f32, N>>,
    pub(super) bias: Vector<f32, N>,
}

#[cube]
impl<N: Size> Filter<N> {
    pub(super) fn read<W: Size>(
        weight: &Tensor<Vector<f32, W>>,
        bias: &Tensor<Vector<f32, N>>,
        place: &Place,
        #[comptime] plan: Plan,
    ) -> Filter<N> {
        let mut taps = zeros::<N>(plan);
        #[unroll]
        for lane in 0..plan.channels {
            let channel = place.vector * plan.channels + lane;
            #[unroll]
            for from in range_stepped(0, plan.width, plan.taps) {
                let read = weight[(channel * plan.width + from) / plan.taps];
                #[unroll]
                for k in 0..plan.taps {
                    let mut tap = taps[from + k];
                    tap.insert(lane, read.extract(k));
                    taps[from + k] = tap;
                }
            }
        }
        Filter::<N> { taps, bias: bias[place.vector] }
    }

    /// The convolution at the end of the window.
    pub(super) fn at(&self, window: &Array<Vector<f32, N>>, #[comptime] plan: Plan) -> Vector<f32, N> {
        let mut sum = self.bias;
        #[unroll]
        for k in 0..plan.width {
            sum += self.taps[k] * window[k];
        }
        sum
    }
}

/// What a thread has at hand for all of its tokens.
#[derive(CubeType)]
pub(super) struct Thread<N: Size> {
    pub(super) place: Place,
    pub(super) filter: Filter<N>,
    /// Of x.
    pub(super) rows: Rows,
}

#[cube]
impl<N: Size> Thread<N> {
    pub(super) fn new<F: Float, W: Size>(
        x: &Tensor<Vector<F, N>>,
        weight: &Tensor<Vector<f32, W>>,
        bias: &Tensor<Vector<f32, N>>,
        place: Place,
        #[comptime] plan: Plan,
    ) -> Thread<N> {
        let filter = Filter::read(weight, bias, &place, plan);
        let rows = Rows::of(x, &place, plan);
        Thread::<N> { place, filter, rows }
    }

    /// Input `i` of the window before the thread's tokens.
    pub(super) fn input<F: Float>(
        &self,
        x: &Tensor<Vector<F, N>>,
        initial_state: &Tensor<Vector<F, N>>,
        steps: &ComptimeOption<&Tensor<i32>>,
        i: usize,
        #[comptime] plan: Plan,
    ) -> Input<N> {
        let s = self.place.start + i;
        let step = self.place.step_of_input(steps, s, plan);
        let mut value = Vector::new(0.0);
        if s >= plan.before() {
            value = Vector::cast_from(x[self.rows.at(step.place)]);
        } else if comptime![!plan.fresh] {
            value = Vector::cast_from(initial_state[self.place.of_state(s, plan)]);
        }
        Input::<N> { value, keep: step.keep }
    }
}

/// An input; 0 if what is before it is forgotten, else 1.
#[derive(CubeType)]
pub(super) struct Input<N: Size> {
    pub(super) value: Vector<f32, N>,
    pub(super) keep: f32,
}

/// A vector for each input of a window, oldest first.
#[cube]
pub(super) fn zeros<N: Size>(#[comptime] plan: Plan) -> Array<Vector<f32, N>> {
    let mut window = Array::<Vector<f32, N>>::new(plan.width);
    #[unroll]
    for k in 0..plan.width {
        window[k] = Vector::new(0.0);
    }
    window
}

/// Forgets the window unless `keep` is 1, and takes in `value` at its end.
#[cube]
pub(super) fn slide<N: Size>(
    window: &mut Array<Vector<f32, N>>,
    value: Vector<f32, N>,
    keep: Vector<f32, N>,
    #[comptime] plan: Plan,
) {
    #[unroll]
    for k in 1..plan.width {
        window[k - 1] = window[k] * keep;
    }
    window[comptime![plan.before()]] = value;
}

/// Tokens as they come from memory.
#[derive(CubeType)]
pub(super) struct Tile<F: Float, N: Size> {
    pub(super) values: Array<Vector<F, N>>,
    pub(super) tokens: Array<usize>,
    pub(super) keeps: Array<f32>,
}

#[cube]
impl<F: Float, N: Size> Tile<F, N> {
    /// A tile of steps from `first` on; unless all are before `end`, the last before it stands for those that are not.
    #[allow(clippy::too_many_arguments, reason = "what is read, and where and when")]
    pub(super) fn read(
        x: &Tensor<Vector<F, N>>,
        rows: &Rows,
        steps: &ComptimeOption<&Tensor<i32>>,
        place: &Place,
        first: usize,
        end: usize,
        #[comptime] whole: bool,
        #[comptime] plan: Plan,
    ) -> Tile<F, N> {
        let count = comptime![plan.tile];
        let mut tile = Tile::<F, N> { values: Array::new(count), tokens: Array::new(count), keeps: Array::new(count) };
        #[unroll]
        for i in 0..count {
            let t = if comptime![whole] { first + i } else { (first + i).min(end - 1) };
            let step = place.step(steps, t, plan);
            tile.values[i] = x[rows.at(step.place)];
            tile.tokens[i] = step.place;
            tile.keeps[i] = step.keep;
        }
        tile
    }
}

/// x and the gradient of y at some tokens.
#[derive(CubeType)]
pub(super) struct Tokens<F: Float, N: Size> {
    pub(super) x: Array<Vector<F, N>>,
    pub(super) grad_y: Array<Vector<F, N>>,
    pub(super) keeps: Array<f32>,
}

#[cube]
impl<F: Float, N: Size> Tokens<F, N> {
    pub(super) fn new(#[comptime] count: usize) -> Tokens<F, N> {
        Tokens::<F, N> { x: Array::new(count), grad_y: Array::new(count), keeps: Array::new(count) }
    }

    /// Those from `first` on; the sequence's last stands for those behind it.
    #[allow(clippy::too_many_arguments, reason = "what is read, and where and when")]
    pub(super) fn read(
        &mut self,
        x: &Tensor<Vector<F, N>>,
        grad_y: &Tensor<Vector<F, N>>,
        steps: &ComptimeOption<&Tensor<i32>>,
        thread: &Thread<N>,
        grad_rows: &Rows,
        first: usize,
        #[comptime] count: usize,
        #[comptime] plan: Plan,
    ) {
        #[unroll]
        for i in 0..count {
            let t = (first + i).min(thread.place.length - 1);
            let step = thread.place.step(steps, t, plan);
            self.x[i] = x[thread.rows.at(step.place)];
            self.grad_y[i] = grad_y[grad_rows.at(step.place)];
            self.keeps[i] = step.keep;
        }
    }

    pub(super) fn copy(&mut self, other: &Tokens<F, N>, #[comptime] count: usize) {
        #[unroll]
        for i in 0..count {
            self.x[i] = other.x[i];
            self.grad_y[i] = other.grad_y[i];
            self.keeps[i] = other.keeps[i];
        }
    }
}
