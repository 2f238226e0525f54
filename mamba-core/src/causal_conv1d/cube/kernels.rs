//! A thread owns a few neighbouring channels of one chunk of tokens and slides a window of `width` inputs along it. What
//! it needs of its neighbours' tokens it reads again. It asks for several tokens before it works on the first.

#![allow(clippy::collapsible_if, reason = "branches of the generated kernel and branches of its generation")]

use crate::cube::{Math, Step, sigmoids, step_at};
use cubecl::prelude::*;

/// What the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Plan {
    pub width: usize,
    /// Tokens of a thread.
    pub chunk: usize,
    /// Channels of a thread.
    pub channels: usize,
    /// Tokens that are read together.
    pub ahead: usize,
    pub silu: bool,
    pub reverse: bool,
    /// Whether a token may not see what is before it.
    pub resets: bool,
    pub math: Math,
}

impl Plan {
    /// Inputs before a token that it sees.
    fn before(&self) -> usize {
        self.width - 1
    }
}

/// What a thread works on.
#[derive(CubeType, Clone, Copy)]
struct Place {
    batch: usize,
    chunk: usize,
    /// The first of its channels.
    channel: usize,
    order: usize,
    /// The first of its tokens, and that behind the last.
    start: usize,
    end: usize,
}

#[cube]
fn place(channels: usize, length: usize, n_chunks: usize, n_orders: usize, #[comptime] plan: Plan) -> Place {
    let threads = channels / plan.channels;
    let channel = ABSOLUTE_POS % threads * plan.channels;
    let chunk = ABSOLUTE_POS / threads % n_chunks;
    Place {
        batch: ABSOLUTE_POS / threads / n_chunks,
        chunk,
        channel,
        order: channel / (channels / n_orders),
        start: chunk * plan.chunk,
        end: (chunk * plan.chunk + plan.chunk).min(length),
    }
}

/// The channels of a token in a `[batch, length, channels]` tensor.
#[cube]
fn read<F: Float, N: Size>(
    x: &Tensor<Vector<F, N>>,
    place: &Place,
    token: usize,
    #[comptime] plan: Plan,
) -> Vector<F, N> {
    x[(place.batch * x.stride(0) + token * x.stride(1) + place.channel) / plan.channels]
}

/// Where a row of the state of a batch row begins for the channels of a thread.
#[cube]
fn state_at(channels: usize, place: &Place, row: usize, #[comptime] plan: Plan) -> usize {
    ((place.batch * comptime![plan.before().max(1)] + row) * channels + place.channel) / plan.channels
}

/// The taps, oldest first.
#[cube]
fn taps<N: Size>(weight: &Tensor<f32>, place: &Place, #[comptime] plan: Plan) -> Array<Vector<f32, N>> {
    let mut taps = Array::<Vector<f32, N>>::new(plan.width);
    #[unroll]
    for k in 0..plan.width {
        let mut tap = Vector::<f32, N>::new(0.0);
        #[unroll]
        for lane in 0..plan.channels {
            tap.insert(lane, weight[(place.channel + lane) * plan.width + k]);
        }
        taps[k] = tap;
    }
    taps
}

/// The bias of the channels of a thread.
#[cube]
fn biases<N: Size>(bias: &Tensor<f32>, place: &Place, #[comptime] plan: Plan) -> Vector<f32, N> {
    let mut biases = Vector::<f32, N>::new(0.0);
    #[unroll]
    for lane in 0..plan.channels {
        biases.insert(lane, bias[place.channel + lane]);
    }
    biases
}

