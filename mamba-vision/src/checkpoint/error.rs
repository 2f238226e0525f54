//! Why a checkpoint was not loaded.

use mamba_blocks::{CheckpointError, TensorProblems};
use std::path::PathBuf;
use thiserror::Error;

/// Why the weights of a vision model were not loaded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The file cannot be read, or is damaged.
    #[error(transparent)]
    File(#[from] CheckpointError),
    /// The tensors are not those of the model.
    #[error("the tensors in {path} are not those of the model: {}{problems}", told(.looks_like))]
    Tensors {
        /// The file.
        path: PathBuf,
        /// What is missing, left over or different.
        problems: TensorProblems,
        /// The published model that they look like.
        looks_like: Option<String>,
    },
}

fn told(looks_like: &Option<String>) -> String {
    looks_like.as_ref().map(|name| format!("they look like {name}; ")).unwrap_or_default()
}
