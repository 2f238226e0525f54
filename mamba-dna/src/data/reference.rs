//! Any part of a FASTA file.

use super::index::{Contig, index};
use super::sequences::tokens;
use super::{DataError, Input, Interval};
use crate::tokens::{PAD, reverse_complement};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// A FASTA file with the places of its contigs. It is not held in memory; a packed one is unpacked into a temporary file
/// without a name.
///
/// ```
/// use mamba_dna::{data::Reference, tokens};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let file = folder.path().join("a.fa");
/// std::fs::write(&file, ">chr1\nGATT\nACA\n")?;
/// let mut reference = Reference::open(&file)?;
/// assert_eq!(reference.length("chr1"), Some(7));
/// assert_eq!(tokens::decode(&reference.fetch("chr1", 2, 6)?), "TTAC");
/// # Ok(())
/// # }
/// ```
pub struct Reference {
    path: PathBuf,
    contigs: Vec<Contig>,
    file: File,
}

impl Reference {
    /// Opens and indexes the file `path`.
    ///
    /// # Errors
    /// [`DataError`] if it is no FASTA file, if a line but the last of a contig has another length than its first, if a
    /// contig is empty, or if two have one name.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, DataError> {
        let path = path.as_ref().to_path_buf();
        let error = |error| Input::error(&path, "FASTA file", error);
        let mut input = Input::open(&path)?;
        let mut file = match input.is_packed() {
            true => {
                let mut file = tempfile::tempfile().map_err(DataError::write(&std::env::temp_dir()))?;
                io::copy(&mut input, &mut file).map_err(error)?;
                file.rewind().map_err(error)?;
                file
            }
            false => File::open(&path).map_err(error)?,
        };
        let contigs = index(&path, BufReader::new(&mut file))?;
        Ok(Self { path, contigs, file })
    }

    /// The contigs in the order of the file, with their lengths.
    pub fn contigs(&self) -> impl Iterator<Item = (String, u64)> {
        self.contigs.iter().map(|contig| (contig.name.clone(), contig.length))
    }

    /// The nucleotides of a contig; none if there is no such contig.
    pub fn length(&self, contig: &str) -> Option<u64> {
        self.contigs.iter().find(|other| other.name == contig).map(|contig| contig.length)
    }

    /// The tokens of an interval, of the other strand if it says so.
    ///
    /// # Errors
    /// [`DataError`] if there is no such contig, or the interval is not within it.
    pub fn interval(&mut self, interval: &Interval) -> Result<Vec<u8>, DataError> {
        let Interval { contig, start, end, is_reverse, .. } = interval;
        let tokens = self.fetch(contig, *start, *end)?;
        Ok(if *is_reverse { reverse_complement(&tokens) } else { tokens })
    }

    /// The tokens from `start`, from 0 on, to before `end`.
    ///
    /// # Errors
    /// As [`interval`](Self::interval).
    pub fn fetch(&mut self, contig: &str, start: u64, end: u64) -> Result<Vec<u8>, DataError> {
        let letters = self.letters(contig, start, end)?;
        tokens(&self.path, contig, start, &letters)
    }

    /// Which nucleotides from `start` to before `end` are in lower case, as repeats are in genomes with soft masks.
    ///
    /// # Errors
    /// As [`interval`](Self::interval).
    pub fn lower_case(&mut self, contig: &str, start: u64, end: u64) -> Result<Vec<bool>, DataError> {
        Ok(self.letters(contig, start, end)?.iter().map(u8::is_ascii_lowercase).collect())
    }

    fn letters(&mut self, contig: &str, start: u64, end: u64) -> Result<Vec<u8>, DataError> {
        let (path, record) = (&self.path, contig);
        let Some(contig) = self.contigs.iter().find(|other| other.name == record) else {
            return Err(DataError::NoRecord { path: path.clone(), record: record.to_string() });
        };
        let length = contig.length;
        if start >= end || end > length {
            return Err(DataError::Outside { path: path.clone(), record: record.to_string(), start, end, length });
        }
        let (first, last) = (contig.byte(start), contig.byte(end - 1));
        let mut bytes = vec![0; (last + 1 - first) as usize];
        let mut read = || {
            self.file.seek(SeekFrom::Start(first))?;
            self.file.read_exact(&mut bytes)
        };
        read().map_err(DataError::read(path))?;
        bytes.retain(|byte| !matches!(byte, b'\n' | b'\r'));
        Ok(bytes)
    }

    /// `length` tokens with the one at `centre` in their middle, at `length / 2`; `[PAD]` where the contig does not
    /// reach.
    ///
    /// # Errors
    /// As [`interval`](Self::interval).
    pub fn around(&mut self, contig: &str, centre: u64, length: usize) -> Result<Vec<u8>, DataError> {
        let half = length as u64 / 2;
        let start = centre.saturating_sub(half);
        let end = centre.saturating_add(length as u64 - half).min(self.length(contig).unwrap_or(u64::MAX));
        let found = self.fetch(contig, start, end)?;
        let mut tokens = vec![PAD; length];
        let before = half.saturating_sub(centre) as usize;
        tokens[before..before + found.len()].copy_from_slice(&found);
        Ok(tokens)
    }
}
