//! A thread owns a few neighbouring channels of one chunk of tokens and slides a window of `width` inputs along it. What
//! it needs of its neighbours' tokens it reads again. It asks for a tile of tokens before it works on the first of them;
//! tiles that lie within the chunk have code of their own, which asks for no token whether it is there.

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
    pub tile: usize,
    /// Taps that are read together.
    pub taps: usize,
    pub silu: bool,
    pub reverse: bool,
    /// Whether a token may not see what is before it.
    pub resets: bool,
    /// Whether nothing is before the first token.
    pub fresh: bool,
    /// Whether the final state has a gradient.
    pub final_grad: bool,
    /// Going back: neighbours of a cube, and chunks that share it and add up what they give to the parameters.
    pub lanes: usize,
    pub strands: usize,
    pub math: Math,
}

impl Plan {
    /// Inputs before a token that it sees.
    fn before(&self) -> usize {
        self.width - 1
    }
}

/// What a thread works on. Vectors are those of its channels.
#[derive(CubeType, Clone, Copy)]
struct Place {
    batch: usize,
    chunk: usize,
    /// Which vector of a token, and of how many.
    vector: usize,
    vectors: usize,
    order: usize,
    /// The first of its tokens, and that behind the last.
    start: usize,
    end: usize,
    length: usize,
}

#[cube]
impl Place {
    fn new(
        batch: usize,
        chunk: usize,
        vector: usize,
        vectors: usize,
        length: usize,
        n_orders: usize,
        #[comptime] plan: Plan,
    ) -> Place {
        Place {
            batch,
            chunk,
            vector,
            vectors,
            order: vector / (vectors / n_orders),
            start: chunk * plan.chunk,
            end: (chunk * plan.chunk + plan.chunk).min(length),
            length,
        }
    }

    /// Of a token in a tensor of our own.
    fn of(&self, token: usize) -> usize {
        (self.batch * self.length + token) * self.vectors + self.vector
    }

    /// Of a row of the state.
    fn of_state(&self, row: usize, #[comptime] plan: Plan) -> usize {
        (self.batch * comptime![plan.before().max(1)] + row) * self.vectors + self.vector
    }

    /// Step `t` of the walk.
    fn step(&self, steps: &ComptimeOption<&Tensor<i32>>, t: usize, #[comptime] plan: Plan) -> Step {
        step_at(steps, self.batch, self.order, t, self.length, plan.reverse)
    }

    /// That of input `s`, counted from `before` tokens ahead of the first: the initial state's are always kept.
    fn step_of_input(&self, steps: &ComptimeOption<&Tensor<i32>>, s: usize, #[comptime] plan: Plan) -> Step {
        let t = s.max(plan.before()) - plan.before();
        let step = self.step(steps, t.min(self.length - 1), plan);
        Step { place: step.place, keep: select(s < plan.before(), f32::new(1.0), step.keep) }
    }
}

/// Where the vectors of a thread lie in a `[batch, length, channels]` tensor whose channels are neighbours.
#[derive(CubeType, Clone, Copy)]
struct Rows {
    first: usize,
    stride: usize,
}

#[cube]
impl Rows {
    fn of<F: Float, N: Size>(x: &Tensor<Vector<F, N>>, place: &Place, #[comptime] plan: Plan) -> Rows {
        Rows { first: place.batch * (x.stride(0) / plan.channels) + place.vector, stride: x.stride(1) / plan.channels }
    }

    fn at(&self, token: usize) -> usize {
        self.first + token * self.stride
    }
}

/// The taps, oldest first, and the bias.
#[derive(CubeType)]
struct Filter<N: Size> {
    taps: Array<Vector<f32, N>>,
    bias: Vector<f32, N>,
}

