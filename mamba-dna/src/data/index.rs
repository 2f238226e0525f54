//! Where the contigs of a FASTA file are.

use super::{DataError, Input};
use std::io::BufRead;
use std::path::Path;

/// One record, as in a `.fai` file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Contig {
    pub name: String,
    /// Nucleotides.
    pub length: u64,
    /// Bytes before the first.
    offset: u64,
    /// Nucleotides of a line; none for a line that is the last.
    line: u64,
    /// Bytes of a line with its end.
    width: u64,
}

impl Contig {
    /// The byte of a nucleotide.
    pub fn byte(&self, place: u64) -> u64 {
        match self.line {
            0 => self.offset,
            line => self.offset + place / line * self.width + place % line,
        }
    }
}

/// Finds the contigs. All lines of one have the same length, but for the last.
pub(super) fn index(path: &Path, mut file: impl BufRead) -> Result<Vec<Contig>, DataError> {
    let mut contigs: Vec<Contig> = Vec::new();
    let mut line = Vec::new();
    let (mut byte, mut number) = (0, 0);
    let mut is_last = false;
    loop {
        line.clear();
        let width = file.read_until(b'\n', &mut line).map_err(|error| Input::error(path, "FASTA file", error))? as u64;
        if width == 0 {
            break;
        }
        (byte, number) = (byte + width, number + 1);
        let text = line.trim_ascii_end();
        if let Some(definition) = text.strip_prefix(b">") {
            refuse_empty(path, contigs.last())?;
            let name = String::from_utf8_lossy(definition);
            let Some(name) = name.split_ascii_whitespace().next() else {
                return Err(DataError::Line {
                    path: path.into(),
                    line: number,
                    reason: "the record has no name".into(),
                });
            };
            if contigs.iter().any(|contig| contig.name == name) {
                return Err(DataError::SameName { path: path.to_path_buf(), record: name.to_string() });
            }
            contigs.push(Contig { name: name.to_string(), length: 0, offset: byte, line: 0, width: 0 });
            is_last = false;
        } else if let Some(contig) = contigs.last_mut() {
            let found = text.len() as u64;
            if contig.length == 0 {
                (contig.line, contig.width) = (found, width);
                contig.offset = byte - width;
            } else if found > 0 && (is_last || found > contig.line) {
                let reason = format!("it has {found} nucleotides, expected {} as the lines before", contig.line);
                return Err(DataError::Line { path: path.to_path_buf(), line: number, reason });
            }
            is_last = contig.length > 0 && found < contig.line || width < contig.width;
            contig.length += found;
        } else {
            let reason = "it does not begin with '>'".to_string();
            return Err(DataError::Format { path: path.to_path_buf(), expected: "FASTA file", reason });
        }
    }
    refuse_empty(path, contigs.last())?;
    match contigs.is_empty() {
        true => Err(DataError::Empty { path: path.to_path_buf() }),
        false => Ok(contigs),
    }
}

fn refuse_empty(path: &Path, contig: Option<&Contig>) -> Result<(), DataError> {
    match contig.filter(|contig| contig.length == 0) {
        Some(contig) => Err(DataError::EmptyRecord { path: path.to_path_buf(), record: contig.name.clone() }),
        None => Ok(()),
    }
}
