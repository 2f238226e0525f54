//! A thread owns one channel of one chunk of tokens and slides a window of `width` inputs along it. What it needs of
//! its neighbours' tokens it reads again.

#![allow(clippy::collapsible_if, reason = "branches of the generated kernel and branches of its generation")]

use crate::cube::{sigmoid, step_at};
use cubecl::prelude::*;

/// The convolution of every chunk, and from the last one the final state.
#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn conv<F: Float>(
    x: &Tensor<F>,
    weight: &Tensor<f32>,
    bias: &Tensor<f32>,
    initial_state: &Tensor<F>,
    steps: ComptimeOption<&Tensor<i32>>,
    y: &mut Tensor<F>,
    final_state: &mut Tensor<F>,
    n_chunks: usize,
    n_orders: usize,
    #[comptime] width: usize,
    #[comptime] chunk: usize,
    #[comptime] silu: bool,
    #[comptime] reverse: bool,
    #[define(F)] _dtype: ElemType,
) {
    let channels = x.shape(2);
    let length = x.shape(1);
    if ABSOLUTE_POS >= x.shape(0) * n_chunks * channels {
        terminate!();
    }
    let channel = ABSOLUTE_POS % channels;
    let chunk_index = ABSOLUTE_POS / channels % n_chunks;
    let batch = ABSOLUTE_POS / channels / n_chunks;
    let order = channel / (channels / n_orders);
    let before = comptime![width - 1];
    let state = batch * initial_state.shape(1) * channels + channel;

    let mut w = Array::<f32>::new(width);
    let mut window = Array::<f32>::new(width);
    #[unroll]
    for k in 0..width {
        w[k] = weight[channel * width + k];
        window[k] = f32::new(0.0);
    }
    let start = chunk_index * chunk;
    let end = (start + chunk).min(length);
    // Steps are counted from `before` tokens ahead of the first, which are the initial state.
    for s in start..end + before {
        if s < before {
            slide(&mut window, f32::cast_from(initial_state[state + s * channels]), f32::new(1.0), width);
        } else {
            let step = step_at(&steps, batch, order, s - before, length, reverse);
            let x_t = x[batch * x.stride(0) + step.place * x.stride(1) + channel];
            slide(&mut window, f32::cast_from(x_t), step.keep, width);
            if s >= start + before {
                let mut pre = bias[channel];
                #[unroll]
                for k in 0..width {
                    pre += w[k] * window[k];
                }
                let out = if comptime![silu] { pre * sigmoid(pre) } else { pre };
                y[(batch * length + step.place) * channels + channel] = F::cast_from(out);
            }
        }
    }

    if chunk_index == n_chunks - 1 {
        if comptime![width == 1] {
            final_state[state] = F::new(0.0);
        }
        #[unroll]
        for k in 1..width {
            final_state[state + (k - 1) * channels] = F::cast_from(window[k]);
        }
    }
}

/// Forgets the window unless `keep` is 1, and takes in `value` at its end.
#[cube]
fn slide(window: &mut Array<f32>, value: f32, keep: f32, #[comptime] width: usize) {
    #[unroll]
    for k in 1..width {
        window[k - 1] = window[k] * keep;
    }
    window[comptime![width - 1]] = value;
}

