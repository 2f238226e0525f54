//! Products on the CPU. Of a few rows, as in decoding: the weight is read once, by every thread in a few long streams. Products
//! of many rows copy their factors into tiles first, which pays only if the tiles are used again; these are Burn's, in parts.

#![cfg(any(feature = "flex", feature = "ndarray"))]

use crate::backend::is_cpu;
use crate::cpu::{CpuBackend, Disjoint, Kernel, LANES, Lanes, array, pieces_per_task, sums, tensor, vectorised};
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::{DType, Tensor};
use rayon::prelude::*;
use std::ops::Range;

/// Rows that are multiplied with a part of the weight while it is in registers.
const ROWS: usize = 4;
/// With more of them, tiles are faster (`benches/linear.rs` has both sides of the bound).
const FEW: usize = 2 * ROWS;
/// Parts of the sum if the weight has as many rows and few columns, and rows of a part at least. Constants, so that sums do
/// not depend on the number of threads.
const PARTS: usize = 8;
const PART: usize = 32;
/// Columns of a piece of the work: at most, so that their sums stay in the first-level cache, and at least, if there are more
/// threads than parts.
const BLOCK: usize = 4096;
const NARROW: usize = 256;
/// Rows of the weight that a thread reads side by side, in `x W` and in `x W^T`: each the next of a stream that runs through
/// many rows. Memory gives a few long streams more than one, or than many that end with a row.
const STREAMS: usize = 4;
const DOTS: usize = 8;

