//! Layer normalisation agrees with float64 on every device, and so do its gradients with the reference's.

use crate::devices::TestDevice;
use burn::tensor::{DType, Distribution, Tensor, TensorData, Tolerance};
use mamba_core::layer_norm;
use mamba_core::layer_norm::reference;

const EPSILON: f64 = 1e-5;

/// The last two have more rows of partial sums than one pass adds up, the first of them in pieces of unequal length; the
/// very last has more tokens than the kernel has groups.
const SHAPES: [[usize; 3]; 6] = [[1, 1, 1], [3, 7, 48], [2, 5, 300], [1, 3, 1100], [3, 201, 33], [2, 2500, 6]];

on_every_device!(layer_norms_agree_with_float64, gradients_of_layer_norms_agree_with_the_reference);

fn random(shape: [usize; 3], device: &TestDevice) -> Tensor<3> {
    // Far from zero, so that a variance as a difference of large numbers would show.
    Tensor::random(shape, Distribution::Normal(3.0, 1.0), &device.device)
}

fn close<const D: usize>(actual: Tensor<D>, expected: Tensor<D>, tolerance: f32) {
    let [actual, expected] = [actual, expected].map(|x| x.cast(DType::F32).into_data());
    actual.assert_approx_eq::<f32>(&expected, Tolerance::rel_abs(tolerance, tolerance));
}

fn layer_norms_agree_with_float64(device: &TestDevice) {
    for shape @ [_, _, d_model] in SHAPES {
        for (dtype, tolerance) in [(DType::F32, 2e-5), (DType::F16, 4e-3), (DType::BF16, 4e-2)] {
            if !device.device.supports_dtype(dtype) {
                continue;
            }
            let x = random(shape, device).cast(dtype);
            let [gamma, beta] = [(); 2].map(|()| random([1, 1, d_model], device).reshape([d_model]).cast(dtype));
            let actual = layer_norm(x.clone(), gamma.clone(), beta.clone(), EPSILON);
            assert_eq!(actual.dtype(), dtype);
            let numbers = |x: Tensor<1>| x.into_data().iter::<f64>().collect::<Vec<_>>();
            let [x, gamma, beta] = [x.flatten(0, 2), gamma, beta].map(numbers);
            let mut expected = Vec::with_capacity(x.len());
            for row in x.chunks(d_model) {
                let mean = row.iter().sum::<f64>() / d_model as f64;
                let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / d_model as f64;
                let scale = 1.0 / (variance + EPSILON).sqrt();
                expected.extend(
                    row.iter().zip(&gamma).zip(&beta).map(|((x, gamma), beta)| (x - mean) * scale * gamma + beta),
                );
            }
            let expected = Tensor::<3>::from_data(TensorData::new(expected, shape), (&device.device, DType::F32));
            close(actual, expected, tolerance);
        }
    }
}

fn gradients_of_layer_norms_agree_with_the_reference(device: &TestDevice) {
    for shape @ [_, _, d_model] in SHAPES {
        let leaf = |x: Tensor<3>| x.autodiff().require_grad();
        let x = leaf(random(shape, device));
        let [gamma, beta] =
            [(); 2].map(|()| random([1, 1, d_model], device).reshape([d_model]).autodiff().require_grad());
        let weights = random(shape, device).sub_scalar(3.0).autodiff();
        let [actual, expected] = [layer_norm::<3>, reference::layer_norm::<3>].map(|norm| {
            let gradients = (norm(x.clone(), gamma.clone(), beta.clone(), EPSILON) * weights.clone()).sum().backward();
            let of = |x: &Tensor<1>| x.grad(&gradients).expect("it was asked for");
            (x.grad(&gradients).expect("it was asked for"), of(&gamma), of(&beta))
        });
        // Sums of thousands of numbers of either sign.
        let tolerance = 1e-3;
        close(actual.0, expected.0, tolerance);
        close(actual.1, expected.1, tolerance);
        close(actual.2, expected.2, tolerance);
    }
}
