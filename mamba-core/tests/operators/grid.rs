//! The scan in f32 against the oracle: outputs and all gradients, over shapes and options.

use crate::arrays::{Worst, assert_close};
use crate::case::Operator;
use crate::devices::TestDevice;
use crate::oracle::oracle;
use crate::random::{Options, Rng, Spec, Values};
use burn::tensor::DType;

/// Norm of the difference over norm of the float64 result.
pub const BOUND: f64 = 2e-5;

pub const LENGTHS: [usize; 7] = [1, 2, 7, 64, 65, 257, 1000];
/// [`LENGTHS`], shared out to tests: a GPU's compiler takes one kernel after the other, but tests run side by side.
const SHORT: &[usize] = &[1, 2];
const MIDDLE: &[usize] = &[7, 64, 65];
const LONG: &[usize] = &[257, 1000];
pub const BATCHES: [usize; 2] = [1, 3];
pub const CHANNELS: [usize; 4] = [1, 8, 48, 96];

/// Compares outputs and gradients with the oracle and prints the largest errors.
pub fn check(device: &TestDevice, title: &str, specs: impl IntoIterator<Item = Spec>) {
    let mut worst = Worst::default();
    for spec in specs {
        let case = spec.build();
        let actual = case.run(&device.device, DType::F32);
        worst.add(assert_close(&actual, &oracle(&case), BOUND, || format!("{}: {spec:?}", device.name)));
    }
    worst.print(&format!("{title} on {}", device.name));
}

/// Whether the cell runs on `device`. An emulated GPU gets the corners of the grid and one in eight of the other
/// cells, which together still hold every value of every axis.
pub fn is_kept(device: &TestDevice, length: usize, batch: usize, channels: usize, seed: u64) -> bool {
    let corner = [1, 1000].contains(&length) && [1, 96].contains(&channels) && [1, 3].contains(&batch);
    !device.thinned() || corner || Rng::new(seed ^ 0x5eed).below(8) == 0
}

/// All cells with `d_state` states at `lengths`, with options by chance; where nothing is thinned, with both kinds of
/// values.
fn cells(device: &TestDevice, d_state: usize, lengths: &[usize]) -> Vec<Spec> {
    let mut specs = vec![];
    let mut seed = 1000 * d_state as u64;
    for length in LENGTHS {
        for batch in BATCHES {
            for channels in CHANNELS {
                for groups in [1, 2].into_iter().filter(|groups| channels.is_multiple_of(*groups)) {
                    seed += 1;
                    if !lengths.contains(&length) || !is_kept(device, length, batch, channels, seed) {
                        continue;
                    }
                    let mut both = vec![(Values::Reference, seed), (Values::Model, seed + 500)];
                    if device.thinned() {
                        both.remove(seed as usize % 2);
                    }
                    specs.extend(both.into_iter().map(|(values, seed)| {
                        let options = Options::random(&mut Rng::new(seed), channels);
                        let operator = Operator::Scan;
                        Spec { operator, batch, length, channels, states: d_state, groups, options, values, seed }
                    }));
                }
            }
        }
    }
    specs
}

macro_rules! grid {
    ($($name:ident: $states:literal, $lengths:expr;)*) => {
        $(fn $name(device: &TestDevice) {
            check(device, stringify!($name), cells(device, $states, $lengths));
        })*
    };
}

grid! {
    the_scan_with_1_state_is_exact_at_short_lengths: 1, SHORT;
    the_scan_with_1_state_is_exact_at_middle_lengths: 1, MIDDLE;
    the_scan_with_1_state_is_exact_at_long_lengths: 1, LONG;
    the_scan_with_4_states_is_exact_at_short_lengths: 4, SHORT;
    the_scan_with_4_states_is_exact_at_middle_lengths: 4, MIDDLE;
    the_scan_with_4_states_is_exact_at_long_lengths: 4, LONG;
    the_scan_with_16_states_is_exact_at_short_lengths: 16, SHORT;
    the_scan_with_16_states_is_exact_at_middle_lengths: 16, MIDDLE;
    the_scan_with_16_states_is_exact_at_long_lengths: 16, LONG;
    the_scan_with_64_states_is_exact_at_length_1: 64, &[1];
    the_scan_with_64_states_is_exact_at_length_2: 64, &[2];
    the_scan_with_64_states_is_exact_at_length_7: 64, &[7];
    the_scan_with_64_states_is_exact_at_length_64: 64, &[64];
    the_scan_with_64_states_is_exact_at_length_65: 64, &[65];
    the_scan_with_64_states_is_exact_at_length_257: 64, &[257];
    the_scan_with_64_states_is_exact_at_length_1000: 64, &[1000];
}

