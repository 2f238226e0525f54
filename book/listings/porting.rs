//! Chapter 'Porting from PyTorch'.

use burn::tensor::{Device, Tensor};
use mamba_core::{SelectiveScanOptions, selective_scan};

// ANCHOR: layout
/// `selective_scan_fn(u, delta, A, B, C, D, z, delta_bias, delta_softplus=True)` with tensors as mamba-ssm lays them out:
/// `u`, `delta`, `z` and the result `[batch, dim, length]`, `b` and `c` `[batch, groups, dstate, length]`.
#[allow(clippy::too_many_arguments, reason = "those of the original")]
fn selective_scan_fn(
    u: Tensor<3>,
    delta: Tensor<3>,
    a: Tensor<2>,
    b: Tensor<4>,
    c: Tensor<4>,
    d: Tensor<1>,
    z: Tensor<3>,
    delta_bias: Tensor<1>,
) -> Tensor<3> {
    let options = SelectiveScanOptions::new()
        .with_d(d)
        .with_z(z.swap_dims(1, 2))
        .with_delta_bias(delta_bias)
        .with_delta_softplus(true);
    let states = |x: Tensor<4>| x.permute([0, 3, 1, 2]);
    selective_scan(u.swap_dims(1, 2), delta.swap_dims(1, 2), a, states(b), states(c), options).y.swap_dims(1, 2)
}
// ANCHOR_END: layout

/// The reference of the original, in plain operations and its layout.
#[allow(clippy::too_many_arguments, reason = "those of the original")]
fn reference(
    u: Tensor<3>,
    delta: Tensor<3>,
    a: Tensor<2>,
    b: Tensor<4>,
    c: Tensor<4>,
    d: Tensor<1>,
    z: Tensor<3>,
    delta_bias: Tensor<1>,
) -> Tensor<3> {
    let ([batch, dim, length], [_, groups, d_state, _]) = (u.dims(), b.dims());
    let delta = burn::tensor::activation::softplus(delta + delta_bias.reshape([1, dim, 1]), 1.0);
    let of_channels = |x: Tensor<4>| {
        x.reshape([batch, groups, 1, d_state]).repeat_dim(2, dim / groups).reshape([batch, dim, d_state])
    };
    let mut h = Tensor::<3>::zeros([batch, dim, d_state], &u.device());
    let mut y = Vec::new();
    for t in 0..length {
        let [u_t, delta_t] = [&u, &delta].map(|x| x.clone().narrow(2, t, 1));
        let [b_t, c_t] = [&b, &c].map(|x| of_channels(x.clone().narrow(3, t, 1)));
        h = (delta_t.clone() * a.clone().unsqueeze()).exp() * h + delta_t * u_t * b_t;
        y.push((h.clone() * c_t).sum_dim(2));
    }
    (Tensor::cat(y, 2) + u * d.reshape([1, dim, 1])) * burn::tensor::activation::silu(z)
}

#[test]
fn the_original_layout_gives_the_original_result() {
    let device = Device::default();
    let (batch, dim, length, groups, d_state) = (2, 6, 9, 2, 4);
    let [u, delta, z] = [(); 3].map(|()| crate::random([batch, dim, length], &device));
    let [b, c] = [(); 2].map(|()| crate::random([batch, groups, d_state, length], &device));
    let [d, bias] = [(); 2].map(|()| crate::random([dim], &device));
    let a = crate::random([dim, d_state], &device).exp().neg();
    let [ours, theirs] = [selective_scan_fn, reference].map(|scan| {
        let (u, delta, z, b, c) = (u.clone(), delta.clone(), z.clone(), b.clone(), c.clone());
        scan(u, delta, a.clone(), b, c, d.clone(), z, bias.clone())
    });
    assert!(crate::largest_difference(ours, theirs) < 1e-4);
}
