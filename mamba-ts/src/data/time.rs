//! Dates as they stand in files, and the steps between them.

use jiff::civil::DateTime;
use jiff::tz::Offset;
use jiff::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// From one row of a series to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Frequency {
    /// So many milliseconds.
    Millis(i64),
    /// So many months of the calendar.
    Months(i32),
}

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// The letters of a frequency, longest first among those of one kind.
const UNITS: [(&str, Frequency); 8] = [
    ("ms", Frequency::Millis(1)),
    ("s", Frequency::Millis(SECOND)),
    ("min", Frequency::Millis(MINUTE)),
    ("h", Frequency::Millis(HOUR)),
    ("d", Frequency::Millis(DAY)),
    ("w", Frequency::Millis(7 * DAY)),
    ("mo", Frequency::Months(1)),
    ("y", Frequency::Months(12)),
];

/// A frequency that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is no frequency: expected a number and one of ms, s, min, h, d, w, mo (months) and y, as in 15min")]
pub struct FrequencyError(String);

impl FromStr for Frequency {
    type Err = FrequencyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || FrequencyError(text.to_string());
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (count, unit) = text.split_at(digits);
        let count = if count.is_empty() { 1 } else { count.parse::<i32>().map_err(|_| refuse())? };
        let unit = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or_else(refuse)?.1;
        match unit {
            _ if count == 0 => Err(refuse()),
            Self::Millis(millis) => Ok(Self::Millis(millis * i64::from(count))),
            Self::Months(months) => Ok(Self::Months(months.checked_mul(count).ok_or_else(refuse)?)),
        }
    }
}

impl TryFrom<String> for Frequency {
    type Error = FrequencyError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Frequency> for String {
    fn from(frequency: Frequency) -> Self {
        frequency.to_string()
    }
}

impl fmt::Display for Frequency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, unit) = UNITS
            .iter()
            .rev()
            .find_map(|(name, unit)| match (self, unit) {
                (Self::Millis(own), Self::Millis(unit)) => (own % unit == 0).then_some((own / unit, name)),
                (Self::Months(own), Self::Months(unit)) => (own % unit == 0).then_some((i64::from(own / unit), name)),
                _ => None,
            })
            .unwrap_or((0, &"ms"));
        if count == 1 { write!(f, "{unit}") } else { write!(f, "{count}{unit}") }
    }
}

impl Frequency {
    /// The most frequent step between `times`, which rise, and the shortest of several such; none if there are fewer
    /// than two.
    ///
    /// ```
    /// use jiff::civil::date;
    /// use mamba_ts::data::Frequency;
    ///
    /// // One day is missing.
    /// let times = [1, 2, 4, 5].map(|day| date(2024, 1, day).at(0, 0, 0, 0));
    /// assert_eq!(Frequency::infer(&times), Some("1d".parse()?));
    /// # Ok::<(), mamba_ts::data::FrequencyError>(())
    /// ```
    pub fn infer(times: &[DateTime]) -> Option<Self> {
        let mut steps: Vec<_> = times.windows(2).map(|pair| millis(pair[1]) - millis(pair[0])).collect();
        steps.sort_unstable();
        let step = *steps.chunk_by(|a, b| a == b).rev().max_by_key(|chunk| chunk.len())?.first()?;
        let all_equal = steps.first() == steps.last() && steps.len() > 1;
        Some(match step / DAY {
            365 | 366 => Self::Months(12),
            89..=92 if !all_equal => Self::Months(3),
            28..=31 if !all_equal => Self::Months(1),
            _ => Self::Millis(step),
        })
    }

    /// `start`, so many steps later; none beyond the calendar.
    pub fn after(self, start: DateTime, steps: i64) -> Option<DateTime> {
        let span = match self {
            Self::Millis(step) => Span::new().try_milliseconds(step.checked_mul(steps)?).ok()?,
            Self::Months(step) => Span::new().try_months(i64::from(step).checked_mul(steps)?).ok()?,
        };
        start.checked_add(span).ok()
    }

    /// How many steps after `start` `time` is; none if it is between two of them. Within a month, days do not count.
    pub fn steps_between(self, start: DateTime, time: DateTime) -> Option<i64> {
        let (distance, step) = match self {
            Self::Millis(step) => (millis(time) - millis(start), step),
            Self::Months(step) => (months(time) - months(start), i64::from(step)),
        };
        (distance % step == 0).then_some(distance / step)
    }

