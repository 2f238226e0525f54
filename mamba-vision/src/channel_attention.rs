//! The attention over channels that LocalMamba and EfficientVMamba share.

use crate::init;
use burn::module::Module;
use burn::nn::{LayerNorm, LayerNormConfig, Linear};
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor};
use mamba_blocks::parts::{normalize, project};
use mamba_core::gelu;

/// Every channel times a factor that the mean over all tokens tells: the channel half of LocalMamba's SCAttn (Huang et
/// al. 2024), which is all of it in the published models.
#[derive(Module, Debug)]
pub struct ChannelAttention {
    /// Norm of every token.
    pub norm: LayerNorm,
    /// From the mean token to an eighth of its channels.
    pub global_reduce: Linear,
    /// From these to the factors before their sigmoid.
    pub channel_select: Linear,
}

impl ChannelAttention {
    /// An eighth of `channels`, which has been checked to be at least 8.
    pub(crate) fn new(channels: usize, device: &Device) -> Self {
        Self {
            norm: LayerNormConfig::new(channels).init(device),
            global_reduce: init::linear(channels, channels / REDUCTION, true, device),
            channel_select: init::linear(channels / REDUCTION, channels, true, device),
        }
    }

    /// `[batch, tokens, channels]`, the same shape.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let mean = normalize(&self.norm, x.clone()).mean_dim(1);
        let reduced = gelu(project(&self.global_reduce, mean));
        x * sigmoid(project(&self.channel_select, reduced))
    }
}

/// Channels for one channel between the two projections.
pub(crate) const REDUCTION: usize = 8;
