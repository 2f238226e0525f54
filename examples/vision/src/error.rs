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
    #[error("the classes of {path} are not those to train on: {found} and {expected}")]
    OtherClasses { path: PathBuf, found: String, expected: String },
    #[error(
        "{path} has no data set: expected idx files (train-images-idx3-ubyte...), CIFAR-10 (data_batch_1.bin or .png), or \
         folders train and test with a folder for each class"
    )]
    NoData { path: PathBuf },
    #[error("the model cannot be built: {0}")]
    Model(#[from] mamba_blocks::ConfigError),
    #[error("{0}")]
    Order(#[from] mamba_vision::OrderError),
    #[error(transparent)]
    Weights(#[from] mamba_vision::WeightsError),
    #[error("--{flag} {given}: expected {expected}")]
    Flag { flag: &'static str, given: String, expected: &'static str },
    #[error("{path} already holds a run: add --resume to continue it, --overwrite to replace it")]
    RunExists { path: PathBuf },
    #[error("no checkpoint in {path}")]
    NoCheckpoint { path: PathBuf },
    #[error("{path} is not a checkpoint of this program: {reason}")]
    ForeignCheckpoint { path: PathBuf, reason: String },
    #[error("the checkpoint file {path} is damaged: {reason}")]
    DamagedCheckpoint { path: PathBuf, reason: String },
    #[error("--{flag} {given} conflicts with {stored} of the checkpoint in {path}")]
    Conflict { flag: String, given: String, stored: String, path: PathBuf },
    #[error("training diverged at step {step} (loss {loss}): lower --lr")]
    Diverged { step: usize, loss: f32 },
    #[error("no learning-rate schedule: {0}")]
    Schedule(String),
    #[error(transparent)]
    Plot(#[from] PlotError),
    #[error("none of the {count} images can be read, such as this: {first}")]
    NoImages { count: usize, first: Box<Error> },
    #[error("{path} has no PNG or JPEG files")]
    NoPictures { path: PathBuf },
    #[error("a linear model has no features to explain: give a run of the VMamba or the CNN")]
    NoFeatures,
    #[error("{path} is no raster image that can be read: {reason}")]
    Raster { path: PathBuf, reason: String },
    #[error("--bands {band}: {path} has {bands} bands, counted from 1")]
    Band { path: PathBuf, band: usize, bands: usize },
    #[error("--crop {given}: {path} has {width} columns and {height} rows")]
    Crop { path: PathBuf, given: String, width: usize, height: usize },
    #[error("Ctrl-C cannot be listened for: {0}")]
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
