//! What is wrong with something that came from outside.

use thiserror::Error;

/// Why a configuration describes no model.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ConfigError {
    /// A size is zero.
    #[error("`{name}` is 0, expected at least 1")]
    Zero {
        /// The setting at fault.
        name: &'static str,
    },
    /// A size is larger than any that makes sense.
    #[error("`{name}` is {value}, expected at most {expected}")]
    TooLarge {
        /// The setting at fault.
        name: &'static str,
        /// Its value.
        value: usize,
        /// The largest size.
        expected: usize,
    },
    /// A number is outside its range.
    #[error("`{name}` is {value}, expected {expected}")]
    OutOfRange {
        /// The setting at fault.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What it may be.
        expected: &'static str,
    },
    /// The range of the initial time steps is empty.
    #[error("`dt_min` is {dt_min} and `dt_max` is {dt_max}, expected 0 < dt_min < dt_max")]
    DtRange {
        /// The smallest initial time step.
        dt_min: f64,
        /// The largest initial time step.
        dt_max: f64,
    },
}

/// Checks that sizes are neither zero nor so large that products of them overflow.
pub(crate) fn check_sizes(sizes: &[(&'static str, usize)]) -> Result<(), ConfigError> {
    for &(name, value) in sizes {
        match value {
            0 => return Err(ConfigError::Zero { name }),
            1..=MAX_SIZE => {}
            _ => return Err(ConfigError::TooLarge { name, value, expected: MAX_SIZE }),
        }
    }
    Ok(())
}

/// Shapes have at most three such factors.
const MAX_SIZE: usize = 1 << 20;

/// Why [`MambaLm::generate`](crate::MambaLm::generate) did not go on.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum GenerationError {
    /// There is no prompt to go on from.
    #[error("the prompt has {batch} rows of {length} tokens, expected at least one of each")]
    EmptyPrompt {
        /// Rows of the prompt.
        batch: usize,
        /// Tokens in each row.
        length: usize,
    },
    /// A token is not in the vocabulary.
    #[error("token {token} at position {position} of prompt {row} is not in the vocabulary of {vocab_size}")]
    PromptToken {
        /// The prompt.
        row: usize,
        /// The position in it.
        position: usize,
        /// The token found there.
        token: i64,
        /// The size of the vocabulary, without padding.
        vocab_size: usize,
    },
    /// The stop token is not in the vocabulary.
    #[error("the stop token {token} is not in the vocabulary of {vocab_size}")]
    StopToken {
        /// The stop token.
        token: u32,
        /// The size of the vocabulary, without padding.
        vocab_size: usize,
    },
    /// A temperature that is no positive number.
    #[error("`temperature` is {0}, expected a positive number; use greedy sampling for the limit of 0")]
    Temperature(f64),
    /// No token would be left.
    #[error("`top_k` is 0, expected at least 1, or none to keep every token")]
    TopK,
    /// A probability outside of (0, 1].
    #[error("`top_p` is {0}, expected more than 0 and at most 1")]
    TopP(f64),
    /// The model returned a NaN or an infinity.
    #[error("the logits after {tokens} new tokens of prompt {row} are not finite: the model's parameters are broken")]
    NotFinite {
        /// The prompt.
        row: usize,
        /// How many tokens had been generated.
        tokens: usize,
    },
}
