//! On the CPU: vectors of neighbouring elements, threads over blocks of them.

#![cfg(any(feature = "flex", feature = "ndarray"))]

use super::backend::GeluBackend;
use crate::cpu::{CpuBackend, Float, Kernel, LANES, Lanes, Row, exp, pieces_per_task, vectorised};
use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, TensorData};
use half::{bf16, f16};
use rayon::prelude::*;

/// Elements that are computed in one go.
const BLOCK: usize = 256 * LANES;

/// `1 / sqrt(2 pi)`
const PEAK: f32 = 0.398_942_3;

/// The share of a standard normal distribution below `x`, to a unit in the last place or two also where it is small, and
/// its density at `x`.
#[inline(always)]
fn normal<V: Lanes>(x: V) -> (V, V) {
    let e = exp(x * x * V::splat(-0.5));
    let t = V::splat(1.0) / x.map(f32::abs).mul_add(V::splat(0.3 * std::f32::consts::FRAC_1_SQRT_2), V::splat(1.0));
    // Minimax polynomial for what is below -|x|, divided by e t; relative error 7e-8.
    let mut p = V::splat(-6.470_349_4e-2);
    for c in [
        2.424_769_1e-1,
        -2.554_522_5e-1,
        2.729_942_5e-1,
        -4.665_885_5e-2,
        1.071_426_2e-1,
        7.426_337e-2,
        8.534_235_6e-2,
        8.459_505_4e-2,
    ] {
        p = p.mul_add(t, V::splat(c));
    }
    let below = e * t * p;
    (x.zip(below, |x, below| if x < 0.0 { below } else { 1.0 - below }), e * V::splat(PEAK))
}

/// The unit of `x` or, given the gradient of its output, that of its input.
struct Apply<'a, E> {
    x: &'a [E],
    grad_y: Option<&'a [E]>,
    y: &'a mut [E],
}

impl<E: Float> Kernel for Apply<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let Self { x, grad_y, y } = self;
        for (i, y) in y.chunks_mut(LANES).enumerate() {
            let part = i * LANES..i * LANES + y.len();
            let x = Row::read(&x[part.clone()]);
            let grad_y = grad_y.map(|grad_y| Row::read(&grad_y[part]));
            let mut out = Row::ZERO;
            for lane in (0..LANES).step_by(V::WIDTH) {
                let x = V::load(&x.0[lane..]);
                let (below, density) = normal(x);
                let y = match &grad_y {
                    Some(grad_y) => V::load(&grad_y.0[lane..]) * x.mul_add(density, below),
                    None => x * below,
                };
                y.store(&mut out.0[lane..]);
            }
            out.write(y);
        }
    }
}

fn apply<B: CpuBackend, E: Float>(x: FloatTensor<B>, grad_y: Option<FloatTensor<B>>) -> FloatTensor<B> {
    let (shape, device) = (x.shape(), x.device());
    let (x, grad_y) = (B::contiguous(x), grad_y.map(B::contiguous));
    let (x, grad_y) = (B::elements::<E>(&x), grad_y.as_ref().map(B::elements::<E>));
    let mut y = E::zeros(x.len());
    let per_task = pieces_per_task(x.len().div_ceil(BLOCK), x.len());
    y.par_chunks_mut(BLOCK).enumerate().with_min_len(per_task).for_each(|(i, y)| {
        let part = i * BLOCK..i * BLOCK + y.len();
        vectorised(Apply { x: &x[part.clone()], grad_y: grad_y.map(|grad_y| &grad_y[part]), y });
    });
    B::float_from_data(TensorData::new(y, shape), &device)
}

fn of_any_float<B: CpuBackend>(x: FloatTensor<B>, grad_y: Option<FloatTensor<B>>) -> FloatTensor<B> {
    match x.dtype() {
        DType::F32 => apply::<B, f32>(x, grad_y),
        DType::F16 => apply::<B, f16>(x, grad_y),
        DType::BF16 => apply::<B, bf16>(x, grad_y),
        other => panic!("gelu: no kernel for {other:?}, expected F32, F16 or BF16"),
    }
}

macro_rules! gelu_backend {
    ($Backend:ty) => {
        impl GeluBackend for $Backend {
            fn gelu_forward(x: FloatTensor<Self>) -> FloatTensor<Self> {
                of_any_float::<Self>(x, None)
            }

            fn gelu_grad(x: FloatTensor<Self>, grad_y: FloatTensor<Self>) -> FloatTensor<Self> {
                of_any_float::<Self>(x, Some(grad_y))
            }
        }
    };
}

#[cfg(feature = "flex")]
gelu_backend!(burn::backend::Flex);
#[cfg(feature = "ndarray")]
gelu_backend!(burn::backend::NdArray);

#[cfg(all(test, feature = "flex"))]
mod tests {
    use crate::gelu;
    use burn::tensor::{Device, Tensor};

    #[test]
    fn far_from_zero_all_or_nothing_is_left_and_small_results_keep_their_digits() {
        let x = Tensor::<1>::from_floats([-1e30, -60.0, 60.0, 1e30, -5.0], &Device::flex());
        let y: Vec<f32> = gelu(x).into_data().iter().collect();
        assert_eq!(y[..4], [0.0, 0.0, 60.0, 1e30]);
        assert!((y[4] / -1.433_257_9e-6 - 1.0).abs() < 1e-6, "{}", y[4]);
    }
}
