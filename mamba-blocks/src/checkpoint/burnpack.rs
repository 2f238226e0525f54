//! Burn's own format for the weights: the paths of our parameters, and linear layers as Burn has them.

use super::error::CheckpointError;
use super::keys;
use super::weights::{Source, Stored};
use burn::tensor::DType;
use burn_store::burn_pack::{HEADER_SIZE, Header, Reader};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// The tensors of a file, under the names and shapes of the published layouts.
pub(super) fn open(path: &Path) -> Result<Vec<(String, Stored)>, CheckpointError> {
    check_header(path)?;
    let damaged = |error| CheckpointError::damaged(path, error);
    let tensors = Reader::from_file_exact(path).and_then(Reader::into_tensors).map_err(damaged)?;
    let reader = Arc::new(Reader::from_file_exact(path).map_err(damaged)?);
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
        let source = Source::Burnpack { reader: reader.clone(), tensor };
        (key, Stored { path: path.to_path_buf(), shape, dtype, source })
    });
    Ok(stored.collect())
}

/// Burn's reader takes the memory that the header claims before it looks how long the file is.
fn check_header(path: &Path) -> Result<(), CheckpointError> {
    let file = File::open(path).map_err(CheckpointError::read(path))?;
    let file_bytes = file.metadata().map_err(CheckpointError::read(path))?.len();
    let mut header = Vec::new();
    file.take(HEADER_SIZE as u64).read_to_end(&mut header).map_err(CheckpointError::read(path))?;
    let header = Header::from_bytes(&header).map_err(|error| CheckpointError::damaged(path, error))?;
    let (claimed, most) = (u64::from(header.metadata_size), file_bytes.saturating_sub(HEADER_SIZE as u64));
    match claimed <= most {
        true => Ok(()),
        false => {
            Err(CheckpointError::damaged(path, format!("its header claims {claimed} bytes, expected at most {most}")))
        }
    }
}
