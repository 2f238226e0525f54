//! A forecast, in the units of its series.

use crate::data::{Calendar, StandardScaler};
use crate::metrics::Evaluation;
use burn::tensor::Tensor;
use jiff::civil::DateTime;
use std::io::{self, Write};

/// The rows that follow a series.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    names: Vec<String>,
    /// That of the forecast's own rows.
    calendar: Option<Calendar>,
    levels: Vec<f64>,
    /// Row by row, variate by variate, quantile by quantile.
    outputs: Vec<f32>,
    point: usize,
}

impl Forecast {
    /// From what a network makes of one scaled window, `[1, horizon, variates, outputs]`. Quantiles are sorted, so that
    /// none of them cross.
    pub(crate) fn new(
        outputs: Tensor<4>,
        names: &[String],
        calendar: Option<Calendar>,
        levels: &[f64],
        scaler: &StandardScaler,
    ) -> Self {
        let count = levels.len().max(1);
        let mut outputs: Vec<f32> = outputs.into_data().iter::<f32>().collect();
        for (place, outputs) in outputs.chunks_mut(count).enumerate() {
            outputs.sort_by(f32::total_cmp);
            outputs.iter_mut().for_each(|value| *value = scaler.unscale(place % names.len(), *value));
        }
        let point = crate::Objective::Quantiles(levels.to_vec()).point();
        Self { names: names.to_vec(), calendar, levels: levels.to_vec(), outputs, point }
    }

    /// Number of rows.
    pub fn horizon(&self) -> usize {
        self.outputs.len() / self.names.len() / self.levels.len().max(1)
    }

    /// The names of the variates.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The time of a row, if it is known.
    pub fn time(&self, row: usize) -> Option<DateTime> {
        self.calendar?.time(row)
    }

    /// The levels of the quantiles, rising; none if there are no quantiles.
    pub fn levels(&self) -> &[f64] {
        &self.levels
    }

    /// The value itself: the quantile next to the median if there are quantiles.
    ///
    /// # Panics
    /// If there is no such row or variate.
    pub fn value(&self, row: usize, variate: usize) -> f32 {
        self.outputs(row, variate)[self.point]
    }

    /// The quantiles of a value, in the order of [`levels`](Self::levels); the value itself if there are none.
    ///
    /// # Panics
    /// If there is no such row or variate.
    pub fn outputs(&self, row: usize, variate: usize) -> &[f32] {
        assert!(variate < self.names.len(), "Forecast: there is no variate {variate}");
        let count = self.levels.len().max(1);
        let start = (row * self.names.len() + variate) * count;
        &self.outputs[start..start + count]
    }

    /// Compares it with what came, `target(row, variate)`, NaN where it is missing.
    pub(crate) fn compare(&self, evaluation: &mut Evaluation, target: impl Fn(usize, usize) -> f32) {
        let width = self.names.len() * self.levels.len().max(1);
        for (row, outputs) in self.outputs.chunks(width).enumerate() {
            evaluation.add_row(row, outputs, |variate| target(row, variate));
        }
    }

    /// Writes a CSV file: the time, every variate, and its quantiles as `name_q10`.
    ///
    /// # Errors
    /// Of the writer.
    pub fn write_csv(&self, writer: impl Write) -> io::Result<()> {
        let mut writer = csv::Writer::from_writer(writer);
        let mut header = vec!["date".to_string()];
        for name in &self.names {
            header.push(name.clone());
            header.extend(self.levels.iter().map(|level| format!("{name}_q{}", level * 100.0)));
        }
        writer.write_record(header)?;
        for row in 0..self.horizon() {
            let mut fields = vec![self.time(row).map_or_else(|| (row + 1).to_string(), |time| time.to_string())];
            for variate in 0..self.names.len() {
                fields.push(self.value(row, variate).to_string());
                if !self.levels.is_empty() {
                    fields.extend(self.outputs(row, variate).iter().map(f32::to_string));
                }
            }
            writer.write_record(fields)?;
        }
        writer.flush()
    }
}
