//! From logits to a token.

mod repetition;
mod sampler;

pub(super) use repetition::Repetition;
pub(super) use sampler::Sampler;

use crate::error::GenerationError;
use burn::config::Config;

/// How the next token is chosen.
#[derive(Config, Debug, PartialEq)]
pub enum Sampling {
    /// The most likely token; the first of several.
    Greedy,
    /// One drawn by its probability.
    Random(Draw),
}

/// A draw from the softmax of `logits / temperature`, cut to its most likely tokens; as in Hugging Face's `generate`,
/// the cuts come in the order of the fields, and each sees what the one before it left.
#[derive(Config, Debug, PartialEq)]
pub struct Draw {
    /// Below 1 sharpens the distribution, above 1 flattens it.
    #[config(default = 1.0)]
    pub temperature: f64,
    /// Keeps this many tokens, and those as likely as the last of them; none keeps all.
    pub top_k: Option<usize>,
    /// Keeps the fewest tokens whose probabilities sum to at least this (nucleus sampling, Holtzman et al. 2020); none
    /// keeps all.
    pub top_p: Option<f64>,
    /// Keeps the tokens that are at least this times as likely as the most likely one (Nguyen et al. 2024); none keeps
    /// all.
    pub min_p: Option<f64>,
}

impl Sampling {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`GenerationError`], which names the setting at fault.
    pub fn validate(&self) -> Result<(), GenerationError> {
        let Self::Random(Draw { temperature, top_k, top_p, min_p }) = *self else {
            return Ok(());
        };
        if !(temperature > 0.0 && temperature.is_finite()) {
            return Err(GenerationError::Temperature(temperature));
        }
        if top_k == Some(0) {
            return Err(GenerationError::TopK);
        }
        if let Some(p) = top_p.filter(|p| !(*p > 0.0 && *p <= 1.0)) {
            return Err(GenerationError::TopP(p));
        }
        match min_p.filter(|p| !(0.0..=1.0).contains(p)) {
            Some(p) => Err(GenerationError::MinP(p)),
            None => Ok(()),
        }
    }
}
