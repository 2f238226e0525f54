//! PyTorch files. burn-store's reader runs nothing of a pickle and trusts no length in it.

use super::error::CheckpointError;
use super::weights::{Source, Stored};
use burn::tensor::DType;
use burn_store::pytorch_reader::{self, PytorchError, PytorchReader};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;
use tempfile::NamedTempFile;
use zip::{CompressionMethod, ZipArchive};

/// Opens a PyTorch file of any kind. Nothing in it is executed, and it takes no more memory than the file has bytes.
///
/// # Errors
/// [`CheckpointError::Read`] and [`CheckpointError::Damaged`].
///
/// ```no_run
/// # fn main() -> Result<(), mamba_blocks::CheckpointError> {
/// let reader = mamba_blocks::open_pytorch("weights.pth".as_ref())?;
/// for name in reader.keys() {
///     println!("{name}");
/// }
/// # Ok(())
/// # }
/// ```
pub fn open_pytorch(path: &Path) -> Result<PytorchReader, CheckpointError> {
    let mended = check_archive(path)?;
    // The reader goes on with the open file when the mended one is gone.
    PytorchReader::new(mended.as_ref().map_or(path, NamedTempFile::path)).map_err(|error| match error {
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

/// PyTorch compresses nothing, and a small archive may unpack to a pickle that fills the memory. Returns the archive as
/// zip reads it, if that is another.
fn check_archive(path: &Path) -> Result<Option<NamedTempFile>, CheckpointError> {
    let mut file = File::open(path).map_err(CheckpointError::read(path))?;
    let mut start = Vec::new();
    (&mut file).take(2).read_to_end(&mut start).map_err(CheckpointError::read(path))?;
    if start != b"PK" {
        return Ok(None); // No archive, but one of the older formats.
    }
    let damaged = |error| CheckpointError::damaged(path, error);
    let (mut archive, mended) = match ZipArchive::new(BufReader::new(file)) {
        Ok(archive) => (archive, None),
        Err(error) => {
            let mended = without_zip64(path).map_err(CheckpointError::read(path))?.ok_or_else(|| damaged(error))?;
            let file = mended.reopen().map_err(CheckpointError::read(path))?;
            (ZipArchive::new(BufReader::new(file)).map_err(damaged)?, Some(mended))
        }
    };
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(damaged)?;
        if entry.compression() != CompressionMethod::Stored {
            return Err(CheckpointError::damaged(path, "a part of it is compressed, which PyTorch's own never are"));
        }
    }
    Ok(mended)
}

/// The archive without the two records for huge archives that PyTorch writes between the directory and its end, if they
/// are there and say nothing else than the end does.
///
/// zip 9.8.2 looks for the directory as far before the end as it is long, and if the first entry of the directory is as
/// long as the two records, it finds the second and stops there. So it is in files that were saved under a name of 21
/// letters.
fn without_zip64(path: &Path) -> io::Result<Option<NamedTempFile>> {
    const END: usize = 22;
    const RECORDS: u64 = 56 + 20;
    let mut file = File::open(path)?;
    let Some(end_start) = file.metadata()?.len().checked_sub(END as u64) else { return Ok(None) };
    file.seek(SeekFrom::Start(end_start))?;
    let mut end = [0; END];
    file.read_exact(&mut end)?;
    let number = |at: usize| u64::from(u32::from_le_bytes([end[at], end[at + 1], end[at + 2], end[at + 3]]));
    let (size, start) = (number(12), number(16));
    if !end.starts_with(b"PK\x05\x06") || start + size + RECORDS != end_start {
        return Ok(None);
    }
    let mut mended = NamedTempFile::new()?;
    file.rewind()?;
    io::copy(&mut file.take(start + size), &mut mended)?;
    mended.write_all(&end)?;
    Ok(Some(mended))
}
