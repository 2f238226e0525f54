//! Weighted averages of earlier outputs (section 3.1, equations 11 and 12 of the paper).

use burn::module::{Initializer, Module, Param};
use burn::tensor::{Device, Tensor};

/// Learnt weights of the outputs of all mixers before.
#[derive(Module, Debug)]
pub struct Averages {
    /// One for each output of a token mixer: `[tokens]`.
    pub tokens: Param<Tensor<1>>,
    /// One for each output of a channel mixer: `[channels]`.
    pub channels: Param<Tensor<1>>,
}

impl Averages {
    /// Starts as the plain mean.
    pub(super) fn new(tokens: usize, channels: usize, device: &Device) -> Self {
        let mean = Initializer::Constant { value: 1.0 / (tokens + channels) as f64 };
        Self { tokens: mean.init([tokens], device), channels: mean.init([channels], device) }
    }

    /// The sum of all outputs, each times its weight.
    ///
    /// # Panics
    /// If there is another number of outputs.
    pub fn forward(&self, tokens: &[Tensor<3>], channels: &[Tensor<3>]) -> Tensor<3> {
        let weighted = |weights: &Param<Tensor<1>>, outputs: &[Tensor<3>]| {
            let weights: Tensor<4> = weights.val().unsqueeze();
            (Tensor::stack::<4>(outputs.to_vec(), 3) * weights).sum_dim(3).squeeze_dim::<3>(3)
        };
        weighted(&self.tokens, tokens) + weighted(&self.channels, channels)
    }
}
