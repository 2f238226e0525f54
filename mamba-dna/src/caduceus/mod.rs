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
use mamba_core::{AddRmsNormOutput, linear};

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

/// Add, norm, mixer; the stream between blocks is a pair as that of [`mamba_blocks::MambaBlock`]. For both strands it has
/// rows for each, `[2 * batch, length, d_model]`, all in their own direction; the other strand of row `i` is row
/// `2 * batch - 1 - i`.
#[derive(Module, Debug)]
pub struct CaduceusBlock<M: Module = BiMamba> {
    /// RMS norm of the residual stream of one strand.
    pub norm: RmsNorm,
    /// The mixer of one strand.
    pub mixer: M,
    /// The order of the norm if there are rows for both strands; none if there are for one.
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
        let rows = self.rows(tokens);
        if self.order.is_some() { rcps::unstack(rows) } else { rows }
    }

    /// Each strand's view of every nucleotide, `[batch, length, d_model]`, both in the direction of the strand at hand;
    /// the second is none if the model has one.
    pub fn strands(&self, tokens: Tensor<2, Int>) -> (Tensor<3>, Option<Tensor<3>>) {
        let rows = self.rows(tokens);
        match self.order {
            None => (rows, None),
            Some(_) => {
                let (strand, other) = rcps::strands(rows);
                (strand, Some(other.flip([0, 1])))
            }
        }
    }

    /// The output of the final norm as [`CaduceusBlock`] has it, `[rows, length, d_model]`.
    pub(crate) fn rows(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let mut hidden = match self.order {
            Some(_) => rcps::embed(&self.embedding, tokens),
            None => self.embedding.forward(tokens),
        };
        let mut residual = None;
        for layer in &self.layers {
            let (output, sum) = layer.forward(hidden, residual);
            (hidden, residual) = (output, Some(sum));
        }
        // In either order of the blocks' norms, the last leaves the strands where they are.
        rcps::add_norm(&self.norm_f, None, hidden, residual).normed
    }
}

impl<M: Mixer> CaduceusBlock<M> {
    /// `hidden` and `residual` are `[rows, length, d_model]`; the first block has no residual. Returns the next pair.
    ///
    /// # Panics
    /// If shapes do not fit.
    pub fn forward(&self, hidden: Tensor<3>, residual: Option<Tensor<3>>) -> (Tensor<3>, Tensor<3>) {
        let dtype = hidden.dtype();
        let AddRmsNormOutput { normed, sum } = rcps::add_norm(&self.norm, self.order, hidden, residual);
        (self.mixer.mix(normed), if self.residual_in_fp32 { sum } else { sum.cast(dtype) })
    }
}

impl<M: Mixer> CaduceusMaskedLm<M> {
    /// The logits of every nucleotide, `[batch, length, padded_vocab]`, for tokens `[batch, length]`.
    ///
    /// # Panics
    /// If `batch` or `length` is zero.
    pub fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let rows = self.caduceus.rows(tokens);
        let weight = self.caduceus.embedding.weight.val().transpose();
        match self.caduceus.order {
            Some(_) => rcps::logits(rows, weight),
            None => linear(rows, weight, None),
        }
    }
}
