//! What holds between calls, whatever the values: as properties over random shapes and options.

use crate::arrays::{Array, Arrays, assert_close, assert_same};
use crate::case::{Axis, Case, Leaves, Operator};
use crate::devices::TestDevice;
#[cfg(feature = "flex")]
use crate::devices::on_threads;
use crate::random::{Options, Rng, Spec, Values};
use burn::tensor::{DType, Device, Tensor};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

/// Two ways to the same result differ by rounding only; norm over norm.
const BOUND: f64 = 1e-5;

/// Shapes on both sides of a chunk of 64 tokens, with options by chance.
fn specs(operator: Operator) -> impl Strategy<Value = Spec> {
    let length = prop_oneof![1usize..=9, 60usize..=140];
    let channels = prop_oneof![Just(1usize), Just(4), Just(6), Just(40)];
    let values = prop_oneof![Just(Values::Reference), Just(Values::Model)];
    // The widths of a convolution start at two, so that there is a state.
    (1usize..=3, length, channels, 2usize..=8, any::<bool>(), values, any::<u64>()).prop_map(
        move |(batch, length, channels, states, grouped, values, seed)| Spec {
            operator,
            batch,
            length,
            channels,
            states,
            groups: if grouped && channels > 1 { 2 } else { 1 },
            options: Options::random(&mut Rng::new(seed), channels),
            values,
            seed,
        },
    )
}

/// Checks the operator on random cases, always the same ones.
fn for_all(device: &TestDevice, operator: Operator, check: impl Fn(Spec, &TestDevice)) {
    let config = Config {
        cases: if device.thinned() { 6 } else { 32 },
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(7),
        max_shrink_iters: 64,
        ..Config::default()
    };
    let checked = TestRunner::new(config).run(&specs(operator), |spec| {
        check(spec, device);
        Ok(())
    });
    if let Err(error) = checked {
        panic!("{}: {error}", device.name);
    }
}

/// In their own order from the first to the last, without resets.
fn straight(spec: Spec) -> Spec {
    let options = Options { orders: 0, reset: false, reverse: false, shared_u: false, summed: false, ..spec.options };
    Spec { options, ..spec }
}

fn run(case: &Case, device: &Device) -> Arrays {
    case.run(device, DType::F32)
}

/// The arrays of a call over a part of the tokens, `y` and gradients put back together on `axis`.
fn joined(operator: Operator, parts: &[Arrays], axis: Axis) -> Arrays {
    let mut whole = parts[0].clone();
    for (name, array) in &mut whole {
        let parts: Vec<_> = parts.iter().map(|part| &part[name]).collect();
        *array = match operator.dimension(name, axis) {
            Some(dimension) => concatenated(&parts, dimension),
            // All parts see the whole of it, and their gradients add up.
            None => parts[1..].iter().fold(parts[0].clone(), |sum, part| sum.zip(part, |x, y| x + y)),
        };
    }
    whole
}

fn concatenated(parts: &[&Array], dimension: usize) -> Array {
    let mut shape = parts[0].shape.clone();
    shape[dimension] = parts.iter().map(|part| part.shape[dimension]).sum();
    let mut values = vec![];
    for outer in 0..shape[..dimension].iter().product() {
        for part in parts {
            let block: usize = part.shape[dimension..].iter().product();
            values.extend_from_slice(&part.values[outer * block..][..block]);
        }
    }
    Array::new(&shape, values)
}

/// The step, token by token, is the operator: outputs and gradients.
fn steps_are_the_whole(device: &TestDevice, operator: Operator) {
    for_all(device, operator, |spec, TestDevice { device, .. }| {
        let case = straight(Spec { length: spec.length.min(20), ..spec }).build();
        let stepwise = case.run_as(&device.clone().autodiff(), DType::F32, |leaves| leaves.steps());
        assert_close(&stepwise, &run(&case, device), BOUND, || "steps".into());
    });
}

/// The same with nothing tracked, where a step may write into the memory of its state: not while somebody holds it.
fn steps_change_no_state_that_is_held(device: &TestDevice, operator: Operator) {
    let check = |spec: Spec, TestDevice { device, .. }: &TestDevice| {
        let case = straight(Spec { length: spec.length.min(20), ..spec }).build();
        let whole = case.outputs(device, DType::F32);
        let moved = case.outputs_as(device, DType::F32, |leaves| leaves.steps());
        assert_close(&moved, &whole, BOUND, || "steps".into());
        let held = case.outputs_as(device, DType::F32, |leaves| leaves.steps_of_held_states());
        assert_same(&held, &moved, || "steps from states that are held".into());
    };
    for_all(device, operator, check);
    if operator == Operator::Scan {
        // States that fill vectors.
        for (batch, states, groups, seed) in [(1, 16, 1, 0), (3, 16, 2, 1), (2, 32, 1, 2)] {
            let options = Options::random(&mut Rng::new(seed), 38);
            let (length, channels, values) = (4, 38, Values::Model);
            check(Spec { operator, batch, length, channels, states, groups, options, values, seed }, device);
        }
    }
}