/// All gradients of one chunk; those of weight and bias are partial sums.
#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn conv_backward<F: Float>(
    x: &Tensor<F>,
    weight: &Tensor<f32>,
    bias: &Tensor<f32>,
    initial_state: &Tensor<F>,
    steps: ComptimeOption<&Tensor<i32>>,
    grad_y: &Tensor<F>,
    grad_final_state: &Tensor<F>,
    grad_x: &mut Tensor<F>,
    // [batch, n_chunks, channels, width + 1]: those of the weights, then that of the bias
    grad_params: &mut Tensor<f32>,
    grad_initial_state: &mut Tensor<F>,
    n_chunks: usize,
    n_orders: usize,
    #[comptime] width: usize,
    #[comptime] chunk: usize,
    #[comptime] silu: bool,
    #[comptime] reverse: bool,
    #[define(F)] _dtype: ElemType,
) {
    let channels = x.shape(2);
    let length = x.shape(1);
    if ABSOLUTE_POS >= x.shape(0) * n_chunks * channels {
        terminate!();
    }
    let channel = ABSOLUTE_POS % channels;
    let chunk_index = ABSOLUTE_POS / channels % n_chunks;
    let batch = ABSOLUTE_POS / channels / n_chunks;
    let order = channel / (channels / n_orders);
    let before = comptime![width - 1];
    let state = batch * initial_state.shape(1) * channels + channel;

    let mut w = Array::<f32>::new(width);
    let mut grad_w = Array::<f32>::new(width);
    let mut window = Array::<f32>::new(width);
    // 1 for inputs of the window that the current token sees, and the gradients gathered by these inputs so far.
    let mut seen = Array::<f32>::new(width);
    let mut grads = Array::<f32>::new(width);
    #[unroll]
    for k in 0..width {
        w[k] = weight[channel * width + k];
        grad_w[k] = f32::new(0.0);
        window[k] = f32::new(0.0);
        seen[k] = f32::new(0.0);
        grads[k] = f32::new(0.0);
    }
    let mut grad_bias = f32::new(0.0);
    let start = chunk_index * chunk;
    let end = (start + chunk).min(length);
    // Inputs of this chunk are seen by up to `before` tokens of the next.
    let halo = (end + before).min(length);

    // Counted from the initial state: input s is token s - before. In the initial state's chunk those are owned too.
    let owned_from = if chunk_index == 0 { start } else { start + before };
    let owned_to = end + before;
    for s in start..halo + before {
        let mut keep = f32::new(1.0);
        let mut place = start;
        if s >= before {
            let step = step_at(&steps, batch, order, s - before, length, reverse);
            keep = step.keep;
            place = step.place;
        }
        let value = if s < before {
            f32::cast_from(initial_state[state + s * channels])
        } else {
            f32::cast_from(x[batch * x.stride(0) + place * x.stride(1) + channel])
        };
        // The oldest input leaves the window: its gradient is complete.
        if s >= start + width {
            let done = s - width;
            if done >= owned_from && done < owned_to {
                if done < before {
                    grad_initial_state[state + done * channels] = F::cast_from(grads[0]);
                } else {
                    let step = step_at(&steps, batch, order, done - before, length, reverse);
                    grad_x[(batch * length + step.place) * channels + channel] = F::cast_from(grads[0]);
                }
            }
        }
        slide(&mut window, value, keep, width);
        slide(&mut seen, f32::new(1.0), keep, width);
        slide(&mut grads, f32::new(0.0), f32::new(1.0), width);

        if s >= start + before {
            let mut g = f32::cast_from(grad_y[batch * grad_y.stride(0) + place * grad_y.stride(1) + channel]);
            if comptime![silu] {
                let mut pre = bias[channel];
                #[unroll]
                for k in 0..width {
                    pre += w[k] * window[k];
                }
                let sig = sigmoid(pre);
                g *= sig * (1.0 + pre * (1.0 - sig));
            }
            let own = select(s < owned_to, g, f32::new(0.0));
            grad_bias += own;
            #[unroll]
            for k in 0..width {
                grads[k] += w[k] * g * seen[k];
                grad_w[k] += own * window[k];
            }
        }
    }

    // The window's inputs at the end: the final state hands its gradient to those that it holds.
    let last = halo + before;
    #[unroll]
    for k in 0..width {
        if last + k >= start + width {
            let done = last + k - width;
            if done >= owned_from && done < owned_to {
                let mut grad = grads[k];
                if comptime![k > 0] {
                    if halo == length {
                        let row = comptime![k.max(1) - 1];
                        grad += seen[k] * f32::cast_from(grad_final_state[state + row * channels]);
                    }
                }
                if done < before {
                    grad_initial_state[state + done * channels] = F::cast_from(grad);
                } else {
                    let step = step_at(&steps, batch, order, done - before, length, reverse);
                    grad_x[(batch * length + step.place) * channels + channel] = F::cast_from(grad);
                }
            }
        }
    }
    if comptime![width == 1] {
        if chunk_index == 0 {
            grad_initial_state[state] = F::new(0.0);
        }
    }
    let params = ABSOLUTE_POS * comptime![width + 1];
    #[unroll]
    for k in 0..width {
        grad_params[params + k] = grad_w[k];
    }
    grad_params[params + width] = grad_bias;
}
