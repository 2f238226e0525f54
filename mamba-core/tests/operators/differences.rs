//! The operators' gradients against central differences of their own outputs in f32, along random directions.

use crate::case::{Case, Operator};
use crate::devices::TestDevice;
use crate::random::{Options, Rng, Spec, Values};
use burn::tensor::DType;

/// Far above the rounding of f32, and small enough that the third derivative does not show.
const STEP: f64 = 1e-2;

fn gradients_are_finite_differences(device: &TestDevice, operator: Operator) {
    for seed in 0..if device.emulated { 6 } else { 24 } {
        let mut rng = Rng::new(seed);
        let (channels, groups) = if rng.coin() { (4, 2) } else { (3, 1) };
        // The first has every option, so that every input is there.
        let all = Options { d: true, z: true, bias: true, activation: true, initial_state: true, ..Options::default() };
        let options = if seed == 0 { all } else { Options::random(&mut rng, channels) };
        let (batch, length, states) = (1 + rng.below(2), 1 + rng.below(5), 2 + rng.below(3));
        let spec = Spec { operator, batch, length, channels, states, groups, options, values: Values::Reference, seed };
        let case = spec.build();
        let gradients = case.run(&device.device, DType::F32);
        let loss = |case: &Case| -> f64 {
            let outputs = case.outputs(&device.device, DType::F32);
            case.weights.iter().map(|(name, weights)| weights.dot(&outputs[name])).sum()
        };
        for (name, input) in &case.inputs {
            let gradient = &gradients[&format!("grad_{name}")];
            for _ in 0..3 {
                let direction = rng.normals(&input.shape);
                let moved = |by: f64| {
                    let mut case = case.clone();
                    case.inputs.insert(name.clone(), input.zip(&direction, |x, v| x + by * v));
                    loss(&case)
                };
                let expected = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
                let actual = gradient.dot(&direction);
                // A random direction has this share of the gradient in the mean; the zero gradient gets 1.
                let typical = gradient.norm().max(0.1);
                let error = (actual - expected).abs() / typical;
                assert!(error <= 1e-2, "{}: along `{name}` {actual}, not {expected}; {spec:?}", device.name);
            }
        }
    }
}

on_every_device_and_operator!(gradients_are_finite_differences);
