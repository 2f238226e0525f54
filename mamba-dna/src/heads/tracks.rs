//! Values of each nucleotide.

use crate::bimamba::BiMamba;
use crate::caduceus::Caduceus;
use crate::mixer::Mixer;
use crate::rcps::reverse_complement;
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Int, Tensor};
use mamba_blocks::parts::project;

/// Caduceus with a head for values of each nucleotide. Made by [`CaduceusConfig::tracks`](crate::CaduceusConfig::tracks).
#[derive(Module, Debug)]
pub struct CaduceusTracks<M: Module = BiMamba> {
    /// The model.
    pub caduceus: Caduceus<M>,
    /// From `d_model` to the tracks.
    pub head: Linear,
}

impl<M: Mixer> CaduceusTracks<M> {
    /// The tracks `[batch, length, tracks]` for tokens `[batch, length]`. A model for both strands averages what each
    /// gives: the tracks of the other strand are the same, from their end.
    ///
    /// # Panics
    /// If `batch` or `length` is zero.
    pub fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let (strand, other) = self.caduceus.strands(tokens);
        let strand = project(&self.head, strand);
        match other {
            Some(other) => (strand + project(&self.head, other)).div_scalar(2.0),
            None => strand,
        }
    }

    /// The mean over both strands: what a model for one strand is evaluated by.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn forward_conjoined(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let other = self.forward(reverse_complement(tokens.clone())).flip([1]);
        (self.forward(tokens) + other).div_scalar(2.0)
    }
}
