//! Series of numbers, evenly spaced in time.

use super::{DataError, Frequency};
use jiff::civil::DateTime;

/// When the rows of a series are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calendar {
    /// The time of the first row.
    pub start: DateTime,
    /// From one row to the next.
    pub frequency: Frequency,
}

impl Calendar {
    /// The time of a row; none beyond the calendar (the year 9999).
    pub fn time(&self, row: usize) -> Option<DateTime> {
        self.frequency.after(self.start, row as i64)
    }

    /// That of the rows behind the first so many.
    pub fn behind(&self, rows: usize) -> Option<Self> {
        Some(Self { start: self.time(rows)?, frequency: self.frequency })
    }
}

/// Several variates over time: a row for each time, a column for each variate.
///
/// ```
/// use mamba_ts::data::Series;
///
/// // Two variates, three rows; one value is missing.
/// let series = Series::new(vec!["a".into(), "b".into()], vec![1.0, 2.0, 3.0, f32::NAN, 5.0, 6.0], None);
/// assert_eq!((series.len(), series.variates(), series.missing()), (3, 2, 1));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    calendar: Option<Calendar>,
    names: Vec<String>,
    /// Row by row; NaN where a value is missing.
    values: Vec<f32>,
}

impl Series {
    /// `values` row by row, NaN where one is missing. Without a calendar there are no time marks.
    ///
    /// # Panics
    /// If there are no names, or the values do not fill whole rows.
    pub fn new(names: Vec<String>, values: Vec<f32>, calendar: Option<Calendar>) -> Self {
        assert!(
            !names.is_empty() && values.len().is_multiple_of(names.len()),
            "Series: {} values for {} names, expected whole rows",
            values.len(),
            names.len()
        );
        Self { calendar, names, values }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.values.len() / self.names.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Number of variates.
    pub fn variates(&self) -> usize {
        self.names.len()
    }

    /// The names of the variates.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// When the rows are.
    pub fn calendar(&self) -> Option<Calendar> {
        self.calendar
    }

    /// All values row by row; NaN where one is missing.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The values of one row.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.variates()..(row + 1) * self.variates()]
    }

    /// The values of one variate.
    pub fn column(&self, column: usize) -> impl Iterator<Item = f32> {
        self.values.iter().skip(column).step_by(self.variates()).copied()
    }

    /// Some of the rows.
    ///
    /// # Panics
    /// If there are no such rows.
    pub fn slice(&self, rows: std::ops::Range<usize>) -> Self {
        let calendar = self.calendar.and_then(|calendar| calendar.behind(rows.start));
        let values = self.values[rows.start * self.variates()..rows.end * self.variates()].to_vec();
        Self { calendar, names: self.names.clone(), values }
    }

    /// Appends a row and drops the first.
    pub(crate) fn push(&mut self, row: &[f32]) {
        self.values.drain(..self.variates());
        self.values.extend_from_slice(row);
        self.calendar = self.calendar.and_then(|calendar| calendar.behind(1));
    }

    /// Some of the columns, in the order of `names`; all if there are none.
    ///
    /// # Errors
    /// [`DataError::UnknownColumn`].
    pub fn select(&self, names: &[String]) -> Result<Self, DataError> {
        if names.is_empty() {
            return Ok(self.clone());
        }
        let place = |column: &String| {
            self.names
                .iter()
                .position(|name| name == column)
                .ok_or_else(|| DataError::UnknownColumn { column: column.clone(), available: self.names.join(", ") })
        };
        let columns = names.iter().map(place).collect::<Result<Vec<_>, _>>()?;
        let values = (0..self.len()).flat_map(|row| columns.iter().map(move |&column| self.row(row)[column]));
        Ok(Self { calendar: self.calendar, names: names.to_vec(), values: values.collect() })
    }

    /// How many values are missing.
    pub fn missing(&self) -> usize {
        self.values.iter().filter(|value| value.is_nan()).count()
    }

    /// The time marks of `rows` rows from row `first` on, which may be behind the last, row by row; see
    /// [`Frequency::marks`]. None without a calendar, or where there are none.
    pub fn marks(&self, first: usize, rows: usize) -> Option<Vec<f32>> {
        let calendar = self.calendar.filter(|calendar| calendar.frequency.num_marks() > 0)?;
        let mut marks = Vec::with_capacity(rows * calendar.frequency.num_marks());
        for row in first..first + rows {
            marks.extend(calendar.frequency.marks(calendar.time(row)?));
        }
        Some(marks)
    }

    /// Checks that there are at least `expected` rows for a purpose such as "to train on".
    ///
    /// # Errors
    /// [`DataError::TooShort`].
    pub fn check_len(&self, expected: usize, purpose: &'static str) -> Result<(), DataError> {
        match self.len() >= expected {
            true => Ok(()),
            false => Err(DataError::TooShort { rows: self.len(), purpose, expected }),
        }
    }

    /// Checks that every value is a number or missing.
    ///
    /// # Errors
    /// [`DataError::Infinite`].
    pub fn check_finite(&self) -> Result<(), DataError> {
        match self.values.iter().position(|value| value.is_infinite()) {
            Some(place) => Err(DataError::Infinite {
                row: place / self.variates() + 1,
                column: self.names[place % self.variates()].clone(),
                value: self.values[place],
            }),
            None => Ok(()),
        }
    }

    /// Checks that the columns and the step between rows are those of another series.
    ///
    /// # Errors
    /// [`DataError::OtherColumns`] and [`DataError::OtherFrequency`].
    pub fn check_like(&self, names: &[String], frequency: Option<Frequency>) -> Result<(), DataError> {
        if self.names != names {
            return Err(DataError::OtherColumns { found: self.names.join(", "), expected: names.join(", ") });
        }
        let own = self.calendar.map(|calendar| calendar.frequency);
        let text = |frequency: Option<Frequency>| frequency.map_or("unknown".to_string(), |step| step.to_string());
        match own == frequency {
            true => Ok(()),
            false => Err(DataError::OtherFrequency { found: text(own), expected: text(frequency) }),
        }
    }
}
