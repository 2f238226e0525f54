//! Series from CSV files.

use super::table::{Table, check_names};
use super::{DataError, Loaded, ReadOptions, Series};
use csv::{ReaderBuilder, StringRecord, Trim};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

impl Series {
    /// Reads a CSV file with a header and dates. Commas, semicolons and tabs may separate the fields.
    ///
    /// Rows may be in any order, appear twice or be missing; fields may be empty, NaN or infinite. All this is put
    /// right and told in [`Loaded::repairs`].
    ///
    /// # Errors
    /// [`DataError`], which names the row and the column at fault: text among numbers, dates that cannot be read, times
    /// that are not evenly spaced, columns that are not there.
    ///
    /// ```
    /// use mamba_ts::data::{ReadOptions, Series};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let file = folder.path().join("my.csv");
    /// std::fs::write(&file, "date,load\n2024-01-01,3.5\n2024-01-02,\n2024-01-03,4\n")?;
    /// let loaded = Series::read_csv(&file, &ReadOptions::default())?;
    /// assert_eq!((loaded.series.names(), loaded.series.len()), (["load".to_string()].as_slice(), 3));
    /// for repair in &loaded.repairs {
    ///     println!("{repair}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn read_csv(path: impl AsRef<Path>, options: &ReadOptions) -> Result<Loaded, DataError> {
        let path = path.as_ref();
        let read = |source| DataError::Read { path: path.to_path_buf(), source };
        let table = |reason: String| DataError::Table { path: path.to_path_buf(), reason };
        let file = BufReader::new(File::open(path).map_err(read)?);
        let (separator, file) = separator(file).map_err(read)?;
        let mut reader = ReaderBuilder::new().delimiter(separator).trim(Trim::All).from_reader(file);
        let broken = |error: csv::Error| match error.into_kind() {
            csv::ErrorKind::Io(source) => read(source),
            csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
                let row = pos.map_or(0, |pos| pos.record());
                table(format!("row {row} has {len} fields, expected {expected_len} as the header has"))
            }
            csv::ErrorKind::Utf8 { pos, .. } => table(format!("row {} is no UTF-8", pos.map_or(0, |pos| pos.record()))),
            other => table(format!("{other:?}")),
        };

        let header = reader.headers().map_err(broken)?.clone();
        let names: Vec<String> = header.iter().map(|name| name.trim_start_matches('\u{feff}').to_string()).collect();
        check_names(&names).map_err(table)?;
        let mut rows = Table::new(names, options);
        let mut record = StringRecord::new();
        while reader.read_record(&mut record).map_err(broken)? {
            rows.push(&record)?;
        }
        rows.finish()?.ok_or_else(|| table("it has no row".to_string()))
    }
}

/// The first of the usual separators that the header has, and all that there is to read.
fn separator(mut file: impl BufRead) -> std::io::Result<(u8, impl Read)> {
    let mut header = Vec::new();
    // A file without a line end is no table, however long it is.
    file.by_ref().take(1 << 20).read_until(b'\n', &mut header)?;
    let separator = [b',', b';', b'\t'].into_iter().find(|separator| header.contains(separator)).unwrap_or(b',');
    Ok((separator, std::io::Cursor::new(header).chain(file)))
}
