//! Series from CSV files.

use super::dates::Dates;
use super::grid::on_grid;
use super::{DataError, Frequency, Repair, Series};
use csv::{ReaderBuilder, StringRecord, Trim};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// What of a CSV file is to be read, and how; by default all columns of numbers, the rest being found out.
#[derive(Clone, Debug, Default)]
pub struct CsvOptions {
    /// The column of dates. Otherwise columns called year, month, day and so on, or one called date, time, datetime,
    /// timestamp or ds, or the first whose first value is a date.
    pub date: Option<String>,
    /// How the dates are written, as for `strptime`. Otherwise ISO 8601 and other forms that cannot be mistaken;
    /// 07/01/2016 can be.
    pub date_format: Option<String>,
    /// The columns to read, in this order; all of numbers if there are none.
    pub columns: Vec<String>,
    /// From one row to the next; otherwise the most frequent step.
    pub frequency: Option<Frequency>,
}

/// A series and what was put right in it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The series, evenly spaced.
    pub series: Series,
    /// What was put right.
    pub repairs: Vec<Repair>,
}

/// What stands for a missing value, in lower case.
const MISSING: [&str; 8] = ["", "na", "nan", "n/a", "null", "none", "?", "-"];

/// One column of the file.
struct Column {
    name: String,
    place: usize,
    values: Vec<f32>,
    missing: usize,
    infinite: usize,
    /// The first field that is no number, and its row.
    text: Option<(usize, String)>,
}

impl Column {
    fn push(&mut self, row: usize, field: &str) {
        let value = match field.parse::<f64>() {
            Ok(value) if (value as f32).is_finite() => value as f32,
            Ok(value) => {
                *(if value.is_nan() { &mut self.missing } else { &mut self.infinite }) += 1;
                f32::NAN
            }
            Err(_) => {
                match MISSING.contains(&field.to_ascii_lowercase().as_str()) {
                    true => self.missing += 1,
                    false => drop(self.text.get_or_insert_with(|| (row, field.to_string()))),
                }
                f32::NAN
            }
        };
        self.values.push(value);
    }

    fn numbers(&self) -> impl Iterator<Item = f32> {
        self.values.iter().copied().filter(|value| value.is_finite())
    }

    /// Whether the column is one of the series; an error if it should be and cannot.
    fn check(&self, is_wanted: bool, repairs: &mut Vec<Repair>) -> Result<bool, DataError> {
        let column = self.name.clone();
        let first = self.numbers().next();
        match (&self.text, first) {
            (Some((row, text)), first) if is_wanted || first.is_some() => {
                return Err(DataError::Text { row: *row, column, text: text.clone() });
            }
            (Some((_, text)), _) => repairs.push(Repair::TextColumn { column, example: text.clone() }),
            (None, None) if is_wanted => return Err(DataError::NoValues { column }),
            (None, None) => repairs.push(Repair::EmptyColumn { column }),
            (None, Some(value)) => {
                let mut report = |count, repair: Repair| {
                    if count > 0 {
                        repairs.push(repair)
                    }
                };
                report(self.missing, Repair::Missing { column: column.clone(), values: self.missing });
                report(self.infinite, Repair::Infinite { column: column.clone(), values: self.infinite });
                let is_constant = self.numbers().all(|other| other == value);
                report(usize::from(is_constant), Repair::Constant { column, value });
                return Ok(true);
            }
        }
        Ok(false)
    }
}

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
    /// use mamba_ts::data::{CsvOptions, Series};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let file = folder.path().join("my.csv");
    /// std::fs::write(&file, "date,load\n2024-01-01,3.5\n2024-01-02,\n2024-01-03,4\n")?;
    /// let loaded = Series::read_csv(&file, &CsvOptions::default())?;
    /// assert_eq!((loaded.series.names(), loaded.series.len()), (["load".to_string()].as_slice(), 3));
    /// for repair in &loaded.repairs {
    ///     println!("{repair}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn read_csv(path: impl AsRef<Path>, options: &CsvOptions) -> Result<Loaded, DataError> {
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
        let mut record = StringRecord::new();
        if !reader.read_record(&mut record).map_err(broken)? {
            return Err(table("it has no row".to_string()));
        }
        let dates = Dates::find(&names, &record, options)?;
        let mut columns = columns(&names, &dates, options)?;
        let (mut times, mut row) = (Vec::new(), 0);
        loop {
            row += 1;
            times.push(dates.read(row, &record)?);
            columns.iter_mut().for_each(|column| column.push(row, &record[column.place]));
            if !reader.read_record(&mut record).map_err(broken)? {
                break;
            }
        }

        let unnamed = |(place, name): (usize, &String)| (name.is_empty() && !dates.uses(place)).then_some(place + 1);
        let unnamed = names.iter().enumerate().filter_map(unnamed);
        let mut repairs: Vec<_> = unnamed.map(|place| Repair::UnnamedColumn { place }).collect();
        let mut kept = Vec::new();
        for column in columns {
            if column.check(!options.columns.is_empty(), &mut repairs)? {
                kept.push(column);
            }
        }
        if kept.is_empty() {
            return Err(DataError::NoColumns);
        }
        let (calendar, rows) = on_grid(&times, options.frequency, &mut repairs)?;
        let value = |row: &Option<usize>, column: &Column| row.map_or(f32::NAN, |row| column.values[row]);
        let values = rows.iter().flat_map(|row| kept.iter().map(move |column| value(row, column))).collect();
        let names = kept.iter().map(|column| column.name.clone()).collect();
        Ok(Loaded { series: Series::new(names, values, Some(calendar)), repairs })
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

fn check_names(names: &[String]) -> Result<(), String> {
    if names.iter().all(|name| name.parse::<f64>().is_ok() || super::time::DateFormat::of(name).is_some()) {
        return Err(format!("its first line is `{}`, expected the names of the columns", names.join(",")));
    }
    let twice =
        |(place, name): (usize, &String)| (!name.is_empty() && names[..place].contains(name)).then(|| name.clone());
    match names.iter().enumerate().find_map(twice) {
        Some(name) => Err(format!("it has two columns `{name}`")),
        None => Ok(()),
    }
}

/// The columns to read.
fn columns(names: &[String], dates: &Dates, options: &CsvOptions) -> Result<Vec<Column>, DataError> {
    let column = |place: usize| {
        let (name, values) = (names[place].clone(), Vec::new());
        Column { name, place, values, missing: 0, infinite: 0, text: None }
    };
    if options.columns.is_empty() {
        let is_wanted = |place: &usize| !dates.uses(*place) && !names[*place].is_empty();
        return Ok((0..names.len()).filter(is_wanted).map(column).collect());
    }
    options.columns.iter().map(|name| Ok(column(place(names, name)?))).collect()
}

/// Where a column is.
pub(super) fn place(names: &[String], column: &str) -> Result<usize, DataError> {
    names
        .iter()
        .position(|name| name == column)
        .ok_or_else(|| DataError::UnknownColumn { column: column.to_string(), available: names.join(", ") })
}
