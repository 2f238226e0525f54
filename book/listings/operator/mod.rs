//! Chapter 'Your own operator': a linear recurrence, `h_t = decay_t h_(t−1) + x_t`, with a kernel for Flex.

mod autodiff;
mod backend;
#[cfg(feature = "flex")]
mod flex;

use backend::LinearRecurrenceBackend;
use burn::backend::{Dispatch, DispatchDevice};
use burn::tensor::{DType, Device, Tensor};

// ANCHOR: operator
/// `h_t = decay_t h_(t−1) + x_t`, from zero. Both arguments and the result are `[batch, length, channels]`.
///
/// # Panics
/// If the shapes differ.
pub fn linear_recurrence(decay: Tensor<3>, x: Tensor<3>) -> Tensor<3> {
    let (actual, expected) = (decay.dims(), x.dims());
    assert!(actual == expected, "linear_recurrence: `decay` has shape {actual:?}, expected {expected:?} as `x`");
    let is_f32 = decay.dtype() == DType::F32 && x.dtype() == DType::F32;
    if !is_f32 || !has_kernel(&x.device()) {
        return reference(decay, x);
    }
    Tensor::from_dispatch(Dispatch::linear_recurrence(decay.into_dispatch(), x.into_dispatch()))
}

/// Whether a device, without its autodiff, runs the kernel.
fn has_kernel(device: &Device) -> bool {
    match device.clone().inner().as_dispatch() {
        #[cfg(feature = "flex")]
        DispatchDevice::Flex(_) => true,
        #[allow(unreachable_patterns, reason = "reachable as soon as another backend is compiled in")]
        _ => false,
    }
}
// ANCHOR_END: operator

// ANCHOR: reference
/// The same in plain tensor operations, which Burn differentiates itself.
fn reference(decay: Tensor<3>, x: Tensor<3>) -> Tensor<3> {
    let [batch, length, channels] = x.dims();
    let mut h = Tensor::zeros([batch, 1, channels], (&x.device(), x.dtype()));
    let mut states = Vec::with_capacity(length);
    for t in 0..length {
        h = decay.clone().narrow(1, t, 1) * h + x.clone().narrow(1, t, 1);
        states.push(h.clone());
    }
    Tensor::cat(states, 1)
}
// ANCHOR_END: reference

// ANCHOR: test
#[test]
fn the_kernel_and_its_gradients_are_those_of_the_reference() {
    let device = Device::default().autodiff();
    for [batch, length, channels] in [[1, 1, 1], [2, 7, 3], [3, 20, 17]] {
        let random = || crate::random([batch, length, channels], &device);
        let (decay, x, weight) = (random().require_grad(), random().require_grad(), random());
        let results = [linear_recurrence, reference].map(|operator| {
            let h = operator(decay.clone(), x.clone());
            let grads = (h.clone() * weight.clone()).sum().backward();
            [h.inner(), decay.grad(&grads).unwrap(), x.grad(&grads).unwrap()]
        });
        let [kernel, reference] = results;
        for (kernel, reference) in kernel.into_iter().zip(reference) {
            let scale = reference.clone().abs().max().into_scalar::<f32>().max(1.0);
            assert!(crate::largest_difference(kernel, reference) < 1e-4 * scale);
        }
    }
}
// ANCHOR_END: test

#[test]
#[should_panic(expected = "`decay` has shape [1, 2, 3], expected [1, 2, 4]")]
fn other_shapes_are_refused() {
    let device = Device::default();
    linear_recurrence(Tensor::zeros([1, 2, 3], &device), Tensor::zeros([1, 2, 4], &device));
}
