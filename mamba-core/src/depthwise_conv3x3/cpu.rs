//! On the CPU: vectors of neighbouring channels, threads over pieces of images, whose rows lie padded in memory of their own
//! while they are used.

#![cfg(any(feature = "flex", feature = "ndarray"))]

use super::backend::DepthwiseConv3x3Backend;
use crate::cpu::{
    CpuBackend, Float, Kernel, LANES, Lanes, PARTS, Row, array, pieces_per_task, sigmoid, tensor, vectorised,
};
use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use half::{bf16, f16};
use rayon::prelude::*;

/// Places that an output sees.
const TAPS: usize = 9;

/// The parameters, row by row of a window, the channels of each in whole rows.
struct Parameters {
    weight: [Vec<Row>; TAPS],
    bias: Vec<Row>,
}

impl Parameters {
    fn new<B: CpuBackend>(weight: FloatTensor<B>, bias: FloatTensor<B>) -> Self {
        let [weight, bias] = [weight, bias].map(|x| B::contiguous(B::float_cast(x, DType::F32.into())));
        let (weight, bias) = (B::elements::<f32>(&weight), B::elements::<f32>(&bias));
        let rows = |channels: Vec<f32>| channels.chunks(LANES).map(Row::read).collect();
        let tap = |tap: usize| rows(weight.iter().skip(tap).step_by(TAPS).copied().collect());
        Self { weight: std::array::from_fn(tap), bias: rows(bias.to_vec()) }
    }

    /// What goes back through the windows: the last place of an output's window sees it first.
    fn transposed(&self) -> Self {
        let weight = std::array::from_fn(|tap| self.weight[TAPS - 1 - tap].clone());
        Self { weight, bias: vec![Row::ZERO; self.bias.len()] }
    }
}

/// Images `[batch, height, width, channels]`, taken apart into pieces of some rows.
#[derive(Clone, Copy)]
struct Images {
    height: usize,
    width: usize,
    channels: usize,
    /// Rows of a piece, but for the last of an image.
    rows: usize,
}

impl Images {
    fn new([batch, height, width, channels]: [usize; 4]) -> Self {
        Self { height, width, channels, rows: height.div_ceil(PARTS.div_ceil(batch)) }
    }

    /// The elements of every piece: of an image, and within it.
    fn pieces<'a, T>(&self, mut elements: &'a mut [T], batch: usize) -> Vec<Piece<'a, T>> {
        let mut pieces = Vec::new();
        for image in 0..batch {
            for first in (0..self.height).step_by(self.rows) {
                let rows = self.rows.min(self.height - first);
                let (piece, rest) = elements.split_at_mut(rows * self.width * self.channels);
                pieces.push(Piece { image, first, to: piece });
                elements = rest;
            }
        }
        pieces
    }

    fn blocks(&self) -> usize {
        self.channels.div_ceil(LANES)
    }

    /// A row with a place of zeros at either end, each place in whole rows of lanes.
    fn padded(&self) -> Vec<Row> {
        vec![Row::ZERO; (self.width + 2) * self.blocks()]
    }

    /// Reads the `row`th row of an image, counted from the padding, into a [padded](Self::padded) one.
    #[inline(always)]
    fn read<E: Float>(&self, from: &[E], image: usize, row: usize, to: &mut [Row]) {
        let blocks = self.blocks();
        let inside = &mut to[blocks..(self.width + 1) * blocks];
        if !(1..=self.height).contains(&row) {
            inside.fill(Row::ZERO);
            return;
        }
        let size = self.width * self.channels;
        let from = &from[(image * self.height + row - 1) * size..][..size];
        for (from, to) in from.chunks_exact(self.channels).zip(inside.chunks_exact_mut(blocks)) {
            for (from, to) in from.chunks(LANES).zip(to) {
                to.copy_from(from);
            }
        }
    }
}

/// Some rows of an image.
struct Piece<'a, T> {
    image: usize,
    first: usize,
    to: &'a mut [T],
}

/// The three rows that a row of outputs sees.
struct Seen<'a, E> {
    images: Images,
    x: &'a [E],
    image: usize,
    rows: [Vec<Row>; 3],
}

impl<'a, E: Float> Seen<'a, E> {
    /// Those before the `first`th.
    #[inline(always)]
    fn before(images: Images, x: &'a [E], image: usize, first: usize) -> Self {
        let mut rows = [(); 3].map(|()| images.padded());
        images.read(x, image, first, &mut rows[1]);
        images.read(x, image, first + 1, &mut rows[2]);
        Self { images, x, image, rows }
    }

