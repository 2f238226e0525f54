//! The oracle against finite differences, and the references against the oracle.

use crate::arrays::assert_close;
use crate::case::{Case, Operator};
use crate::devices::TestDevice;
use crate::oracle::oracle;
use crate::random::{Options, Rng, Spec, Values};
use burn::tensor::DType;

/// Small cases with all options on and off.
fn cases(operator: Operator) -> impl Iterator<Item = (Spec, Case)> {
    let spec = move |seed: u64| {
        let mut rng = Rng::new(seed);
        let channels = [1, 2, 4][rng.below(3)];
        Spec {
            operator,
            batch: 1 + rng.below(2),
            length: 1 + rng.below(6),
            channels,
            states: 1 + rng.below(4),
            groups: if channels > 1 { 1 + rng.below(2) } else { 1 },
            options: Options::random(&mut rng, channels),
            values: if rng.coin() { Values::Reference } else { Values::Model },
            seed,
        }
    };
    (0..60).map(spec).map(|spec| (spec, spec.build()))
}

fn loss(case: &Case) -> f64 {
    let outputs = oracle(case);
    case.weights.iter().map(|(name, weights)| weights.dot(&outputs[name])).sum()
}

fn gradients_are_finite_differences(operator: Operator) {
    for (spec, case) in cases(operator) {
        let outputs = oracle(&case);
        for (name, input) in &case.inputs {
            for i in 0..input.values.len() {
                let moved = |by: f64| {
                    let mut case = case.clone();
                    case.inputs.get_mut(name).expect("an input").values[i] += by;
                    loss(&case)
                };
                let expected = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                let actual = outputs[&format!("grad_{name}")].values[i];
                let error = (actual - expected).abs();
                assert!(error <= 1e-7 * (1.0 + expected.abs()), "{name}[{i}]: {actual}, not {expected}; {spec:?}");
            }
        }
    }
}

#[test]
fn the_oracle_of_the_scan_has_the_gradients_of_finite_differences() {
    gradients_are_finite_differences(Operator::Scan);
}

#[test]
fn the_oracle_of_the_convolution_has_the_gradients_of_finite_differences() {
    gradients_are_finite_differences(Operator::Conv);
}

/// Burn's own operations, of which the references are made, do not all work on software Vulkan: fused reductions of
/// burn-cubecl-fusion 0.22.1 fail to compile, and f64 is less exact than it says.
fn lacks_operations(device: &TestDevice) -> bool {
    if device.emulated {
        println!("skipped: Burn's operations are not complete on {} here", device.name);
    }
    device.emulated
}

fn the_references_agree_with_the_oracle_in_f64(device: &TestDevice) {
    if lacks_operations(device) {
        return;
    }
    if !device.device.supports_dtype(DType::F64) {
        return println!("skipped: {} has no f64", device.name);
    }
    for (spec, case) in cases(Operator::Scan).chain(cases(Operator::Conv)) {
        let through_reference = case.run_as(&device.device.clone().autodiff(), DType::F64, |leaves| leaves.reference());
        let expected = oracle(&case);
        assert_close(&through_reference, &expected, 1e-9, || format!("{spec:?}"));
        // In f64 the operator itself is the reference.
        assert_close(&case.run(&device.device, DType::F64), &expected, 1e-9, || format!("{spec:?}"));
    }
}

fn the_references_agree_with_the_oracle_in_f32(device: &TestDevice) {
    if lacks_operations(device) {
        return;
    }
    for (spec, case) in cases(Operator::Scan).chain(cases(Operator::Conv)) {
        let through_reference = case.run_as(&device.device.clone().autodiff(), DType::F32, |leaves| leaves.reference());
        assert_close(&through_reference, &oracle(&case), 2e-5, || format!("{spec:?}"));
    }
}

on_every_device!(the_references_agree_with_the_oracle_in_f64, the_references_agree_with_the_oracle_in_f32);
