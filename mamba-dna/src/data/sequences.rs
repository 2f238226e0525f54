//! FASTA and FASTQ files, packed or not, record by record.

use super::{DataError, Input};
use crate::tokens::token;
use needletail::errors::{ParseError, ParseErrorKind};
use needletail::parser::{FastaReader, FastqReader, FastxReader};
use std::io::BufRead;
use std::path::{Path, PathBuf};

/// A sequence with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The first word behind `>` or `@`.
    pub name: String,
    /// Its [tokens](crate::tokens).
    pub tokens: Vec<u8>,
}

/// Reads a FASTA or FASTQ file, which is seen from its first byte: an iterator over the records, one of which is in
/// memory. Lines may have any lengths and end as those of Windows.
///
/// ```
/// use mamba_dna::{data::SequenceReader, tokens};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let file = folder.path().join("a.fa");
/// std::fs::write(&file, ">first of two\nGATT\n>second\nACA\n")?;
/// let mut reader = SequenceReader::open(&file)?;
/// let record = reader.next_record()?.unwrap();
/// assert_eq!((record.name.as_str(), tokens::decode(&record.tokens).as_str()), ("first", "GATT"));
/// # Ok(())
/// # }
/// ```
pub struct SequenceReader {
    path: PathBuf,
    is_packed: bool,
    format: &'static str,
    max_length: usize,
    reader: Box<dyn FastxReader>,
}

impl SequenceReader {
    /// Opens the file `path`.
    ///
    /// # Errors
    /// [`DataError`] if it cannot be read, is empty or of another format.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, DataError> {
        let path = path.as_ref().to_path_buf();
        let mut input = Input::open(&path)?;
        let (is_packed, expected) = (input.is_packed(), "FASTA or FASTQ file");
        let first = input.fill_buf().map_err(|error| Input::error(&path, expected, error))?.first().copied();
        let (format, reader): (_, Box<dyn FastxReader>) = match first {
            Some(b'>') => ("FASTA file", Box::new(FastaReader::new(input))),
            Some(b'@') => ("FASTQ file", Box::new(FastqReader::new(input))),
            Some(byte) => {
                let reason = format!("it begins with {:?}, expected '>' or '@'", char::from(byte));
                return Err(DataError::Format { path, expected, reason });
            }
            None => return Err(DataError::Empty { path }),
        };
        Ok(Self { path, is_packed, format, max_length: usize::MAX, reader })
    }

    /// Refuses records with more than `max_length` nucleotides.
    pub fn with_max_length(mut self, max_length: usize) -> Self {
        self.max_length = max_length;
        self
    }

    /// The next record; none at the end.
    ///
    /// # Errors
    /// [`DataError`], which names the record and the place at fault.
    pub fn next_record(&mut self) -> Result<Option<Record>, DataError> {
        let Self { path, is_packed, format, max_length, reader } = self;
        let found = match reader.next() {
            Some(Ok(found)) => found,
            Some(Err(error)) => return Err(refusal(path, *is_packed, format, error)),
            None => return Ok(None),
        };
        let name = String::from_utf8_lossy(found.id());
        let Some(name) = name.split_ascii_whitespace().next().map(str::to_string) else {
            let reason = format!("the record at line {} has no name", found.start_line_number());
            return Err(DataError::Format { path: path.clone(), expected: format, reason });
        };
        let letters = found.seq();
        if letters.is_empty() {
            return Err(DataError::EmptyRecord { path: path.clone(), record: name });
        }
        if letters.len() > *max_length {
            return Err(DataError::TooLong { path: path.clone(), record: name, expected: *max_length });
        }
        tokens(path, &name, 0, &letters).map(|tokens| Some(Record { name, tokens }))
    }
}

/// The tokens of letters of `record` that begin at `start`.
pub(super) fn tokens(path: &Path, record: &str, start: u64, letters: &[u8]) -> Result<Vec<u8>, DataError> {
    let of = |(place, &letter): (usize, &u8)| {
        token(letter).ok_or_else(|| DataError::Letter {
            path: path.to_path_buf(),
            record: record.to_string(),
            position: start + place as u64 + 1,
            letter: char::from(letter),
        })
    };
    letters.iter().enumerate().map(of).collect()
}

fn refusal(path: &Path, is_packed: bool, expected: &'static str, error: ParseError) -> DataError {
    let path = path.to_path_buf();
    let at = error.position.to_string();
    match error.kind {
        ParseErrorKind::Io if is_packed => DataError::Gzip { path, reason: error.msg },
        ParseErrorKind::UnexpectedEnd => {
            DataError::Format { path, expected, reason: format!("the {at} is cut short").replace("the line", "line") }
        }
        ParseErrorKind::EmptyFile => DataError::Empty { path },
        _ => DataError::Format { path, expected, reason: format!("{} at {at}", error.msg.trim_end_matches('.')) },
    }
}

impl Iterator for SequenceReader {
    type Item = Result<Record, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_record().transpose()
    }
}