/// Forgets the window unless `keep` is 1, and takes in `value` at its end.
#[cube]
fn slide<N: Size>(
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

/// The convolution at the end of the window.
#[cube]
fn convolve<N: Size>(
    window: &Array<Vector<f32, N>>,
    taps: &Array<Vector<f32, N>>,
    bias: Vector<f32, N>,
    #[comptime] plan: Plan,
) -> Vector<f32, N> {
    let mut sum = bias;
    #[unroll]
    for k in 0..plan.width {
        sum += taps[k] * window[k];
    }
    sum
}

/// The step of input `s`, counted from `before` tokens ahead of the first: the initial state's are always kept.
#[cube]
fn step_of(
    steps: &ComptimeOption<&Tensor<i32>>,
    place: &Place,
    s: usize,
    length: usize,
    #[comptime] plan: Plan,
) -> Step {
    let t = s.max(plan.before()) - plan.before();
    let step = step_at(steps, place.batch, place.order, t.min(length - 1), length, plan.reverse);
    Step { place: step.place, keep: select(s < plan.before(), f32::new(1.0), step.keep) }
}

/// Input `s`, counted likewise.
#[cube]
fn input<F: Float, N: Size>(
    x: &Tensor<Vector<F, N>>,
    initial_state: &Tensor<Vector<F, N>>,
    place: &Place,
    s: usize,
    token: usize,
    #[comptime] plan: Plan,
) -> Vector<f32, N> {
    if s < plan.before() {
        Vector::cast_from(initial_state[state_at(x.shape(2), place, s, plan)])
    } else {
        Vector::cast_from(read(x, place, token, plan))
    }
}

/// Tokens as they come from memory, ahead of their use.
#[derive(CubeType)]
struct Ahead<F: Float, N: Size> {
    values: Array<Vector<F, N>>,
    tokens: Array<usize>,
    keeps: Array<f32>,
}

#[cube]
impl<F: Float, N: Size> Ahead<F, N> {
    fn new(#[comptime] plan: Plan) -> Ahead<F, N> {
        Ahead::<F, N> { values: Array::new(plan.ahead), tokens: Array::new(plan.ahead), keeps: Array::new(plan.ahead) }
    }

    /// Asks for the steps from `first` on. Behind the last, `end - 1`, it reads that.
    #[allow(clippy::too_many_arguments, reason = "what is read, and where and when")]
    fn read(
        &mut self,
        x: &Tensor<Vector<F, N>>,
        steps: &ComptimeOption<&Tensor<i32>>,
        place: &Place,
        first: usize,
        end: usize,
        length: usize,
        #[comptime] plan: Plan,
    ) {
        #[unroll]
        for i in 0..plan.ahead {
            let step = step_at(steps, place.batch, place.order, (first + i).min(end - 1), length, plan.reverse);
            self.values[i] = read(x, place, step.place, plan);
            self.tokens[i] = step.place;
            self.keeps[i] = step.keep;
        }
    }

    fn take(&mut self, other: &Ahead<F, N>, #[comptime] plan: Plan) {
        #[unroll]
        for i in 0..plan.ahead {
            self.values[i] = other.values[i];
            self.tokens[i] = other.tokens[i];
            self.keeps[i] = other.keeps[i];
        }
    }
}

/// The convolution of every chunk, and from the last one the final state.
#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn conv<F: Float, N: Size>(
    x: &Tensor<Vector<F, N>>,
    weight: &Tensor<f32>,
    bias: &Tensor<f32>,
    initial_state: &Tensor<Vector<F, N>>,
    steps: ComptimeOption<&Tensor<i32>>,
    y: &mut Tensor<Vector<F, N>>,
    final_state: &mut Tensor<Vector<F, N>>,
    n_chunks: usize,
    n_orders: usize,
    #[comptime] plan: Plan,
    #[define(F)] _dtype: ElemType,
) {
    let channels = x.shape(2);
    let length = x.shape(1);
    let place = place(channels, length, n_chunks, n_orders, plan);
    if place.batch >= x.shape(0) {
        terminate!();
    }
    let taps = taps::<N>(weight, &place, plan);
    let bias = biases::<N>(bias, &place, plan);
    let mut window = Array::<Vector<f32, N>>::new(plan.width);
    #[unroll]
    for k in 0..plan.width {
        window[k] = Vector::new(0.0);
    }
    #[unroll]
    for i in 0..comptime![plan.before()] {
        let step = step_of(&steps, &place, place.start + i, length, plan);
        let value = input(x, initial_state, &place, place.start + i, step.place, plan);
        slide(&mut window, value, Vector::new(step.keep), plan);
    }

    let mut ahead = Ahead::<F, N>::new(plan);
    let mut now = Ahead::<F, N>::new(plan);
    ahead.read(x, &steps, &place, place.start, place.end, length, plan);
    for first in range_stepped(place.start, place.end, plan.ahead) {
        now.take(&ahead, plan);
        ahead.read(x, &steps, &place, first + plan.ahead, place.end, length, plan);
        #[unroll]
        for i in 0..plan.ahead {
            if first + i < place.end {
                slide(&mut window, Vector::cast_from(now.values[i]), Vector::new(now.keeps[i]), plan);
                let mut out = convolve(&window, &taps, bias, plan);
                if comptime![plan.silu] {
                    out *= sigmoids(out, plan.channels, plan.math);
                }
                let to = (place.batch * length + now.tokens[i]) * channels + place.channel;
                y[to / plan.channels] = Vector::cast_from(out);
            }
        }
    }

    if place.chunk == n_chunks - 1 {
        if comptime![plan.width == 1] {
            final_state[state_at(channels, &place, 0, plan)] = Vector::new(F::new(0.0));
        }
        #[unroll]
        for k in 1..plan.width {
            final_state[state_at(channels, &place, k - 1, plan)] = Vector::cast_from(window[k]);
        }
    }
}

