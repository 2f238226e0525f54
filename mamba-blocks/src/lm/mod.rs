//! A language model of Mamba blocks (Gu & Dao 2023, section 4.2).

mod config;
mod decoder;
mod generate;
mod sampling;

pub use config::MambaLmConfig;
pub use decoder::Decoder;
pub use generate::GenerationConfig;
pub use sampling::Sampling;

use crate::block::{MambaBlock, norm};
use crate::mamba::{MambaOptions, MambaState};
use crate::projection::project;
use burn::module::Module;
use burn::nn::{Embedding, Linear, RmsNorm};
use burn::tensor::{Device, Int, Tensor};
use mamba_core::linear;

/// Embedding, blocks, final norm and head. Made by [`MambaLmConfig`].
///
/// The vocabulary is padded; the last dimension of the logits, `padded_vocab`, is
/// [`padded_vocab_size`](MambaLmConfig::padded_vocab_size).
#[derive(Module, Debug)]
pub struct MambaLm {
    /// `[padded_vocab, d_model]`.
    pub embedding: Embedding,
    /// The blocks, first to last.
    pub layers: Vec<MambaBlock>,
    /// RMS norm of the output of the blocks.
    pub norm_f: RmsNorm,
    /// From `d_model` to `padded_vocab`; none if the embedding serves.
    pub lm_head: Option<Linear>,
    /// Number of different tokens, without padding.
    pub vocab_size: usize,
}

/// What a [`MambaLm`] remembers of the tokens that it has seen: as much after a million tokens as after one.
#[derive(Clone, Debug)]
pub struct LmState {
    /// The state of every layer.
    pub layers: Vec<MambaState>,
}

impl MambaLm {
    /// The logits of each next token, `[batch, length, padded_vocab]`, for tokens `[batch, length]`.
    ///
    /// # Panics
    /// If `batch` or `length` is zero. What a token outside of the vocabulary gives depends on the device.
    pub fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        self.head(self.hidden(tokens, None).0)
    }

    /// As [`forward`](Self::forward), from `state`; returns the state after the last token.
    ///
    /// # Panics
    /// As [`forward`](Self::forward), or if `state` has not one state for each layer.
    pub fn forward_with_state(&self, tokens: Tensor<2, Int>, state: LmState) -> (Tensor<3>, LmState) {
        let (hidden, state) = self.hidden(tokens, Some(state));
        (self.head(hidden), state)
    }

    /// One token for each row, `[batch]`: its logits `[batch, padded_vocab]` and the next state.
    pub fn step(&self, tokens: Tensor<1, Int>, state: LmState) -> (Tensor<2>, LmState) {
        let (logits, state) = self.forward_with_state(tokens.unsqueeze_dim(1), state);
        (logits.squeeze_dim(1), state)
    }

    /// The state before the first token of `batch` sequences.
    pub fn init_state(&self, batch: usize, device: &Device) -> LmState {
        LmState { layers: self.layers.iter().map(|layer| layer.mixer.init_state(batch, device)).collect() }
    }

    /// The output of the final norm, `[batch, length, d_model]`.
    fn hidden(&self, tokens: Tensor<2, Int>, state: Option<LmState>) -> (Tensor<3>, LmState) {
        let mut states = state.map(|state| state.layers.into_iter());
        if let Some(states) = &states {
            let (expected, actual) = (self.layers.len(), states.len());
            assert!(actual == expected, "MambaLm: the state has {actual} layers, expected {expected}");
        }
        let mut hidden = self.embedding.forward(tokens);
        let mut residual = None;
        let mut next = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let options = match states.as_mut().and_then(Iterator::next) {
                Some(state) => MambaOptions::new().with_state(state),
                None => MambaOptions::new(),
            };
            let (output, sum, state) = layer.forward_with(hidden, residual, options);
            (hidden, residual) = (output, Some(sum));
            next.push(state);
        }
        (norm(&self.norm_f, hidden, residual).normed, LmState { layers: next })
    }

    fn head(&self, hidden: Tensor<3>) -> Tensor<3> {
        match &self.lm_head {
            Some(head) => project(head, hidden),
            None => linear(hidden, self.embedding.weight.val().transpose(), None),
        }
    }
}
