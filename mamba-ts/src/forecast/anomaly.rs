//! Anomaly scores: how unlike its forecast a row is.

use super::{ForecastError, Forecaster};
use crate::data::Series;
use thiserror::Error;

/// Scores rows by the error of their forecast one step ahead, in units of what is usual.
///
/// Usual is the median absolute deviation of these errors on rows to calibrate with, times 1.4826: a score of 3 is one
/// of three standard deviations if errors are normal (Leys et al. 2013).
///
/// ```
/// use burn::tensor::Device;
/// use mamba_ts::data::Series;
/// use mamba_ts::forecast::{AnomalyScorer, Forecaster, NetworkForecaster};
/// use mamba_ts::{LastValueConfig, training::TrainingConfig};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let waves = (0..120).map(|row| (row as f32 / 4.0).sin()).collect();
/// # let series = Series::new(vec!["wave".into()], waves, None);
/// # let device = Device::default().autodiff();
/// let network = LastValueConfig::new(8, 1).try_init()?;
/// let mut forecaster = NetworkForecaster::new(network, TrainingConfig::new(), &device);
/// forecaster.fit(&series.slice(0..80))?;
/// let mut scorer = AnomalyScorer::calibrate(forecaster, &series.slice(80..120))?;
/// assert!(scorer.score(&[9.0])?[0] > 3.0);
/// # Ok(())
/// # }
/// ```
pub struct AnomalyScorer<F> {
    forecaster: F,
    /// Of every variate: the median error, and the deviation.
    usual: Vec<(f64, f64)>,
}

/// Why rows cannot be scored.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AnomalyScorerError {
    /// The forecaster fails.
    #[error(transparent)]
    Forecast(#[from] ForecastError),
    /// A variate is missing in all rows to calibrate with.
    #[error("`{column}` has no value to calibrate with")]
    NoValues {
        /// The variate.
        column: String,
    },
}

/// From a median absolute deviation to a standard deviation, for a normal distribution.
const TO_DEVIATION: f64 = 1.4826;

impl<F: Forecaster> AnomalyScorer<F> {
    /// Calibrates with rows that follow what `forecaster` has seen.
    ///
    /// # Errors
    /// [`AnomalyScorerError`].
    pub fn calibrate(mut forecaster: F, rows: &Series) -> Result<Self, AnomalyScorerError> {
        let mut errors = vec![Vec::new(); rows.variates()];
        for row in 0..rows.len() {
            let found = step(&mut forecaster, rows.row(row))?;
            for (errors, error) in errors.iter_mut().zip(found) {
                errors.extend(error.is_finite().then_some(error));
            }
        }
        let usual = |(column, errors): (usize, Vec<f64>)| {
            let centre = median(errors.clone())
                .ok_or_else(|| AnomalyScorerError::NoValues { column: rows.names()[column].clone() })?;
            let deviations = errors.into_iter().map(|error| (error - centre).abs()).collect();
            // A variate that is forecast exactly has no deviation: any error is unusual.
            let deviation = median(deviations).unwrap_or(0.0).max(f64::from(f32::EPSILON));
            Ok((centre, TO_DEVIATION * deviation))
        };
        let usual = errors.into_iter().enumerate().map(usual).collect::<Result<_, AnomalyScorerError>>()?;
        Ok(Self { forecaster, usual })
    }

    /// The score of every variate of the next row, NaN where it is missing; the row becomes part of the past.
    ///
    /// # Errors
    /// [`ForecastError`].
    pub fn score(&mut self, row: &[f32]) -> Result<Vec<f64>, ForecastError> {
        let errors = step(&mut self.forecaster, row)?;
        Ok(errors.into_iter().zip(&self.usual).map(|(error, (centre, usual))| (error - centre).abs() / usual).collect())
    }
}

/// The errors of the forecast of `row`, which becomes part of the past.
fn step(forecaster: &mut impl Forecaster, row: &[f32]) -> Result<Vec<f64>, ForecastError> {
    let forecast = forecaster.predict(1)?;
    forecaster.update(row)?;
    let error = |(variate, &value): (usize, &f32)| f64::from(value) - f64::from(forecast.value(0, variate));
    Ok(row.iter().enumerate().map(error).collect())
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let below = if values.len().is_multiple_of(2) { middle.checked_sub(1)? } else { middle };
    Some((values[below] + values[middle]) / 2.0)
}
