//! Classes of sequences.

use crate::bimamba::BiMamba;
use crate::caduceus::Caduceus;
use crate::mixer::Mixer;
use crate::rcps::{self, reverse_complement};
use burn::config::Config;
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Int, Tensor};
use mamba_blocks::parts::project;

/// How the features of all nucleotides become those of the sequence.
#[derive(Config, Debug, Copy, PartialEq)]
pub enum Pooling {
    /// Their mean, as in the paper.
    Mean,
    /// The largest of each channel.
    Max,
    /// Those of the first nucleotide.
    First,
    /// Those of the last nucleotide.
    Last,
}

impl Pooling {
    /// `[batch, channels]` of `[batch, length, channels]`.
    pub fn of(self, x: Tensor<3>) -> Tensor<2> {
        let [_, length, _] = x.dims();
        let pooled = match self {
            Self::Mean => x.mean_dim(1),
            Self::Max => x.max_dim(1),
            Self::First => x.narrow(1, 0, 1),
            Self::Last => x.narrow(1, length - 1, 1),
        };
        pooled.squeeze_dim(1)
    }
}

/// Caduceus with a head for classes of sequences. Made by [`CaduceusConfig::classifier`](crate::CaduceusConfig::classifier).
#[derive(Module, Debug)]
pub struct CaduceusClassifier<M: Module = BiMamba> {
    /// The model.
    pub caduceus: Caduceus<M>,
    /// From `d_model` to the classes.
    pub score: Linear,
    /// How the features of all nucleotides become those of the sequence.
    #[module(skip)]
    pub pooling: Pooling,
}

impl<M: Mixer> CaduceusClassifier<M> {
    /// The logits `[batch, classes]` for tokens `[batch, length]`. A model for both strands averages what each gives;
    /// its logits are those of the other strand, too.
    ///
    /// # Panics
    /// If `batch` or `length` is zero.
    pub fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<2> {
        let (strand, other) = self.pooled(tokens);
        let of = |pooled| project(&self.score, pooled);
        match other {
            Some(other) => (of(strand) + of(other)).div_scalar(2.0),
            None => of(strand),
        }
    }

    /// The mean of the logits for both strands (post-hoc conjoining): what a model for one strand is evaluated by.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn forward_conjoined(&self, tokens: Tensor<2, Int>) -> Tensor<2> {
        let other = reverse_complement(tokens.clone());
        (self.forward(tokens) + self.forward(other)).div_scalar(2.0)
    }

    /// What the score is taken of, each `[batch, d_model]`: the features of the sequence, and those of the other strand.
    pub fn pooled(&self, tokens: Tensor<2, Int>) -> (Tensor<2>, Option<Tensor<2>>) {
        // Each strand from its own first nucleotide on.
        let rows = self.pooling.of(self.caduceus.rows(tokens));
        match self.caduceus.order {
            Some(_) => {
                let (strand, other) = rcps::strands(rows);
                (strand, Some(other.flip([0])))
            }
            None => (rows, None),
        }
    }
}