    /// Those of `row`, after those of the one before it.
    #[inline(always)]
    fn go_on(&mut self, row: usize) {
        self.rows.rotate_left(1);
        self.images.read(self.x, self.image, row + 2, &mut self.rows[2]);
    }

    /// What the output at a column sees of a block of channels from `lane` on, row by row.
    #[inline(always)]
    fn taps<V: Lanes>(&self, column: usize, block: usize, lane: usize) -> [V; TAPS] {
        let blocks = self.images.blocks();
        array(|tap| V::load(&self.rows[tap / 3][(column + tap % 3) * blocks + block].0[lane..]))
    }
}

/// The sum over the places, before the SiLU.
#[inline(always)]
fn convolved<V: Lanes>(taps: &[V; TAPS], weight: &[V; TAPS], bias: V) -> V {
    let mut sum = bias;
    for (x, weight) in taps.iter().zip(weight) {
        sum = x.mul_add(*weight, sum);
    }
    sum
}

struct Forward<'a, E, Y> {
    images: Images,
    parameters: &'a Parameters,
    x: &'a [E],
    y: Piece<'a, Y>,
    silu: bool,
}

impl<E: Float, Y: Float> Kernel for Forward<'_, E, Y> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let Self { images, parameters: Parameters { weight, bias }, x, y: Piece { image, first, to }, silu } = self;
        let mut seen = Seen::before(images, x, image, first);
        let mut out = vec![Row::ZERO; images.width * images.blocks()];
        for (row, y) in to.chunks_exact_mut(images.width * images.channels).enumerate() {
            seen.go_on(first + row);
            for block in 0..images.blocks() {
                for lane in (0..LANES).step_by(V::WIDTH) {
                    let weight = array(|tap| V::load(&weight[tap][block].0[lane..]));
                    let bias = V::load(&bias[block].0[lane..]);
                    for column in 0..images.width {
                        let mut y = convolved(&seen.taps::<V>(column, block, lane), &weight, bias);
                        if silu {
                            y = y * sigmoid(y);
                        }
                        y.store(&mut out[column * images.blocks() + block].0[lane..]);
                    }
                }
            }
            write(&images, &out, y);
        }
    }
}

/// The places of a row of outputs.
#[inline(always)]
fn write<Y: Float>(images: &Images, rows: &[Row], to: &mut [Y]) {
    for (rows, to) in rows.chunks_exact(images.blocks()).zip(to.chunks_exact_mut(images.channels)) {
        for (row, to) in rows.iter().zip(to.chunks_mut(LANES)) {
            row.write(to);
        }
    }
}

/// The gradient of what goes into the SiLU, and the shares of these rows in those of the parameters: of the weight place by
/// place, then of the bias.
struct Backward<'a, E> {
    images: Images,
    parameters: &'a Parameters,
    x: &'a [E],
    grad_y: &'a [E],
    before_silu: Piece<'a, f32>,
    silu: bool,
}

impl<E: Float> Kernel for Backward<'_, E> {
    type Output = Vec<Row>;

    #[inline(always)]
    fn run<V: Lanes>(self) -> Vec<Row> {
        let Self { images, parameters: Parameters { weight, bias }, x, grad_y, before_silu, silu } = self;
        let Piece { image, first, to } = before_silu;
        let blocks = images.blocks();
        let mut seen = Seen::before(images, x, image, first);
        let mut grads = images.padded();
        let mut shares = vec![Row::ZERO; (TAPS + 1) * blocks];
        for (row, to) in to.chunks_exact_mut(images.width * images.channels).enumerate() {
            seen.go_on(first + row);
            images.read(grad_y, image, first + row + 1, &mut grads);
            for block in 0..blocks {
                for lane in (0..LANES).step_by(V::WIDTH) {
                    if silu {
                        let weight = array(|tap| V::load(&weight[tap][block].0[lane..]));
                        let bias = V::load(&bias[block].0[lane..]);
                        for column in 0..images.width {
                            let y = convolved(&seen.taps::<V>(column, block, lane), &weight, bias);
                            let share = sigmoid(y);
                            let slope = share * y.mul_add(V::splat(1.0) - share, V::splat(1.0));
                            let grad = &mut grads[(column + 1) * blocks + block].0[lane..];
                            (V::load(grad) * slope).store(grad);
                        }
                    }
                    let mut sums: [V; TAPS + 1] = array(|share| V::load(&shares[share * blocks + block].0[lane..]));
                    for column in 0..images.width {
                        let grad = V::load(&grads[(column + 1) * blocks + block].0[lane..]);
                        for (sum, x) in sums.iter_mut().zip(seen.taps::<V>(column, block, lane)) {
                            *sum = x.mul_add(grad, *sum);
                        }
                        sums[TAPS] = sums[TAPS] + grad;
                    }
                    for (share, sum) in sums.into_iter().enumerate() {
                        sum.store(&mut shares[share * blocks + block].0[lane..]);
                    }
                }
            }
            write(&images, &grads[blocks..], to);
        }
        shares
    }
}

