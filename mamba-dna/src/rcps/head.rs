//! Logits from both strands.

use super::{complements, stack, strands};
use burn::config::Config;
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use mamba_core::linear;

/// Configuration of an [`RcpsLmHead`].
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mamba_dna::rcps::RcpsLmHeadConfig;
///
/// let device = Device::default();
/// let head = RcpsLmHeadConfig::new(8, 16).init(&device);
/// assert_eq!(head.forward(Tensor::ones([1, 7, 16], &device)).dims(), [1, 7, 16]);
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct RcpsLmHeadConfig {
    /// Channels of one strand.
    pub d_model: usize,
    /// Number of tokens, padding included.
    pub vocabulary: usize,
}

impl RcpsLmHeadConfig {
    /// Makes the layer.
    pub fn init(&self, device: &Device) -> RcpsLmHead {
        RcpsLmHead { lm_head: LinearConfig::new(self.d_model, self.vocabulary).with_bias(false).init(device) }
    }
}

/// What the strand at hand says of a token, and what the other says of its complement. Made by [`RcpsLmHeadConfig`].
#[derive(Module, Debug)]
pub struct RcpsLmHead {
    /// From the channels of one strand to the tokens.
    pub lm_head: Linear,
}

impl RcpsLmHead {
    /// The logits `[batch, length, vocabulary]` of `[batch, length, 2 * d_model]`. On the other strand, they are those
    /// of the complements at the same places from the end.
    ///
    /// # Panics
    /// If shapes do not fit.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        logits(stack(x), self.lm_head.weight.val())
    }
}

/// Of the rows of [both strands](stack); `weight` is `[d_model, vocabulary]`.
pub(crate) fn logits(rows: Tensor<3>, weight: Tensor<2>) -> Tensor<3> {
    let [_, vocabulary] = weight.dims();
    let complements = complements(vocabulary, &weight.device());
    let (strand, other) = strands(linear(rows, weight, None));
    strand + other.flip([0, 1]).select(2, complements)
}
