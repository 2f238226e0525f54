//! The residual stream and its norm agree with float64 on every device, and pass gradients on.

use crate::devices::TestDevice;
use burn::tensor::{DType, Distribution, Tensor, TensorData, Tolerance};
use mamba_core::add_rms_norm::reference;
use mamba_core::{AddRmsNormOutput, add_rms_norm};

const EPSILON: f64 = 1e-5;

on_every_device!(
    the_norm_agrees_with_float64,
    the_norm_has_gradients,
    gradients_of_the_norm_agree_with_the_reference,
    either_output_of_the_norm_may_be_left_out_of_the_loss,
);

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

/// The kernel's against Burn's autodiff of the reference, in f32, with weights on both outputs.
fn gradients_of_the_norm_agree_with_the_reference(device: &TestDevice) {
    let device = device.device.clone().autodiff();
    let random = |shape| Tensor::<3>::random(shape, Distribution::Normal(0.0, 1.0), &device);
    // The last has more tokens than the kernel has cubes.
    for shape @ [_, _, d_model] in [[1, 1, 1], [3, 7, 48], [2, 5, 300], [1, 3, 1100], [2, 1500, 6]] {
        for has_residual in [true, false] {
            let hidden = random(shape).require_grad();
            let residual = has_residual.then(|| random(shape).require_grad());
            let gamma = random([1, 1, d_model]).reshape([d_model]).detach().require_grad();
            let (of_normed, of_sum) = (random(shape), random(shape));
            let gradients = |output: AddRmsNormOutput| {
                let loss = (output.normed * of_normed.clone()).sum() + (output.sum * of_sum.clone()).sum();
                let gradients = loss.backward();
                let inputs = [Some(hidden.clone()), residual.clone()].into_iter().flatten();
                let mut all: Vec<_> = inputs.map(|x| x.grad(&gradients).expect("it was asked for")).collect();
                all.push(gamma.grad(&gradients).expect("it was asked for").unsqueeze());
                all
            };
            let actual = gradients(add_rms_norm(hidden.clone(), residual.clone(), gamma.clone(), EPSILON));
            let expected = reference::add_rms_norm(hidden.clone(), residual.clone(), gamma.clone(), EPSILON);
            for (actual, expected) in actual.into_iter().zip(gradients(expected)) {
                close(actual, expected, 2e-4);
            }
        }
    }
}

fn either_output_of_the_norm_may_be_left_out_of_the_loss(device: &TestDevice) {
    let device = device.device.clone().autodiff();
    let hidden = || Tensor::<3>::ones([2, 3, 8], &device).require_grad();
    let gamma = Tensor::<1>::ones([8], &device);
    for leave_out in [true, false] {
        let hidden = hidden();
        let AddRmsNormOutput { normed, sum } = add_rms_norm(hidden.clone(), None, gamma.clone(), EPSILON);
        let output = if leave_out { sum } else { normed };
        let gradient = hidden.grad(&output.sum().backward()).expect("it was asked for");
        close(gradient, Tensor::ones([2, 3, 8], &device).inner() * if leave_out { 1.0 } else { 0.0 }, 1e-4);
    }
}

fn close(actual: Tensor<3>, expected: Tensor<3>, tolerance: f32) {
    let [actual, expected] = [actual, expected].map(|x| x.cast(DType::F32).into_data());
    actual.assert_approx_eq::<f32>(&expected, Tolerance::rel_abs(tolerance, tolerance));
}