/// The convolution of `x`, whose elements are side by side.
fn convolve<E: Float, Y: Float>(x: &[E], shape: [usize; 4], parameters: &Parameters, silu: bool) -> Vec<Y> {
    let images = Images::new(shape);
    let mut y = Y::zeros(x.len());
    let pieces = images.pieces(&mut y, shape[0]);
    let per_task = pieces_per_task(pieces.len(), x.len());
    pieces.into_par_iter().with_min_len(per_task).for_each(|y| {
        vectorised(Forward { images, parameters, x, y, silu });
    });
    y
}

fn forward<B: CpuBackend, E: Float>(x: FloatTensor<B>, parameters: &Parameters, silu: bool) -> FloatTensor<B> {
    let (shape, device, x) = (x.shape().dims(), x.device(), B::contiguous(x));
    tensor::<B, E, 4>(convolve(B::elements::<E>(&x), shape, parameters, silu), shape, &device)
}

fn backward<B: CpuBackend, E: Float>(
    x: FloatTensor<B>,
    parameters: &Parameters,
    grad_y: FloatTensor<B>,
    silu: bool,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let (shape, device) = (x.shape().dims::<4>(), x.device());
    let (x, grad_y) = (B::contiguous(x), B::contiguous(grad_y));
    let (x, grad_y) = (B::elements::<E>(&x), B::elements::<E>(&grad_y));
    let images = Images::new(shape);
    let mut before_silu = f32::zeros(x.len());
    let pieces = images.pieces(&mut before_silu, shape[0]);
    let per_task = pieces_per_task(pieces.len(), 3 * x.len());
    let shares = pieces
        .into_par_iter()
        .with_min_len(per_task)
        .map(|before_silu| vectorised(Backward { images, parameters, x, grad_y, before_silu, silu }));
    let shares: Vec<_> = shares.collect();
    let grad_x = convolve(&before_silu, shape, &parameters.transposed(), false);

    let [.., channels] = shape;
    let of = |which: usize, channel: usize| {
        let row = which * images.blocks() + channel / LANES;
        shares.iter().map(|share| share[row].0[channel % LANES]).sum::<f32>()
    };
    let weight = (0..channels).flat_map(|channel| (0..TAPS).map(move |tap| (tap, channel)));
    let weight = weight.map(|(tap, channel)| of(tap, channel)).collect();
    let bias = (0..channels).map(|channel| of(TAPS, channel)).collect();
    (
        tensor::<B, E, 4>(grad_x, shape, &device),
        tensor::<B, f32, 4>(weight, [channels, 1, 3, 3], &device),
        tensor::<B, f32, 1>(bias, [channels], &device),
    )
}

macro_rules! depthwise_conv3x3_backend {
    ($Backend:ty) => {
        impl DepthwiseConv3x3Backend for $Backend {
            fn depthwise_conv3x3_forward(
                x: FloatTensor<Self>,
                weight: FloatTensor<Self>,
                bias: FloatTensor<Self>,
                silu: bool,
            ) -> FloatTensor<Self> {
                let parameters = Parameters::new::<Self>(weight, bias);
                match x.dtype() {
                    DType::F32 => forward::<Self, f32>(x, &parameters, silu),
                    DType::F16 => forward::<Self, f16>(x, &parameters, silu),
                    DType::BF16 => forward::<Self, bf16>(x, &parameters, silu),
                    other => panic!("depthwise_conv3x3: no kernel for {other:?}, expected F32, F16 or BF16"),
                }
            }

            fn depthwise_conv3x3_grads(
                x: FloatTensor<Self>,
                weight: FloatTensor<Self>,
                bias: FloatTensor<Self>,
                grad_y: FloatTensor<Self>,
                silu: bool,
            ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
                let parameters = Parameters::new::<Self>(weight, bias);
                match x.dtype() {
                    DType::F32 => backward::<Self, f32>(x, &parameters, grad_y, silu),
                    DType::F16 => backward::<Self, f16>(x, &parameters, grad_y, silu),
                    DType::BF16 => backward::<Self, bf16>(x, &parameters, grad_y, silu),
                    other => panic!("depthwise_conv3x3: no kernel for {other:?}, expected F32, F16 or BF16"),
                }
            }
        }
    };
}

#[cfg(feature = "flex")]
depthwise_conv3x3_backend!(burn::backend::Flex);
#[cfg(feature = "ndarray")]
depthwise_conv3x3_backend!(burn::backend::NdArray);
