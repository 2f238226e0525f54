//! Safetensors files, tensor by tensor.
//!
//! Not through burn-store: it maps the whole file, whose pages would count a second time beside the parameters, and a
//! file that is cut short while it is mapped ends the process.

use super::error::CheckpointError;
use super::weights::{Source, Stored};
use burn::tensor::{DType, TensorData};
use safetensors::tensor::{Metadata, TensorView, serialize};
use safetensors::{Dtype, SafeTensorError};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

/// Larger headers are refused, as the format's own library does.
const LARGEST_HEADER: u64 = 100_000_000;

/// The tensors of a file, after its header has been checked against its size.
pub(super) fn open(path: &Path) -> Result<Vec<(String, Stored)>, CheckpointError> {
    let damaged = |reason: String| CheckpointError::damaged(path, reason);
    let mut file = File::open(path).map_err(CheckpointError::read(path))?;
    let file_bytes = file.metadata().map_err(CheckpointError::read(path))?.len();
    if file_bytes < 8 {
        return Err(damaged(format!("it has {file_bytes} bytes, expected at least 8")));
    }
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(CheckpointError::read(path))?;
    let length = u64::from_le_bytes(length);
    let most = LARGEST_HEADER.min(file_bytes - 8);
    if length > most {
        return Err(damaged(format!("its header claims {length} bytes, expected at most {most}")));
    }
    let mut header = vec![0; length as usize];
    file.read_exact(&mut header).map_err(CheckpointError::read(path))?;
    // Checks that the tensors follow one another without gaps and that their lengths fit their shapes.
    let metadata: Metadata = serde_json::from_slice(&header).map_err(|error| damaged(error.to_string()))?;
    let start = 8 + length;
    let (found, expected) = (file_bytes - start, metadata.data_len() as u64);
    if found != expected {
        return Err(damaged(format!("{found} bytes follow its header, expected {expected}")));
    }

    let file = Arc::new(file);
    let stored = |info: &safetensors::tensor::TensorInfo| Stored {
        path: path.to_path_buf(),
        shape: info.shape.clone(),
        dtype: match info.dtype {
            Dtype::F64 => Ok(DType::F64),
            Dtype::F32 => Ok(DType::F32),
            Dtype::F16 => Ok(DType::F16),
            Dtype::BF16 => Ok(DType::BF16),
            other => Err(format!("{other:?}")),
        },
        source: Source::Safetensors {
            file: file.clone(),
            start: start + info.data_offsets.0 as u64,
            bytes: info.data_offsets.1 - info.data_offsets.0,
        },
    };
    Ok(metadata.tensors().into_iter().map(|(key, info)| (key, stored(info))).collect())
}

/// `bytes` of `file` from `start` on.
pub(super) fn read(mut file: &File, start: u64, bytes: usize) -> io::Result<Vec<u8>> {
    let mut data = vec![0; bytes];
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(&mut data)?;
    Ok(data)
}

/// A file with these tensors, as PyTorch's own are.
pub(super) fn serialized(tensors: &[(String, Dtype, TensorData)]) -> Result<Vec<u8>, SafeTensorError> {
    let views = tensors.iter().map(|(key, dtype, data)| {
        let view = TensorView::new(*dtype, data.shape().to_vec(), data.as_bytes());
        view.map(|view| (key.as_str(), view))
    });
    serialize(views.collect::<Result<Vec<_>, _>>()?, Some([("format".to_string(), "pt".to_string())].into()))
}
