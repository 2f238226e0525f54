//! Files that may be packed.

use super::DataError;
use flate2::bufread::MultiGzDecoder;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// What a gzip file begins with.
const MAGIC: [u8; 2] = [0x1f, 0x8b];
/// Bytes at a time.
const BUFFER: usize = 1 << 16;

/// An open file, unpacked on the way. Whether it is packed is seen from its first bytes.
///
/// ```
/// use mamba_dna::data::Input;
/// use std::io::Read;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let file = folder.path().join("a.fa");
/// std::fs::write(&file, ">a\nACGT\n")?;
/// let mut text = String::new();
/// Input::open(&file)?.read_to_string(&mut text)?;
/// assert_eq!(text, ">a\nACGT\n");
/// # Ok(())
/// # }
/// ```
pub struct Input {
    path: PathBuf,
    is_packed: bool,
    reader: Box<dyn BufRead + Send>,
}

impl Input {
    /// Opens the file `path`.
    ///
    /// # Errors
    /// [`DataError::Read`].
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let open = || {
            let mut file = BufReader::with_capacity(BUFFER, File::open(path)?);
            let is_packed = file.fill_buf()?.starts_with(&MAGIC);
            let reader: Box<dyn BufRead + Send> = match is_packed {
                true => Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(file))),
                false => Box::new(file),
            };
            Ok(Self { path: path.to_path_buf(), is_packed, reader })
        };
        open().map_err(DataError::read(path))
    }

    /// Whether it is a gzip file.
    pub fn is_packed(&self) -> bool {
        self.is_packed
    }

    /// The error that reading as `format` ended with.
    pub(super) fn error(path: &Path, format: &'static str, error: io::Error) -> DataError {
        let path = path.to_path_buf();
        if let Some(Unpacking(reason)) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
            return DataError::Gzip { path, reason: reason.clone() };
        }
        // The system's own errors have a number; those of formats do not.
        match error.raw_os_error() {
            Some(_) => DataError::Read { path, source: error },
            None => DataError::Format { path, expected: format, reason: error.to_string() },
        }
    }

    /// Calls `each` with every line, counted from 1 on, without its end.
    ///
    /// # Errors
    /// That of `each`, or [`DataError`] if the file cannot be read or is not text.
    pub fn lines<E: From<DataError>>(
        mut self,
        format: &'static str,
        mut each: impl FnMut(usize, &str) -> Result<(), E>,
    ) -> Result<(), E> {
        let path = self.path.clone();
        let mut line = String::new();
        for number in 1.. {
            line.clear();
            let read = self.read_line(&mut line).map_err(|error| Self::error(&path, format, error))?;
            if read == 0 {
                break;
            }
            each(number, line.trim_end_matches(['\n', '\r']))?;
        }
        Ok(())
    }
}

/// Why a file was not unpacked. An early end is none of the plain file, which readers of formats take for its end.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unpacking(String);

impl Input {
    fn mark(&self) -> impl Fn(io::Error) -> io::Error + use<> {
        let is_packed = self.is_packed;
        move |error| match error.raw_os_error() {
            None if is_packed => {
                let is_short = error.kind() == io::ErrorKind::UnexpectedEof;
                let reason = if is_short { "it is cut short".into() } else { error.to_string() };
                io::Error::new(io::ErrorKind::InvalidData, Unpacking(reason))
            }
            _ => error,
        }
    }
}

impl Read for Input {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mark = self.mark();
        self.reader.read(bytes).map_err(mark)
    }
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let mark = self.mark();
        self.reader.fill_buf().map_err(mark)
    }

    fn consume(&mut self, amount: usize) {
        self.reader.consume(amount);
    }
}
