//! The backward kernel. Threads share their work as those of the forward kernel do, in longer chunks. A thread reads the next
//! chunk's first tokens too, which see its inputs, and the threads of a cube that have the same channels add up what their
//! chunks give to the parameters. It asks for a tile of tokens before it works on the tile ahead of it; what is no whole tile
//! is taken token by token, which is little code and needs few registers.

#![allow(clippy::collapsible_if, reason = "branches of the generated kernel and branches of its generation")]

use super::place::{Place, Plan, Rows};
use super::thread::{Thread, Tokens, slide, zeros};
use crate::cube::sigmoids;
use cubecl::prelude::*;

/// Which tokens going back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Part {
    /// The first tile of a chunk: what leaves the window at its beginning is the neighbour's or the initial state's.
    First,
    /// A tile within the chunk.
    Inner,
    /// The next chunk's tokens that see inputs of this one.
    Halo,
    /// Any one token.
    Any,
}

impl Part {
    /// How many tokens there are of it.
    fn count(self, plan: Plan) -> usize {
        match self {
            Self::First | Self::Inner => plan.tile,
            Self::Halo => plan.before(),
            Self::Any => 1,
        }
    }
}

/// What a thread carries on its way through its tokens, for each input of the window.
#[derive(CubeType)]
struct Carried<N: Size> {
    window: Array<Vector<f32, N>>,
    /// 1 for inputs that the current token sees, all of them without resets.
    seen: Array<Vector<f32, N>>,
    /// What they have gathered so far.
    grads: Array<Vector<f32, N>>,
    grad_taps: Array<Vector<f32, N>>,
    grad_bias: Vector<f32, N>,
}

#[cube]
impl<N: Size> Carried<N> {
    fn new(#[comptime] plan: Plan) -> Carried<N> {
        let mut seen = zeros::<N>(plan);
        #[unroll]
        for k in 0..plan.width {
            seen[k] = Vector::new(if comptime![plan.resets] { 0.0 } else { 1.0 });
        }
        let (window, grads, grad_taps) = (zeros::<N>(plan), zeros::<N>(plan), zeros::<N>(plan));
        Carried::<N> { window, seen, grads, grad_taps, grad_bias: Vector::new(0.0) }
    }

    fn take_in(&mut self, value: Vector<f32, N>, keep: f32, #[comptime] plan: Plan) {
        let keep = Vector::new(keep);
        slide(&mut self.window, value, keep, plan);
        if comptime![plan.resets] {
            slide(&mut self.seen, Vector::new(1.0), keep, plan);
        }
    }
}

/// All gradients of one chunk; those of weight and bias are partial sums.
#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn conv_backward<F: Float, N: Size, W: Size>(
    x: &Tensor<Vector<F, N>>,
    weight: &Tensor<Vector<f32, W>>,
    bias: &Tensor<Vector<f32, N>>,
    initial_state: &Tensor<Vector<F, N>>,
    steps: ComptimeOption<&Tensor<i32>>,
    grad_y: &Tensor<Vector<F, N>>,
    grad_final_state: &Tensor<Vector<F, N>>,
    grad_x: &mut Tensor<Vector<F, N>>,
    // [batch * groups of chunks, width + 1, channels]: those of the weights, then that of the bias
    grad_params: &mut Tensor<Vector<f32, N>>,
    grad_initial_state: &mut Tensor<Vector<F, N>>,
    n_chunks: usize,
    n_orders: usize,
    #[comptime] plan: Plan,
    #[define(F)] _dtype: ElemType,
) {
    // Cubes lie along the channels, then along groups of chunks, then along the batch.
    let vectors = x.shape(2) / plan.channels;
    let blocks = vectors.div_ceil(plan.lanes);
    let groups = n_chunks.div_ceil(plan.strands);
    let group = CUBE_POS / blocks;
    let lane = UNIT_POS as usize % plan.lanes;
    let strand = UNIT_POS as usize / plan.lanes;
    let vector = CUBE_POS % blocks * plan.lanes + lane;
    let chunk = group % groups * plan.strands + strand;
    let mut carried = Carried::<N>::new(plan);
    if vector < vectors && chunk < n_chunks && group < x.shape(0) * groups {
        let place = Place::new(group / groups, chunk, vector, vectors, x.shape(1), n_orders, plan);
        let thread = Thread::<N>::new(x, weight, bias, place, plan);
        back_chunk(
            x,
            initial_state,
            &steps,
            grad_y,
            grad_final_state,
            grad_x,
            grad_initial_state,
            &thread,
            &mut carried,
            plan,
        );
    }

    // What the chunks of the cube add to the parameters, in their order.
    let mut shared = Shared::<[Vector<f32, N>]>::new_slice(comptime![plan.lanes * plan.strands]);
    #[unroll]
    for k in 0..comptime![plan.width + 1] {
        let mut sum = carried.grad_bias;
        if comptime![k < plan.width] {
            sum = carried.grad_taps[comptime![k.min(plan.width - 1)]];
        }
        shared[UNIT_POS as usize] = sum;
        sync_cube();
        if strand == 0 && vector < vectors && group < x.shape(0) * groups {
            for other in 1..plan.strands {
                sum += shared[other * plan.lanes + lane];
            }
            grad_params[(group * comptime![plan.width + 1] + k) * vectors + vector] = sum;
        }
        sync_cube();
    }
}

