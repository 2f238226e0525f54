//! Standardisation.

use super::Series;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// A mean of 0 and a standard deviation of 1 for every variate, as scikit-learn's `StandardScaler`: the deviation is
/// that of the population, and 1 where all values are the same.
///
/// ```
/// use mamba_ts::data::{Series, StandardScaler};
///
/// let series = Series::new(vec!["a".into()], vec![1.0, 3.0, 100.0], None);
/// // From the rows to train on alone.
/// let scaler = StandardScaler::fit(&series, 0..2);
/// assert_eq!((scaler.mean[0], scaler.deviation[0]), (2.0, 1.0));
/// assert_eq!(scaler.transform(&series).values(), [-1.0, 1.0, 98.0]);
/// assert_eq!(StandardScaler::identity(1).transform(&series), series);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StandardScaler {
    /// The mean of every variate.
    pub mean: Vec<f32>,
    /// Its standard deviation.
    pub deviation: Vec<f32>,
}

impl StandardScaler {
    /// From what is not missing in the given rows. A variate without any value is left as it is.
    pub fn fit(series: &Series, rows: Range<usize>) -> Self {
        let (mut mean, mut deviation) = (Vec::new(), Vec::new());
        for column in 0..series.variates() {
            let values =
                || rows.clone().map(|row| f64::from(series.row(row)[column])).filter(|value| value.is_finite());
            let count = values().count().max(1) as f64;
            let average = values().sum::<f64>() / count;
            let variance = values().map(|value| (value - average).powi(2)).sum::<f64>() / count;
            mean.push(average as f32);
            // Rounding leaves a trace of variance in a column of one value.
            let is_constant = variance.sqrt() <= 1e-7 * average.abs();
            deviation.push(if is_constant { 1.0 } else { variance.sqrt() as f32 });
        }
        Self { mean, deviation }
    }

    /// That which changes nothing.
    pub fn identity(variates: usize) -> Self {
        Self { mean: vec![0.0; variates], deviation: vec![1.0; variates] }
    }

    /// `value` of a variate, scaled.
    pub fn scale(&self, column: usize, value: f32) -> f32 {
        (value - self.mean[column]) / self.deviation[column]
    }

    /// The inverse of [`scale`](Self::scale).
    pub fn unscale(&self, column: usize, value: f32) -> f32 {
        value * self.deviation[column] + self.mean[column]
    }

    /// All values of a series.
    pub fn transform(&self, series: &Series) -> Series {
        let columns = (0..series.variates()).cycle();
        let values = series.values().iter().zip(columns).map(|(&value, column)| self.scale(column, value)).collect();
        Series::new(series.names().to_vec(), values, series.calendar())
    }
}