/// The products of few rows of a backend.
#[backend_extension(Flex: cfg(feature = "flex"), NdArray: cfg(feature = "ndarray"))]
pub trait FewRowsBackend: Backend {
    /// `x W`: `[rows, d_out]` from `[rows, d_in]` and `[d_in, d_out]`.
    fn few_rows(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self>;

    /// `x W^T`: `[rows, d_out]` from `[rows, d_in]` and `[d_out, d_in]`.
    fn few_rows_transposed(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// `x W`, if there are few rows and nobody asks for gradients, or many for the size of the weight.
pub(super) fn linear<const D: usize>(x: &Tensor<D>, weight: &Tensor<2>) -> Option<Tensor<D>> {
    let [_, d_out] = weight.dims();
    match serves(x, weight) {
        true => Some(with_rows(x, d_out, |x| Dispatch::few_rows(x, weight.clone().into_dispatch()))),
        false => in_parts(x, weight),
    }
}

/// Some rows for each thread, which multiplies them alone: threads that share one product wait for each other.
///
/// The gradient of the weight is one for each part, added up: together they may be twice as large as `x` and what comes out.
fn in_parts<const D: usize>(x: &Tensor<D>, weight: &Tensor<2>) -> Option<Tensor<D>> {
    // With fewer, threads share a part. Constants, so that sums do not depend on the number of threads.
    const COUNTS: [usize; 5] = [64, 32, 16, 8, 4];
    const ROWS_OF_PART: usize = 64;
    let mut dims = x.dims();
    let [d_in, d_out] = weight.dims();
    let rows = dims[..D - 1].iter().product::<usize>();
    let fits = |parts: usize| {
        rows.is_multiple_of(parts) && rows >= parts * ROWS_OF_PART && parts * d_in * d_out <= 2 * rows * (d_in + d_out)
    };
    if !is_cpu(&x.device()) {
        return None;
    }
    let parts = COUNTS.into_iter().find(|&parts| fits(parts))?;
    let y = x.clone().reshape([parts, rows / parts, d_in]).matmul(weight.clone().unsqueeze());
    dims[D - 1] = d_out;
    Some(y.reshape(dims))
}

/// `x W^T`, if there are few rows, and nobody asks for gradients.
pub(super) fn linear_transposed<const D: usize>(x: &Tensor<D>, weight: &Tensor<2>) -> Option<Tensor<D>> {
    let [d_out, _] = weight.dims();
    let product = |x| Dispatch::few_rows_transposed(x, weight.clone().into_dispatch());
    serves(x, weight).then(|| with_rows(x, d_out, product))
}

fn serves<const D: usize>(x: &Tensor<D>, weight: &Tensor<2>) -> bool {
    let rows: usize = x.dims()[..D - 1].iter().product();
    let is_f32 = x.dtype() == DType::F32 && weight.dtype() == DType::F32;
    let in_use = rows > 0 && !weight.dims().contains(&0);
    is_f32 && in_use && rows <= FEW && !x.is_autodiff() && !weight.is_autodiff() && is_cpu(&x.device())
}

fn with_rows<const D: usize>(
    x: &Tensor<D>,
    d_out: usize,
    product: impl FnOnce(FloatTensor<Dispatch>) -> FloatTensor<Dispatch>,
) -> Tensor<D> {
    let mut dims = x.dims();
    let d_in = dims[D - 1];
    let rows = dims[..D - 1].iter().product::<usize>();
    let y = Tensor::<2>::from_dispatch(product(x.clone().reshape([rows, d_in]).into_dispatch()));
    dims[D - 1] = d_out;
    y.reshape(dims)
}

/// `x W`, block of columns by block of columns, each in parts of the sum over the rows of the weight.
fn product(x: &[f32], weight: &[f32], d_in: usize, d_out: usize) -> Vec<f32> {
    let rows = x.len() / d_in;
    let size = d_in.div_ceil(PARTS.div_ceil(d_out.div_ceil(BLOCK))).max(PART);
    let parts = d_in.div_ceil(size);
    let block = block(d_out, rows, parts);
    // `[blocks, parts, rows, width]`; the last block may be narrower.
    let mut partial = vec![0.0; parts * rows * d_out];
    let mut pieces: Vec<Columns> = Vec::new();
    let mut left = &mut partial[..];
    for start in (0..d_out).step_by(block) {
        let columns = start..d_out.min(start + block);
        for start in (0..d_in).step_by(size) {
            let (sums, others) = left.split_at_mut(rows * columns.len());
            left = others;
            let part = start..d_in.min(start + size);
            pieces.push(Columns { x, weight, d_in, d_out, part, columns: columns.clone(), sums });
        }
    }
    let together = pieces_per_task(pieces.len(), weight.len());
    pieces.into_par_iter().with_min_len(together).with_max_len(together).for_each(vectorised);

    keep_awake();
    let mut y = vec![0.0; rows * d_out];
    for (at, partial) in partial.chunks(parts * rows * block).enumerate() {
        let width = partial.len() / (parts * rows);
        for (i, sums) in partial.chunks_exact(width).enumerate() {
            let start = i % rows * d_out + at * block;
            for (y, sum) in y[start..start + width].iter_mut().zip(sums) {
                *y += sum;
            }
        }
    }
    y
}

/// Columns of a piece of the work, which no sum depends on.
fn block(d_out: usize, rows: usize, parts: usize) -> usize {
    const PIECES_OF_THREAD: usize = 4;
    let wanted = (PIECES_OF_THREAD * rayon::current_num_threads()).div_ceil(parts);
    let even = d_out.div_ceil(wanted).next_multiple_of(LANES);
    even.clamp(NARROW, BLOCK / rows.next_power_of_two().min(ROWS))
}

/// Has another thread look for work for a tenth of a millisecond. A step of decoding is a product every few microseconds, and
/// a thread that fell asleep between two of them is woken too late to take half of the next.
fn keep_awake() {
    const ROUNDS: usize = 200;
    const PAUSES: usize = 20;
    let Some(own) = rayon::current_thread_index() else { return };
    rayon::spawn(move || {
        if rayon::current_thread_index() == Some(own) {
            return;
        }
        for _ in 0..ROUNDS {
            if rayon::yield_now() == Some(rayon::Yield::Executed) {
                return;
            }
            (0..PAUSES).for_each(|_| std::hint::spin_loop());
        }
    });
}

/// Adds the products of a part of the sum to `sums`, for some columns of the weight.
struct Columns<'a> {
    /// `[rows, d_in]`
    x: &'a [f32],
    /// `[d_in, d_out]`
    weight: &'a [f32],
    d_in: usize,
    d_out: usize,
    /// Of `d_in`.
    part: Range<usize>,
    /// Of `d_out`.
    columns: Range<usize>,
    /// `[rows, columns]`
    sums: &'a mut [f32],
}

impl Kernel for Columns<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(mut self) {
        let rows = self.x.len() / self.d_in;
        for start in (0..rows).step_by(ROWS) {
            match rows - start {
                1 => self.rows::<V, 1>(start),
                2 => self.rows::<V, 2>(start),
                3 => self.rows::<V, 3>(start),
                _ => self.rows::<V, ROWS>(start),
            }
        }
    }
}

impl Columns<'_> {
    /// `R` rows of `x` from `start` on.
    #[inline(always)]
    fn rows<V: Lanes, const R: usize>(&mut self, start: usize) {
        let Range { start: first, end } = self.part;
        let length = (end - first) / STREAMS;
        for k in first..first + length {
            self.add::<V, R, STREAMS>(start, k, length);
        }
        for k in first + STREAMS * length..end {
            self.add::<V, R, 1>(start, k, 1);
        }
    }

    /// `K` rows of the weight: `k`, and others at the distance `apart` from each other.
    #[inline(always)]
    fn add<V: Lanes, const R: usize, const K: usize>(&mut self, start: usize, k: usize, apart: usize) {
        let Self { x, weight, d_in, d_out, columns, sums, .. } = self;
        let width = columns.len();
        let x: [[f32; K]; R] = array(|row| array(|i| x[(start + row) * *d_in + k + i * apart]));
        let weight: [&[f32]; K] = array(|i| &weight[(k + i * apart) * *d_out..][columns.clone()]);
        let sums = &mut sums[start * width..(start + R) * width];
        let add = |mut sum: V, weight: &[V; K], x: &[f32; K]| {
            for i in 0..K {
                sum = weight[i].mul_add(V::splat(x[i]), sum);
            }
            sum
        };
        let whole = width - width % V::WIDTH;
        for j in (0..whole).step_by(V::WIDTH) {
            let weight: [V; K] = array(|i| V::load(&weight[i][j..j + V::WIDTH]));
            for row in 0..R {
                let sums = &mut sums[row * width + j..row * width + j + V::WIDTH];
                add(V::load(sums), &weight, &x[row]).store(sums);
            }
        }
        // As vectors too, so that a column is the same whether there are others after it or not.
        if whole < width {
            let weight: [V; K] = array(|i| load_some(&weight[i][whole..]));
            for row in 0..R {
                let sums = &mut sums[row * width + whole..(row + 1) * width];
                let mut lanes = [0.0; LANES];
                add(load_some(sums), &weight, &x[row]).store(&mut lanes);
                sums.copy_from_slice(&lanes[..sums.len()]);
            }
        }
    }
}

