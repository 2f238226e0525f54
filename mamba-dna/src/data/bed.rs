//! Intervals in BED files.

use super::{DataError, Input};
use std::path::Path;

/// A part of a contig.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interval {
    /// The name of the contig.
    pub contig: String,
    /// The first nucleotide, from 0 on.
    pub start: u64,
    /// Behind the last nucleotide.
    pub end: u64,
    /// The fourth column.
    pub name: Option<String>,
    /// Whether the sixth column says that the other strand is meant.
    pub is_reverse: bool,
}

/// Reads the intervals of a BED file with three columns or more, packed or not. Comments and lines for browsers are
/// passed over.
///
/// # Errors
/// [`DataError::Line`] for a line that is no interval; also if the file cannot be read.
///
/// ```
/// use mamba_dna::data::read_bed;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let file = folder.path().join("genes.bed");
/// std::fs::write(&file, "chr1\t10\t20\tgene\t0\t-\n")?;
/// let intervals = read_bed(&file)?;
/// assert_eq!((intervals[0].start..intervals[0].end, intervals[0].is_reverse), (10..20, true));
/// # Ok(())
/// # }
/// ```
pub fn read_bed(path: impl AsRef<Path>) -> Result<Vec<Interval>, DataError> {
    let path = path.as_ref();
    let mut intervals = Vec::new();
    Input::open(path)?.lines("BED file", |line, text| {
        let is_comment = ["#", "track", "browser"].iter().any(|start| text.starts_with(start));
        if !text.trim().is_empty() && !is_comment {
            let interval = interval(text);
            intervals.push(interval.map_err(|reason| DataError::Line { path: path.to_path_buf(), line, reason })?);
        }
        Ok::<_, DataError>(())
    })?;
    Ok(intervals)
}

fn interval(line: &str) -> Result<Interval, String> {
    let columns: Vec<_> = line.split('\t').collect();
    let [contig, start, end, ..] = columns[..] else {
        return Err(format!("{} columns, expected at least 3 with tabs between them", columns.len()));
    };
    let number = |text: &str| text.parse().map_err(|_| format!("`{text}` is no place, expected a whole number"));
    let (start, end) = (number(start)?, number(end)?);
    if start >= end {
        return Err(format!("the interval {start}..{end} is empty, expected a start before the end"));
    }
    let column = |index: usize| columns.get(index).copied().filter(|text| *text != ".");
    let is_reverse = match column(5) {
        Some("-") => true,
        Some("+") | None => false,
        Some(strand) => return Err(format!("the strand is `{strand}`, expected +, - or .")),
    };
    Ok(Interval { contig: contig.to_string(), start, end, name: column(3).map(str::to_string), is_reverse })
}
