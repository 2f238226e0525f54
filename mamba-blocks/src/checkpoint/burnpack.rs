//! Burn's own format for the weights: the paths of our parameters, and linear layers as Burn has them.

use super::error::CheckpointError;
use super::keys;
use super::weights::{Source, Stored};
use burn::tensor::DType;
use burn_store::burn_pack::Reader;
use std::path::Path;

/// The tensors of a file, under the names and shapes of the published layouts.
pub(super) fn open(path: &Path) -> Result<Vec<(String, Stored)>, CheckpointError> {
    let tensors = Reader::from_file_exact(path).and_then(Reader::into_tensors);
    let tensors = tensors.map_err(|error| CheckpointError::damaged(path, error))?;
    let stored = tensors.into_iter().map(|tensor| {
        let key = keys::published(&tensor.name);
        let mut shape = tensor.shape.to_vec();
        if keys::is_linear(&key) {
            shape.reverse();
        }
        let dtype = match tensor.dtype {
            dtype @ (DType::F64 | DType::F32 | DType::F16 | DType::BF16) => Ok(dtype),
            other => Err(format!("{other:?}")),
        };
        (key, Stored { path: path.to_path_buf(), shape, dtype, source: Source::Burnpack(tensor) })
    });
    Ok(stored.collect())
}
