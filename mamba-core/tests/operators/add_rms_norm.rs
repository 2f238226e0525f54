//! The residual stream and its norm agree with float64 on every device, and pass gradients on.

use crate::devices::TestDevice;
use burn::tensor::{DType, Distribution, Tensor, TensorData, Tolerance};
use mamba_core::{AddRmsNormOutput, add_rms_norm};

const EPSILON: f64 = 1e-5;

on_every_device!(the_norm_agrees_with_float64, the_norm_has_gradients);

fn the_norm_agrees_with_float64(device: &TestDevice) {
    let device = &device.device;
    let random = |shape, dtype| Tensor::<3>::random(shape, Distribution::Normal(0.0, 1.0), device).cast(dtype);
    for shape @ [_, _, d_model] in [[1, 1, 1], [3, 7, 48], [2, 5, 300], [1, 3, 1100]] {
        for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::F16, 2e-3), (DType::BF16, 2e-2)] {
            if !device.supports_dtype(dtype) {
                continue;
            }
            // A stream in f32, one in the dtype of the rest, and none.
            for residual in [Some(DType::F32), Some(dtype), None] {
                let hidden = random(shape, dtype);
                let residual = residual.map(|dtype| random(shape, dtype));
                let gamma = random([1, 1, d_model], dtype).reshape([d_model]);
                let actual = add_rms_norm(hidden.clone(), residual.clone(), gamma.clone(), EPSILON);
                let expected = oracle(hidden, residual, gamma);
                assert_eq!([actual.normed.dtype(), actual.sum.dtype()], [dtype, DType::F32]);
                close(actual.normed, expected.normed, tolerance);
                close(actual.sum, expected.sum, tolerance);
            }
        }
    }
}

/// In float64, of the rounded inputs.
fn oracle(hidden: Tensor<3>, residual: Option<Tensor<3>>, gamma: Tensor<1>) -> AddRmsNormOutput {
    let (device, shape @ [_, _, d_model]) = (hidden.device(), hidden.dims());
    let numbers = |x: Tensor<3>| x.into_data().iter::<f64>().collect::<Vec<_>>();
    let mut sum = numbers(hidden);
    for (sum, residual) in sum.iter_mut().zip(residual.map(numbers).unwrap_or_default()) {
        *sum += residual;
    }
    let gamma = numbers(gamma.unsqueeze());
    let mut normed = Vec::with_capacity(sum.len());
    for row in sum.chunks(d_model) {
        let mean_square = row.iter().map(|x| x * x).sum::<f64>() / d_model as f64;
        normed.extend(row.iter().zip(&gamma).map(|(x, gamma)| x / (mean_square + EPSILON).sqrt() * gamma));
    }
    let [normed, sum] = [normed, sum].map(|x| Tensor::from_data(TensorData::new(x, shape), (&device, DType::F32)));
    AddRmsNormOutput { normed, sum }
}

fn the_norm_has_gradients(device: &TestDevice) {
    let device = device.device.clone().autodiff();
    let hidden = Tensor::<3>::ones([2, 3, 8], &device).require_grad();
    let residual = Tensor::ones([2, 3, 8], &device).require_grad();
    let gamma = Tensor::<1>::ones([8], &device).require_grad();
    let AddRmsNormOutput { normed, sum } = add_rms_norm(hidden.clone(), Some(residual.clone()), gamma.clone(), EPSILON);
    let gradients = (normed + sum).sum().backward();
    // The norm does not change with the length of a row, so only the sum passes a gradient on.
    for input in [hidden, residual] {
        close(input.grad(&gradients).expect("it was asked for"), Tensor::ones([2, 3, 8], &device).inner(), 1e-4);
    }
    let six = Tensor::<1>::ones([8], &device).inner() * 6.0;
    close(gamma.grad(&gradients).expect("it was asked for").unsqueeze::<3>(), six.unsqueeze(), 1e-4);
}

fn close(actual: Tensor<3>, expected: Tensor<3>, tolerance: f32) {
    let [actual, expected] = [actual, expected].map(|x| x.cast(DType::F32).into_data());
    actual.assert_approx_eq::<f32>(&expected, Tolerance::rel_abs(tolerance, tolerance));
}
