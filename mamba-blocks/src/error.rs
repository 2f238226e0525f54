//! What is wrong with something that came from outside.

use burn::tensor::DType;
use std::path::PathBuf;
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

/// Shapes have at most three such factors.
const MAX_SIZE: usize = 1 << 20;

impl ConfigError {
    /// Checks that sizes, each with its name, are neither zero nor so large that products of them overflow.
    ///
    /// # Errors
    /// [`Zero`](Self::Zero) or [`TooLarge`](Self::TooLarge), which name the first at fault.
    ///
    /// ```
    /// use mamba_blocks::ConfigError;
    ///
    /// let error = ConfigError::check_sizes(&[("d_model", 16), ("d_state", 0)]).unwrap_err();
    /// assert_eq!(error, ConfigError::Zero { name: "d_state" });
    /// ```
    pub fn check_sizes(sizes: &[(&'static str, usize)]) -> Result<(), Self> {
        for &(name, value) in sizes {
            match value {
                0 => return Err(Self::Zero { name }),
                1..=MAX_SIZE => {}
                _ => return Err(Self::TooLarge { name, value, expected: MAX_SIZE }),
            }
        }
        Ok(())
    }
}

/// Why [`MambaLm::generate`](crate::MambaLm::generate) or [`MambaLm::beam_search`](crate::MambaLm::beam_search) did not
/// go on.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum GenerationError {
    /// There is no prompt to go on from.
    #[error("there are {batch} prompts, the shortest of {length} tokens, expected at least one of each")]
    EmptyPrompt {
        /// Number of prompts.
        batch: usize,
        /// Tokens in the shortest.
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
    /// The state has another number of layers than the model.
    #[error("the state has {found} layers, expected {expected}")]
    StateLayers {
        /// Layers of the state.
        found: usize,
        /// Layers of the model.
        expected: usize,
    },
    /// The state is one of another model, or for another number of prompts.
    #[error("`{key}` of the state has shape {found:?}, expected {expected:?}")]
    StateShape {
        /// The tensor at fault.
        key: String,
        /// Its shape.
        found: [usize; 3],
        /// The shape for this model and number of prompts.
        expected: [usize; 3],
    },
    /// A stop token is not in the vocabulary.
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
    /// A probability outside of [0, 1].
    #[error("`min_p` is {0}, expected 0 to 1")]
    MinP(f64),
    /// A penalty that is no positive number.
    #[error("`repetition_penalty` is {0}, expected a positive number; 1 is none")]
    RepetitionPenalty(f64),
    /// The beams are none, or not divisible into the groups, or fewer than are to be returned.
    #[error(
        "there are {num_beams} beams in {num_groups} groups, {num_return} to be returned: expected at least one of each, \
         beams divisible by the groups, and no more returned than there are"
    )]
    Beams {
        /// Number of beams.
        num_beams: usize,
        /// Number of groups.
        num_groups: usize,
        /// Number of results for each prompt.
        num_return: usize,
    },
    /// A penalty of beam search that is not finite, or a negative diversity penalty.
    #[error("`{name}` is {value}, expected {expected}")]
    BeamPenalty {
        /// The setting at fault.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What it may be.
        expected: &'static str,
    },
    /// The model returned a NaN or an infinity.
    #[error("the logits after {tokens} new tokens of prompt {row} are not finite: the model's parameters are broken")]
    NotFinite {
        /// The prompt.
        row: usize,
        /// How many tokens had been generated.
        tokens: usize,
    },
}

/// Why documents were not packed into rows.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum PackError {
    /// There is nothing to pack.
    #[error("there are no documents, expected at least one")]
    NoDocuments,
    /// A document does not fit a row, or is none.
    #[error("document {document} has {length} tokens, expected 1 to {row_length} as a row has")]
    Length {
        /// The document.
        document: usize,
        /// Its tokens.
        length: usize,
        /// Tokens of a row.
        row_length: usize,
    },
}

/// Why a state could not be saved or loaded.
#[derive(Debug, Error)]
pub enum StateError {
    /// The file cannot be read.
    #[error("cannot read the state {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write the state {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is damaged, or of another format.
    #[error("the state {path} is no complete safetensors file: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A tensor is not there.
    #[error("the state {path} has no `{key}`, expected one of shape {expected:?}")]
    Missing {
        /// The file.
        path: PathBuf,
        /// The tensor.
        key: String,
        /// The shape that it would have.
        expected: Vec<usize>,
    },
    /// A tensor that the model has no use for.
    #[error("the state {path} has `{key}`, which is no part of a state of this model")]
    Unexpected {
        /// The file.
        path: PathBuf,
        /// The tensor.
        key: String,
    },
    /// The state is one of another model.
    #[error("`{key}` of the state {path} has shape {found:?}, expected {expected:?}")]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor at fault.
        key: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape for this model; the number of sequences is that of `layers.0.ssm`.
        expected: Vec<usize>,
    },
    /// The state is one of a model of another precision.
    #[error("`{key}` of the state {path} is {found}, expected {expected:?}")]
    Dtype {
        /// The file.
        path: PathBuf,
        /// The tensor at fault.
        key: String,
        /// Its type.
        found: String,
        /// The type for this model.
        expected: DType,
    },
}
