//! Chapter 'The kernel'.

use crate::{largest_difference, random};
use burn::tensor::activation::softplus;
use burn::tensor::{Device, Tensor};
use mamba_core::selective_scan::{SelectiveScanOptions, reference, selective_scan};

// ANCHOR: oracle
/// How far the kernel of a device is from the same recurrence in plain tensor operations, token by token.
fn error(length: usize, device: &Device) -> f32 {
    let (channels, states) = (|| random([2, length, 8], device), || random([2, length, 1, 4], device));
    let (u, delta, a) = (channels(), softplus(channels(), 1.0), -Tensor::ones([8, 4], device));
    let (b, c, options) = (states(), states(), SelectiveScanOptions::new().with_z(channels()));
    let kernel = selective_scan(u.clone(), delta.clone(), a.clone(), b.clone(), c.clone(), options.clone());
    let oracle = reference::selective_scan(u, delta, a, b, c, options);
    largest_difference(kernel.y, oracle.y)
}
// ANCHOR_END: oracle

#[test]
fn the_kernel_is_the_recurrence_for_any_length() {
    for length in [1, 63, 64, 65, 200] {
        let error = error(length, &Device::default());
        assert!(error < 1e-4, "{error} at length {length}");
    }
}