/// All gradients of one chunk; those of weight and bias are partial sums.
#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn conv_backward<F: Float, N: Size>(
    x: &Tensor<Vector<F, N>>,
    weight: &Tensor<f32>,
    bias: &Tensor<f32>,
    initial_state: &Tensor<Vector<F, N>>,
    steps: ComptimeOption<&Tensor<i32>>,
    grad_y: &Tensor<Vector<F, N>>,
    grad_final_state: &Tensor<Vector<F, N>>,
    grad_x: &mut Tensor<Vector<F, N>>,
    // [batch * n_chunks, width + 1, channels]: those of the weights, then that of the bias
    grad_params: &mut Tensor<Vector<f32, N>>,
    grad_initial_state: &mut Tensor<Vector<F, N>>,
    n_chunks: usize,
    n_orders: usize,
    #[comptime] plan: Plan,
    #[define(F)] _dtype: ElemType,
) {
    let channels = x.shape(2);
    let length = x.shape(1);
    let place = place(channels, length, n_chunks, n_orders, plan);
    if place.batch >= x.shape(0) {
        terminate!();
    }
    let before = comptime![plan.before()];
    let taps = taps::<N>(weight, &place, plan);
    let bias = biases::<N>(bias, &place, plan);
    let mut grad_taps = Array::<Vector<f32, N>>::new(plan.width);
    let mut window = Array::<Vector<f32, N>>::new(plan.width);
    // 1 for inputs of the window that the current token sees, all of them without resets, and the gradients gathered by
    // these inputs so far.
    let mut seen = Array::<Vector<f32, N>>::new(plan.width);
    let mut grads = Array::<Vector<f32, N>>::new(plan.width);
    #[unroll]
    for k in 0..plan.width {
        grad_taps[k] = Vector::new(0.0);
        window[k] = Vector::new(0.0);
        seen[k] = Vector::new(if comptime![plan.resets] { 0.0 } else { 1.0 });
        grads[k] = Vector::new(0.0);
    }
    let mut grad_bias = Vector::<f32, N>::new(0.0);
    // Inputs of this chunk are seen by up to `before` tokens of the next.
    let halo = (place.end + before).min(length);
    // Counted from the initial state: input s is token s - before. In the initial state's chunk those are owned too.
    let owned_from = if place.chunk == 0 { place.start } else { place.start + before };
    let owned_to = place.end + before;

    #[unroll]
    for i in 0..before {
        let step = step_of(&steps, &place, place.start + i, length, plan);
        let value = input(x, initial_state, &place, place.start + i, step.place, plan);
        let keep = Vector::new(step.keep);
        slide(&mut window, value, keep, plan);
        if comptime![plan.resets] {
            slide(&mut seen, Vector::new(1.0), keep, plan);
        }
    }

    let mut ahead = Ahead::<F, N>::new(plan);
    let mut now = Ahead::<F, N>::new(plan);
    let mut grads_ahead = Ahead::<F, N>::new(plan);
    let mut grads_now = Ahead::<F, N>::new(plan);
    ahead.read(x, &steps, &place, place.start, halo, length, plan);
    grads_ahead.read(grad_y, &steps, &place, place.start, halo, length, plan);
    for first in range_stepped(place.start, halo, plan.ahead) {
        now.take(&ahead, plan);
        grads_now.take(&grads_ahead, plan);
        ahead.read(x, &steps, &place, first + plan.ahead, halo, length, plan);
        grads_ahead.read(grad_y, &steps, &place, first + plan.ahead, halo, length, plan);
        #[unroll]
        for i in 0..plan.ahead {
            let s = first + i + before;
            if first + i < halo {
                // The oldest input leaves the window: its gradient is complete.
                if s >= place.start + plan.width {
                    let done = s - plan.width;
                    if done >= owned_from && done < owned_to {
                        hand_out(grad_x, grad_initial_state, &steps, &place, done, grads[0], length, channels, plan);
                    }
                }
                let keep = Vector::new(now.keeps[i]);
                slide(&mut window, Vector::cast_from(now.values[i]), keep, plan);
                if comptime![plan.resets] {
                    slide(&mut seen, Vector::new(1.0), keep, plan);
                }
                slide(&mut grads, Vector::new(0.0), Vector::new(1.0), plan);

                let mut g = Vector::<f32, N>::cast_from(grads_now.values[i]);
                if comptime![plan.silu] {
                    let pre = convolve(&window, &taps, bias, plan);
                    let gate = sigmoids(pre, plan.channels, plan.math);
                    g *= gate * (Vector::new(1.0) + pre * (Vector::new(1.0) - gate));
                }
                let own = g * Vector::new(select(s < owned_to, f32::new(1.0), f32::new(0.0)));
                grad_bias += own;
                #[unroll]
                for k in 0..plan.width {
                    grads[k] += taps[k] * g * seen[k];
                    grad_taps[k] += own * window[k];
                }
            }
        }
    }

    // The window's inputs at the end: the final state hands its gradient to those that it holds.
    let last = halo + before;
    #[unroll]
    for k in 0..plan.width {
        if last + k >= place.start + plan.width {
            let done = last + k - plan.width;
            if done >= owned_from && done < owned_to {
                let mut grad = grads[k];
                if comptime![k > 0] {
                    if halo == length {
                        let at = state_at(channels, &place, comptime![k.max(1) - 1], plan);
                        grad += seen[k] * Vector::cast_from(grad_final_state[at]);
                    }
                }
                hand_out(grad_x, grad_initial_state, &steps, &place, done, grad, length, channels, plan);
            }
        }
    }
    if comptime![plan.width == 1] {
        if place.chunk == 0 {
            grad_initial_state[state_at(channels, &place, 0, plan)] = Vector::new(F::new(0.0));
        }
    }
    let row = (place.batch * n_chunks + place.chunk) * comptime![plan.width + 1];
    #[unroll]
    for k in 0..plan.width {
        grad_params[((row + k) * channels + place.channel) / plan.channels] = grad_taps[k];
    }
    grad_params[((row + plan.width) * channels + place.channel) / plan.channels] = grad_bias;
}

/// Writes the gradient of input `s`, counted from the initial state.
#[cube]
fn hand_out<F: Float, N: Size>(
    grad_x: &mut Tensor<Vector<F, N>>,
    grad_initial_state: &mut Tensor<Vector<F, N>>,
    steps: &ComptimeOption<&Tensor<i32>>,
    place: &Place,
    s: usize,
    grad: Vector<f32, N>,
    length: usize,
    channels: usize,
    #[comptime] plan: Plan,
) {
    if s < plan.before() {
        let at = state_at(channels, place, s, plan);
        grad_initial_state[at] = Vector::cast_from(grad);
    } else {
        let step = step_of(steps, place, s, length, plan);
        let to = (place.batch * length + step.place) * channels + place.channel;
        grad_x[to / plan.channels] = Vector::cast_from(grad);
    }
}
