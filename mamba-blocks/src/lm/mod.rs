//! A language model of Mamba blocks (Gu & Dao 2023, section 4.2).

mod beam;
mod config;
mod decoder;
mod generate;
mod long_context;
mod packed;
mod prompts;
mod recompute;
mod sampling;
mod state;

pub use beam::{BeamConfig, BeamOutput, EarlyStopping};
pub use config::MambaLmConfig;
pub use decoder::Decoder;
pub use generate::{Generated, GenerationConfig};
pub use packed::Packed;
pub use prompts::Prompts;
pub use sampling::{Draw, Sampling};
pub use state::LmState;

use crate::block::{MambaBlock, norm};
use crate::mamba::MambaOptions;
use crate::parts::project;
use burn::module::Module;
use burn::nn::{Embedding, Linear, RmsNorm};
use burn::tensor::{Bool, Device, Int, Tensor};
use mamba_core::linear_transposed;

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

/// The optional arguments of [`MambaLm::forward_with`].
///
/// ```
/// use burn::tensor::{Bool, Device, Int, Tensor};
/// use mamba_blocks::{LmOptions, MambaLmConfig};
///
/// let device = Device::default();
/// let model = MambaLmConfig::new(32, 16, 1).init(&device);
/// let tokens = Tensor::<2, Int>::from_ints([[1, 2, 3, 4]], &device);
/// // The second document starts at the third token.
/// let starts = Tensor::<2, Bool>::from_data([[true, false, true, false]], &device);
/// let options = LmOptions::new().with_state(model.init_state(1, &device)).with_reset(starts);
/// let (logits, _state) = model.forward_with(tokens, options);
/// assert_eq!(logits.dims(), [1, 4, 32]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct LmOptions {
    state: Option<LmState>,
    reset: Option<Tensor<2, Bool>>,
}

impl LmOptions {
    /// From an empty state.
    pub fn new() -> Self {
        Self::default()
    }

    /// Goes on from `state`. Gradients flow through it.
    pub fn with_state(mut self, state: LmState) -> Self {
        self.state = Some(state);
        self
    }

    /// Nothing before a token whose entry is true is seen from it on: `[batch, length]`. Documents packed into one row
    /// are apart with a reset at their starts; so is a prompt from padding on its left.
    pub fn with_reset(mut self, reset: Tensor<2, Bool>) -> Self {
        self.reset = Some(reset);
        self
    }
}

impl MambaLm {
    /// The logits of each next token, `[batch, length, padded_vocab]`, for tokens `[batch, length]`.
    ///
    /// # Panics
    /// If `batch` or `length` is zero. What a token outside of the vocabulary gives depends on the device.
    pub fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        self.forward_with(tokens, LmOptions::new()).0
    }

    /// As [`forward`](Self::forward), from `state`; returns the state after the last token.
    ///
    /// # Panics
    /// As [`forward`](Self::forward), or if `state` has not one state for each layer.
    pub fn forward_with_state(&self, tokens: Tensor<2, Int>, state: LmState) -> (Tensor<3>, LmState) {
        self.forward_with(tokens, LmOptions::new().with_state(state))
    }

    /// As [`forward`](Self::forward), with options; returns the state after the last token as well.
    ///
    /// # Panics
    /// As [`forward_with_state`](Self::forward_with_state), or if an option does not fit the tokens.
    pub fn forward_with(&self, tokens: Tensor<2, Int>, options: LmOptions) -> (Tensor<3>, LmState) {
        let (hidden, state) = self.hidden(tokens, options);
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
    fn hidden(&self, tokens: Tensor<2, Int>, options: LmOptions) -> (Tensor<3>, LmState) {
        let mut states = options.state.map(|state| state.layers.into_iter());
        if let Some(states) = &states {
            let (expected, actual) = (self.layers.len(), states.len());
            assert!(actual == expected, "MambaLm: the state has {actual} layers, expected {expected}");
        }
        let mut hidden = self.embedding.forward(tokens);
        let mut residual = None;
        let mut next = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let mut mixer = MambaOptions::new();
            if let Some(state) = states.as_mut().and_then(Iterator::next) {
                mixer = mixer.with_state(state);
            }
            if let Some(reset) = &options.reset {
                mixer = mixer.with_reset(reset.clone());
            }
            let (output, sum, state) = layer.forward_with(hidden, residual, mixer);
            (hidden, residual) = (output, Some(sum));
            next.push(state);
        }
        (norm(&self.norm_f, hidden, residual).normed, LmState { layers: next })
    }

    fn head(&self, hidden: Tensor<3>) -> Tensor<3> {
        match &self.lm_head {
            Some(head) => project(head, hidden),
            None => linear_transposed(hidden, self.embedding.weight.val()),
        }
    }
}
