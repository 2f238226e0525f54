//! What is wrong with a file of sequences or places.

use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a file of sequences or places was not read, or one of embeddings not written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A packed file is cut short or damaged.
    #[error("{path} is no complete gzip file: {reason}")]
    Gzip {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The file is of another format.
    #[error("{path} is no {expected}: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// The format that it should have.
        expected: &'static str,
        /// What was found.
        reason: String,
    },
    /// There is no sequence.
    #[error("{path} has no sequences, expected at least one")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A record has no nucleotides.
    #[error("record `{record}` of {path} is empty, expected at least one nucleotide")]
    EmptyRecord {
        /// The file.
        path: PathBuf,
        /// The name of the record.
        record: String,
    },
    /// A letter is no nucleotide.
    #[error("letter {letter:?} at position {position} of record `{record}` of {path} is no nucleotide")]
    Letter {
        /// The file.
        path: PathBuf,
        /// The name of the record.
        record: String,
        /// The position in the record, from 1 on.
        position: u64,
        /// The letter.
        letter: char,
    },
    /// A record is longer than asked for.
    #[error("record `{record}` of {path} has more than {expected} nucleotides, the longest that was asked for")]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The name of the record.
        record: String,
        /// The longest.
        expected: usize,
    },
    /// No record has a name.
    #[error("{path} has no record `{record}`")]
    NoRecord {
        /// The file.
        path: PathBuf,
        /// The name.
        record: String,
    },
    /// Two records have one name.
    #[error("{path} has two records `{record}`, expected names of their own")]
    SameName {
        /// The file.
        path: PathBuf,
        /// The name.
        record: String,
    },
    /// An interval is not within its record.
    #[error("the interval {start}..{end} is not within record `{record}` of {path}, which has {length} nucleotides")]
    Outside {
        /// The file.
        path: PathBuf,
        /// The name of the record.
        record: String,
        /// The first nucleotide, from 0 on.
        start: u64,
        /// Behind the last nucleotide.
        end: u64,
        /// Nucleotides of the record.
        length: u64,
    },
    /// A line of a table is not as it should be.
    #[error("line {line} of {path}: {reason}")]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1 on.
        line: usize,
        /// What was found, and what was expected.
        reason: String,
    },
}

impl DataError {
    /// An input that cannot be read.
    ///
    /// ```
    /// use mamba_dna::data::DataError;
    /// use std::{fs, path::Path};
    ///
    /// let path = Path::new("not-there.fa");
    /// let error = fs::read(path).map_err(DataError::read(path)).unwrap_err();
    /// assert!(error.to_string().contains("not-there.fa"));
    /// ```
    pub fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        |source| Self::Read { path, source }
    }

    /// An output that cannot be written.
    ///
    /// ```
    /// use mamba_dna::data::DataError;
    /// use std::{fs, path::Path};
    ///
    /// let path = Path::new("not-there/scores.vcf");
    /// let error = fs::write(path, "").map_err(DataError::write(path)).unwrap_err();
    /// assert!(error.to_string().contains("not-there"));
    /// ```
    pub fn write(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        |source| Self::Write { path, source }
    }
}
