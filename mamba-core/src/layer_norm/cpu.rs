//! On the CPU: vectors of neighbouring channels, threads over tokens.

#![cfg(any(feature = "flex", feature = "ndarray"))]

use super::backend::LayerNormBackend;
use crate::cpu::{
    Channels, CpuBackend, Float, Kernel, LANES, Lanes, PARTS, Row, each, pieces_per_task, tensor, vectorised,
};
use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use half::{bf16, f16};
use rayon::prelude::*;

/// Values that a task norms in one go.
const BLOCK: usize = 1 << 12;

/// Turns the channels into their distances from their mean over the standard deviation, and returns the inverse of
/// the latter. Lanes beyond the last channel stay zero.
#[inline(always)]
fn normalize<V: Lanes>(channels: &mut Channels, epsilon: f32) -> f32 {
    let mut sum = Row::ZERO;
    for row in &channels.rows {
        each::<V>(&mut sum, |sum, lane| sum + V::load(&row.0[lane..]));
    }
    let centre = channels.mean(sum);
    let mut square = Row::ZERO;
    let beyond = channels.d_model % LANES;
    let last = channels.rows.len() - 1;
    for (i, row) in channels.rows.iter_mut().enumerate() {
        each::<V>(row, |x, _| x - V::splat(centre));
        if i == last && beyond > 0 {
            row.0[beyond..].fill(0.0);
        }
        each::<V>(&mut square, |square, lane| {
            let x = V::load(&row.0[lane..]);
            x.mul_add(x, square)
        });
    }
    let scale = 1.0 / (channels.mean(square) + epsilon).sqrt();
    for row in &mut channels.rows {
        each::<V>(row, |x, _| x * V::splat(scale));
    }
    scale
}

struct Forward<'a, E> {
    x: &'a [E],
    y: &'a mut [E],
    gamma: &'a Channels,
    beta: &'a Channels,
    epsilon: f32,
}

impl<E: Float> Kernel for Forward<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let Self { x, y, gamma, beta, epsilon } = self;
        let d_model = gamma.d_model;
        let mut values = Channels::new(d_model);
        for (x, y) in x.chunks_exact(d_model).zip(y.chunks_exact_mut(d_model)) {
            values.read(x);
            normalize::<V>(&mut values, epsilon);
            for ((row, gamma), beta) in values.rows.iter_mut().zip(&gamma.rows).zip(&beta.rows) {
                each::<V>(row, |x, lane| x.mul_add(V::load(&gamma.0[lane..]), V::load(&beta.0[lane..])));
            }
            values.write(y);
        }
    }
}

/// With `x'` the normalised channels and `s` the inverse of their deviation,
/// `dx = s (gamma dy - mean(gamma dy) - x' mean(gamma dy x'))`.
struct Backward<'a, E> {
    x: &'a [E],
    grad_y: &'a [E],
    grad_x: &'a mut [E],
    gamma: &'a Channels,
    epsilon: f32,
}

impl<E: Float> Kernel for Backward<'_, E> {
    /// The share of these tokens in the gradients of gamma and beta.
    type Output = [Channels; 2];

    #[inline(always)]
    fn run<V: Lanes>(self) -> [Channels; 2] {
        let Self { x, grad_y, grad_x, gamma, epsilon } = self;
        let d_model = gamma.d_model;
        let [mut values, mut grads, mut of_gamma, mut of_beta] = [(); 4].map(|()| Channels::new(d_model));
        let tokens = x.chunks_exact(d_model).zip(grad_y.chunks_exact(d_model)).zip(grad_x.chunks_exact_mut(d_model));
        for ((x, grad_y), grad_x) in tokens {
            values.read(x);
            grads.read(grad_y);
            let scale = normalize::<V>(&mut values, epsilon);
            let (mut sum, mut along) = (Row::ZERO, Row::ZERO);
            let parameters = gamma.rows.iter().zip(&mut of_gamma.rows).zip(&mut of_beta.rows);
            for ((x, grad), ((gamma, of_gamma), of_beta)) in values.rows.iter().zip(&mut grads.rows).zip(parameters) {
                let x = |lane: usize| V::load(&x.0[lane..]);
                each::<V>(of_gamma, |of_gamma, lane| V::load(&grad.0[lane..]).mul_add(x(lane), of_gamma));
                each::<V>(of_beta, |of_beta, lane| V::load(&grad.0[lane..]) + of_beta);
                each::<V>(grad, |grad, lane| grad * V::load(&gamma.0[lane..]));
                each::<V>(&mut sum, |sum, lane| V::load(&grad.0[lane..]) + sum);
                each::<V>(&mut along, |along, lane| V::load(&grad.0[lane..]).mul_add(x(lane), along));
            }
            let (sum, along) = (V::splat(values.mean(sum)), V::splat(-values.mean(along)));
            for (grad, x) in grads.rows.iter_mut().zip(&values.rows) {
                each::<V>(grad, |grad, lane| V::splat(scale) * V::load(&x.0[lane..]).mul_add(along, grad - sum));
            }
            grads.write(grad_x);
        }
        [of_gamma, of_beta]
    }
}

