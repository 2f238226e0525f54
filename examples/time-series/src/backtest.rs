//! `backtest`: how good forecasts of a user's own series would have been.

use std::path::PathBuf;

use burn::tensor::Device;
use clap::Args;
use examples_common::files::{publish, write_synced};
use examples_common::progress;
use mamba_ts::data::{Series, StandardScaler};
use mamba_ts::forecast::{Backtest, BacktestConfig, Forecaster, NetworkForecaster, backtest as roll};
use mamba_ts::{LastValueConfig, Objective, SeasonalNaiveConfig};

use crate::error::Error;
use crate::forecast::{Common, fit};
use crate::model::Model;
use crate::{plot, table};

/// Learns from the first part of a CSV or Parquet file and forecasts the rest from many places.
#[derive(Args)]
pub struct BacktestArgs {
    #[command(flatten)]
    common: Common,
    /// Share of the rows that it learns from
    #[arg(long, default_value_t = 0.8)]
    train: f64,
    /// Rows from one forecast to the next [default: the horizon]
    #[arg(long)]
    stride: Option<usize>,
    /// SVG file to draw the forecasts into
    #[arg(long)]
    plot: Option<PathBuf>,
}

pub fn backtest(args: &BacktestArgs, device: &Device) -> Result<(), Error> {
    let Common { csv, source, horizon, settings, .. } = &args.common;
    let share = mamba_blocks::ConfigError::OutOfRange { name: "train", value: args.train, expected: "between 0 and 1" };
    if !(args.train > 0.0 && args.train < 1.0) {
        return Err(share.into());
    }
    let series = source.read(csv)?;
    let start = (series.len() as f64 * args.train) as usize;
    let season = series.calendar().map_or(1, |calendar| calendar.frequency.season()).min(settings.look_back);
    let config =
        BacktestConfig { horizon: *horizon, start, stride: args.stride.unwrap_or(*horizon), refit_every: None, season };
    let known = series.slice(0..start);
    let mut forecaster = fit(&args.common, &known, device)?;
    let rolled = roll_on(&mut forecaster, &series, &config)?;
    println!("{} forecasts of {horizon} rows, in units of the series", rolled.forecasts.len());
    print!("{}", table::scores(&rolled.evaluation, *horizon));

    let look_back = settings.look_back;
    let rules = [
        ("last value", LastValueConfig::new(look_back, *horizon).try_init().map(Model::LastValue)?),
        ("seasonal naive", SeasonalNaiveConfig::new(look_back, *horizon, season).try_init().map(Model::SeasonalNaive)?),
    ];
    for (name, rule) in rules {
        let scaler = StandardScaler::identity(series.variates());
        let training = settings.plain().training(Objective::Mse);
        let mut rule = NetworkForecaster::fitted(rule, scaler, training, &known, device)?;
        let scores = roll_on(&mut rule, &series, &config)?.evaluation.scores();
        println!(
            "{name}: MAE {:.4}, sMAPE {:.2}, MASE {:.4}",
            scores.mae,
            scores.smape,
            scores.mase.unwrap_or(f64::NAN)
        );
    }
    if let Some(path) = &args.plot {
        let svg = plot::backtest(&series, &rolled.forecasts)
            .map_err(|error| Error::Plot { path: path.clone(), reason: error.to_string() })?;
        publish(path, |scratch| write_synced(scratch, svg.as_bytes()))?;
    }
    Ok(())
}

fn roll_on(forecaster: &mut impl Forecaster, series: &Series, config: &BacktestConfig) -> Result<Backtest, Error> {
    let bar = progress::steps(0, 0);
    let rolled = roll(forecaster, series, config, |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    Ok(rolled?)
}
