//! `bench`: what a row costs in a stream, and what a step of training costs.

use std::time::Instant;

use burn::tensor::{Device, Distribution, Tensor};
use clap::Args;
use mamba_ts::data::{Batch, Input, Series, StandardScaler};
use mamba_ts::forecast::{Forecaster, StreamingForecaster};
use mamba_ts::training::TrainingConfig;
use mamba_ts::{MambaForecasterConfig, Network, Objective, SMambaConfig};

use crate::error::Error;
use crate::table::table;

/// Times an update of a stream after many rows, and a training step of S-Mamba for many variates.
#[derive(Args)]
pub struct BenchArgs {
    /// Rows before the updates that are timed
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000, 100_000, 1_000_000])]
    rows: Vec<usize>,
    /// Variates of the training steps
    #[arg(long, value_delimiter = ',', default_values_t = [7, 321, 862])]
    variates: Vec<usize>,
    /// How often each is timed; the median counts
    #[arg(long, default_value_t = 5)]
    repeats: usize,
}

pub fn bench(args: &BenchArgs, device: &Device) -> Result<(), Error> {
    let sizes = [("repeats", args.repeats)];
    mamba_blocks::ConfigError::check_sizes(&sizes)?;
    updates(args, device)?;
    steps(args, device)
}

/// An update and a forecast of 96 rows, of one variate.
fn updates(args: &BenchArgs, device: &Device) -> Result<(), Error> {
    let network = MambaForecasterConfig::new(96, 96).try_init(device)?;
    let scaler = StandardScaler::identity(1);
    let mut rows = Vec::new();
    for &length in &args.rows {
        let values = (0..length).map(|row| (row as f32 * 0.26).sin()).collect();
        let past = Series::new(vec!["x".into()], values, None);
        let mut stream =
            StreamingForecaster::fitted(network.clone(), scaler.clone(), TrainingConfig::new(), &past, device);
        stream.observe(&past)?;
        let micros = median(50 * args.repeats, || {
            stream.update(&[0.5])?;
            stream.predict(96).map(drop)
        })?;
        rows.push(vec![length.to_string(), format!("{:.0}", 1e6 * micros)]);
    }
    print!("{}", table(&["rows before", "update and forecast, microseconds"], &rows));
    Ok(())
}

/// S-Mamba as it is trained on ECL: 3 layers, d_model 512, d_state 16, batch 16.
fn steps(args: &BenchArgs, device: &Device) -> Result<(), Error> {
    let device = device.clone().autodiff();
    let config = SMambaConfig::new(96, 96).with_d_ff(512).with_e_layers(3).with_d_state(16);
    let network = config.try_init(&device)?;
    let mut rows = Vec::new();
    for &variates in &args.variates {
        let random = || Tensor::<3>::random([16, 96, variates], Distribution::Default, &device);
        let (values, target) = (random(), random());
        let seconds = median(args.repeats, || {
            let input = Input { values: values.clone(), marks: None };
            let batch = Batch { input, target: target.clone(), mask: None, input_mask: None };
            drop(network.loss(batch, &Objective::Mse).backward());
            device.sync().expect("the device works");
            Ok::<_, Error>(())
        })?;
        rows.push(vec![variates.to_string(), format!("{:.0}", 1e3 * seconds)]);
    }
    print!("{}", table(&["variates", "S-Mamba forward and backward, milliseconds"], &rows));
    Ok(())
}

/// Seconds, after one run to warm up.
fn median<E>(repeats: usize, mut work: impl FnMut() -> Result<(), E>) -> Result<f64, E> {
    work()?;
    let mut seconds = Vec::new();
    for _ in 0..repeats {
        let started = Instant::now();
        work()?;
        seconds.push(started.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds[seconds.len() / 2])
}
