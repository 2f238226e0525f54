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

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use examples_common::cli::{refuse, refuse_arguments};
use examples_common::device;

use error::Error;
use train::Outcome;

/// Exit code of a training that Ctrl-C ended, as shells have it.
const INTERRUPTED: u8 = 130;

/// Vision models with selective scans.
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
    Predict(predict::PredictArgs),
    Explain(explain::ExplainArgs),
    SuperResolve(super_resolve::SuperResolveArgs),
    Orders(orders::OrdersArgs),
}

fn main() -> ExitCode {
    let parsed = Cli::command().try_get_matches().and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return refuse_arguments(&error),
    };
    match run(cli, &matches) {
        Ok(Outcome::Finished) => ExitCode::SUCCESS,
        Ok(Outcome::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(error) => refuse(&format!("error: {error}")),
    }
}

fn run(cli: Cli, matches: &ArgMatches) -> Result<Outcome, Error> {
    let typed = matches.subcommand().map_or(matches, |(_, typed)| typed);
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