/// The gradients of one chunk: those of its inputs are written, those of the parameters carried.
#[cube]
#[allow(clippy::too_many_arguments, reason = "what is read, what is carried, what is written, and where")]
fn back_chunk<F: Float, N: Size>(
    x: &Tensor<Vector<F, N>>,
    initial_state: &Tensor<Vector<F, N>>,
    steps: &ComptimeOption<&Tensor<i32>>,
    grad_y: &Tensor<Vector<F, N>>,
    grad_final_state: &Tensor<Vector<F, N>>,
    grad_x: &mut Tensor<Vector<F, N>>,
    grad_state: &mut Tensor<Vector<F, N>>,
    thread: &Thread<N>,
    carried: &mut Carried<N>,
    #[comptime] plan: Plan,
) {
    let before = comptime![plan.before()];
    let place = &thread.place;
    let grad_rows = Rows::of(grad_y, place, plan);
    #[unroll]
    for i in 0..before {
        let input = thread.input(x, initial_state, steps, i, plan);
        carried.take_in(input.value, input.keep, plan);
    }

    let halo = place.halo(plan);
    let mut first = place.start;
    if first + plan.tile <= place.end {
        let mut tile = Tokens::<F, N>::new(plan.tile);
        let mut next = Tokens::<F, N>::new(plan.tile);
        next.read(x, grad_y, steps, thread, &grad_rows, first, plan.tile, plan);
        tile.copy(&next, plan.tile);
        next.read(x, grad_y, steps, thread, &grad_rows, first + plan.tile, plan.tile, plan);
        back_tokens(&tile, steps, grad_x, grad_state, thread, carried, first, Part::First, plan);
        first += plan.tile;
        while first + plan.tile <= place.end {
            tile.copy(&next, plan.tile);
            next.read(x, grad_y, steps, thread, &grad_rows, first + plan.tile, plan.tile, plan);
            back_tokens(&tile, steps, grad_x, grad_state, thread, carried, first, Part::Inner, plan);
            first += plan.tile;
        }
        if comptime![0 < before && before <= plan.tile] {
            if first == place.end && halo == place.end + before {
                back_tokens(&next, steps, grad_x, grad_state, thread, carried, first, Part::Halo, plan);
                first = halo;
            }
        }
    }
    let mut one = Tokens::<F, N>::new(1usize);
    for t in first..halo {
        one.read(x, grad_y, steps, thread, &grad_rows, t, 1usize, plan);
        back_tokens(&one, steps, grad_x, grad_state, thread, carried, t, Part::Any, plan);
    }

    // The window's inputs at the end: the final state hands its gradient to those that it holds.
    #[unroll]
    for k in 0..plan.width {
        let mut grad = carried.grads[k];
        if comptime![plan.final_grad && k > 0] {
            if halo == place.length {
                let at = place.of_state(comptime![k.max(1) - 1], plan);
                grad += carried.seen[k] * Vector::cast_from(grad_final_state[at]);
            }
        }
        hand_out(grad_x, grad_state, steps, place, halo + before + k, grad, plan);
    }
    if comptime![plan.width == 1] {
        if place.chunk == 0 {
            grad_state[place.of_state(0, plan)] = Vector::new(F::new(0.0));
        }
    }
}

