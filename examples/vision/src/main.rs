//! Vision models with selective scans: trained on small images (`train`), and the paths of their scans (`orders`).

mod error;
mod evaluate;
mod model;
mod orders;
mod plot;
mod settings;
mod train;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use examples_common::cli::{refuse, refuse_arguments};
use examples_common::device;

use error::Error;

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
    Orders(orders::OrdersArgs),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse_arguments(&error),
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(&format!("error: {error}")),
    }
}

fn run(cli: Cli) -> Result<(), Error> {
    match cli.command {
        Command::Train(args) => train::train(&args, &device::open(&cli.device)?),
        Command::Orders(args) => orders::orders(&args),
    }
}
