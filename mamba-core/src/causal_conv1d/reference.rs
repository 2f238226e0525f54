//! The convolution in plain tensor operations: the oracle of the kernels, and the path for f64 and for devices
//! without a kernel.

use super::{CausalConv1dOptions, CausalConv1dOutput, zeros};
use crate::Direction;
use crate::selective_scan::reference::{Visit, sigmoid};
use burn::tensor::{DType, Tensor};

/// [`causal_conv1d`](super::causal_conv1d()) as a sum over shifted inputs; same arguments, result and gradients.
///
/// ```
/// use burn::tensor::{Device, Distribution, Tensor};
/// use mamba_core::{CausalConv1dOptions, causal_conv1d, causal_conv1d::reference};
///
/// let device = Device::default();
/// let x = Tensor::<3>::random([2, 10, 8], Distribution::Default, &device);
/// let weight = Tensor::<2>::random([8, 4], Distribution::Default, &device);
///
/// let kernel = causal_conv1d(x.clone(), weight.clone(), CausalConv1dOptions::new());
/// let oracle = reference::causal_conv1d(x, weight, CausalConv1dOptions::new());
/// assert!((kernel.y - oracle.y).abs().max().into_scalar::<f32>() < 1e-5);
/// ```
pub fn causal_conv1d(x: Tensor<3>, weight: Tensor<2>, options: CausalConv1dOptions) -> CausalConv1dOutput {
    let dtype = x.dtype();
    let compute = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let [batch, length, channels] = x.dims();
    let [_, width] = weight.dims();
    let CausalConv1dOptions { bias, silu: activate, initial_state, reset, order, direction } = options;
    let before = match initial_state {
        Some(state) if width > 1 => state.cast(compute),
        _ => zeros([batch, width - 1, channels], &x.device(), compute),
    };

    let n_orders = order.as_ref().map_or(1, |order| order.dims()[0]);
    let block = channels / n_orders;
    let mut ys = Vec::with_capacity(n_orders);
    let mut states = Vec::with_capacity(n_orders);
    for k in 0..n_orders {
        let table = order.as_ref().map(|order| order.table.clone().narrow(0, k, 1).squeeze_dim(0));
        let visit = Visit { order: table, reverse: direction == Direction::Reverse };
        let x_k = visit.there(x.clone().cast(compute).narrow(2, k * block, block));
        let padded = Tensor::cat(vec![before.clone().narrow(2, k * block, block), x_k], 1);
        // The number of resets up to a step tells which inputs it sees: those of its own segment.
        let segment = reset.as_ref().map(|reset| {
            let row = if reset.dims()[1] == 1 { 0 } else { k };
            let reset = visit.there(reset.clone().narrow(1, row, 1).squeeze_dim::<2>(1).int());
            let before = zeros([batch, width - 1], &reset.device(), reset.dtype());
            Tensor::cat(vec![before, reset.cumsum(1)], 1)
        });
        let seen = |start: usize, len: usize, from: usize, from_len: usize| {
            let x = padded.clone().narrow(1, start, len);
            match &segment {
                Some(segment) => {
                    let now = segment.clone().narrow(1, from, from_len);
                    let other = segment.clone().narrow(1, start, len).equal(now.expand([batch, len])).bool_not();
                    x.mask_fill(other.unsqueeze_dim::<3>(2).expand([batch, len, block]), 0.0)
                }
                None => x,
            }
        };
        let mut y = Tensor::zeros([batch, length, block], (&x.device(), compute));
        for tap in 0..width {
            let w = weight.clone().cast(compute).narrow(0, k * block, block).narrow(1, tap, 1);
            y = y + seen(tap, length, width - 1, length) * w.reshape([1, 1, block]);
        }
        ys.push(visit.back(y));
        if width > 1 {
            states.push(seen(length, width - 1, width - 2 + length, 1));
        }
    }

    let mut y = Tensor::cat(ys, 2);
    if let Some(bias) = bias {
        y = y + bias.cast(compute).unsqueeze();
    }
    if activate {
        y = y.clone() * sigmoid(y);
    }
    let final_state = match width {
        1 => zeros([batch, 0, channels], &x.device(), dtype),
        _ => Tensor::cat(states, 2).cast(dtype),
    };
    CausalConv1dOutput { y: y.cast(dtype), final_state }
}
