//! `forecast`: how a user's own series goes on.

use std::path::PathBuf;
use std::time::Instant;

use burn::tensor::Device;
use clap::Args;
use examples_common::files::{publish, write_synced};
use examples_common::progress;
use mamba_ts::Network;
use mamba_ts::data::Series;
use mamba_ts::forecast::{Forecast, Forecaster, NetworkForecaster, lesson};
use mamba_ts::training::{Control, Trainer};

use crate::error::Error;
use crate::model::Model;
use crate::plot;
use crate::settings::Choices;
use crate::source::Source;

/// What `forecast` and `backtest` have in common.
#[derive(Args)]
pub struct Common {
    /// CSV or Parquet file with dates
    pub csv: PathBuf,
    #[command(flatten)]
    pub source: Source,
    /// Rows to forecast
    #[arg(long, default_value_t = 24)]
    pub horizon: usize,
    /// Levels of the quantiles to forecast
    #[arg(long, value_delimiter = ',', default_values_t = [0.1, 0.25, 0.5, 0.75, 0.9])]
    pub quantiles: Vec<f64>,
    #[command(flatten)]
    pub settings: Choices,
    /// Steps of training at most; of a long series, fewer windows are seen in each epoch
    #[arg(long, default_value_t = 1500)]
    pub steps: usize,
}

/// Learns from a CSV or Parquet file and forecasts how it goes on.
#[derive(Args)]
pub struct ForecastArgs {
    #[command(flatten)]
    common: Common,
    /// SVG file to draw history, forecast and quantile bands into
    #[arg(long)]
    plot: Option<PathBuf>,
    /// CSV file to write the forecast into [default: standard output]
    #[arg(long)]
    out: Option<PathBuf>,
}

pub fn forecast(args: &ForecastArgs, device: &Device) -> Result<(), Error> {
    let series = args.common.source.read(&args.common.csv)?;
    let started = Instant::now();
    let forecaster = fit(&args.common, &series, device)?;
    let forecast = forecaster.predict(args.common.horizon)?;
    eprintln!("trained and forecast in {:.1} s", started.elapsed().as_secs_f64());
    let mut csv = Vec::new();
    forecast.write_csv(&mut csv).map_err(Error::write(args.out.as_deref().unwrap_or("standard output".as_ref())))?;
    match &args.out {
        Some(path) => publish(path, |scratch| write_synced(scratch, &csv))?,
        None => print!("{}", String::from_utf8_lossy(&csv)),
    }
    if let Some(path) = &args.plot {
        draw(path.clone(), &series, &forecast)?;
    }
    Ok(())
}

fn draw(path: PathBuf, series: &Series, forecast: &Forecast) -> Result<(), Error> {
    let svg = plot::forecast(series, forecast)
        .map_err(|error| Error::Plot { path: path.clone(), reason: error.to_string() })?;
    Ok(publish(&path, |scratch| write_synced(scratch, svg.as_bytes()))?)
}

/// A forecaster that has learnt from `series`, of which the last tenth is to choose between epochs.
pub fn fit(args: &Common, series: &Series, device: &Device) -> Result<NetworkForecaster<Model>, Error> {
    let settings = args.settings.plain();
    let objective = settings.objective(&args.quantiles);
    let training = settings.training(objective.clone());
    let device = device.clone().autodiff();
    device.seed(settings.seed);
    let network = Model::new(&settings, args.horizon, objective.outputs(), series, &device)?;
    let (scaler, train, validation) = lesson(series, network.look_back(), network.horizon())?;
    // Windows to see in all epochs; a validation takes about a third of a training step.
    let budget = (args.steps * settings.batch).max(1);
    let train_stride = (train.len() * settings.epochs).div_ceil(budget);
    let validation_stride = (3 * validation.len() * settings.epochs).div_ceil(budget);
    let (train, validation) = (train.with_stride(train_stride), validation.with_stride(validation_stride));
    let mut trainer = Trainer::new(network, training.clone(), &device)?;
    while !trainer.is_done() {
        let bar = progress::steps(0, 0);
        let record = trainer.epoch(&train, &validation, &mut |progress| {
            bar.set_message(format!("epoch {}  loss {:.4}", progress.epoch, progress.loss));
            bar.set_length(progress.batches as u64);
            bar.inc(1);
            Control::Continue
        })?;
        bar.finish_and_clear();
        if let Some(record) = record {
            let (epoch, train, validation) = (record.epoch, record.train, record.validation);
            eprintln!("epoch {epoch}: training loss {train:.4}, validation loss {validation:.4}");
        }
    }
    Ok(NetworkForecaster::fitted(trainer.best, scaler, training, series, &device)?)
}
