//! Forecasts of time series: of a CSV file (`forecast`, `backtest`), and of data sets by the protocol of the literature
//! (`train`, `eval`, `compare`).

mod backtest;
mod bench;
mod checkpoint;
mod compare;
mod error;
mod eval;
mod forecast;
mod model;
mod plot;
mod settings;
mod source;
mod table;
mod train;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use examples_common::cli::{refuse, refuse_arguments};
use examples_common::device;

use error::Error;

/// Forecasts of time series.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Where to compute: flex, ndarray, wgpu, vulkan, metal, webgpu, cuda or rocm, as far as compiled in
    #[arg(long, global = true, default_value = device::default_name())]
    device: String,
}

#[derive(Subcommand)]
enum Command {
    Train(train::TrainArgs),
    Eval(eval::EvalArgs),
    Forecast(forecast::ForecastArgs),
    Backtest(backtest::BacktestArgs),
    Compare(compare::CompareArgs),
    Bench(bench::BenchArgs),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse_arguments(&error),
    };
    match run(cli) {
        Ok(code) => code,
        Err(error) => refuse(&format!("error: {error}")),
    }
}

fn run(cli: Cli) -> Result<ExitCode, Error> {
    let device = device::open(&cli.device)?;
    match cli.command {
        Command::Train(args) => return train::train(&args, &device),
        Command::Eval(args) => eval::eval(&args, &device)?,
        Command::Forecast(args) => forecast::forecast(&args, &device)?,
        Command::Backtest(args) => backtest::backtest(&args, &device)?,
        Command::Compare(args) => compare::compare(&args, &device)?,
        Command::Bench(args) => bench::bench(&args, &device)?,
    }
    Ok(ExitCode::SUCCESS)
}
