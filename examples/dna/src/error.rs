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
    #[error(transparent)]
    Data(#[from] mamba_dna::data::DataError),
    #[error(transparent)]
    Checkpoint(#[from] mamba_blocks::CheckpointError),
    #[error("the model cannot be built: {0}")]
    Model(#[from] mamba_blocks::ConfigError),
    #[error("the model cannot write: {0}")]
    Generation(#[from] mamba_blocks::GenerationError),
    #[error(transparent)]
    Plot(#[from] PlotError),
    #[error("--{flag} {given}: expected {expected}")]
    Flag { flag: &'static str, given: String, expected: String },
    #[error("{path} holds {found}, expected {expected}")]
    Kind { path: PathBuf, found: &'static str, expected: &'static str },
    #[error("{path} already holds a run: add --resume to continue it, --overwrite to replace it")]
    RunExists { path: PathBuf },
    #[error("no checkpoint in {path}")]
    NoCheckpoint { path: PathBuf },
    #[error("the checkpoint file {path} is damaged: {reason}")]
    DamagedCheckpoint { path: PathBuf, reason: String },
    #[error("--{flag} differs from the run in {path}, which has {stored}: a run is continued as it was started")]
    Conflict { flag: String, stored: String, path: PathBuf },
    #[error("{path} is too short: no contig has {needed} nucleotides in its {part} part")]
    ShortGenome { path: PathBuf, part: &'static str, needed: usize },
    #[error("line {line} of {path}: {reason}")]
    Line { path: PathBuf, line: usize, reason: String },
    #[error("{path}: {reason}")]
    Table { path: PathBuf, reason: String },
    #[error("{sequence} is no sequence: letter {letter:?} at position {position} is no nucleotide")]
    Sequence { sequence: &'static str, letter: char, position: usize },
    #[error("{path} was begun with other settings or another file: remove it to start anew")]
    OtherPart { path: PathBuf },
    #[error("training diverged at step {step} (loss {loss}): lower --lr")]
    Diverged { step: usize, loss: f32 },
    #[error("no learning-rate schedule: {0}")]
    Schedule(String),
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

/// An error that names `flag` unless `valid`.
pub fn check(flag: &'static str, given: impl ToString, valid: bool, expected: impl ToString) -> Result<(), Error> {
    match valid {
        true => Ok(()),
        false => Err(Error::Flag { flag, given: given.to_string(), expected: expected.to_string() }),
    }
}
