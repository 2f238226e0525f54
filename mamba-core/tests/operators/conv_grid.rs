//! The convolution in f32 against the oracle: outputs and all gradients, over shapes and options.

use crate::case::Operator;
use crate::devices::TestDevice;
use crate::grid::{BATCHES, CHANNELS, LENGTHS, check, is_kept, one_by_one};
use crate::random::{Options, Rng, Spec, Values};

fn spec(batch: usize, length: usize, channels: usize, width: usize, options: Options, seed: u64) -> Spec {
    let (operator, values) = (Operator::Conv, Values::Reference);
    Spec { operator, batch, length, channels, states: width, groups: 1, options, values, seed }
}

/// All cells with these widths, with options by chance.
fn cells(device: &TestDevice, widths: std::ops::RangeInclusive<usize>) -> Vec<Spec> {
    let mut specs = vec![];
    for width in widths {
        let mut seed = 1000 * width as u64;
        for length in LENGTHS {
            for batch in BATCHES {
                for channels in CHANNELS {
                    seed += 1;
                    if is_kept(device, length, batch, channels, seed) {
                        let options = Options::random(&mut Rng::new(seed), channels);
                        specs.push(spec(batch, length, channels, width, options, seed));
                    }
                }
            }
        }
    }
    specs
}

fn the_convolution_of_width_1_is_exact(device: &TestDevice) {
    check(device, "convolution, width 1", cells(device, 1..=1));
}

fn the_convolution_of_widths_2_to_4_is_exact(device: &TestDevice) {
    check(device, "convolution, widths 2 to 4", cells(device, 2..=4));
}

fn the_convolution_of_widths_5_to_8_is_exact(device: &TestDevice) {
    check(device, "convolution, widths 5 to 8", cells(device, 5..=8));
}

fn every_option_of_the_convolution_is_exact_alone_and_left_out(device: &TestDevice) {
    let specs = one_by_one().into_iter().enumerate();
    check(device, "convolution, option by option", specs.map(|(i, options)| spec(3, 65, 48, 4, options, i as u64)));
}

fn convolutions_of_odd_shapes_are_exact(device: &TestDevice) {
    let shapes = [(5, 4, 67), (7, 11, 130), (12, 11, 300), (33, 3, 100), (130, 20, 9)];
    let specs = shapes.into_iter().enumerate().map(|(i, (channels, width, length))| {
        spec(2, length, channels, width, Options::random(&mut Rng::new(i as u64), channels), i as u64)
    });
    check(device, "convolution, odd shapes", specs);
}

/// With so many sequences a thread takes more tokens going back, 96 and 192 on a GPU of some 130 processors.
fn many_sequences_are_exact(device: &TestDevice) {
    let shapes = [(600, 4, 300), (600, 3, 701)];
    let specs = shapes.into_iter().enumerate().map(|(i, (batch, width, length))| {
        spec(batch, length, 2, width, Options::random(&mut Rng::new(i as u64), 2), i as u64)
    });
    check(device, "convolution, many sequences", specs);
}

fn resets_are_exact_at_length_1(device: &TestDevice) {
    let mut specs = vec![];
    for width in 1..=4 {
        for batch in BATCHES {
            for orders in [0, 1] {
                let options = Options { reset: true, orders, ..Options::default() };
                specs.push(spec(batch, 1, 48, width, options, specs.len() as u64));
            }
        }
    }
    check(device, "convolution, resets at length 1", specs);
}

on_every_device!(
    the_convolution_of_width_1_is_exact,
    the_convolution_of_widths_2_to_4_is_exact,
    the_convolution_of_widths_5_to_8_is_exact,
    every_option_of_the_convolution_is_exact_alone_and_left_out,
    convolutions_of_odd_shapes_are_exact,
    many_sequences_are_exact,
    resets_are_exact_at_length_1,
);