    /// How many rows a season has: a day of hours or minutes, a week of days, a year of weeks or months.
    pub fn season(self) -> usize {
        let whole = |long: i64, short: i64| if long % short == 0 { (long / short) as usize } else { 1 };
        match self {
            Self::Millis(step) if step < DAY => whole(DAY, step),
            Self::Millis(step) if step < 7 * DAY => whole(7 * DAY, step),
            Self::Millis(step) if step < 28 * DAY => (364 * DAY / step) as usize,
            Self::Millis(_) => 1,
            Self::Months(step) => whole(12, step.into()),
        }
        .max(1)
    }

    /// What tells the time of a row, each from -0.5 to 0.5: the hour of its day, the day of its week, and so on, as far
    /// as they differ between rows (those of GluonTS and of Informer's `timeF`, in their order).
    pub fn marks(self, time: DateTime) -> Vec<f32> {
        let date = time.date();
        let place = |value: i32, most: i32| value as f32 / most as f32 - 0.5;
        let second = || place(time.second().into(), 59);
        let minute = || place(time.minute().into(), 59);
        let hour = || place(time.hour().into(), 23);
        let week_day = || place(date.weekday().to_monday_zero_offset().into(), 6);
        let month_day = || place(i32::from(date.day()) - 1, 30);
        let year_day = || place(i32::from(date.day_of_year()) - 1, 365);
        let week = || place(i32::from(date.iso_week_date().week()) - 1, 52);
        let month = || place(i32::from(date.month()) - 1, 11);
        match self {
            Self::Millis(step) if step < MINUTE => {
                vec![second(), minute(), hour(), week_day(), month_day(), year_day()]
            }
            Self::Millis(step) if step < HOUR => vec![minute(), hour(), week_day(), month_day(), year_day()],
            Self::Millis(step) if step < DAY => vec![hour(), week_day(), month_day(), year_day()],
            Self::Millis(step) if step < 7 * DAY => vec![week_day(), month_day(), year_day()],
            Self::Millis(_) => vec![month_day(), week()],
            Self::Months(step) if step < 12 => vec![month()],
            Self::Months(_) => vec![],
        }
    }

    /// How many [`marks`](Self::marks) a row has.
    pub fn num_marks(self) -> usize {
        self.marks(DateTime::ZERO).len()
    }
}

/// How the dates of a file are written.
#[derive(Clone, Debug)]
pub(super) enum DateFormat {
    /// ISO 8601 without an offset.
    Civil,
    /// ISO 8601 with an offset; times become those of UTC.
    Offset,
    /// A year and a month.
    Month,
    /// A count since 1970: milliseconds each.
    Epoch(i64),
    /// As of `strptime`.
    Pattern(String),
}

/// Those that cannot be mistaken for one another.
const PATTERNS: [&str; 8] = [
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
    "%Y/%m/%d",
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y",
    "%Y%m%d %H:%M:%S",
    "%Y%m%d",
];

impl DateFormat {
    /// The first that reads `text`.
    pub fn of(text: &str) -> Option<Self> {
        // A time without an offset is read from one with it, too.
        let known = [Self::Offset, Self::Civil, Self::Month, Self::Epoch(SECOND), Self::Epoch(1)];
        let patterns = PATTERNS.iter().map(|pattern| Self::Pattern(pattern.to_string()));
        known.into_iter().chain(patterns).find(|format| format.parse(text).is_some())
    }

    pub fn parse(&self, text: &str) -> Option<DateTime> {
        match self {
            Self::Civil => text.parse().ok(),
            Self::Offset => Some(Offset::UTC.to_datetime(text.parse::<Timestamp>().ok()?)),
            Self::Month => {
                let is_month = text.len() == 7 && text.as_bytes()[4] == b'-';
                is_month.then(|| format!("{text}-01").parse().ok()).flatten()
            }
            Self::Epoch(unit) => {
                let digits = if *unit == 1 { 12..=14 } else { 9..=11 };
                let is_count = digits.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
                let count = if is_count { text.parse::<i64>().ok()? } else { return None };
                Some(Offset::UTC.to_datetime(Timestamp::from_millisecond(count * unit).ok()?))
            }
            Self::Pattern(pattern) => {
                let date_only = || Some(jiff::civil::Date::strptime(pattern, text).ok()?.at(0, 0, 0, 0));
                DateTime::strptime(pattern, text).ok().or_else(date_only)
            }
        }
    }
}

