//! What is wrong with a series, and what was put right in it.

use std::fmt;
use std::path::PathBuf;
use thiserror::Error;

/// Why a series was not read or cannot be used. Rows are counted from 1, without the header.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is no table.
    #[error("{path} cannot be read as a table: {reason}")]
    Table {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// There is no column of that name.
    #[error("there is no column `{column}`, expected one of {available}")]
    UnknownColumn {
        /// As asked for.
        column: String,
        /// Those of the file.
        available: String,
    },
    /// No column has dates.
    #[error("no column has dates (the first row is {row}): name it, or tell how its dates are written")]
    NoDates {
        /// The first row.
        row: String,
    },
    /// A date cannot be read.
    #[error("row {row} has the date `{text}`, expected one written as `{like}`")]
    Date {
        /// Which row.
        row: usize,
        /// What stands there.
        text: String,
        /// The first date of the file, or the format that was asked for.
        like: String,
    },
    /// Text stands in a column of numbers.
    #[error("row {row} of the column `{column}` is `{text}`, expected a number")]
    Text {
        /// Which row.
        row: usize,
        /// The column.
        column: String,
        /// What stands there.
        text: String,
    },
    /// A column holds no number at all.
    #[error("the column `{column}` has no value")]
    NoValues {
        /// The column.
        column: String,
    },
    /// No column is left to forecast.
    #[error("there is no column of numbers beside the dates")]
    NoColumns,
    /// A time is between two steps.
    #[error("row {row} has the time {time}, expected a multiple of {frequency} after {start}")]
    OffGrid {
        /// Which row.
        row: usize,
        /// Its time.
        time: String,
        /// The step, as given or as found most often.
        frequency: String,
        /// The first time.
        start: String,
    },
    /// There are too few times to tell their frequency.
    #[error("there are {rows} rows with different times, expected at least 2 to tell their frequency")]
    NoFrequency {
        /// How many.
        rows: usize,
    },
    /// More rows are missing than there are.
    #[error("{missing} of {expected} rows with a step of {frequency} are missing: the frequency is another")]
    TooManyGaps {
        /// How many are missing.
        missing: usize,
        /// How many there would be.
        expected: usize,
        /// The step.
        frequency: String,
    },
    /// There are fewer rows than what is to be done needs.
    #[error("there are {rows} rows {purpose}, expected at least {expected}")]
    TooShort {
        /// How many.
        rows: usize,
        /// What for.
        purpose: &'static str,
        /// How many are needed.
        expected: usize,
    },
    /// A value is neither a number nor missing.
    #[error("row {row} of the column `{column}` is {value}, expected a number, or NaN where it is missing")]
    Infinite {
        /// Which row.
        row: usize,
        /// The column.
        column: String,
        /// What stands there.
        value: f32,
    },
    /// The columns are not those that were there before.
    #[error("the columns are {found}, expected {expected}")]
    OtherColumns {
        /// Those of the series.
        found: String,
        /// Those that were learnt.
        expected: String,
    },
    /// The rows are not as far from one another as they were before.
    #[error("the step between rows is {found}, expected {expected}")]
    OtherFrequency {
        /// That of the series.
        found: String,
        /// That which was learnt.
        expected: String,
    },
}

/// What was put right while a file was read. Rows are counted from 1, without the header.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Repair {
    /// A column of text was left out.
    TextColumn {
        /// The column.
        column: String,
        /// Its first text.
        example: String,
    },
    /// A column without a name, such as the row numbers that pandas writes, was left out.
    UnnamedColumn {
        /// Which, from 1.
        place: usize,
    },
    /// A column without any value was left out.
    EmptyColumn {
        /// The column.
        column: String,
    },
    /// The rows were not in the order of their times, and have been sorted.
    Sorted {
        /// Rows that were earlier than the one before.
        rows: usize,
    },
    /// Several rows had the same time; the last one of each was kept.
    Duplicates {
        /// Rows that were dropped.
        rows: usize,
        /// The first such time.
        first: String,
    },
    /// Times were missing; rows without values were put there.
    Gaps {
        /// How many.
        rows: usize,
        /// The first such time.
        first: String,
    },
    /// Empty fields, NaN and such became missing values.
    Missing {
        /// The column.
        column: String,
        /// How many.
        values: usize,
    },
    /// Infinities became missing values.
    Infinite {
        /// The column.
        column: String,
        /// How many.
        values: usize,
    },
    /// All values are the same; the column is scaled by 1.
    Constant {
        /// The column.
        column: String,
        /// Its value.
        value: f32,
    },
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TextColumn { column, example } => write!(f, "left out the column `{column}` of text (`{example}`)"),
            Self::UnnamedColumn { place } => write!(f, "left out column {place}, which has no name"),
            Self::EmptyColumn { column } => write!(f, "left out the column `{column}`, which has no value"),
            Self::Sorted { rows } => write!(f, "sorted by time: {rows} rows were earlier than the one before"),
            Self::Duplicates { rows, first } => {
                write!(f, "dropped {rows} rows whose time comes again, the first at {first}; the last of each was kept")
            }
            Self::Gaps { rows, first } => write!(f, "put {rows} rows without values into gaps, the first at {first}"),
            Self::Missing { column, values } => write!(f, "`{column}`: {values} values are missing"),
            Self::Infinite { column, values } => write!(f, "`{column}`: {values} infinities taken as missing"),
            Self::Constant { column, value } => write!(f, "`{column}` is always {value}"),
        }
    }
}
