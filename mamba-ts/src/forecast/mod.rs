//! Forecasts of series, from fitting to back-tests, in the units of the series.

mod anomaly;
mod backtest;
mod network;
mod result;
mod streaming;

pub use anomaly::{AnomalyScorer, AnomalyScorerError};
pub use backtest::{Backtest, BacktestConfig, backtest};
pub use network::NetworkForecaster;
pub use result::Forecast;
pub use streaming::StreamingForecaster;

use crate::data::{DataError, Series, StandardScaler, Windows};
use crate::network::Network;
use crate::training::{Trainer, TrainingConfig, TrainingError};
use burn::tensor::Device;
use thiserror::Error;

/// Something that learns from a series and forecasts how it goes on.
pub trait Forecaster {
    /// Learns from `series`, and takes it as the past.
    ///
    /// # Errors
    /// [`ForecastError`] if it is too short, or training fails.
    fn fit(&mut self, series: &Series) -> Result<(), ForecastError>;

    /// Takes `history` as the past, without learning from it.
    ///
    /// # Errors
    /// [`ForecastError`] if it is too short, has other columns than what was learnt from, or nothing has been learnt.
    fn observe(&mut self, history: &Series) -> Result<(), ForecastError>;

    /// Appends one row to the past, NaN where a value is missing.
    ///
    /// # Errors
    /// [`ForecastError`] if the row has another number of values, or there is no past.
    fn update(&mut self, row: &[f32]) -> Result<(), ForecastError>;

    /// The `horizon` rows that follow the past.
    ///
    /// # Errors
    /// [`ForecastError`] if the horizon is 0 or longer than what was learnt, or there is no past.
    fn predict(&self, horizon: usize) -> Result<Forecast, ForecastError>;
}

/// Why there is no forecast.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ForecastError {
    /// The series cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Training failed.
    #[error(transparent)]
    Training(#[from] TrainingError),
    /// Nothing has been learnt or observed.
    #[error("the forecaster has seen no series: fit it first")]
    NoPast,
    /// The horizon cannot be forecast.
    #[error("the horizon is {found}, expected 1 to {longest} as was learnt")]
    Horizon {
        /// As asked for.
        found: usize,
        /// The longest.
        longest: usize,
    },
    /// A row is of another series.
    #[error("the row has {found} values, expected {expected}")]
    Row {
        /// Values of the row.
        found: usize,
        /// Values of the series.
        expected: usize,
    },
    /// A value is neither a number nor missing.
    #[error("the value of `{column}` is {value}, expected a number, or NaN where it is missing")]
    Infinite {
        /// The variate.
        column: String,
        /// Its value.
        value: f32,
    },
}

/// What a [`Forecaster`] learns from: a scaler, the windows to train on, and those of the last tenth of the series, or
/// of one horizon if that is longer, to choose between epochs.
///
/// # Errors
/// [`DataError::TooShort`] if either has no window, [`DataError::Infinite`].
///
/// ```
/// use mamba_ts::{data::Series, forecast::lesson};
///
/// let series = Series::new(vec!["a".into()], (0..100).map(|row| row as f32).collect(), None);
/// let (_scaler, train, validation) = lesson(&series, 8, 4)?;
/// assert_eq!((train.len(), validation.len()), (79, 7));
/// # Ok::<(), mamba_ts::data::DataError>(())
/// ```
pub fn lesson(
    series: &Series,
    look_back: usize,
    horizon: usize,
) -> Result<(StandardScaler, Windows, Windows), DataError> {
    series.check_len(look_back + 2 * horizon, "to learn from")?;
    series.check_finite()?;
    let train = 0..series.len() - (series.len() / 10).max(horizon);
    let scaler = StandardScaler::fit(series, train.clone());
    let windows = Windows::new(&scaler.transform(series), train.clone(), look_back, horizon);
    let validation = windows.with_rows(train.end - look_back..series.len());
    Ok((scaler, windows, validation))
}

/// Trains `network`; returns the one of the best epoch, without gradients, and the scaler.
fn fit_network<N: Network>(
    network: N,
    training: &TrainingConfig,
    series: &Series,
    device: &Device,
) -> Result<(N, StandardScaler), ForecastError> {
    let (scaler, windows, validation) = lesson(series, network.look_back(), network.horizon())?;
    let network = Trainer::new(network, training.clone(), device)?.run(&windows, &validation)?;
    Ok((network, scaler))
}

/// Checks a row that is to be appended.
fn check_row(row: &[f32], names: &[String]) -> Result<(), ForecastError> {
    if row.len() != names.len() {
        return Err(ForecastError::Row { found: row.len(), expected: names.len() });
    }
    match row.iter().position(|value| value.is_infinite()) {
        Some(column) => Err(ForecastError::Infinite { column: names[column].clone(), value: row[column] }),
        None => Ok(()),
    }
}

fn check_horizon(found: usize, longest: usize) -> Result<(), ForecastError> {
    match (1..=longest).contains(&found) {
        true => Ok(()),
        false => Err(ForecastError::Horizon { found, longest }),
    }
}
