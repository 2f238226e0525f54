//! The residual stream and its norm agree with plain tensor operations.

use crate::devices::TestDevice;
use burn::tensor::{DType, Distribution, Tensor, Tolerance};
use mamba_core::add_rms_norm::reference;
use mamba_core::{AddRmsNormOutput, add_rms_norm};

const EPSILON: f64 = 1e-5;

on_every_device!(the_norm_agrees_with_the_reference, the_norm_has_gradients);

fn the_norm_agrees_with_the_reference(device: &TestDevice) {
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
                let expected = reference::add_rms_norm(hidden, residual, gamma, EPSILON);
                assert_eq!([actual.normed.dtype(), actual.sum.dtype()], [dtype, DType::F32]);
                close(actual.normed, expected.normed, tolerance);
                close(actual.sum, expected.sum, tolerance);
            }
        }
    }
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