/// Every option alone, then all but that one.
pub fn one_by_one() -> Vec<Options> {
    type Switch = fn(&mut Options, bool);
    let switches: [Switch; 10] = [
        |options, on| options.d = on,
        |options, on| options.z = on,
        |options, on| options.bias = on,
        |options, on| options.activation = on,
        |options, on| options.initial_state = on,
        |options, on| options.reset = on,
        |options, on| options.reverse = on,
        |options, on| options.orders = if on { 2 } else { 0 },
        |options, on| {
            (options.orders, options.shared_u, options.reset_per_order) =
                if on { (2, true, true) } else { (1, false, false) }
        },
        |options, on| (options.orders, options.summed) = if on { (3, true) } else { (options.orders, false) },
    ];
    let mut all = Options::default();
    switches.iter().for_each(|switch| switch(&mut all, true));
    let mut list = vec![Options::default(), all];
    for switch in switches {
        for start in [false, true] {
            let mut options = if start { all } else { Options::default() };
            switch(&mut options, !start);
            list.push(options);
        }
    }
    list
}

fn every_option_of_the_scan_is_exact_alone_and_left_out(device: &TestDevice) {
    let specs = one_by_one().into_iter().enumerate().map(|(i, options)| Spec {
        operator: Operator::Scan,
        batch: 3,
        length: 65,
        channels: 48,
        states: 16,
        groups: 1 + i % 2,
        options,
        values: if i % 4 < 2 { Values::Reference } else { Values::Model },
        seed: i as u64,
    });
    check(device, "scan, option by option", specs);
}

/// Shapes that are multiples of nothing: any number of states, channels and groups is allowed.
fn odd_shapes_are_exact(device: &TestDevice) {
    let shapes = [(5, 3, 1, 67), (6, 5, 3, 130), (9, 17, 9, 33), (33, 7, 1, 100), (66, 33, 3, 129), (130, 100, 2, 20)];
    let specs = shapes.into_iter().enumerate().map(|(i, (channels, states, groups, length))| Spec {
        operator: Operator::Scan,
        batch: 2,
        length,
        channels,
        states,
        groups,
        options: Options::random(&mut Rng::new(i as u64), channels),
        values: if i % 2 == 0 { Values::Reference } else { Values::Model },
        seed: i as u64,
    });
    check(device, "scan, odd shapes", specs);
}

/// Hundreds of chunks.
fn a_long_sequence_is_exact(device: &TestDevice) {
    let length = if device.thinned() { 4_099 } else { 16_411 };
    let specs = [Values::Reference, Values::Model].map(|values| Spec {
        operator: Operator::Scan,
        batch: 1,
        length,
        channels: 8,
        states: 4,
        groups: 1,
        options: Options {
            d: true,
            z: true,
            bias: true,
            activation: true,
            initial_state: true,
            reset: values == Values::Model,
            reverse: values == Values::Model,
            orders: if values == Values::Model { 2 } else { 0 },
            ..Options::default()
        },
        values,
        seed: 5,
    });
    check(device, "scan, long sequence", specs);
}

/// So many sequences that orders whose outputs are added are scanned some at a time, neither all nor one.
fn orders_of_many_sequences_add_up(device: &TestDevice) {
    let options = Options { orders: 4, shared_u: true, summed: true, d: true, bias: true, ..Options::default() };
    let specs = [1, 4, 3].map(|groups| Spec {
        operator: Operator::Scan,
        batch: 64,
        length: 3,
        channels: 384,
        states: 16,
        groups,
        options,
        values: Values::Model,
        seed: groups as u64,
    });
    check(device, "scan, many sequences", specs);
}

fn the_softplus_is_linear_above_twenty_and_does_not_overflow(device: &TestDevice) {
    let mut case = Spec {
        operator: Operator::Scan,
        batch: 1,
        length: 9,
        channels: 2,
        states: 3,
        groups: 1,
        options: Options { activation: true, ..Options::default() },
        values: Values::Reference,
        seed: 1,
    }
    .build();
    let delta = [-100.0, -30.0, -10.0, 0.0, 19.5, 20.5, 50.0, 95.0, 1000.0];
    let values = delta.into_iter().flat_map(|delta| [delta, delta]).collect();
    case.inputs.get_mut("delta").expect("an input").values = values;
    assert_close(&case.run(&device.device, DType::F32), &oracle(&case), BOUND, || device.name.into());
}

on_every_device!(
    the_scan_with_1_state_is_exact_at_short_lengths,
    the_scan_with_1_state_is_exact_at_middle_lengths,
    the_scan_with_1_state_is_exact_at_long_lengths,
    the_scan_with_4_states_is_exact_at_short_lengths,
    the_scan_with_4_states_is_exact_at_middle_lengths,
    the_scan_with_4_states_is_exact_at_long_lengths,
    the_scan_with_16_states_is_exact_at_short_lengths,
    the_scan_with_16_states_is_exact_at_middle_lengths,
    the_scan_with_16_states_is_exact_at_long_lengths,
    the_scan_with_64_states_is_exact_at_length_1,
    the_scan_with_64_states_is_exact_at_length_2,
    the_scan_with_64_states_is_exact_at_length_7,
    the_scan_with_64_states_is_exact_at_length_64,
    the_scan_with_64_states_is_exact_at_length_65,
    the_scan_with_64_states_is_exact_at_length_257,
    the_scan_with_64_states_is_exact_at_length_1000,
    every_option_of_the_scan_is_exact_alone_and_left_out,
    odd_shapes_are_exact,
    a_long_sequence_is_exact,
    orders_of_many_sequences_add_up,
    the_softplus_is_linear_above_twenty_and_does_not_overflow,
);
