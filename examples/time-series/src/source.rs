//! The series that the user names, and what was put right in it.

use std::path::{Path, PathBuf};

use clap::Args;
use mamba_ts::data::{Frequency, ReadOptions, Series};
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// How to read a file; what is not given is found out.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// Columns to forecast, separated by commas [default: all of numbers]
    #[arg(long, value_delimiter = ',')]
    pub target: Vec<String>,
    /// Column of dates
    #[arg(long)]
    pub date: Option<String>,
    /// How the dates are written, as in %d/%m/%Y
    #[arg(long)]
    pub date_format: Option<String>,
    /// From one row to the next: a number and one of ms, s, min, h, d, w, mo (months) and y, as in 15min
    #[arg(long)]
    pub freq: Option<Frequency>,
}

impl Source {
    /// Reads the series in `path`, and tells what was put right.
    pub fn read(&self, path: &Path) -> Result<Series, Error> {
        let Self { target, date, date_format, freq } = self.clone();
        let options = ReadOptions { date, date_format, columns: target, frequency: freq };
        let loaded = Series::read(path, &options)?;
        for repair in &loaded.repairs {
            eprintln!("note: {repair}");
        }
        let series = loaded.series;
        if let Some(calendar) = series.calendar() {
            let (rows, names) = (series.len(), series.names().join(", "));
            eprintln!("{rows} rows from {} with a step of {}: {names}", calendar.start, calendar.frequency);
        }
        Ok(series)
    }
}

/// The series that ships here.
pub fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/ETTh1.csv")
}
