//! TSM2 (Behrouz et al. 2024, "MambaMixer: Efficient Selective State Space Models with Dual Token and Channel
//! Selection", arXiv:2403.19888): selective mixing over time and over variates, by turns.

mod averages;
mod config;

pub use averages::Averages;
pub use config::Tsm2Config;

use crate::baselines::check_look_back;
use crate::both_ways::both_ways;
use crate::data::Input;
use crate::network::Network;
use crate::normalization::RevIn;
use burn::module::Module;
use burn::nn::{Dropout, GroupNorm, Linear};
use burn::tensor::Tensor;
use mamba_blocks::Mamba;
use mamba_blocks::parts::project;

/// The Time Series MambaMixer. Made by [`Tsm2Config`].
///
/// Time marks are further variates, which no forecast is made for.
#[derive(Module, Debug)]
pub struct Tsm2 {
    /// Normalises every window by itself.
    pub rev_in: RevIn,
    /// The blocks, first to last.
    pub blocks: Vec<MambaMixerBlock>,
    /// What the head reads of all blocks.
    pub average: Averages,
    /// Dropout of what the head reads.
    pub dropout: Dropout,
    /// From the look-back of a variate to its horizon: `look_back` to `horizon * outputs`.
    pub head: Linear,
    /// Outputs for each value.
    pub outputs: usize,
}

/// A selective mixer over time and one over variates (section 3.1 of the paper).
#[derive(Module, Debug)]
pub struct MambaMixerBlock {
    /// What the token mixer reads of all mixers before it.
    pub token_average: Averages,
    /// Over time and variates together, before the token mixer.
    pub token_norm: GroupNorm,
    /// Over time, from the first row to the last; the variates are its channels.
    pub token_mixer: Mamba,
    /// What the channel mixer reads of all mixers before it.
    pub channel_average: Averages,
    /// Over time and variates together, before the channel mixer.
    pub channel_norm: GroupNorm,
    /// Over variates, from the first to the last; the rows are its channels.
    pub channel_mixer: Mamba,
    /// Over variates, from the last to the first.
    pub channel_mixer_r: Mamba,
    /// Dropout of what both mixers return.
    pub dropout: Dropout,
}

impl Network for Tsm2 {
    fn look_back(&self) -> usize {
        self.head.weight.dims()[0]
    }

    fn horizon(&self) -> usize {
        self.head.weight.dims()[1] / self.outputs
    }

    fn forecast(&self, Input { values, marks }: Input) -> Tensor<4> {
        check_look_back("Tsm2", &values, self.look_back());
        let [batch, _, variates] = values.dims();
        let (values, instance) = self.rev_in.normalize(values);
        let x = match marks {
            Some(marks) => Tensor::cat(vec![values, marks], 2),
            None => values,
        };
        // The input counts as the output of a mixer of either kind.
        let (mut tokens, mut channels) = (vec![x.clone()], vec![x]);
        for block in &self.blocks {
            block.forward(&mut tokens, &mut channels);
        }
        let x = self.average.forward(&tokens, &channels).narrow(2, 0, variates);
        let outputs = project(&self.head, self.dropout.forward(x).swap_dims(1, 2));
        let outputs = outputs.reshape([batch, variates, self.horizon(), self.outputs]).swap_dims(1, 2);
        self.rev_in.denormalize(outputs, instance)
    }
}

impl MambaMixerBlock {
    /// `tokens` and `channels` are what the mixers of all blocks before returned, `[batch, length, variates]` each;
    /// those of this block are added.
    pub fn forward(&self, tokens: &mut Vec<Tensor<3>>, channels: &mut Vec<Tensor<3>>) {
        let x = norm(&self.token_norm, self.token_average.forward(tokens, channels));
        tokens.push(self.dropout.forward(self.token_mixer.forward(x)));

        let x = norm(&self.channel_norm, self.channel_average.forward(tokens, channels)).swap_dims(1, 2);
        let y = both_ways(&self.channel_mixer, &self.channel_mixer_r, x).swap_dims(1, 2);
        channels.push(self.dropout.forward(y));
    }
}

/// One group of all variates: mean and variance are those of the whole window.
fn norm(norm: &GroupNorm, x: Tensor<3>) -> Tensor<3> {
    norm.forward(x.swap_dims(1, 2)).swap_dims(1, 2)
}