/// What the steps from `first` on add to the gradients, and those of inputs that leave the window.
#[cube]
#[allow(clippy::too_many_arguments, reason = "what was read, what is carried, what is written, and where")]
fn back_tokens<F: Float, N: Size>(
    tokens: &Tokens<F, N>,
    steps: &ComptimeOption<&Tensor<i32>>,
    grad_x: &mut Tensor<Vector<F, N>>,
    grad_state: &mut Tensor<Vector<F, N>>,
    thread: &Thread<N>,
    carried: &mut Carried<N>,
    first: usize,
    #[comptime] part: Part,
    #[comptime] plan: Plan,
) {
    let place = &thread.place;
    #[unroll]
    for i in 0..comptime![part.count(plan)] {
        let t = first + i;
        // The oldest input leaves the window: its gradient is complete.
        if comptime![part == Part::Any] {
            hand_out(grad_x, grad_state, steps, place, t + plan.before(), carried.grads[0], plan);
        } else if comptime![part != Part::First || i >= plan.width] {
            let step = place.step(steps, t - plan.width, plan);
            grad_x[place.of(step.place)] = Vector::cast_from(carried.grads[0]);
        } else if comptime![!plan.fresh && i > 0] {
            if place.chunk == 0 {
                grad_state[place.of_state(comptime![i.max(1) - 1], plan)] = Vector::cast_from(carried.grads[0]);
            }
        }
        carried.take_in(Vector::cast_from(tokens.x[i]), tokens.keeps[i], plan);
        slide(&mut carried.grads, Vector::new(0.0), Vector::new(1.0), plan);

        let mut g = Vector::<f32, N>::cast_from(tokens.grad_y[i]);
        if comptime![plan.silu] {
            let pre = thread.filter.at(&carried.window, plan);
            let gate = sigmoids(pre, plan.channels, plan.math);
            g *= (pre - pre * gate) * gate + gate;
        }
        let mut own = g;
        if comptime![part == Part::Any] {
            own *= Vector::new(select(t < place.end, f32::new(1.0), f32::new(0.0)));
        }
        if comptime![part != Part::Halo] {
            carried.grad_bias += own;
        }
        #[unroll]
        for k in 0..plan.width {
            carried.grads[k] += thread.filter.taps[k] * g * carried.seen[k];
            if comptime![part != Part::Halo] {
                carried.grad_taps[k] += own * carried.window[k];
            }
        }
    }
}

/// Writes the gradient of input `next - width`, counted as in [`Place::step_of_input`], if the thread owns it.
#[cube]
fn hand_out<F: Float, N: Size>(
    grad_x: &mut Tensor<Vector<F, N>>,
    grad_state: &mut Tensor<Vector<F, N>>,
    steps: &ComptimeOption<&Tensor<i32>>,
    place: &Place,
    next: usize,
    grad: Vector<f32, N>,
    #[comptime] plan: Plan,
) {
    let before = comptime![plan.before()];
    // In the initial state's chunk its inputs are owned too.
    let from = if place.chunk == 0 { place.start } else { place.start + before };
    if next >= from + plan.width && next < place.end + before + plan.width {
        let s = next - plan.width;
        if s < before {
            grad_state[place.of_state(s, plan)] = Vector::cast_from(grad);
        } else {
            let step = place.step_of_input(steps, s, plan);
            grad_x[place.of(step.place)] = Vector::cast_from(grad);
        }
    }
}
