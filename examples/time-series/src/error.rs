//! Everything that can be wrong with what the user gave us.

use std::path::{Path, PathBuf};

use examples_common::device::DeviceError;
use examples_common::files::FileError;

/// An error that ends the program with exit code 2 and this text on one line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    NoDevice(#[from] DeviceError),
    #[error(transparent)]
    Data(#[from] mamba_ts::data::DataError),
    #[error(transparent)]
    Forecast(#[from] mamba_ts::forecast::ForecastError),
    #[error(transparent)]
    Training(#[from] mamba_ts::training::TrainingError),
    #[error("the model cannot be built: {0}")]
    Model(#[from] mamba_blocks::ConfigError),
    #[error("{path} already holds a run: add --resume to continue it, --overwrite to replace it")]
    RunExists { path: PathBuf },
    #[error("no run in {path}")]
    NoRun { path: PathBuf },
    #[error("{path} is damaged: {reason}")]
    Damaged { path: PathBuf, reason: String },
    #[error(
        "the settings of the run in {path} are others: start it with --overwrite, or give those of its settings.json"
    )]
    OtherSettings { path: PathBuf },
    #[error("{path} cannot be stored: {reason}")]
    Store { path: PathBuf, reason: String },
    #[error("cannot draw {path}: {reason}")]
    Plot { path: PathBuf, reason: String },
    #[error("cannot listen for Ctrl-C: {0}")]
    Interrupt(#[from] ctrlc::Error),
}

impl Error {
    /// An output file or folder that cannot be written.
    pub fn write(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let error = FileError::write(path);
        |source| Self::File(error(source))
    }

    /// An input file or folder that cannot be read.
    pub fn read(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let error = FileError::read(path);
        |source| Self::File(error(source))
    }
}
