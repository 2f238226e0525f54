//! On the CPU: vectors of neighbouring channels, threads over tokens.

#![cfg(any(feature = "flex", feature = "ndarray"))]

use super::backend::{AddRmsNormBackend, Residual};
use crate::cpu::{Channels, CpuBackend, Float, Kernel, Lanes, PARTS, Row, each, pieces_per_task, tensor, vectorised};
use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use half::{bf16, f16};
use rayon::prelude::*;

/// Values that a task norms in one go.
const BLOCK: usize = 1 << 12;

/// The mean square of the channels, with epsilon, to the power of -1/2.
#[inline(always)]
fn scale<V: Lanes>(sum: &Channels, epsilon: f32) -> f32 {
    let mut square = Row::ZERO;
    for row in &sum.rows {
        each::<V>(&mut square, |square, lane| {
            let x = V::load(&row.0[lane..]);
            x.mul_add(x, square)
        });
    }
    1.0 / (sum.mean(square) + epsilon).sqrt()
}

struct Forward<'a, E> {
    hidden: &'a [E],
    residual: Option<&'a [f32]>,
    normed: &'a mut [E],
    sum: &'a mut [f32],
    gamma: &'a Channels,
    epsilon: f32,
}

impl<E: Float> Kernel for Forward<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let Self { hidden, residual, normed, sum, gamma, epsilon } = self;
        let d_model = gamma.d_model;
        let [mut values, mut added] = [(); 2].map(|()| Channels::new(d_model));
        let tokens = hidden.chunks_exact(d_model).zip(normed.chunks_exact_mut(d_model));
        for (token, ((hidden, normed), sum)) in tokens.zip(sum.chunks_exact_mut(d_model)).enumerate() {
            values.read(hidden);
            if let Some(residual) = residual {
                added.read(&residual[token * d_model..(token + 1) * d_model]);
                for (row, added) in values.rows.iter_mut().zip(&added.rows) {
                    each::<V>(row, |x, lane| x + V::load(&added.0[lane..]));
                }
            }
            values.write(sum);
            let scale = V::splat(scale::<V>(&values, epsilon));
            for (row, gamma) in values.rows.iter_mut().zip(&gamma.rows) {
                each::<V>(row, |x, lane| x * scale * V::load(&gamma.0[lane..]));
            }
            values.write(normed);
        }
    }
}

/// With `s` the scale and `x` the sum, `dx = dsum + s (gamma dy - x s^2 mean(gamma dy x))`.
struct Backward<'a, E> {
    sum: &'a [f32],
    grad_normed: &'a [E],
    grad_sum: &'a [f32],
    grad: &'a mut [f32],
    gamma: &'a Channels,
    epsilon: f32,
}

impl<E: Float> Kernel for Backward<'_, E> {
    /// The share of these tokens in the gradient of gamma.
    type Output = Channels;

    #[inline(always)]
    fn run<V: Lanes>(self) -> Channels {
        let Self { sum, grad_normed, grad_sum, grad, gamma, epsilon } = self;
        let d_model = gamma.d_model;
        let [mut values, mut grads, mut outer, mut of_gamma] = [(); 4].map(|()| Channels::new(d_model));
        let inputs = sum.chunks_exact(d_model).zip(grad_normed.chunks_exact(d_model));
        let tokens = inputs.zip(grad_sum.chunks_exact(d_model)).zip(grad.chunks_exact_mut(d_model));
        for (((sum, grad_normed), grad_sum), grad) in tokens {
            values.read(sum);
            grads.read(grad_normed);
            outer.read(grad_sum);
            let scale = scale::<V>(&values, epsilon);
            let mut along = Row::ZERO;
            let parameters = gamma.rows.iter().zip(&mut of_gamma.rows);
            for ((x, grad), (gamma, of_gamma)) in values.rows.iter().zip(&mut grads.rows).zip(parameters) {
                let x = |lane: usize| V::load(&x.0[lane..]);
                each::<V>(of_gamma, |of_gamma, lane| {
                    V::load(&grad.0[lane..]).mul_add(x(lane) * V::splat(scale), of_gamma)
                });
                each::<V>(grad, |grad, lane| grad * V::load(&gamma.0[lane..]));
                each::<V>(&mut along, |along, lane| V::load(&grad.0[lane..]).mul_add(x(lane), along));
            }
            let along = V::splat(-values.mean(along) * scale * scale);
            for ((outer, grad), x) in outer.rows.iter_mut().zip(&grads.rows).zip(&values.rows) {
                each::<V>(outer, |outer, lane| {
                    let change = V::load(&x.0[lane..]).mul_add(along, V::load(&grad.0[lane..]));
                    change.mul_add(V::splat(scale), outer)
                });
            }
            outer.write(grad);
        }
        of_gamma
    }
}

