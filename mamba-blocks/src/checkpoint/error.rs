//! Everything that can be wrong with a checkpoint.

use crate::error::ConfigError;
use crate::lora::LoraError;
use std::fmt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a checkpoint was not loaded or saved.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {path}: {reason}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// No file with weights is there.
    #[error("no weights in {folder}: expected {expected}")]
    NoWeights {
        /// The folder.
        folder: PathBuf,
        /// The names that are looked for.
        expected: String,
    },
    /// A file is not what its name says, or is cut short, or contradicts itself.
    #[error("{path} is damaged or of another kind: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// An index names a shard that is no file of the checkpoint's own folder.
    #[error("{path} names the shard `{shard}`, expected the name of a file in the same folder")]
    ShardOutside {
        /// The index.
        path: PathBuf,
        /// What it names.
        shard: String,
    },
    /// A setting asks for a model that this library does not have.
    #[error("{path} has `{name}` {found}, expected {expected}")]
    Unsupported {
        /// The configuration file.
        path: PathBuf,
        /// The setting.
        name: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// The settings describe no model.
    #[error("{path} describes no model: {source}")]
    Config {
        /// The configuration file.
        path: PathBuf,
        /// The setting at fault.
        source: ConfigError,
    },
    /// The tensors are not those of the model.
    #[error("the tensors in {path} are not those of the model: {problems}")]
    Tensors {
        /// The file, or the folder of the checkpoint.
        path: PathBuf,
        /// What is missing, left over or different.
        problems: TensorProblems,
    },
    /// The settings describe no adapters for this model.
    #[error("{path} describes no adapters for this model: {source}")]
    Adapter {
        /// The configuration file.
        path: PathBuf,
        /// The setting at fault.
        source: LoraError,
    },
    /// The tensors are not the factors of the adapters that the configuration describes.
    #[error("the tensors in {folder} are not those that adapter_config.json describes: {problems}")]
    Factors {
        /// The folder of the adapter.
        folder: PathBuf,
        /// What is missing, left over or different.
        problems: TensorProblems,
    },
    /// The tensors claim more bytes than the files could hold.
    #[error("the tensors in {folder} claim {claimed} bytes, expected at most {expected} for files of this size")]
    TooLarge {
        /// The folder of the checkpoint.
        folder: PathBuf,
        /// Bytes of all tensors.
        claimed: u64,
        /// The most that files of this size can hold.
        expected: u64,
    },
    /// The head is to share its weight with the embedding, but the file has another weight for it.
    #[error("`{key}` in {path} differs from the embedding, expected the same values as the head is tied to it")]
    UntiedHead {
        /// The file.
        path: PathBuf,
        /// The head's weight.
        key: String,
    },
    /// Two tensors are to be one parameter, but differ.
    #[error("`{key}` in {path} differs from `{with}`, expected the same values as the two are tied")]
    Untied {
        /// The file.
        path: PathBuf,
        /// The tensor.
        key: String,
        /// What it is tied to.
        with: String,
    },
    /// The device cannot hold the wanted dtype, or it is no dtype for parameters.
    #[error("parameters cannot have the dtype {found} on this device, expected {expected}")]
    DType {
        /// The wanted dtype.
        found: String,
        /// What it may be.
        expected: String,
    },
}

impl CheckpointError {
    pub(super) fn read(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        |source| Self::Read { path, source }
    }

    pub(super) fn write(path: &Path, reason: impl ToString) -> Self {
        Self::Write { path: path.to_path_buf(), reason: reason.to_string() }
    }

    pub(super) fn damaged(path: &Path, reason: impl ToString) -> Self {
        Self::Damaged { path: path.to_path_buf(), reason: reason.to_string() }
    }
}

/// One tensor that is not as the configuration describes it. Shapes are PyTorch's.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TensorProblem {
    /// It is in no file.
    Missing {
        /// Its name.
        key: String,
        /// The shape that it should have.
        expected: Vec<usize>,
    },
    /// The model has no such tensor.
    Unexpected {
        /// Its name.
        key: String,
        /// The file that holds it.
        file: PathBuf,
        /// Its shape.
        found: Vec<usize>,
    },
    /// It has another shape.
    Shape {
        /// Its name.
        key: String,
        /// The file that holds it.
        file: PathBuf,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that it should have.
        expected: Vec<usize>,
    },
    /// It does not hold floating-point numbers that can be read.
    DType {
        /// Its name.
        key: String,
        /// The file that holds it.
        file: PathBuf,
        /// Its dtype.
        found: String,
    },
}

impl fmt::Display for TensorProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { key, expected } => write!(f, "`{key}` is missing, expected with shape {expected:?}"),
            Self::Unexpected { key, file, found } => {
                write!(f, "`{key}` with shape {found:?} in {} is not part of the model", file.display())
            }
            Self::Shape { key, file, found, expected } => {
                write!(f, "`{key}` in {} has shape {found:?}, expected {expected:?}", file.display())
            }
            Self::DType { key, file, found } => {
                write!(f, "`{key}` in {} has dtype {found}, expected F64, F32, F16 or BF16", file.display())
            }
        }
    }
}

/// All that is wrong with the tensors of a checkpoint; the text tells the first few.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorProblems(pub Vec<TensorProblem>);

impl fmt::Display for TensorProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const TOLD: usize = 5;
        for (i, problem) in self.0.iter().take(TOLD).enumerate() {
            write!(f, "{}{problem}", if i == 0 { "" } else { "; " })?;
        }
        match self.0.len().saturating_sub(TOLD) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}
