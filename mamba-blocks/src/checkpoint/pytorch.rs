//! PyTorch files. burn-store's reader runs nothing of a pickle and trusts no length in it.

use super::error::CheckpointError;
use super::weights::{Source, Stored};
use burn::tensor::DType;
use burn_store::pytorch_reader::{self, PytorchError, PytorchReader};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use zip::{CompressionMethod, ZipArchive};

/// Opens a PyTorch file of any kind. Nothing in it is executed, and it takes no more memory than the file has bytes.
///
/// # Errors
/// [`CheckpointError::Read`] and [`CheckpointError::Damaged`].
pub fn open_pytorch(path: &Path) -> Result<PytorchReader, CheckpointError> {
    refuse_compressed(path)?;
    PytorchReader::new(path).map_err(|error| match error {
        PytorchError::Io(source) if source.raw_os_error().is_some() => CheckpointError::read(path)(source),
        error => CheckpointError::damaged(path, error),
    })
}

/// The tensors of a file.
pub(super) fn open(path: &Path) -> Result<Vec<(String, Stored)>, CheckpointError> {
    let reader = open_pytorch(path)?;
    let stored = |tensor: pytorch_reader::Tensor| Stored {
        path: path.to_path_buf(),
        shape: tensor.shape().to_vec(),
        dtype: match tensor.dtype() {
            pytorch_reader::DType::F64 => Ok(DType::F64),
            pytorch_reader::DType::F32 => Ok(DType::F32),
            pytorch_reader::DType::F16 => Ok(DType::F16),
            pytorch_reader::DType::BF16 => Ok(DType::BF16),
            other => Err(format!("{other:?}")),
        },
        source: Source::Pytorch(tensor),
    };
    Ok(reader.into_tensors().into_iter().map(|(key, tensor)| (key, stored(tensor))).collect())
}

/// PyTorch compresses nothing, and a small archive may unpack to a pickle that fills the memory.
fn refuse_compressed(path: &Path) -> Result<(), CheckpointError> {
    let mut file = File::open(path).map_err(CheckpointError::read(path))?;
    let mut start = Vec::new();
    file.by_ref().take(2).read_to_end(&mut start).map_err(CheckpointError::read(path))?;
    if start != b"PK" {
        return Ok(()); // No archive, but one of the older formats.
    }
    let damaged = |error| CheckpointError::damaged(path, error);
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(damaged)?;
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(damaged)?;
        if entry.compression() != CompressionMethod::Stored {
            return Err(CheckpointError::damaged(path, "a part of it is compressed, which PyTorch's own never are"));
        }
    }
    Ok(())
}
