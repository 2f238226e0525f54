//! The tensors of a checkpoint: where they are, not yet what they hold.

use super::error::CheckpointError;
use super::{burnpack, files, pytorch, safetensors};
use burn::tensor::{DType, TensorData};
use burn_store::{burn_pack, pytorch_reader};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A tensor in a file.
pub(super) struct Stored {
    pub path: PathBuf,
    pub shape: Vec<usize>,
    /// The name of the file format's dtype if parameters cannot have it.
    pub dtype: Result<DType, String>,
    pub source: Source,
}

/// Where the bytes of a tensor come from.
pub(super) enum Source {
    /// `bytes` from `start` on.
    Safetensors {
        file: Arc<File>,
        start: u64,
        bytes: usize,
    },
    Pytorch(pytorch_reader::Tensor),
    /// The weights of linear layers are the other way round than the shape says.
    Burnpack {
        reader: Arc<burn_pack::Reader>,
        tensor: burn_pack::Tensor,
    },
}

impl Stored {
    pub fn bytes(&self) -> u64 {
        match &self.source {
            Source::Safetensors { bytes, .. } => *bytes as u64,
            Source::Pytorch(tensor) => tensor.byte_len() as u64,
            Source::Burnpack { tensor, .. } => tensor.byte_len() as u64,
        }
    }

    /// The values as they are in the file.
    pub fn read(&self) -> Result<TensorData, CheckpointError> {
        let damaged = |reason: String| CheckpointError::damaged(&self.path, reason);
        let dtype = self.dtype.clone().map_err(damaged)?;
        let bytes = match &self.source {
            Source::Safetensors { file, start, bytes } => safetensors::read(file, *start, *bytes),
            Source::Pytorch(tensor) => tensor.read(),
            // Into memory: the tensor's own bytes stay in the file, and a GPU may read them when that is gone.
            Source::Burnpack { reader, tensor } => {
                let bytes = reader.tensor_data(&tensor.name).map_err(|error| damaged(error.to_string()))?;
                return TensorData::try_from_bytes_vec(bytes, tensor.shape.clone(), dtype)
                    .map_err(|error| damaged(error.to_string()));
            }
        };
        let bytes = bytes.map_err(|error| match error.raw_os_error() {
            Some(_) => CheckpointError::read(&self.path)(error),
            None => damaged(error.to_string()),
        })?;
        TensorData::try_from_bytes_vec(bytes, self.shape.clone(), dtype).map_err(|error| damaged(error.to_string()))
    }
}

/// The tensors of all files of a checkpoint, by name.
pub(super) struct Weights {
    pub folder: PathBuf,
    pub tensors: BTreeMap<String, Stored>,
    /// The size of the files.
    pub file_bytes: u64,
}

impl Weights {
    /// Opens the files with weights in `folder`; reads no more than their headers.
    pub fn open(folder: &Path) -> Result<Self, CheckpointError> {
        let mut weights = Self { folder: folder.to_path_buf(), tensors: BTreeMap::new(), file_bytes: 0 };
        let found = files::find(folder)?;
        for path in &found.paths {
            weights.file_bytes += files::size(path)?;
            for (key, stored) in open_file(path)? {
                if let Some(first) = weights.tensors.insert(key.clone(), stored) {
                    let reason = format!("`{key}` is in {} as well", first.path.display());
                    return Err(CheckpointError::damaged(path, reason));
                }
            }
        }
        for (key, path) in &found.places {
            if weights.tensors.get(key).is_none_or(|stored| stored.path != *path) {
                return Err(CheckpointError::damaged(path, format!("`{key}` is not in it, but the index says so")));
            }
        }
        Ok(weights)
    }

    pub fn contains(&self, key: &str) -> bool {
        self.tensors.contains_key(key)
    }
}

/// The tensors of one file, whose kind its name tells. Reads no more than its header.
pub(super) fn open_file(path: &Path) -> Result<Vec<(String, Stored)>, CheckpointError> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("safetensors") => safetensors::open(path),
        Some("bpk") => burnpack::open(path),
        _ => pytorch::open(path),
    }
}
