//! From rows of text to a series: which columns, their numbers, and what was put right.

use super::dates::Dates;
use super::grid::on_grid;
use super::{DataError, Frequency, Repair, Series};
use csv::StringRecord;
use jiff::civil::DateTime;
use std::path::Path;

/// What of a file is to be read, and how; by default all columns of numbers, the rest being found out.
#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
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
    /// Reads a Parquet file if its name ends so, with the feature `parquet`, and a CSV file otherwise: see
    /// [`read_csv`](Self::read_csv).
    ///
    /// # Errors
    /// [`DataError`].
    ///
    /// ```no_run
    /// use mamba_ts::data::{ReadOptions, Series};
    ///
    /// # fn main() -> Result<(), mamba_ts::data::DataError> {
    /// let loaded = Series::read("my.csv", &ReadOptions::default())?;
    /// for repair in &loaded.repairs {
    ///     println!("{repair}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn read(path: impl AsRef<Path>, options: &ReadOptions) -> Result<Loaded, DataError> {
        let path = path.as_ref();
        match path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet")) {
            #[cfg(feature = "parquet")]
            true => Self::read_parquet(path, options),
            #[cfg(not(feature = "parquet"))]
            true => Err(DataError::Table {
                path: path.to_path_buf(),
                reason: "Parquet files need the feature `parquet`".to_string(),
            }),
            false => Self::read_csv(path, options),
        }
    }
}

/// A file that is read row by row.
pub(super) struct Table<'a> {
    names: Vec<String>,
    options: &'a ReadOptions,
    /// What the first row tells.
    found: Option<(Dates, Vec<Column>)>,
    times: Vec<DateTime>,
}

impl<'a> Table<'a> {
    /// `names` are those of the columns, empty where a column has none.
    pub fn new(names: Vec<String>, options: &'a ReadOptions) -> Self {
        Self { names, options, found: None, times: Vec::new() }
    }

    /// Adds a row, which has a field for every name.
    pub fn push(&mut self, record: &StringRecord) -> Result<(), DataError> {
        let (dates, columns) = match &mut self.found {
            Some(found) => found,
            None => {
                let dates = Dates::find(&self.names, record, self.options)?;
                let columns = columns(&self.names, &dates, self.options)?;
                self.found.insert((dates, columns))
            }
        };
        let row = self.times.len() + 1;
        self.times.push(dates.read(row, record)?);
        columns.iter_mut().for_each(|column| column.push(row, &record[column.place]));
        Ok(())
    }

    /// The series; none if there was no row.
    pub fn finish(self) -> Result<Option<Loaded>, DataError> {
        let Some((dates, columns)) = self.found else { return Ok(None) };
        let unnamed = |(place, name): (usize, &String)| (name.is_empty() && !dates.uses(place)).then_some(place + 1);
        let unnamed = self.names.iter().enumerate().filter_map(unnamed);
        let mut repairs: Vec<_> = unnamed.map(|place| Repair::UnnamedColumn { place }).collect();
        let mut kept = Vec::new();
        for column in columns {
            if column.check(!self.options.columns.is_empty(), &mut repairs)? {
                kept.push(column);
            }
        }
        if kept.is_empty() {
            return Err(DataError::NoColumns);
        }
        let (calendar, rows) = on_grid(&self.times, self.options.frequency, &mut repairs)?;
        let value = |row: &Option<usize>, column: &Column| row.map_or(f32::NAN, |row| column.values[row]);
        let values = rows.iter().flat_map(|row| kept.iter().map(move |column| value(row, column))).collect();
        let names = kept.iter().map(|column| column.name.clone()).collect();
        Ok(Some(Loaded { series: Series::new(names, values, Some(calendar)), repairs }))
    }
}

/// Why these cannot be the names of columns.
pub(super) fn check_names(names: &[String]) -> Result<(), String> {
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
fn columns(names: &[String], dates: &Dates, options: &ReadOptions) -> Result<Vec<Column>, DataError> {
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
