//! Everything that can be wrong with what the user gave us.

use std::path::{Path, PathBuf};

/// An error that ends the program with exit code 2 and this text on one line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot write {path}: {source}")]
    Write { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Data(#[from] mamba_vision::data::DataError),
    #[error("the images of {path} have the dimensions {found:?}, expected {expected:?} as those to train on")]
    OtherImages { path: PathBuf, found: [usize; 3], expected: [usize; 3] },
    #[error("the model cannot be built: {0}")]
    Model(#[from] mamba_blocks::ConfigError),
    #[error("{0}")]
    Order(#[from] mamba_vision::OrderError),
    #[error("--{flag} {given}: expected {expected}")]
    Flag { flag: &'static str, given: String, expected: &'static str },
    #[error("unknown device `{name}`; this build has {available}")]
    UnknownDevice { name: String, available: String },
    #[error("device `{name}` is not compiled in; this build has {available} (build with `--features {name}`)")]
    DeviceNotCompiled { name: String, available: String },
    #[error("device `{name}` does not start: {reason}")]
    DeviceStart { name: String, reason: String },
    #[error("{path} already holds a run: add --overwrite to replace it")]
    RunExists { path: PathBuf },
    #[error("training diverged at step {step} (loss {loss}): lower --lr")]
    Diverged { step: usize, loss: f32 },
    #[error("no learning-rate schedule: {0}")]
    Schedule(String),
    #[error("cannot draw the curves: {0}")]
    Plot(String),
    #[error("the model cannot be stored in {path}: {reason}")]
    Store { path: PathBuf, reason: String },
}

impl Error {
    /// An output file or folder that cannot be written.
    pub fn write(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        |source| Self::Write { path, source }
    }
}