fn forward<B: CpuBackend, E: Float>(x: FloatTensor<B>, [gamma, beta]: [Channels; 2], epsilon: f32) -> FloatTensor<B> {
    let (shape, device, x) = (x.shape().dims::<2>(), x.device(), B::contiguous(x));
    let [tokens, d_model] = shape;
    let x = B::elements::<E>(&x);
    let mut y = E::zeros(x.len());
    let size = BLOCK.div_ceil(d_model) * d_model;
    let per_task = pieces_per_task(x.len().div_ceil(size), tokens * d_model);
    let blocks = x.par_chunks(size).zip(y.par_chunks_mut(size)).with_min_len(per_task);
    blocks.for_each(|(x, y)| vectorised(Forward { x, y, gamma: &gamma, beta: &beta, epsilon }));
    tensor::<B, E, 2>(y, shape, &device)
}

fn backward<B: CpuBackend, E: Float>(
    x: FloatTensor<B>,
    gamma: Channels,
    grad_y: FloatTensor<B>,
    epsilon: f32,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let (shape, device) = (x.shape().dims::<2>(), x.device());
    let (x, grad_y) = (B::contiguous(x), B::contiguous(grad_y));
    let (x, grad_y) = (B::elements::<E>(&x), B::elements::<E>(&grad_y));
    let [tokens, d_model] = shape;
    let mut grad_x = E::zeros(x.len());
    let size = tokens.div_ceil(PARTS) * d_model;
    let per_task = pieces_per_task(x.len().div_ceil(size), 2 * x.len());
    let parts = x.par_chunks(size).zip(grad_y.par_chunks(size)).zip(grad_x.par_chunks_mut(size));
    let parts = parts
        .with_min_len(per_task)
        .map(|((x, grad_y), grad_x)| vectorised(Backward { x, grad_y, grad_x, gamma: &gamma, epsilon }));
    let shares: Vec<_> = parts.collect();
    let of = |which: usize| {
        let mut sum = vec![0.0; d_model];
        for share in &shares {
            sum.iter_mut().zip(Row::values(&share[which].rows)).for_each(|(sum, share)| *sum += share);
        }
        tensor::<B, f32, 1>(sum, [d_model], &device)
    };
    let (of_gamma, of_beta) = (of(0), of(1));
    (tensor::<B, E, 2>(grad_x, shape, &device), of_gamma, of_beta)
}

macro_rules! layer_norm_backend {
    ($Backend:ty) => {
        impl LayerNormBackend for $Backend {
            fn layer_norm_forward(
                x: FloatTensor<Self>,
                gamma: FloatTensor<Self>,
                beta: FloatTensor<Self>,
                epsilon: f64,
            ) -> FloatTensor<Self> {
                let (parameters, epsilon) = ([gamma, beta].map(Channels::of::<Self>), epsilon as f32);
                match x.dtype() {
                    DType::F32 => forward::<Self, f32>(x, parameters, epsilon),
                    DType::F16 => forward::<Self, f16>(x, parameters, epsilon),
                    DType::BF16 => forward::<Self, bf16>(x, parameters, epsilon),
                    other => panic!("layer_norm: no kernel for {other:?}, expected F32, F16 or BF16"),
                }
            }

            fn layer_norm_grads(
                x: FloatTensor<Self>,
                gamma: FloatTensor<Self>,
                grad_y: FloatTensor<Self>,
                epsilon: f64,
            ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
                let (gamma, epsilon) = (Channels::of::<Self>(gamma), epsilon as f32);
                match x.dtype() {
                    DType::F32 => backward::<Self, f32>(x, gamma, grad_y, epsilon),
                    DType::F16 => backward::<Self, f16>(x, gamma, grad_y, epsilon),
                    DType::BF16 => backward::<Self, bf16>(x, gamma, grad_y, epsilon),
                    other => panic!("layer_norm: no kernel for {other:?}, expected F32, F16 or BF16"),
                }
            }
        }
    };
}

#[cfg(feature = "flex")]
layer_norm_backend!(burn::backend::Flex);
#[cfg(feature = "ndarray")]
layer_norm_backend!(burn::backend::NdArray);
