//! Everything that can be wrong with what the user gave us.

use std::path::{Path, PathBuf};

use examples_common::device::DeviceError;
use examples_common::files::FileError;
use examples_common::plot::PlotError;

/// An error that ends the program with exit code 2 and this text on one line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    NoDevice(#[from] DeviceError),
    #[error("the text {path} is empty")]
    EmptyText { path: PathBuf },
    #[error("the text {path} is too short: {part} has {found} {unit}, at least {needed} are needed")]
    ShortText { path: PathBuf, part: &'static str, found: usize, needed: usize, unit: &'static str },
    #[error("the text {path} is not the one that the model was trained on: choose a text with --file")]
    OtherText { path: PathBuf },
    #[error("--{flag} {given}: expected {expected}")]
    Flag { flag: &'static str, given: String, expected: String },
    #[error("the model cannot be built: {0}")]
    Model(#[from] mamba_blocks::ConfigError),
    #[error("the blocks have {parameters} parameters, expected at most {most}: lower --d-model or --n-layer")]
    ModelTooLarge { parameters: u128, most: u128 },
    #[error("the model cannot write: {0}")]
    Generation(#[from] mamba_blocks::GenerationError),
    #[error("no checkpoint in {path}")]
    NoCheckpoint { path: PathBuf },
    #[error("{path} is not a checkpoint of this program: {reason}")]
    ForeignCheckpoint { path: PathBuf, reason: String },
    #[error("the checkpoint file {path} is damaged: {reason}")]
    DamagedCheckpoint { path: PathBuf, reason: String },
    #[error("{path} holds a model with a vocabulary of {found}, expected {expected} (one for each byte)")]
    Vocabulary { path: PathBuf, found: usize, expected: usize },
    #[error("the text {path} is not UTF-8, which the tokenizer needs: {reason}")]
    NotUtf8 { path: PathBuf, reason: std::str::Utf8Error },
    #[error("the tokenizer {path} does not work: {reason}")]
    Tokenizer { path: PathBuf, reason: String },
    #[error("the tokenizer {path} has {found} tokens, expected at most the {expected} of the model")]
    TokenizerVocabulary { path: PathBuf, found: usize, expected: usize },
    #[error("--{flag} {given} conflicts with {stored} of the checkpoint in {path}")]
    Conflict { flag: String, given: String, stored: String, path: PathBuf },
    #[error("{path} already holds a run: add --resume to continue it, --overwrite to replace it")]
    RunExists { path: PathBuf },
    #[error(transparent)]
    Pretrained(#[from] mamba_blocks::CheckpointError),
    #[error("{path} is not the model that the run started from: its weights are others")]
    OtherModel { path: PathBuf },
    #[error("no adapters for this model: {0}")]
    Lora(#[from] mamba_blocks::LoraError),
    #[cfg(feature = "hub")]
    #[error(transparent)]
    Hub(#[from] mamba_blocks::HubError),
    #[error(transparent)]
    State(#[from] mamba_blocks::StateError),
    #[error("{path} already holds a model: choose another folder with --merge")]
    MergeExists { path: PathBuf },
    #[error("the tokenizer {path} does not cut the text at byte {at} as it does from further back")]
    TokenizerCut { path: PathBuf, at: u64 },
    #[error("{path} already holds a model: choose another folder with --out")]
    ModelExists { path: PathBuf },
    #[error("a published model has no text of its own: --file names the one to measure it on")]
    NoFile,
    #[error("there are no token ids: at least one is needed")]
    NoIds,
    #[error("`{found}` is no token id: expected a whole number from 0 to 2147483647")]
    Id { found: String },
    #[error("token {id} at position {position} is not in the vocabulary of {vocabulary}")]
    Token { id: u32, position: usize, vocabulary: usize },
    #[error("the device does not give the result back: {0}")]
    Device(String),
    #[error("the prompt is empty: at least one token is needed")]
    EmptyPrompt,
    #[error("training diverged at step {step} (loss {loss}): lower --lr or --clip")]
    Diverged { step: usize, loss: f32 },
    #[error("no learning-rate schedule: {0}")]
    Schedule(String),
    #[error(transparent)]
    Plot(#[from] PlotError),
    #[error("cannot listen for Ctrl-C: {0}")]
    Interrupt(#[from] ctrlc::Error),
}

impl Error {
    /// An input file or folder that cannot be read.
    pub fn read(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let error = FileError::read(path);
        |source| Self::File(error(source))
    }

    /// An output file or folder that cannot be written.
    pub fn write(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let error = FileError::write(path);
        |source| Self::File(error(source))
    }
}
