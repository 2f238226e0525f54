//! The Gaussian error linear unit agrees with float64 on every device, and so does its gradient.

use crate::devices::TestDevice;
use burn::tensor::{DType, Distribution, Tensor};
use mamba_core::gelu;

on_every_device!(gaussian_error_linear_units_agree_with_float64);

/// The error function, by its series up to 3 and by Lentz's continued fraction beyond (Abramowitz & Stegun 7.1.6, 7.1.14).
fn erf(x: f64) -> f64 {
    let scale = 2.0 / std::f64::consts::PI.sqrt() * (-x * x).exp();
    if x.abs() < 3.0 {
        let mut term = x;
        let mut sum = x;
        for n in 1..100 {
            term *= 2.0 * x * x / f64::from(2 * n + 1);
            sum += term;
        }
        scale * sum
    } else {
        let fraction = (1..60).rev().fold(x.abs(), |below, k| x.abs() + f64::from(k) / 2.0 / below);
        x.signum() * (1.0 - scale / 2.0 / fraction)
    }
}

fn gaussian_error_linear_units_agree_with_float64(device: &TestDevice) {
    // Lengths that are multiples of 1, 2 and 4, one element, and more than one cube.
    for shape in [[1, 1], [3, 7], [5, 6], [40, 32], [33, 100]] {
        for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::F16, 4e-3), (DType::BF16, 3e-2)] {
            if !device.device.supports_dtype(dtype) {
                continue;
            }
            let x = Tensor::<2>::random(shape, Distribution::Normal(0.0, 2.0), &device.device).cast(dtype);
            // Rows that are not neighbours in memory.
            let x = x.swap_dims(0, 1);
            let weights = Tensor::<2>::random(x.dims(), Distribution::Normal(0.0, 1.0), &device.device).cast(dtype);
            let leaf = x.clone().autodiff().require_grad();
            let y = gelu(leaf.clone());
            assert_eq!((y.dtype(), y.dims()), (dtype, x.dims()));
            let gradients = (y.clone() * weights.clone().autodiff()).sum().backward();
            let grad = leaf.grad(&gradients).expect("it was asked for");

            let numbers = |x: Tensor<2>| x.into_data().iter::<f64>().collect::<Vec<_>>();
            let pairs = numbers(x).into_iter().zip(numbers(weights));
            for (((x, weight), y), grad) in pairs.zip(numbers(y.inner())).zip(numbers(grad)) {
                let below = (1.0 + erf(x / 2.0_f64.sqrt())) / 2.0;
                let density = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
                let expected = [x * below, weight * (below + x * density)];
                for (actual, expected) in [y, grad].into_iter().zip(expected) {
                    let error = (actual - expected).abs();
                    assert!(error <= tolerance * (1.0 + expected.abs()), "{dtype:?}: of {x}: {actual}, not {expected}");
                }
            }
        }
    }
}