#[cube]
impl<N: Size> Filter<N> {
    fn read<W: Size>(
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
    fn at(&self, window: &Array<Vector<f32, N>>, #[comptime] plan: Plan) -> Vector<f32, N> {
        let mut sum = self.bias;
        #[unroll]
        for k in 0..plan.width {
            sum += self.taps[k] * window[k];
        }
        sum
    }
}

/// A vector for each input of a window, oldest first.
#[cube]
fn zeros<N: Size>(#[comptime] plan: Plan) -> Array<Vector<f32, N>> {
    let mut window = Array::<Vector<f32, N>>::new(plan.width);
    #[unroll]
    for k in 0..plan.width {
        window[k] = Vector::new(0.0);
    }
    window
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

/// Input `s`, counted as in [`Place::step_of_input`].
#[cube]
fn input<F: Float, N: Size>(
    x: &Tensor<Vector<F, N>>,
    rows: &Rows,
    initial_state: &Tensor<Vector<F, N>>,
    place: &Place,
    s: usize,
    token: usize,
    #[comptime] plan: Plan,
) -> Vector<f32, N> {
    let mut input = Vector::new(0.0);
    if s >= plan.before() {
        input = Vector::cast_from(x[rows.at(token)]);
    } else if comptime![!plan.fresh] {
        input = Vector::cast_from(initial_state[place.of_state(s, plan)]);
    }
    input
}

/// Tokens as they come from memory.
#[derive(CubeType)]
struct Tile<F: Float, N: Size> {
    values: Array<Vector<F, N>>,
    tokens: Array<usize>,
    keeps: Array<f32>,
}

#[cube]
impl<F: Float, N: Size> Tile<F, N> {
    #[allow(clippy::too_many_arguments, reason = "what is read, and where and when")]
    /// `count` steps from `first` on; unless all are before `end`, the last before it stands for those that are not.
    fn read(
        x: &Tensor<Vector<F, N>>,
        rows: &Rows,
        steps: &ComptimeOption<&Tensor<i32>>,
        place: &Place,
        first: usize,
        end: usize,
        #[comptime] count: usize,
        #[comptime] whole: bool,
        #[comptime] plan: Plan,
    ) -> Tile<F, N> {
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
    let rows = Rows::of(x, &place, plan);
    let filter = Filter::read(weight, bias, &place, plan);
    let mut window = zeros::<N>(plan);
    #[unroll]
    for i in 0..comptime![plan.before()] {
        let step = place.step_of_input(&steps, place.start + i, plan);
        let value = input(x, &rows, initial_state, &place, place.start + i, step.place, plan);
        slide(&mut window, value, Vector::new(step.keep), plan);
    }

    for first in range_stepped(place.start, place.end, plan.tile) {
        if first + plan.tile <= place.end {
            conv_tile(x, &rows, &steps, y, &filter, &mut window, &place, first, true, plan);
        } else {
            conv_tile(x, &rows, &steps, y, &filter, &mut window, &place, first, false, plan);
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
    rows: &Rows,
    steps: &ComptimeOption<&Tensor<i32>>,
    y: &mut Tensor<Vector<F, N>>,
    filter: &Filter<N>,
    window: &mut Array<Vector<f32, N>>,
    place: &Place,
    first: usize,
    #[comptime] whole: bool,
    #[comptime] plan: Plan,
) {
    let tile = Tile::read(x, rows, steps, place, first, place.end, plan.tile, whole, plan);
    #[unroll]
    for i in 0..plan.tile {
        if whole || first + i < place.end {
            slide(window, Vector::cast_from(tile.values[i]), Vector::new(tile.keeps[i]), plan);
            let mut out = filter.at(&*window, plan);
            if comptime![plan.silu] {
                out *= sigmoids(out, plan.channels, plan.math);
            }
            y[place.of(tile.tokens[i])] = Vector::cast_from(out);
        }
    }
}

/// Which tile going back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Part {
    /// The first of a chunk that is not the first: what leaves the window at its beginning is the neighbour's.
    First,
    /// Within the chunk.
    Inner,
    /// The next chunk's tokens that see inputs of this one.
    Halo,
    /// Any, or what there is of it.
    Any,
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
        let filter = Filter::read(weight, bias, &place, plan);
        back_chunk(
            x,
            initial_state,
            &steps,
            grad_y,
            grad_final_state,
            grad_x,
            grad_initial_state,
            &filter,
            &mut carried,
            &place,
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
    grad_initial_state: &mut Tensor<Vector<F, N>>,
    filter: &Filter<N>,
    carried: &mut Carried<N>,
    place: &Place,
    #[comptime] plan: Plan,
) {
    let before = comptime![plan.before()];
    let (rows, grad_rows) = (Rows::of(x, place, plan), Rows::of(grad_y, place, plan));
    #[unroll]
    for i in 0..before {
        let step = place.step_of_input(steps, place.start + i, plan);
        let value = input(x, &rows, initial_state, place, place.start + i, step.place, plan);
        carried.take_in(value, step.keep, plan);
    }

    // Inputs of this chunk are seen by up to `before` tokens of the next.
    let halo = (place.end + before).min(place.length);
    for first in range_stepped(place.start, halo, plan.tile) {
        let whole = first + plan.tile <= place.end;
        if whole && first >= place.start + plan.width {
            back_tile(
                x,
                &rows,
                steps,
                grad_y,
                &grad_rows,
                grad_x,
                grad_initial_state,
                filter,
                carried,
                place,
                first,
                halo,
                Part::Inner,
                plan,
            );
        } else if whole && first == place.start && place.chunk > 0 {
            back_tile(
                x,
                &rows,
                steps,
                grad_y,
                &grad_rows,
                grad_x,
                grad_initial_state,
                filter,
                carried,
                place,
                first,
                halo,
                Part::First,
                plan,
            );
        } else if first == place.end && first + before <= place.length && first >= place.start + plan.width {
            back_tile(
                x,
                &rows,
                steps,
                grad_y,
                &grad_rows,
                grad_x,
                grad_initial_state,
                filter,
                carried,
                place,
                first,
                halo,
                Part::Halo,
                plan,
            );
        } else {
            back_tile(
                x,
                &rows,
                steps,
                grad_y,
                &grad_rows,
                grad_x,
                grad_initial_state,
                filter,
                carried,
                place,
                first,
                halo,
                Part::Any,
                plan,
            );
        }
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
        hand_out(grad_x, grad_initial_state, steps, place, halo + before + k, grad, plan);
    }
    if comptime![plan.width == 1] {
        if place.chunk == 0 {
            grad_initial_state[place.of_state(0, plan)] = Vector::new(F::new(0.0));
        }
    }
}

/// What the steps from `first` on, up to `halo`, add to the gradients, and those of inputs that leave the window.
#[cube]
#[allow(clippy::too_many_arguments, reason = "what is read, what is carried, what is written, and where")]
fn back_tile<F: Float, N: Size>(
    x: &Tensor<Vector<F, N>>,
    rows: &Rows,
    steps: &ComptimeOption<&Tensor<i32>>,
    grad_y: &Tensor<Vector<F, N>>,
    grad_rows: &Rows,
    grad_x: &mut Tensor<Vector<F, N>>,
    grad_initial_state: &mut Tensor<Vector<F, N>>,
    filter: &Filter<N>,
    carried: &mut Carried<N>,
    place: &Place,
    first: usize,
    halo: usize,
    #[comptime] part: Part,
    #[comptime] plan: Plan,
) {
    let count = comptime![if part == Part::Halo { plan.before() } else { plan.tile }];
    let whole = comptime![part != Part::Any];
    let tile = Tile::read(x, rows, steps, place, first, halo, count, whole, plan);
    let grads = Tile::read(grad_y, grad_rows, steps, place, first, halo, count, whole, plan);
    #[unroll]
    for i in 0..count {
        let t = first + i;
        if whole || t < halo {
            // The oldest input leaves the window: its gradient is complete.
            if comptime![part == Part::Any] {
                hand_out(grad_x, grad_initial_state, steps, place, t + plan.before(), carried.grads[0], plan);
            } else if comptime![part != Part::First || i >= plan.width] {
                let step = place.step(steps, t - plan.width, plan);
                grad_x[place.of(step.place)] = Vector::cast_from(carried.grads[0]);
            }
            carried.take_in(Vector::cast_from(tile.values[i]), tile.keeps[i], plan);
            slide(&mut carried.grads, Vector::new(0.0), Vector::new(1.0), plan);

            let mut g = Vector::<f32, N>::cast_from(grads.values[i]);
            if comptime![plan.silu] {
                let pre = filter.at(&carried.window, plan);
                let gate = sigmoids(pre, plan.channels, plan.math);
                g *= gate * (Vector::new(1.0) + pre * (Vector::new(1.0) - gate));
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
                carried.grads[k] += filter.taps[k] * g * carried.seen[k];
                if comptime![part != Part::Halo] {
                    carried.grad_taps[k] += own * carried.window[k];
                }
            }
        }
    }
}

/// Writes the gradient of input `next - width`, counted as in [`Place::step_of_input`], if the thread owns it.
#[cube]
fn hand_out<F: Float, N: Size>(
    grad_x: &mut Tensor<Vector<F, N>>,
    grad_initial_state: &mut Tensor<Vector<F, N>>,
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
            grad_initial_state[place.of_state(s, plan)] = Vector::cast_from(grad);
        } else {
            let step = place.step_of_input(steps, s, plan);
            grad_x[place.of(step.place)] = Vector::cast_from(grad);
        }
    }
}
