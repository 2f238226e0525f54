//! The kernel for Burn's CPU backend.

use super::backend::LinearRecurrenceBackend;
use burn::backend::flex::FlexTensor;
use burn::backend::ops::FloatTensorOps;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::TensorData;

// ANCHOR: flex
impl LinearRecurrenceBackend for Flex {
    fn linear_recurrence(decay: FlexTensor, x: FlexTensor) -> FlexTensor {
        let [_, length, channels] = x.shape().dims();
        let (decay, mut h) = (values(&decay), values(&x));
        // Sequence by sequence, token by token: a token's channels lie side by side.
        for (decay, h) in decay.chunks(length * channels).zip(h.chunks_mut(length * channels)) {
            for t in 1..length {
                for e in 0..channels {
                    let at = t * channels + e;
                    h[at] += decay[at] * h[at - channels];
                }
            }
        }
        tensor(h, &x)
    }

    fn linear_recurrence_backward(decay: FlexTensor, h: FlexTensor, grad_h: FlexTensor) -> (FlexTensor, FlexTensor) {
        let [_, length, channels] = h.shape().dims();
        let (a, states, mut grad_x) = (values(&decay), values(&h), values(&grad_h));
        let mut grad_decay = vec![0.0; a.len()];
        let size = length * channels;
        let rows =
            a.chunks(size).zip(states.chunks(size)).zip(grad_x.chunks_mut(size)).zip(grad_decay.chunks_mut(size));
        for (((a, states), grad), grad_decay) in rows {
            for at in (channels..size).rev() {
                let before = at - channels;
                grad_decay[at] = grad[at] * states[before];
                grad[before] += a[at] * grad[at];
            }
        }
        (tensor(grad_decay, &h), tensor(grad_x, &h))
    }
}

/// The values, row by row; a tensor may be a transposed or expanded view.
fn values(x: &FlexTensor) -> Vec<f32> {
    x.to_contiguous().as_slice::<f32>().expect("the operator checked the dtype").to_vec()
}

/// A tensor of the shape and on the device of `like`.
fn tensor(values: Vec<f32>, like: &FlexTensor) -> FlexTensor {
    Flex::float_from_data(TensorData::new(values, like.shape()), &like.device())
}
// ANCHOR_END: flex