/// Two calls, the second from the state that the first returned; also from the end, where the last part comes first.
fn two_parts_with_the_carried_state_are_the_whole(device: &TestDevice, operator: Operator) {
    for_all(device, operator, |spec, TestDevice { device, .. }| {
        let length = spec.length.max(2);
        let options = Options { orders: 0, reset_per_order: false, shared_u: false, summed: false, ..spec.options };
        let case = Spec { length, options, ..spec }.build();
        let cut = 1 + Rng::new(spec.seed).below(length - 1);
        let in_parts = |leaves: &Leaves| {
            let parts = if case.reverse { [cut..length, 0..cut] } else { [0..cut, cut..length] };
            let [first, second] = parts;
            let (y_first, state) = leaves.forward(Some(first), None);
            let (y_second, state) = leaves.forward(Some(second), Some(state));
            let ys = if case.reverse { vec![y_second, y_first] } else { vec![y_first, y_second] };
            (Tensor::cat(ys, 1), state)
        };
        let parts = case.run_as(&device.clone().autodiff(), DType::F32, in_parts);
        assert_close(&parts, &run(&case, device), BOUND, || format!("cut at {cut}"));
    });
}

/// A reset before token `t` makes the tokens from `t` on a sequence of their own.
fn a_reset_starts_a_new_sequence(device: &TestDevice, operator: Operator) {
    for_all(device, operator, |spec, TestDevice { device, .. }| {
        let length = spec.length.max(2);
        let mut case = straight(Spec { length, ..spec }).build();
        let [batch, ..] = case.dims();
        let cut = 1 + Rng::new(spec.seed).below(length - 1);
        let two = |leaves: &Leaves| {
            let (y_first, _) = leaves.forward(Some(0..cut), None);
            let (y_second, state) = leaves.forward(Some(cut..length), Some(leaves.zero_state()));
            (Tensor::cat(vec![y_first, y_second], 1), state)
        };
        let sequences = case.run_as(&device.clone().autodiff(), DType::F32, two);
        let mut t = (0..length).cycle();
        case.reset = Some(Array::from_fn(&[batch, 1, length], || f64::from(t.next() == Some(cut))));
        assert_close(&run(&case, device), &sequences, BOUND, || format!("reset at {cut}"));
    });
}

/// Tokens that were shuffled and are visited in the order that undoes it give the shuffled result.
fn an_order_undoes_a_permutation(device: &TestDevice, operator: Operator) {
    for_all(device, operator, |spec, TestDevice { device, .. }| {
        let case = spec.build();
        let [_, length, _] = case.dims();
        let shuffle = Rng::new(spec.seed).permutation(length);
        let mut place_of = vec![0; length];
        shuffle.iter().enumerate().for_each(|(place, &token)| place_of[token] = place);
        let mut shuffled = case.select(Axis::Length, &shuffle);
        let own = vec![(0..length).collect::<Vec<_>>()];
        let orders = if case.orders.is_empty() { &own } else { &case.orders };
        shuffled.orders = orders.iter().map(|order| order.iter().map(|&token| place_of[token]).collect()).collect();
        let undone = case.operator.select(&run(&shuffled, device), Axis::Length, &place_of);
        assert_close(&undone, &run(&case, device), BOUND, || "shuffled".into());
    });
}

/// From the end is from the start with everything flipped, and with tables read backwards.
fn reverse_is_flipped(device: &TestDevice, operator: Operator) {
    for_all(device, operator, |spec, TestDevice { device, .. }| {
        let case = spec.build();
        let [_, length, _] = case.dims();
        let mut other = Case { reverse: !case.reverse, ..case.clone() };
        let other = if case.orders.is_empty() {
            let backwards: Vec<_> = (0..length).rev().collect();
            let flipped = other.select(Axis::Length, &backwards);
            case.operator.select(&run(&flipped, device), Axis::Length, &backwards)
        } else {
            other.orders.iter_mut().for_each(|order| order.reverse());
            run(&other, device)
        };
        assert_close(&other, &run(&case, device), BOUND, || "flipped".into());
    });
}

/// Two orders in one call are two calls with half of the channels each.
fn two_orders_are_two_calls(device: &TestDevice, operator: Operator) {
    for_all(device, operator, |spec, TestDevice { device, .. }| {
        let options = Options { orders: 2, ..spec.options };
        let channels = spec.channels.next_multiple_of(2);
        let case = Spec { channels, options, ..spec }.build();
        let calls = [0, 1].map(|k| {
            let half: Vec<_> = (k * channels / 2..(k + 1) * channels / 2).collect();
            let mut call = case.clone();
            for (name, array) in call.inputs.iter_mut().chain(&mut call.weights) {
                match (case.operator.dimension(name, Axis::Channel), name.as_str()) {
                    (_, "u") if spec.options.shared_u => {}
                    (_, "y") if case.summed == 2 => {}
                    (Some(dimension), _) => *array = array.select(dimension, &half),
                    // Groups are split as channels are.
                    (None, _) if spec.groups == 2 => *array = array.select(2, &[k]),
                    (None, _) => {}
                }
            }
            call.summed = 1;
            call.orders = vec![case.orders[k].clone()];
            call.reset = case.reset.as_ref().map(|reset| reset.select(1, &[k % reset.shape[1]]));
            run(&call, device)
        });
        let mut whole = joined(case.operator, &calls, Axis::Channel);
        for (name, array) in &mut whole {
            let [first, second] = [&calls[0][name], &calls[1][name]];
            match name.as_str() {
                "grad_b" | "grad_c" if spec.groups == 2 => *array = concatenated(&[first, second], 2),
                "y" if case.summed == 2 => *array = first.zip(second, |x, y| x + y),
                "grad_u" if spec.options.shared_u => *array = first.zip(second, |x, y| x + y),
                _ => {}
            }
        }
        assert_close(&run(&case, device), &whole, BOUND, || "two calls".into());
    });
}

