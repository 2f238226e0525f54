//! Which rows are to train on, to validate and to test: the parts that the literature uses.

use super::DataError;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// How a series is cut into three parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Split {
    /// ETTh1 and ETTh2: 12, 4 and 4 months of 30 days; what follows is not used.
    EttHourly,
    /// ETTm1 and ETTm2: the same in quarters of an hour.
    EttMinutely,
    /// Weather, ECL, Traffic, Exchange, Solar and anybody's own: 70, 10 and 20 percent.
    Custom,
    /// PEMS: 60, 20 and 20 percent, whose first windows do not reach into the part before.
    Pems,
}

/// The rows of each part. Those to validate and to test begin a look-back earlier where the split says so, so that
/// their first horizon is right behind the part before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// To train on.
    pub train: Range<usize>,
    /// To choose between epochs.
    pub validation: Range<usize>,
    /// To report.
    pub test: Range<usize>,
}

/// Hours in a month of the ETT split.
const MONTH: usize = 30 * 24;

impl Split {
    /// The split that the literature uses for a data set of this name, such as `ETTm2`.
    ///
    /// ```
    /// use mamba_ts::data::Split;
    ///
    /// assert_eq!(Split::of_dataset("ETTm2"), Split::EttMinutely);
    /// let parts = Split::of_dataset("my own").parts(1000, 96, 24)?;
    /// assert_eq!((parts.train, parts.test), (0..700, 704..1000));
    /// # Ok::<(), mamba_ts::data::DataError>(())
    /// ```
    pub fn of_dataset(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            _ if name.starts_with("etth") => Self::EttHourly,
            _ if name.starts_with("ettm") => Self::EttMinutely,
            _ if name.starts_with("pems") => Self::Pems,
            _ => Self::Custom,
        }
    }

    /// The parts of `rows` rows for windows of a look-back and a horizon.
    ///
    /// # Errors
    /// [`DataError::TooShort`] if a part has no window.
    pub fn parts(self, rows: usize, look_back: usize, horizon: usize) -> Result<Parts, DataError> {
        let share = |percent: usize| rows * percent / 100;
        let [train, validation, end] = match self {
            Self::EttHourly => [12 * MONTH, 16 * MONTH, 20 * MONTH],
            Self::EttMinutely => [12, 16, 20].map(|months| 4 * months * MONTH),
            Self::Custom => [share(70), rows - share(20), rows],
            Self::Pems => [share(60), share(80), rows],
        };
        let reach = if self == Self::Pems { 0 } else { look_back };
        let window = look_back + horizon;
        let too_short = |rows, purpose, expected| Err(DataError::TooShort { rows, purpose, expected });
        if rows < end {
            return too_short(rows, "in all", end);
        }
        if train < window {
            return too_short(train, "to train on", window);
        }
        let parts = Parts { train: 0..train, validation: train - reach..validation, test: validation - reach..end };
        for (part, purpose) in [(&parts.validation, "to validate"), (&parts.test, "to test")] {
            if part.len() < window {
                return too_short(part.len(), purpose, window);
            }
        }
        Ok(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ett_has_the_windows_of_the_literature() {
        let parts = Split::EttHourly.parts(17420, 96, 96).unwrap();
        let windows = [&parts.train, &parts.validation, &parts.test].map(|part| part.len() - 96 - 96 + 1);
        assert_eq!(windows, [8449, 2785, 2785]);
        assert_eq!(parts.test, 11520 - 96..14400);
    }

    #[test]
    fn other_splits_are_shares() {
        // Weather.
        let parts = Split::Custom.parts(52696, 96, 720).unwrap();
        assert_eq!(parts, Parts { train: 0..36887, validation: 36791..42157, test: 42061..52696 });
        let parts = Split::Pems.parts(1000, 96, 12).unwrap();
        assert_eq!(parts, Parts { train: 0..600, validation: 600..800, test: 800..1000 });
        assert_eq!(Split::of_dataset("ETTm2"), Split::EttMinutely);
        assert_eq!(Split::of_dataset("weather"), Split::Custom);
    }

    #[test]
    fn a_part_without_a_window_is_refused() {
        assert!(matches!(Split::EttHourly.parts(14399, 96, 96), Err(DataError::TooShort { expected: 14400, .. })));
        assert!(matches!(Split::Custom.parts(200, 96, 96), Err(DataError::TooShort { rows: 140, expected: 192, .. })));
        assert!(Split::Custom.parts(0, 96, 96).is_err());
        assert!(matches!(Split::Pems.parts(600, 96, 96), Err(DataError::TooShort { purpose: "to validate", .. })));
    }
}
