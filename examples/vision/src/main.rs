//! Vision models with selective scans: trained on labelled images (`train`), measured (`eval`), used on pictures
//! (`predict`) and looked into (`explain`); pictures of four times the size (`super-resolve`); and the paths of scans
//! (`orders`).

mod checkpoint;
mod dataset;
mod error;
mod eval;
mod evaluate;
mod explain;
mod heat;
mod model;
mod orders;
mod pictures;
mod plot;
mod predict;
mod settings;
mod super_resolve;
mod train;
mod trainer;

use std::process::ExitCode;

use clap::{ArgMatches, Subcommand};
use examples_common::cli::{self, Cli, Outcome};
use examples_common::device;

use error::Error;

#[derive(Subcommand)]
enum Command {
    Train(train::TrainArgs),
    Eval(eval::EvalArgs),
    Predict(predict::PredictArgs),
    Explain(explain::ExplainArgs),
    SuperResolve(super_resolve::SuperResolveArgs),
    Orders(orders::OrdersArgs),
}

fn main() -> ExitCode {
    cli::main(env!("CARGO_PKG_NAME"), "Vision models with selective scans", run)
}

fn run(cli: Cli<Command>, typed: &ArgMatches) -> Result<Outcome, Error> {
    let open = || device::open(&cli.device);
    match cli.command {
        Command::Train(args) => return train::train(&args, typed, &open()?),
        Command::Eval(args) => eval::eval(&args, &open()?)?,
        Command::Predict(args) => predict::predict(&args, &open()?)?,
        Command::Explain(args) => explain::explain(&args, &open()?)?,
        Command::SuperResolve(args) => super_resolve::super_resolve(&args, &open()?)?,
        Command::Orders(args) => orders::orders(&args)?,
    }
    Ok(Outcome::Finished)
}
