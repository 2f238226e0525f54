//! Back-tests by rolling origin (Tashman 2000): forecasts from many places of a series, each knowing what came before.

use super::{Forecast, ForecastError, Forecaster};
use crate::data::{DataError, Series};
use crate::metrics::{Evaluation, naive_errors};
use mamba_blocks::ConfigError;
use serde::{Deserialize, Serialize};

/// From where forecasts are made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BacktestConfig {
    /// Rows of every forecast.
    pub horizon: usize,
    /// The first row that is forecast.
    pub start: usize,
    /// From one origin to the next.
    pub stride: usize,
    /// After how many origins it is fitted again to all rows before; never if none.
    pub refit_every: Option<usize>,
    /// Rows of a season, for MASE.
    pub season: usize,
}

/// What a back-test found, in the units of the series.
#[derive(Clone, Debug)]
pub struct Backtest {
    /// The scores, per step and over all.
    pub evaluation: Evaluation,
    /// The first row of every forecast, and the forecast.
    pub forecasts: Vec<(usize, Forecast)>,
}

/// Forecasts `series` from every origin; `progress` hears how many of how many are done. The forecaster has been
/// fitted, or is fitted to the rows before the first origin if it has to be fitted again.
///
/// # Errors
/// [`ForecastError`], of the forecaster or if no origin has a whole horizon behind it.
///
/// ```
/// use burn::tensor::Device;
/// use mamba_ts::data::Series;
/// use mamba_ts::forecast::{BacktestConfig, Forecaster, NetworkForecaster, backtest};
/// use mamba_ts::{SeasonalNaiveConfig, training::TrainingConfig};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let waves = (0..120).map(|row| (row as f32 / 4.0).sin()).collect();
/// # let series = Series::new(vec!["wave".into()], waves, None);
/// # let device = Device::default().autodiff();
/// let network = SeasonalNaiveConfig::new(50, 12, 25).try_init()?;
/// let mut forecaster = NetworkForecaster::new(network, TrainingConfig::new(), &device);
/// forecaster.fit(&series.slice(0..84))?;
/// let config = BacktestConfig { horizon: 12, start: 84, stride: 12, refit_every: None, season: 25 };
/// let found = backtest(&mut forecaster, &series, &config, |_done, _of| {})?;
/// assert_eq!((found.forecasts.len(), found.evaluation.count()), (3, 36));
/// # Ok(())
/// # }
/// ```
pub fn backtest(
    forecaster: &mut impl Forecaster,
    series: &Series,
    config: &BacktestConfig,
    mut progress: impl FnMut(usize, usize),
) -> Result<Backtest, ForecastError> {
    let BacktestConfig { horizon, start, stride, refit_every, season } = *config;
    let sizes = [("horizon", horizon), ("stride", stride), ("season", season)];
    ConfigError::check_sizes(&sizes).map_err(crate::training::TrainingError::from)?;
    if series.len() < start + horizon {
        let (rows, expected) = (series.len(), start + horizon);
        return Err(DataError::TooShort { rows, purpose: "to test", expected }.into());
    }
    let origins: Vec<_> = (start..=series.len() - horizon).step_by(stride).collect();
    let scales = naive_errors(series, 0..start, season);
    let (mut evaluation, mut forecasts): (Option<Evaluation>, _) = (None, Vec::new());
    for (done, &origin) in origins.iter().enumerate() {
        match refit_every {
            Some(every) if done.is_multiple_of(every.max(1)) => forecaster.fit(&series.slice(0..origin))?,
            _ if done == 0 => forecaster.observe(&series.slice(0..origin))?,
            _ => {}
        }
        let forecast = forecaster.predict(horizon)?;
        let evaluation =
            evaluation.get_or_insert_with(|| Evaluation::new(horizon, forecast.levels()).with_scales(scales.clone()));
        forecast.compare(evaluation, |row, variate| series.row(origin + row)[variate]);
        forecasts.push((origin, forecast));
        progress(done + 1, origins.len());
        // The next one is made from its own rows if it is fitted again.
        if done + 1 < origins.len() {
            (origin..origin + stride).try_for_each(|row| forecaster.update(series.row(row)))?;
        }
    }
    let evaluation = evaluation.unwrap_or_else(|| Evaluation::new(horizon, &[]));
    Ok(Backtest { evaluation, forecasts })
}