fn forward<B: CpuBackend, E: Float>(
    hidden: FloatTensor<B>,
    gamma: Channels,
    residual: Residual<B>,
    epsilon: f32,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let (shape, device) = (hidden.shape().dims::<3>(), hidden.device());
    let hidden = B::contiguous(hidden);
    let residual = match residual {
        Residual::None => None,
        Residual::Stream(residual) => Some(B::contiguous(B::float_cast(residual, DType::F32.into()))),
    };
    let hidden = B::elements::<E>(&hidden);
    let residual = residual.as_ref().map(B::elements::<f32>);
    let (mut normed, mut sum) = (E::zeros(hidden.len()), f32::zeros(hidden.len()));
    let size = BLOCK.div_ceil(gamma.d_model) * gamma.d_model;
    let per_task = pieces_per_task(hidden.len().div_ceil(size), hidden.len());
    let blocks = hidden.par_chunks(size).zip(normed.par_chunks_mut(size)).zip(sum.par_chunks_mut(size));
    blocks.enumerate().with_min_len(per_task).for_each(|(i, ((hidden, normed), sum))| {
        let residual = residual.map(|residual| &residual[i * size..][..hidden.len()]);
        vectorised(Forward { hidden, residual, normed, sum, gamma: &gamma, epsilon });
    });
    (tensor::<B, E, 3>(normed, shape, &device), tensor::<B, f32, 3>(sum, shape, &device))
}

fn backward<B: CpuBackend, E: Float>(
    sum: FloatTensor<B>,
    gamma: Channels,
    grad_normed: FloatTensor<B>,
    grad_sum: FloatTensor<B>,
    epsilon: f32,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let (shape, device) = (sum.shape().dims::<3>(), sum.device());
    let [sum, grad_normed, grad_sum] = [sum, grad_normed, grad_sum].map(B::contiguous);
    let (sum, grad_sum) = (B::elements::<f32>(&sum), B::elements::<f32>(&grad_sum));
    let grad_normed = B::elements::<E>(&grad_normed);
    let [batch, length, d_model] = shape;
    let mut grad = f32::zeros(sum.len());
    let size = (batch * length).div_ceil(PARTS) * d_model;
    let per_task = pieces_per_task(sum.len().div_ceil(size), 2 * sum.len());
    let inputs = sum.par_chunks(size).zip(grad_normed.par_chunks(size)).zip(grad_sum.par_chunks(size));
    let shares: Vec<_> = inputs
        .zip(grad.par_chunks_mut(size))
        .with_min_len(per_task)
        .map(|(((sum, grad_normed), grad_sum), grad)| {
            vectorised(Backward { sum, grad_normed, grad_sum, grad, gamma: &gamma, epsilon })
        })
        .collect();
    let mut of_gamma = vec![0.0; d_model];
    for share in &shares {
        of_gamma.iter_mut().zip(Row::values(&share.rows)).for_each(|(sum, share)| *sum += share);
    }
    (tensor::<B, f32, 3>(grad, shape, &device), tensor::<B, f32, 1>(of_gamma, [d_model], &device))
}

macro_rules! add_rms_norm_backend {
    ($Backend:ty) => {
        impl AddRmsNormBackend for $Backend {
            fn add_rms_norm(
                hidden: FloatTensor<Self>,
                gamma: FloatTensor<Self>,
                residual: Residual<Self>,
                epsilon: f64,
            ) -> (FloatTensor<Self>, FloatTensor<Self>) {
                let (gamma, epsilon) = (Channels::of::<Self>(gamma), epsilon as f32);
                match hidden.dtype() {
                    DType::F32 => forward::<Self, f32>(hidden, gamma, residual, epsilon),
                    DType::F16 => forward::<Self, f16>(hidden, gamma, residual, epsilon),
                    DType::BF16 => forward::<Self, bf16>(hidden, gamma, residual, epsilon),
                    other => panic!("add_rms_norm: no kernel for {other:?}, expected F32, F16 or BF16"),
                }
            }

            fn add_rms_norm_backward(
                sum: FloatTensor<Self>,
                gamma: FloatTensor<Self>,
                grad_normed: FloatTensor<Self>,
                grad_sum: FloatTensor<Self>,
                epsilon: f64,
            ) -> (FloatTensor<Self>, FloatTensor<Self>) {
                let (gamma, epsilon) = (Channels::of::<Self>(gamma), epsilon as f32);
                match grad_normed.dtype() {
                    DType::F32 => backward::<Self, f32>(sum, gamma, grad_normed, grad_sum, epsilon),
                    DType::F16 => backward::<Self, f16>(sum, gamma, grad_normed, grad_sum, epsilon),
                    DType::BF16 => backward::<Self, bf16>(sum, gamma, grad_normed, grad_sum, epsilon),
                    other => panic!("add_rms_norm: no kernel for {other:?}, expected F32, F16 or BF16"),
                }
            }
        }
    };
}

#[cfg(feature = "flex")]
add_rms_norm_backend!(burn::backend::Flex);
#[cfg(feature = "ndarray")]
add_rms_norm_backend!(burn::backend::NdArray);
