//! f16 and bf16 against the oracle on the same rounded inputs, within the bounds of the original implementation's own
//! tests, entry by entry, at the shapes of those tests.

use crate::arrays::{Array, Worst, assert_within};
use crate::case::{Case, Operator};
use crate::devices::TestDevice;
use crate::oracle::oracle;
use crate::random::{Options, Rng, Spec, Values};
use burn::tensor::DType;
use half::{bf16, f16};
use std::collections::BTreeMap;

/// `(rtol, atol)`
type Bound = (f64, f64);

/// Rounds the values to `dtype`.
pub fn round(array: &mut Array, dtype: DType) {
    for x in &mut array.values {
        *x = match dtype {
            DType::F32 => f64::from(*x as f32),
            DType::F16 => f16::from_f64(*x).to_f64(),
            DType::BF16 => bf16::from_f64(*x).to_f64(),
            _ => unreachable!("no dtype of the operators"),
        };
    }
}

/// The bound of the output and that of a gradient in `test_selective_scan.py` of mamba-ssm, where the scan is gated.
fn scan_bound(name: &str, dtype: DType) -> Bound {
    let (rtol, atol) = if dtype == DType::F16 { (3e-3, 5e-3) } else { (3e-2, 5e-2) };
    match name {
        "grad_u" => (2.0 * rtol, 2.0 * atol),
        "grad_delta" => (5.0 * rtol, 10.0 * atol),
        "grad_a" => (rtol, 5.0 * atol),
        _ => (rtol, atol),
    }
}

/// The same of `test_causal_conv1d.py` of causal-conv1d.
fn conv_bound(name: &str, dtype: DType) -> Bound {
    match (name, dtype) {
        ("grad_weight" | "grad_bias", _) => (1e-3, 1e-3),
        (_, DType::F16) => (3e-3, 5e-3),
        _ => (1e-2, 5e-2),
    }
}

fn check(device: &TestDevice, operator: Operator, dtype: DType, bound: fn(&str, DType) -> Bound) {
    if !device.device.supports_dtype(dtype) {
        return println!("skipped: {} has no {dtype:?}", device.name);
    }
    let lengths: &[usize] = if device.thinned() { &[1, 128, 372] } else { &[1, 8, 128, 256, 372, 512, 1024, 2048] };
    let mut worst = Worst::default();
    for (i, &length) in lengths.iter().enumerate() {
        for groups in [1, 2] {
            let seed = (2 * i + groups) as u64;
            let (batch, channels) = (2, if operator == Operator::Scan { 4 } else { 64 });
            let states = if operator == Operator::Scan { 8 } else { 2 + i % 3 };
            let options = Options {
                d: true,
                z: true,
                bias: true,
                activation: true,
                ..Options::random(&mut Rng::new(seed), channels)
            };
            let spec =
                Spec { operator, batch, length, channels, states, groups, options, values: Values::Reference, seed };
            let mut case: Case = spec.build();
            for (name, array) in case.inputs.iter_mut().chain(&mut case.weights) {
                if operator.is_half(name) {
                    round(array, dtype);
                }
            }
            let actual = case.run(&device.device, dtype);
            let mut used = BTreeMap::new();
            for (name, expected) in oracle(&case) {
                let label = || format!("{} in {dtype:?}: `{name}` of {spec:?}", device.name);
                used.insert(name.clone(), assert_within(&actual[&name], &expected, bound(&name, dtype), label));
            }
            worst.add(used);
        }
    }
    worst.print(&format!("{operator:?} in {dtype:?} on {}, as shares of the bounds", device.name));
}

fn the_scan_holds_the_bounds_of_f16(device: &TestDevice) {
    check(device, Operator::Scan, DType::F16, scan_bound);
}

fn the_scan_holds_the_bounds_of_bf16(device: &TestDevice) {
    check(device, Operator::Scan, DType::BF16, scan_bound);
}

fn the_convolution_holds_the_bounds_of_f16(device: &TestDevice) {
    check(device, Operator::Conv, DType::F16, conv_bound);
}

fn the_convolution_holds_the_bounds_of_bf16(device: &TestDevice) {
    check(device, Operator::Conv, DType::BF16, conv_bound);
}

on_every_device!(
    the_scan_holds_the_bounds_of_f16,
    the_scan_holds_the_bounds_of_bf16,
    the_convolution_holds_the_bounds_of_f16,
    the_convolution_holds_the_bounds_of_bf16,
);
