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

use clap::{ArgMatches, Subcommand};
use examples_common::cli::{self, Cli, Outcome};
use examples_common::device;

use error::Error;

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
    cli::main(env!("CARGO_PKG_NAME"), "Forecasts of time series", run)
}

fn run(cli: Cli<Command>, _typed: &ArgMatches) -> Result<Outcome, Error> {
    let device = device::open(&cli.device)?;
    match cli.command {
        Command::Train(args) => return train::train(&args, &device),
        Command::Eval(args) => eval::eval(&args, &device)?,
        Command::Forecast(args) => forecast::forecast(&args, &device)?,
        Command::Backtest(args) => backtest::backtest(&args, &device)?,
        Command::Compare(args) => compare::compare(&args, &device)?,
        Command::Bench(args) => bench::bench(&args, &device)?,
    }
    Ok(Outcome::Finished)
}
