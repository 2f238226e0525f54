//! Vision models with selective scans: trained on small images (`train`), and the paths of their scans (`orders`).

mod device;
mod error;
mod evaluate;
mod model;
mod orders;
mod plot;
mod settings;
mod train;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use error::Error;

/// Exit code for everything that is wrong with what the user gave.
const BAD_INPUT: u8 = 2;

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
        Err(help) if !help.use_stderr() || help.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            help.exit()
        }
        // Of clap's message, the first paragraph says what is wrong; help tells the rest.
        Err(error) => return refuse(error.to_string().split("\n\n").next().unwrap_or_default()),
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

/// One line on stderr.
fn refuse(message: &str) -> ExitCode {
    eprintln!("{}", message.split_whitespace().collect::<Vec<_>>().join(" "));
    ExitCode::from(BAD_INPUT)
}
