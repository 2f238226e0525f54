//! The outputs of all directions as one.

use super::LOCAL_CHOICES;
use crate::channel_attention::ChannelAttention;
use crate::order::Order;
use burn::module::{Initializer, Module, Param};
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor};
use std::cmp::Ordering;

/// One attention for the outputs of all directions, and their sum. In a search, every output is normed and the sum is
/// weighted; the weights are what is searched for (Huang et al. 2024, section 4.2).
#[derive(Module, Debug)]
pub struct DirectionMerge {
    /// The attention of every direction's output.
    pub attn: ChannelAttention,
    /// In a search, what the weights of [`LOCAL_CHOICES`] are before their softmax: `[8, 1, 1, 1]`.
    pub weights: Option<Param<Tensor<4>>>,
}

impl DirectionMerge {
    pub(crate) fn new(channels: usize, is_search: bool, device: &Device) -> Self {
        let weights = || Initializer::Normal { mean: 0.0, std: 1e-3 }.init([LOCAL_CHOICES.len(), 1, 1, 1], device);
        Self { attn: ChannelAttention::new(channels, device), weights: is_search.then(weights) }
    }

    /// One output `[batch, tokens, channels]` for each direction; returns the same shape.
    pub fn forward(&self, outputs: impl IntoIterator<Item = Tensor<3>>) -> Tensor<3> {
        let outputs = outputs.into_iter().map(|y| self.attn.forward(y));
        let outputs: Vec<_> = match &self.weights {
            None => outputs.collect(),
            Some(weights) => {
                let weights = softmax(weights.val(), 0);
                let weight = |k| weights.clone().narrow(0, k, 1).squeeze_dim::<3>(0);
                outputs.enumerate().map(|(k, y)| normed(y) * weight(k)).collect()
            }
        };
        outputs.into_iter().reduce(|sum, y| sum + y).expect("a block has directions")
    }

    /// The `count` directions with the greatest weights, in the order of [`LOCAL_CHOICES`]; none without a search.
    pub fn strongest(&self, count: usize) -> Option<Vec<Order>> {
        let weights: Vec<_> = self.weights.as_ref()?.val().into_data().iter::<f32>().collect();
        let mut ranked: Vec<_> = (0..weights.len()).collect();
        ranked.sort_by(|&i, &j| weights[j].partial_cmp(&weights[i]).unwrap_or(Ordering::Equal));
        ranked.truncate(count);
        ranked.sort_unstable();
        Some(ranked.into_iter().map(|k| LOCAL_CHOICES[k]).collect())
    }
}

/// A layer norm without parameters.
fn normed(x: Tensor<3>) -> Tensor<3> {
    let (variance, mean) = x.clone().var_mean_bias(2);
    (x - mean) / variance.add_scalar(1e-5).sqrt()
}