/// Milliseconds since 1970.
fn millis(time: DateTime) -> i64 {
    // Only the last hours of the year 9999 are out of range.
    Offset::UTC.to_timestamp(time).map_or(i64::MAX / 4, |timestamp| timestamp.as_millisecond())
}

fn months(time: DateTime) -> i64 {
    i64::from(time.year()) * 12 + i64::from(time.month())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> DateTime {
        text.parse().unwrap()
    }

    #[test]
    fn frequencies_are_read_and_written() {
        for (text, frequency) in [
            ("h", Frequency::Millis(HOUR)),
            ("15min", Frequency::Millis(15 * MINUTE)),
            ("7d", Frequency::Millis(7 * DAY)),
            ("mo", Frequency::Months(1)),
            ("3mo", Frequency::Months(3)),
            ("y", Frequency::Months(12)),
        ] {
            assert_eq!(text.parse(), Ok(frequency));
            assert_eq!(frequency.to_string().parse(), Ok(frequency));
        }
        for text in ["", "0h", "h1", "fortnight", "99999999999h", "-1h"] {
            assert!(text.parse::<Frequency>().is_err(), "{text}");
        }
    }

    #[test]
    fn frequencies_are_inferred() {
        let infer = |times: &[&str]| Frequency::infer(&times.iter().map(|time| date(time)).collect::<Vec<_>>());
        assert_eq!(infer(&["2020-01-01"]), None);
        let hours = ["2020-01-01T00:00", "2020-01-01T01:00", "2020-01-01T04:00", "2020-01-01T05:00"];
        assert_eq!(infer(&hours), Some(Frequency::Millis(HOUR)));
        assert_eq!(infer(&["2021-01-31", "2021-02-28", "2021-03-31", "2021-04-30"]), Some(Frequency::Months(1)));
        assert_eq!(infer(&["2021-01-01", "2021-04-01", "2021-07-01"]), Some(Frequency::Months(3)));
        assert_eq!(infer(&["2021-01-01", "2022-01-01", "2023-01-01"]), Some(Frequency::Months(12)));
        assert_eq!(infer(&["2021-01-01", "2021-01-29", "2021-02-26"]), Some(Frequency::Millis(28 * DAY)));
    }

    #[test]
    fn steps_lead_there_and_back() {
        let start = date("2020-01-31T06:00");
        for frequency in [Frequency::Millis(MINUTE), Frequency::Months(1), Frequency::Months(12)] {
            for steps in [0, 1, 13, 1000] {
                let time = frequency.after(start, steps).unwrap();
                assert_eq!(frequency.steps_between(start, time), Some(steps), "{frequency}");
            }
        }
        assert_eq!(Frequency::Millis(HOUR).steps_between(start, date("2020-01-31T06:30")), None);
        assert_eq!(Frequency::Months(12).after(start, 10_000), None);
    }

    #[test]
    fn marks_are_those_of_gluon_ts() {
        // A Friday.
        let marks = Frequency::Millis(HOUR).marks(date("2016-07-01T13:00"));
        let expected = [13.0 / 23.0 - 0.5, 4.0 / 6.0 - 0.5, -0.5, 182.0 / 365.0 - 0.5];
        assert!(marks.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-6), "{marks:?}");
        assert_eq!(Frequency::Millis(15 * MINUTE).num_marks(), 5);
        assert_eq!(Frequency::Months(12).num_marks(), 0);
    }

    #[test]
    fn dates_of_many_kinds_are_read() {
        let read = |text: &str| DateFormat::of(text).and_then(|format| format.parse(text));
        let expected = Some(date("2016-07-01T13:00"));
        let texts = [
            "2016-07-01 13:00:00",
            "2016-07-01T13:00",
            "2016-07-01T15:00:00+02:00",
            "2016/07/01 13:00",
            "01.07.2016 13:00",
            "1467378000",
            "1467378000000",
        ];
        for text in texts {
            assert_eq!(read(text), expected, "{text}");
        }
        assert_eq!(read("1949-02"), Some(date("1949-02-01")));
        // The day and the month could be either.
        for text in ["", "07/01/2016", "noon", "12", "3.5", "2016-13-01"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
