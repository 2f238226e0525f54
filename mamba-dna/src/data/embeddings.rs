//! Embeddings as a file, row by row, so that any number of them takes no memory.

use super::DataError;
use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// What the file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// A matrix that NumPy loads.
    Npy,
    /// One tensor, `embeddings`.
    Safetensors,
}

/// Writes a matrix `[rows, width]` of f32. The file is there in full, after [`finish`](Self::finish), or not at all.
///
/// ```
/// use mamba_dna::data::EmbeddingsWriter;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let file = folder.path().join("embeddings.npy");
/// let mut writer = EmbeddingsWriter::create(&file, 3)?;
/// writer.write(&[1.0, 2.0, 3.0])?;
/// assert_eq!(writer.finish()?, 1);
/// # Ok(())
/// # }
/// ```
pub struct EmbeddingsWriter {
    path: PathBuf,
    format: Format,
    width: usize,
    rows: usize,
    file: BufWriter<tempfile::NamedTempFile>,
}

/// The number of rows is known at the end; the header in front of them has a place that is large enough for any.
const HEADER: usize = 256;

impl EmbeddingsWriter {
    /// Begins the file `path`, whose name ends in `.npy` or `.safetensors`, with rows of `width` numbers.
    ///
    /// # Errors
    /// [`DataError`] if its name ends otherwise, or its folder cannot be written to.
    pub fn create(path: impl AsRef<Path>, width: usize) -> Result<Self, DataError> {
        let path = path.as_ref().to_path_buf();
        let format = match path.extension().and_then(|extension| extension.to_str()) {
            Some("npy") => Format::Npy,
            Some("safetensors") => Format::Safetensors,
            _ => {
                let reason = "its name ends otherwise".to_string();
                return Err(DataError::Format { path, expected: ".npy or .safetensors file", reason });
            }
        };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let begin = || {
            let mut file = BufWriter::new(tempfile::NamedTempFile::new_in(folder)?);
            file.write_all(&[0; HEADER])?;
            Ok(file)
        };
        let file = begin().map_err(DataError::write(&path))?;
        Ok(Self { path, format, width, rows: 0, file })
    }

    /// Appends a row.
    ///
    /// # Errors
    /// [`DataError::Write`].
    ///
    /// # Panics
    /// If it has not `width` numbers.
    pub fn write(&mut self, row: &[f32]) -> Result<(), DataError> {
        let width = self.width;
        assert!(row.len() == width, "EmbeddingsWriter: the row has {} numbers, expected {width}", row.len());
        self.rows += 1;
        let mut write = || row.iter().try_for_each(|value| self.file.write_all(&value.to_le_bytes()));
        write().map_err(DataError::write(&self.path))
    }

    /// Puts the file in its place; returns the number of rows.
    ///
    /// # Errors
    /// [`DataError::Write`].
    pub fn finish(self) -> Result<usize, DataError> {
        let Self { path, format, width, rows, file } = self;
        let put = || -> io::Result<()> {
            let mut file = file.into_inner().map_err(|error| error.into_error())?;
            file.seek(SeekFrom::Start(0))?;
            file.write_all(&header(format, rows, width))?;
            let file: &File = &file.persist(&path).map_err(|error| error.error)?;
            file.sync_all()
        };
        put().map_err(DataError::write(&path))?;
        Ok(rows)
    }
}

/// Exactly as long as its place.
fn header(format: Format, rows: usize, width: usize) -> Vec<u8> {
    let (mut header, text) = match format {
        Format::Npy => {
            let mut start = b"\x93NUMPY\x01\x00".to_vec();
            start.extend((HEADER as u16 - 10).to_le_bytes());
            (start, format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {width}), }}"))
        }
        Format::Safetensors => {
            let bytes = 4 * rows * width;
            let tensor = format!(r#"{{"dtype":"F32","shape":[{rows},{width}],"data_offsets":[0,{bytes}]}}"#);
            ((HEADER as u64 - 8).to_le_bytes().to_vec(), format!(r#"{{"embeddings":{tensor}}}"#))
        }
    };
    header.extend(text.as_bytes());
    header.resize(HEADER, b' ');
    if format == Format::Npy {
        header[HEADER - 1] = b'\n';
    }
    header
}