/// Puts NaN in place of the entries `indices` of `axis` in all inputs that have it.
fn poisoned(case: &Case, axis: Axis, indices: &[usize]) -> Case {
    let mut case = case.clone();
    for (name, array) in &mut case.inputs {
        if let Some(dimension) = case.operator.dimension(name, axis) {
            let inner: usize = array.shape[dimension + 1..].iter().product();
            let size = array.shape[dimension];
            for (i, x) in array.values.iter_mut().enumerate() {
                if indices.contains(&(i / inner % size)) {
                    *x = f64::NAN;
                }
            }
        }
    }
    case
}

fn only(operator: Operator, arrays: &Arrays, axis: Axis, indices: &[usize]) -> Arrays {
    let mut arrays = arrays.clone();
    arrays.retain(|name, _| operator.dimension(name, axis).is_some());
    operator.select(&arrays, axis, indices)
}

/// Whatever is in row 1, row 0 stays the same to the last bit.
fn batch_rows_do_not_influence_each_other(device: &TestDevice, operator: Operator) {
    for_all(device, operator, |spec, TestDevice { device, .. }| {
        let case = Spec { batch: spec.batch.max(2), ..spec }.build();
        let [first, poisoned] = [&case, &poisoned(&case, Axis::Batch, &[1])]
            .map(|case| only(case.operator, &run(case, device), Axis::Batch, &[0]));
        assert_same(&poisoned, &first, || "row 0".into());
    });
}

/// Whatever comes later, the outputs so far stay the same to the last bit.
fn the_future_does_not_reach_the_past(device: &TestDevice, operator: Operator) {
    for_all(device, operator, |spec, TestDevice { device, .. }| {
        let length = spec.length.max(2);
        let case = straight(Spec { length, ..spec }).build();
        let cut = 1 + Rng::new(spec.seed).below(length - 1);
        let (past, future): (Vec<_>, Vec<_>) = ((0..cut).collect(), (cut..length).collect());
        let [expected, actual] = [&case, &poisoned(&case, Axis::Length, &future)]
            .map(|case| only(case.operator, &case.outputs(device, DType::F32), Axis::Length, &past));
        assert_same(&actual, &expected, || format!("before {cut}"));
    });
}

/// Two runs agree to the last bit, gradients included; also where there is work for many threads.
fn results_do_not_change_from_run_to_run(device: &TestDevice, operator: Operator) {
    for_all(device, operator, |spec, TestDevice { device, .. }| {
        let case = spec.build();
        assert_same(&run(&case, device), &run(&case, device), || "two runs".into());
    });
    let options = Options::random(&mut Rng::new(0), 96);
    let (batch, length, channels, states, groups, values) = (3, 700, 96, 8, 2, Values::Model);
    let case = Spec { operator, batch, length, channels, states, groups, options, values, seed: 0 }.build();
    let first = run(&case, &device.device);
    for _ in 0..if device.thinned() { 1 } else { 5 } {
        assert_same(&run(&case, &device.device), &first, || format!("{} at length 700", device.name));
    }
}

/// Sums are split in the same way whoever takes the parts, those over orders that read and write the same channels too.
#[cfg(feature = "flex")]
#[test]
fn scans_on_the_cpu_do_not_depend_on_the_number_of_threads() {
    let options = Options { orders: 4, shared_u: true, summed: true, d: true, bias: true, ..Options::default() };
    for (length, states, groups) in [(5, 1, 4), (70, 16, 3), (700, 6, 1)] {
        let (operator, batch, channels, values) = (Operator::Scan, 3, 192, Values::Model);
        let case = Spec { operator, batch, length, channels, states, groups, options, values, seed: 1 }.build();
        let [one, five] = [1, 5].map(|threads| on_threads(threads, || run(&case, &Device::flex())));
        assert_same(&five, &one, || format!("length {length}"));
    }
}

on_every_device_and_operator!(
    steps_are_the_whole,
    steps_change_no_state_that_is_held,
    two_parts_with_the_carried_state_are_the_whole,
    a_reset_starts_a_new_sequence,
    an_order_undoes_a_permutation,
    reverse_is_flipped,
    two_orders_are_two_calls,
    batch_rows_do_not_influence_each_other,
    the_future_does_not_reach_the_past,
    results_do_not_change_from_run_to_run,
);
