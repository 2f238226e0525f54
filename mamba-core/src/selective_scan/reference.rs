//! The selective scan in plain tensor operations: the oracle of the kernels, the path for f64 and for devices without
//! a kernel, and a place for research hooks.

use super::{SelectiveScanOptions, SelectiveScanOutput};
use crate::Direction;
use burn::tensor::activation::{log_sigmoid, softplus};
use burn::tensor::{Bool, DType, Int, Tensor};

/// [`selective_scan`](super::selective_scan()) token by token; same arguments, result and gradients.
///
/// It keeps every state for the backward pass: memory grows with `length * d_inner * d_state`.
///
/// ```
/// use burn::tensor::{Device, Distribution, Tensor};
/// use mamba_core::{SelectiveScanOptions, selective_scan, selective_scan::reference};
///
/// let device = Device::default();
/// let x = |d: usize| Tensor::<3>::random([2, 10, d], Distribution::Default, &device);
/// let (u, delta, b, c) = (x(8), x(8), x(4).unsqueeze_dim::<4>(2), x(4).unsqueeze_dim::<4>(2));
/// let a = Tensor::<2>::ones([8, 4], &device).neg();
///
/// let options = SelectiveScanOptions::new();
/// let kernel = selective_scan(u.clone(), delta.clone(), a.clone(), b.clone(), c.clone(), options.clone());
/// let oracle = reference::selective_scan(u, delta, a, b, c, options);
/// assert!((kernel.y - oracle.y).abs().max().into_scalar::<f32>() < 1e-4);
/// ```
pub fn selective_scan(
    u: Tensor<3>,
    delta: Tensor<3>,
    a: Tensor<2>,
    b: Tensor<4>,
    c: Tensor<4>,
    options: SelectiveScanOptions,
) -> SelectiveScanOutput {
    let dtype = u.dtype();
    let compute = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let [batch, length, d_inner] = delta.dims();
    let [_, d_state] = a.dims();
    let [_, _, n_groups, _] = b.dims();
    let SelectiveScanOptions {
        d,
        z,
        delta_bias,
        delta_softplus,
        initial_state,
        reset,
        order,
        direction,
        sum_over_orders,
        max_state_norm,
    } = options;

    let n_orders = order.as_ref().map_or(1, |order| order.dims()[0]);
    let u = match u.dims()[2] == d_inner {
        true => u.cast(compute),
        false => u.cast(compute).repeat_dim(2, n_orders),
    };
    let mut delta = delta.cast(compute);
    if let Some(bias) = delta_bias {
        delta = delta + bias.cast(compute).unsqueeze();
    }
    if delta_softplus {
        // Above 20 the softplus is the identity in the original.
        let linear = delta.clone().greater_scalar(20.0);
        delta = softplus(delta.clone().clamp_max(20.0), 1.0).mask_where(linear, delta);
    }

    // Cast once, so that the gradients of all orders add up in full precision.
    let (b, c) = (b.cast(compute), c.cast(compute));
    // Every order scans its own block of channels.
    let block = d_inner / n_orders;
    let mut ys = Vec::with_capacity(n_orders);
    let mut states = Vec::with_capacity(n_orders);
    for k in 0..n_orders {
        let table = order.as_ref().map(|order| order.table.clone().narrow(0, k, 1).squeeze_dim(0));
        let visit = Visit { order: table, reverse: direction == Direction::Reverse };
        let channels = |x: &Tensor<3>| visit.there(x.clone().narrow(2, k * block, block));
        let grouped = |x: &Tensor<4>| visit.there(x.clone());
        let reset = reset.as_ref().map(|reset| {
            let row = if reset.dims()[1] == 1 { 0 } else { k };
            visit.there(reset.clone().narrow(1, row, 1).squeeze_dim::<2>(1).int())
        });
        let (u_k, delta_k, b_k, c_k) = (channels(&u), channels(&delta), grouped(&b), grouped(&c));
        let a_k = a.clone().cast(compute).narrow(0, k * block, block).unsqueeze_dim::<3>(0);
        // [batch, n_groups, d_state] of one token to [batch, block, d_state] of the channels of this order.
        let of_channels = |x: &Tensor<4>, t: usize| {
            x.clone()
                .narrow(1, t, 1)
                .reshape([batch, n_groups, 1, d_state])
                .expand([batch, n_groups, d_inner / n_groups, d_state])
                .reshape([batch, d_inner, d_state])
                .narrow(1, k * block, block)
        };

        let mut h = match &initial_state {
            Some(state) => state.clone().cast(compute).narrow(1, k * block, block),
            None => Tensor::zeros([batch, block, d_state], (&u.device(), compute)),
        };
        let mut y = Vec::with_capacity(length);
        for t in 0..length {
            if let Some(reset) = &reset {
                let at: Tensor<3, Bool> = reset.clone().narrow(1, t, 1).bool().unsqueeze_dim(2);
                h = h.mask_fill(at.expand([batch, block, d_state]), 0.0);
            }
            let delta_t = delta_k.clone().narrow(1, t, 1).swap_dims(1, 2);
            let u_t = u_k.clone().narrow(1, t, 1).swap_dims(1, 2);
            h = (delta_t.clone() * a_k.clone()).exp() * h + delta_t * u_t * of_channels(&b_k, t);
            if let Some(norm) = max_state_norm {
                h = within(h, norm);
            }
            y.push((h.clone() * of_channels(&c_k, t)).sum_dim(2).swap_dims(1, 2));
        }
        ys.push(visit.back(Tensor::cat(y, 1)));
        states.push(h);
    }

    let mut y = Tensor::cat(ys, 2);
    if let Some(d) = d {
        y = y + u * d.cast(compute).unsqueeze();
    }
    if let Some(z) = z {
        let z = z.cast(compute);
        y = y * sigmoid(z.clone()) * z;
    }
    if sum_over_orders {
        y = y.reshape([batch, length, n_orders, block]).sum_dim(2).squeeze_dim(2);
    }
    SelectiveScanOutput { y: y.cast(dtype), final_state: Tensor::cat(states, 1) }
}

/// `h`, `[batch, channels, d_state]`, with the states of no channel longer than `norm`; shorter ones stay as they are.
fn within(h: Tensor<3>, norm: f64) -> Tensor<3> {
    // The root of no less than 1: its gradient is finite where all states are zero.
    let times = h.clone().square().sum_dim(2).div_scalar(norm * norm).clamp_min(1.0).sqrt();
    h / times
}

/// The logistic function in the type of `x`: Burn's own takes f64 through f32 on most devices (burn-backend 0.22.1).
pub(crate) fn sigmoid(x: Tensor<3>) -> Tensor<3> {
    log_sigmoid(x).exp()
}

/// Brings dimension 1 into the order of visits, and back.
pub(crate) struct Visit {
    pub(crate) order: Option<Tensor<1, Int>>,
    pub(crate) reverse: bool,
}

impl Visit {
    pub(crate) fn there<const D: usize, K: burn::tensor::kind::Basic>(&self, x: Tensor<D, K>) -> Tensor<D, K> {
        let x = match &self.order {
            Some(order) => x.select(1, order.clone()),
            None => x,
        };
        if self.reverse { x.flip([1]) } else { x }
    }

    pub(crate) fn back<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let x = if self.reverse { x.flip([1]) } else { x };
        match &self.order {
            Some(order) => x.select(1, order.clone().argsort(0)),
            None => x,
        }
    }
}
