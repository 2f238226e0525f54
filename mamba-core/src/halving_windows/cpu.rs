//! On the CPU: rows of windows are copied, and going back added, by threads over rows.

#![cfg(any(feature = "flex", feature = "ndarray"))]

use super::PLACES;
use super::backend::HalvingWindowsBackend;
use crate::cpu::{CpuBackend, Float, Kernel, Lanes, pieces_per_task, tensor, vectorised};
use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use half::{bf16, f16};
use rayon::prelude::*;
use std::ops::Range;

/// The columns of an image that a row of a window around column `2 s` sees, and where they are within the window's row.
fn seen(s: usize, width: usize) -> (Range<usize>, usize) {
    let from = (2 * s).saturating_sub(1);
    (from..(2 * s + 2).min(width), usize::from(s == 0))
}

fn windows<B: CpuBackend, E: Float>(x: FloatTensor<B>) -> FloatTensor<B> {
    let ([batch, height, width, channels], device) = (x.shape().dims(), x.device());
    let [rows, columns] = [height.div_ceil(2), width.div_ceil(2)];
    let x = B::contiguous(x);
    let x = B::elements::<E>(&x);
    let shape = [batch, rows, columns, PLACES * channels];
    let mut y = E::zeros(shape.iter().product());
    let per_task = pieces_per_task(batch * rows, y.len());
    y.par_chunks_mut(columns * PLACES * channels).enumerate().with_min_len(per_task).for_each(|(i, y)| {
        let (image, r) = (i / rows, i % rows);
        for (s, window) in y.chunks_exact_mut(PLACES * channels).enumerate() {
            let (columns, skipped) = seen(s, width);
            for (down, to) in window.chunks_exact_mut(3 * channels).enumerate() {
                // Counted from the padding.
                let row = 2 * r + down;
                if (1..=height).contains(&row) {
                    let start = (image * height + row - 1) * width;
                    let from = &x[(start + columns.start) * channels..(start + columns.end) * channels];
                    to[skipped * channels..][..from.len()].copy_from_slice(from);
                }
            }
        }
    });
    tensor::<B, E, 4>(y, shape, &device)
}

/// Adds what it reads.
struct Add<'a> {
    to: &'a mut [f32],
    from: &'a [f32],
}

impl Kernel for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        self.to.iter_mut().zip(self.from).for_each(|(to, from)| *to += from);
    }
}

fn grad<B: CpuBackend, E: Float>(grad_y: FloatTensor<B>, height: usize, width: usize) -> FloatTensor<B> {
    let ([batch, rows, columns, channels], device) = (grad_y.shape().dims(), grad_y.device());
    let channels = channels / PLACES;
    let grad_y = B::contiguous(grad_y);
    let grad_y = B::elements::<E>(&grad_y);
    let shape = [batch, height, width, channels];
    let mut grad_x = E::zeros(shape.iter().product());
    let per_task = pieces_per_task(batch * height, grad_y.len());
    grad_x.par_chunks_mut(width * channels).enumerate().with_min_len(per_task).for_each(|(i, grad_x)| {
        let (image, row) = (i / height, i % height);
        let (mut sum, mut read) = (vec![0.0; width * channels], vec![0.0; 3 * channels]);
        // An even row is the middle of a window, an odd one the last row of one and the first of the next.
        let of_windows = if row % 2 == 0 { vec![(row / 2, 1)] } else { vec![(row / 2, 2), (row / 2 + 1, 0)] };
        for (r, down) in of_windows.into_iter().filter(|&(r, _)| r < rows) {
            for s in 0..columns {
                let (seen, skipped) = seen(s, width);
                let window = ((image * rows + r) * columns + s) * PLACES + 3 * down + skipped;
                let read = &mut read[..seen.len() * channels];
                E::read(&grad_y[window * channels..][..read.len()], read);
                vectorised(Add { to: &mut sum[seen.start * channels..seen.end * channels], from: read });
            }
        }
        E::write(&sum, grad_x);
    });
    tensor::<B, E, 4>(grad_x, shape, &device)
}

macro_rules! halving_windows_backend {
    ($Backend:ty) => {
        impl HalvingWindowsBackend for $Backend {
            fn halving_windows(x: FloatTensor<Self>) -> FloatTensor<Self> {
                match x.dtype() {
                    DType::F32 => windows::<Self, f32>(x),
                    DType::F16 => windows::<Self, f16>(x),
                    DType::BF16 => windows::<Self, bf16>(x),
                    other => panic!("halving_windows: no kernel for {other:?}, expected F32, F16 or BF16"),
                }
            }

            fn halving_windows_grad(grad_y: FloatTensor<Self>, height: usize, width: usize) -> FloatTensor<Self> {
                match grad_y.dtype() {
                    DType::F32 => grad::<Self, f32>(grad_y, height, width),
                    DType::F16 => grad::<Self, f16>(grad_y, height, width),
                    DType::BF16 => grad::<Self, bf16>(grad_y, height, width),
                    other => panic!("halving_windows: no kernel for {other:?}, expected F32, F16 or BF16"),
                }
            }
        }
    };
}

#[cfg(feature = "flex")]
halving_windows_backend!(burn::backend::Flex);
#[cfg(feature = "ndarray")]
halving_windows_backend!(burn::backend::NdArray);
