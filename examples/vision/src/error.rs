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
    Data(#[from] mamba_vision::data::DataError),
    #[error("the images of {path} have the dimensions {found:?}, expected {expected:?} as those to train on")]
    OtherImages { path: PathBuf, found: [usize; 3], expected: [usize; 3] },
    #[error("the model cannot be built: {0}")]
    Model(#[from] mamba_blocks::ConfigError),
    #[error("{0}")]
    Order(#[from] mamba_vision::OrderError),
    #[error("--{flag} {given}: expected {expected}")]
    Flag { flag: &'static str, given: String, expected: &'static str },
    #[error("{path} already holds a run: add --overwrite to replace it")]
    RunExists { path: PathBuf },
    #[error("training diverged at step {step} (loss {loss}): lower --lr")]
    Diverged { step: usize, loss: f32 },
    #[error("no learning-rate schedule: {0}")]
    Schedule(String),
    #[error(transparent)]
    Plot(#[from] PlotError),
    #[error("the model cannot be stored in {path}: {reason}")]
    Store { path: PathBuf, reason: String },
}

impl Error {
    /// An output file or folder that cannot be written.
    pub fn write(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let error = FileError::write(path);
        |source| Self::File(error(source))
    }
}
