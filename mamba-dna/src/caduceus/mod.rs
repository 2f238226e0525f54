//! Caduceus (Schiff et al. 2024): DNA read from both ends and, in its PS form, on both strands alike.

mod config;
mod pretrained;

pub use config::CaduceusConfig;

use crate::bimamba::BiMamba;
use crate::mixer::Mixer;
use crate::rcps::{self, NormOrder};
use burn::module::Module;
use burn::nn::{Embedding, RmsNorm};
use burn::tensor::{Int, Tensor};
use mamba_core::{AddRmsNormOutput, add_rms_norm, linear};

/// Embedding, blocks and final norm. Made by [`CaduceusConfig`]; with a head it is a [`CaduceusMaskedLm`],
/// [`CaduceusClassifier`](crate::CaduceusClassifier) or [`CaduceusTracks`](crate::CaduceusTracks).
#[derive(Module, Debug)]
pub struct Caduceus<M: Module = BiMamba> {
    /// `[padded_vocab, d_model]`.
    pub embedding: Embedding,
    /// The blocks, first to last.
    pub layers: Vec<CaduceusBlock<M>>,
    /// RMS norm of the output of the blocks.
    pub norm_f: RmsNorm,
    /// The order of the blocks' norms if the model commutes with the reverse complement (PS); none if not (Ph).
    #[module(skip)]
    pub order: Option<NormOrder>,
}

/// Add, norm, mixer, on one strand or on both; the stream between blocks is a pair as that of
/// [`mamba_blocks::MambaBlock`].
#[derive(Module, Debug)]
pub struct CaduceusBlock<M: Module = BiMamba> {
    /// RMS norm of the residual stream of one strand.
    pub norm: RmsNorm,
    /// The mixer of one strand.
    pub mixer: M,
    /// The order of the norm if the stream is that of both strands; none if it is that of one.
    #[module(skip)]
    pub order: Option<NormOrder>,
    /// Whether the residual stream is kept in f32.
    pub residual_in_fp32: bool,
}

/// Caduceus with the head of masked language models, which shares its weight with the embedding.
#[derive(Module, Debug)]
pub struct CaduceusMaskedLm<M: Module = BiMamba> {
    /// The model.
    pub caduceus: Caduceus<M>,
}

impl<M: Mixer> Caduceus<M> {
    /// The output of the final norm for [tokens](crate::tokens) `[batch, length]`: `[batch, length, d_model]`, or
    /// `[batch, length, 2 * d_model]` for both strands; see [`rcps`].
    ///
    /// # Panics
    /// If `batch` or `length` is zero.
    pub fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let mut hidden = match self.order {
            Some(_) => rcps::embed(&self.embedding, tokens),
            None => self.embedding.forward(tokens),
        };
        let mut residual = None;
        for layer in &self.layers {
            let (output, sum) = layer.forward(hidden, residual);
            (hidden, residual) = (output, Some(sum));
        }
        // In either order of the blocks' norms, the last leaves the halves where they are.
        add_norm(&self.norm_f, self.order.map(|_| NormOrder::Plain), hidden, residual).normed
    }

    /// Each strand's view of every nucleotide, `[batch, length, d_model]`, both in the direction of the strand at hand;
    /// the second is none if the model has one.
    pub fn strands(&self, tokens: Tensor<2, Int>) -> (Tensor<3>, Option<Tensor<3>>) {
        let hidden = self.forward(tokens);
        match self.order {
            None => (hidden, None),
            Some(_) => {
                let (strand, other) = rcps::halves(hidden);
                (strand, Some(other.flip([2])))
            }
        }
    }
}

impl<M: Mixer> CaduceusBlock<M> {
    /// `hidden` and `residual` are `[batch, length, channels]`; the first block has no residual. Returns the next pair.
    ///
    /// # Panics
    /// If shapes do not fit.
    pub fn forward(&self, hidden: Tensor<3>, residual: Option<Tensor<3>>) -> (Tensor<3>, Tensor<3>) {
        let dtype = hidden.dtype();
        let AddRmsNormOutput { normed, sum } = add_norm(&self.norm, self.order, hidden, residual);
        let hidden = match self.order {
            Some(_) => rcps::on_both_strands(&self.mixer, normed),
            None => self.mixer.mix(normed),
        };
        (hidden, if self.residual_in_fp32 { sum } else { sum.cast(dtype) })
    }
}

impl<M: Mixer> CaduceusMaskedLm<M> {
    /// The logits of every nucleotide, `[batch, length, padded_vocab]`, for tokens `[batch, length]`.
    ///
    /// # Panics
    /// If `batch` or `length` is zero.
    pub fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let hidden = self.caduceus.forward(tokens);
        let weight = self.caduceus.embedding.weight.val().transpose();
        match self.caduceus.order {
            Some(_) => rcps::logits(hidden, weight),
            None => linear(hidden, weight, None),
        }
    }
}

fn add_norm(
    norm: &RmsNorm,
    order: Option<NormOrder>,
    hidden: Tensor<3>,
    residual: Option<Tensor<3>>,
) -> AddRmsNormOutput {
    match order {
        Some(order) => rcps::add_norm(norm, order, hidden, residual),
        None => add_rms_norm(hidden, residual, norm.gamma.val(), norm.epsilon),
    }
}