/// Fewer numbers than a vector has; the others are zero.
#[inline(always)]
fn load_some<V: Lanes>(from: &[f32]) -> V {
    let mut lanes = [0.0; LANES];
    lanes[..from.len()].copy_from_slice(from);
    V::load(&lanes)
}

/// `x W^T`: every output is the product of two rows.
fn product_transposed(x: &[f32], weight: &[f32], d_in: usize, d_out: usize) -> Vec<f32> {
    /// Outputs of a piece of the work.
    const PIECE: usize = 64;
    let rows = x.len() / d_in;
    let mut y = vec![0.0; rows * d_out];
    let to = Disjoint::new(&mut y);
    let pieces = d_out.div_ceil(PIECE);
    let together = pieces_per_task(pieces, weight.len());
    (0..pieces).into_par_iter().with_min_len(together).with_max_len(together).for_each(|piece| {
        let outputs = piece * PIECE..d_out.min((piece + 1) * PIECE);
        vectorised(Dots { x, weight, d_in, d_out, outputs, y: &to });
    });
    y
}

/// Some outputs of all rows.
struct Dots<'a> {
    /// `[rows, d_in]`
    x: &'a [f32],
    /// `[d_out, d_in]`
    weight: &'a [f32],
    d_in: usize,
    d_out: usize,
    outputs: Range<usize>,
    /// `[rows, d_out]`
    y: &'a Disjoint<'a, f32>,
}

impl Kernel for Dots<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let Range { start, end } = self.outputs;
        let length = (end - start) / DOTS;
        for output in start..start + length {
            self.add::<V, DOTS>(output, length);
        }
        for output in start + DOTS * length..end {
            self.add::<V, 1>(output, 1);
        }
    }
}

impl Dots<'_> {
    /// `K` outputs: `start`, and others at the distance `apart` from each other.
    #[inline(always)]
    fn add<V: Lanes, const K: usize>(&self, start: usize, apart: usize) {
        let &Self { x, weight, d_in, d_out, .. } = self;
        let weight: [&[f32]; K] = array(|i| &weight[(start + i * apart) * d_in..][..d_in]);
        let whole = d_in - d_in % V::WIDTH;
        for (row, x) in x.chunks_exact(d_in).enumerate() {
            let mut totals = [V::splat(0.0); DOTS];
            for j in (0..whole).step_by(V::WIDTH) {
                let x = V::load(&x[j..j + V::WIDTH]);
                for i in 0..K {
                    totals[i] = V::load(&weight[i][j..j + V::WIDTH]).mul_add(x, totals[i]);
                }
            }
            if whole < d_in {
                let x = load_some::<V>(&x[whole..]);
                for i in 0..K {
                    totals[i] = load_some::<V>(&weight[i][whole..]).mul_add(x, totals[i]);
                }
            }
            for (i, &total) in sums(totals)[..K].iter().enumerate() {
                // SAFETY: every output of every row is written by one piece.
                unsafe { self.y.get(row * d_out + start + i * apart, 1) }.copy_from_slice(&[total]);
            }
        }
    }
}

macro_rules! few_rows_backend {
    ($Backend:ty) => {
        impl FewRowsBackend for $Backend {
            fn few_rows(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
                if !Self::is_contiguous(&weight) {
                    return Self::float_matmul(x, weight);
                }
                let [d_in, d_out] = weight.shape().dims();
                of_slices::<Self>(x, weight, d_out, |x, weight| product(x, weight, d_in, d_out))
            }

            fn few_rows_transposed(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
                if !Self::is_contiguous(&weight) {
                    return Self::float_matmul(x, Self::float_transpose(weight));
                }
                let [d_out, d_in] = weight.shape().dims();
                of_slices::<Self>(x, weight, d_out, |x, weight| product_transposed(x, weight, d_in, d_out))
            }
        }
    };
}

/// The product of a contiguous weight.
fn of_slices<B: CpuBackend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    d_out: usize,
    product: impl FnOnce(&[f32], &[f32]) -> Vec<f32>,
) -> FloatTensor<B> {
    let [rows, _] = x.shape().dims();
    let device = x.device();
    let x = B::contiguous(x);
    let y = product(B::elements(&x), B::elements(&weight));
    tensor::<B, _, 2>(y, [rows, d_out], &device)
}

#[cfg(feature = "flex")]
few_rows_backend!(burn::backend::Flex);
#[cfg(feature = "ndarray")]
few_rows_backend!(burn::backend::NdArray);
