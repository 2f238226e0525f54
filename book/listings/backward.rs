//! Chapter 'The backward pass': by hand for one channel, and against Burn's.

use crate::four_tokens::{DELTA, U, states};
use burn::tensor::{Device, Tensor, TensorData};
use mamba_core::{SelectiveScanOptions, selective_scan};

// ANCHOR: backward
/// The gradients of `a`, of every `u` and of every `δ`, given those of the outputs; one state, `b = c = 1`.
pub struct Grads {
    pub a: f64,
    pub u: Vec<f64>,
    pub delta: Vec<f64>,
    /// Of the states, later tokens included.
    pub h: Vec<f64>,
}

pub fn backward(u: &[f64], delta: &[f64], grad_y: &[f64]) -> Grads {
    let (a, length) = (-1.0_f64, u.len());
    let h = states(u, delta);
    let mut grads = Grads { a: 0.0, u: vec![0.0; length], delta: vec![0.0; length], h: vec![0.0; length] };
    // What the token behind passes back: exp(δ a) G.
    let mut carry = 0.0;
    for t in (0..length).rev() {
        let before = if t == 0 { 0.0 } else { h[t - 1] };
        let keep = (delta[t] * a).exp();
        let grad = grad_y[t] + carry;
        grads.h[t] = grad;
        grads.u[t] = grad * delta[t];
        grads.delta[t] = grad * (u[t] + a * keep * before);
        grads.a += grad * delta[t] * keep * before;
        carry = keep * grad;
    }
    grads
}
// ANCHOR_END: backward

#[test]
fn it_is_the_slope_of_the_forward_pass() {
    let grad_y = [1.0, -0.5, 2.0, 1.0];
    let loss = |u: &[f64], delta: &[f64]| -> f64 { states(u, delta).iter().zip(&grad_y).map(|(h, g)| h * g).sum() };
    let grads = backward(&U, &DELTA, &grad_y);
    let step = 1e-6;
    for t in 0..4 {
        let (mut u, mut delta) = (U, DELTA);
        u[t] += step;
        delta[t] += step;
        assert!(((loss(&u, &DELTA) - loss(&U, &DELTA)) / step - grads.u[t]).abs() < 1e-5);
        assert!(((loss(&U, &delta) - loss(&U, &DELTA)) / step - grads.delta[t]).abs() < 1e-5);
    }
}

// ANCHOR: autodiff
/// The same through the operator and Burn's autodiff.
fn by_burn(grad_y: [f32; 4]) -> [Vec<f32>; 3] {
    let device = Device::default().autodiff();
    let row = |values: [f64; 4]| Tensor::<3>::from_data(TensorData::from([values.map(|x| [x as f32])]), &device);
    let (u, delta) = (row(U).require_grad(), row(DELTA).require_grad());
    let a = Tensor::<2>::from_floats([[-1.0]], &device).require_grad();
    let ones = Tensor::<4>::ones([1, 4, 1, 1], &device);

    let options = SelectiveScanOptions::new();
    let y = selective_scan(u.clone(), delta.clone(), a.clone(), ones.clone(), ones, options).y;
    let grads = (y * row(grad_y.map(f64::from))).sum().backward();

    let of_row = |x: Tensor<3>| x.into_data().try_to_vec().expect("f32");
    let grad = |x: &Tensor<3>| of_row(x.grad(&grads).expect("it is tracked"));
    [a.grad(&grads).expect("it is tracked").into_data().try_to_vec().expect("f32"), grad(&u), grad(&delta)]
}
// ANCHOR_END: autodiff

#[test]
fn burn_finds_the_same() {
    let grad_y = [1.0, -0.5, 2.0, 1.0];
    let Grads { a, u, delta, .. } = backward(&U, &DELTA, &grad_y);
    for (by_hand, by_burn) in [vec![a], u, delta].iter().zip(by_burn(grad_y.map(|g| g as f32))) {
        for (by_hand, by_burn) in by_hand.iter().zip(by_burn) {
            assert!((by_hand - f64::from(by_burn)).abs() < 1e-5);
        }
    }
}
