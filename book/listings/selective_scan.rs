//! Chapter 'The selective scan'.

use crate::{largest_difference, random};
use burn::tensor::activation::softplus;
use burn::tensor::{Device, Int, Tensor};
use mamba_core::{Direction, OrderError, ScanOrder, SelectiveScanOptions, selective_scan};

const SHAPE: [usize; 4] = [2, 12, 4, 3];

/// Random arguments.
fn arguments(device: &Device) -> (Tensor<3>, Tensor<3>, Tensor<2>, Tensor<4>, Tensor<4>) {
    let [batch, length, d_inner, d_state] = SHAPE;
    let channels = || random([batch, length, d_inner], device);
    let states = || random([batch, length, 1, d_state], device);
    (channels(), softplus(channels(), 1.0), random([d_inner, d_state], device).exp().neg(), states(), states())
}

// ANCHOR: recurrence
/// One channel of one sequence. `a` has `N` numbers, `b` and `c` have `N` for every token.
fn scan<const N: usize>(u: &[f32], delta: &[f32], a: [f32; N], b: &[[f32; N]], c: &[[f32; N]]) -> Vec<f32> {
    let mut h = [0.0; N];
    let mut y = Vec::new();
    for t in 0..u.len() {
        for n in 0..N {
            h[n] = (delta[t] * a[n]).exp() * h[n] + delta[t] * b[t][n] * u[t];
        }
        y.push((0..N).map(|n| c[t][n] * h[n]).sum());
    }
    y
}
// ANCHOR_END: recurrence

// ANCHOR: reset
/// Two sequences in each row: tokens 0 to 4, and the tokens from 5 on.
fn packed(batch: usize, length: usize, device: &Device) -> SelectiveScanOptions {
    let starts = Tensor::<1, Int>::arange(0..length as i64, device).equal_scalar(5).expand([batch, length]);
    SelectiveScanOptions::new().with_reset(starts)
}
// ANCHOR_END: reset

// ANCHOR: order
/// Tokens are the pixels of an image, row by row. They are visited column by column, from the last to the first.
fn columns_from_the_end(height: usize, width: usize, device: &Device) -> Result<SelectiveScanOptions, OrderError> {
    let columns = (0..width).flat_map(|x| (0..height).map(move |y| y * width + x)).collect();
    let order = ScanOrder::new(&[columns], device)?;
    Ok(SelectiveScanOptions::new().with_order(order).with_direction(Direction::Reverse))
}
// ANCHOR_END: order

#[test]
fn the_operator_is_the_recurrence() {
    let device = Device::default();
    let (u, delta, a, b, c) = arguments(&device);
    let y = selective_scan(u.clone(), delta.clone(), a.clone(), b.clone(), c.clone(), SelectiveScanOptions::new()).y;

    let numbers = |x: Tensor<1>| x.into_data().try_to_vec::<f32>().unwrap();
    let of_channel = |x: Tensor<3>| numbers(x.narrow(0, 1, 1).narrow(2, 2, 1).flatten(0, 2));
    let of_states = |x: Tensor<4>| numbers(x.narrow(0, 1, 1).flatten(0, 3)).as_chunks::<3>().0.to_vec();
    let a: Vec<f32> = numbers(a.narrow(0, 2, 1).flatten(0, 1));
    let by_hand = scan(&of_channel(u), &of_channel(delta), a.try_into().unwrap(), &of_states(b), &of_states(c));
    for (by_hand, y) in by_hand.into_iter().zip(of_channel(y)) {
        assert!((by_hand - y).abs() < 1e-4);
    }
}

#[test]
fn a_reset_packs_two_sequences_into_one() {
    let device = Device::default();
    let (u, delta, a, b, c) = arguments(&device);
    let options = packed(2, 12, &device);
    let packed = selective_scan(u.clone(), delta.clone(), a.clone(), b.clone(), c.clone(), options).y;

    let (u, delta, b, c) = (u.narrow(1, 5, 7), delta.narrow(1, 5, 7), b.narrow(1, 5, 7), c.narrow(1, 5, 7));
    let alone = selective_scan(u, delta, a, b, c, SelectiveScanOptions::new()).y;
    assert!(largest_difference(packed.narrow(1, 5, 7), alone) < 1e-5);
}

#[test]
fn an_order_is_a_permutation_of_the_tokens() {
    let device = Device::default();
    let (u, delta, a, b, c) = arguments(&device);
    let options = columns_from_the_end(3, 4, &device).expect("every token once");
    let y = selective_scan(u.clone(), delta.clone(), a.clone(), b.clone(), c.clone(), options).y;

    let visits = Tensor::<1, Int>::from_ints([11, 7, 3, 10, 6, 2, 9, 5, 1, 8, 4, 0], &device);
    let moved = |x: Tensor<3>| x.select(1, visits.clone());
    let moved_states = |x: Tensor<4>| x.select(1, visits.clone());
    let (u, delta, b, c) = (moved(u), moved(delta), moved_states(b), moved_states(c));
    let plain = selective_scan(u, delta, a, b, c, SelectiveScanOptions::new()).y;
    assert!(largest_difference(moved(y), plain) < 1e-5);
}
