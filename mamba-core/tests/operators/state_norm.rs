//! The bound of the state, against the recurrence by hand.

use crate::devices::TestDevice;
use burn::tensor::{Bool, Device, Tensor, TensorData};
use mamba_core::{Direction, SelectiveScanOptions, selective_scan};

fn device() -> Device {
    TestDevice::first().device
}

#[test]
fn a_state_above_the_bound_is_scaled_down_before_it_is_read() {
    let device = device();
    let (delta, a, b, u) = (0.5_f64, [-0.2_f64, -1.0], [3.0, 4.0], [1.0, 0.1, 2.0, 1.0]);
    for reverse in [false, true] {
        let (mut h, mut expected) = ([0.0; 2], [0.0; 4]);
        let mut order = [0, 1, 2, 3];
        if reverse {
            order.reverse();
        }
        for t in order {
            if t == 2 {
                h = [0.0; 2];
            }
            for n in 0..2 {
                h[n] = (delta * a[n]).exp() * h[n] + delta * b[n] * u[t];
            }
            let norm = (h[0] * h[0] + h[1] * h[1]).sqrt();
            h = h.map(|h| h * (2.0 / norm).min(1.0));
            expected[t] = h[0] - h[1];
        }

        let rows = |x: [f64; 4]| Tensor::<3>::from_data(TensorData::new(x.to_vec(), [1, 4, 1]), &device);
        let states = |x: [f64; 2]| {
            let x = TensorData::new([x, x, x, x].concat(), [1, 4, 1, 2]);
            Tensor::<4>::from_data(x, &device)
        };
        let starts = TensorData::new(vec![false, false, true, false], [1, 4]);
        let options = SelectiveScanOptions::new()
            .with_max_state_norm(2.0)
            .with_reset(Tensor::<2, Bool>::from_data(starts, &device))
            .with_direction(if reverse { Direction::Reverse } else { Direction::Forward });
        let a = Tensor::<2>::from_data(TensorData::new(a.to_vec(), [1, 2]), &device);
        let out = selective_scan(rows(u), rows([delta; 4]), a, states(b), states([1.0, -1.0]), options);
        for (t, (found, expected)) in out.y.into_data().iter::<f64>().zip(expected).enumerate() {
            assert!((found - expected).abs() < 1e-5, "token {t}: {found}, expected {expected}");
        }
        let norm = out.final_state.square().sum().sqrt().into_scalar::<f32>();
        assert!(norm < 2.00001, "{norm}");
    }
}

#[test]
fn the_gradient_is_finite_where_the_state_is_zero() {
    let device = device().autodiff();
    let input = |device: &Device| Tensor::<3>::zeros([1, 3, 2], device).require_grad();
    let (u, delta) = (input(&device), input(&device));
    let a = -Tensor::<2>::ones([2, 3], &device);
    let b = Tensor::<4>::ones([1, 3, 1, 3], &device);
    let options = SelectiveScanOptions::new().with_delta_softplus(true).with_max_state_norm(1.0);
    let gradients = selective_scan(u.clone(), delta, a, b.clone(), b, options).y.sum().backward();
    assert!(u.grad(&gradients).unwrap().into_data().iter::<f64>().all(|x| x.is_finite() && x > 0.0));
}

#[test]
#[should_panic(expected = "selective_scan: `max_state_norm` is 0, expected a positive number")]
fn a_bound_of_zero_is_refused() {
    let device = device();
    let x = Tensor::<3>::zeros([1, 1, 1], &device);
    let b = Tensor::<4>::zeros([1, 1, 1, 1], &device);
    let options = SelectiveScanOptions::new().with_max_state_norm(0.0);
    selective_scan(x.clone(), x, Tensor::<2>::zeros([1, 1], &device), b.clone(), b, options);
}
