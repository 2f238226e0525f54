//! The columns of a file that tell when its rows are.

use super::table::place;
use super::time::DateFormat;
use super::{DataError, ReadOptions};
use csv::StringRecord;
use jiff::civil::{Date, DateTime, Time};

/// Where the dates are.
pub(super) enum Dates {
    /// In one column.
    Column { place: usize, format: DateFormat, like: String },
    /// Year, month, day, and perhaps hour, minute and second.
    Parts(Vec<usize>),
}

/// What a column of dates is often called, in lower case.
const NAMES: [&str; 5] = ["date", "datetime", "time", "timestamp", "ds"];
const PARTS: [&str; 6] = ["year", "month", "day", "hour", "minute", "second"];

impl Dates {
    pub fn find(names: &[String], first: &StringRecord, options: &ReadOptions) -> Result<Self, DataError> {
        if let Some(name) = &options.date {
            return Self::column(place(names, name)?, first, options).ok_or_else(|| no_dates(first));
        }
        let called = |part: &&str| names.iter().position(|name| name.eq_ignore_ascii_case(part));
        let parts: Vec<_> = PARTS.iter().map_while(called).collect();
        if parts.len() >= 3 {
            return Ok(Self::Parts(parts));
        }
        let by_name = NAMES.iter().filter_map(called);
        let not_a_number = |place: &usize| first[*place].parse::<f64>().is_err();
        let by_value = (0..names.len()).filter(not_a_number);
        by_name.chain(by_value).find_map(|place| Self::column(place, first, options)).ok_or_else(|| no_dates(first))
    }

    fn column(place: usize, first: &StringRecord, options: &ReadOptions) -> Option<Self> {
        let text = &first[place];
        let (format, like) = match &options.date_format {
            // A format that was asked for and does not fit is told with the row.
            Some(pattern) => (DateFormat::Pattern(pattern.clone()), pattern.clone()),
            None => (DateFormat::of(text)?, text.to_string()),
        };
        Some(Self::Column { place, format, like })
    }

    /// Whether a column is one of them.
    pub fn uses(&self, column: usize) -> bool {
        match self {
            Self::Column { place, .. } => *place == column,
            Self::Parts(places) => places.contains(&column),
        }
    }

    pub fn read(&self, row: usize, record: &StringRecord) -> Result<DateTime, DataError> {
        match self {
            Self::Column { place, format, like } => format.parse(&record[*place]).ok_or_else(|| DataError::Date {
                row,
                text: record[*place].to_string(),
                like: like.clone(),
            }),
            Self::Parts(places) => parts(places, record).ok_or_else(|| DataError::Date {
                row,
                text: places.iter().map(|&place| &record[place]).collect::<Vec<_>>().join(" "),
                like: PARTS[..places.len()].join(" "),
            }),
        }
    }
}

fn parts(places: &[usize], record: &StringRecord) -> Option<DateTime> {
    let part = |index: usize| match places.get(index) {
        Some(&place) => record[place].parse::<i16>().ok(),
        None => Some(0),
    };
    let small = |index: usize| i8::try_from(part(index)?).ok();
    let date = Date::new(part(0)?, small(1)?, small(2)?).ok()?;
    Some(date.to_datetime(Time::new(small(3)?, small(4)?, small(5)?, 0).ok()?))
}

fn no_dates(first: &StringRecord) -> DataError {
    DataError::NoDates { row: first.iter().collect::<Vec<_>>().join(",") }
}
