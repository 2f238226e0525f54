//! Mamba language models: a byte-level one on real text (`train`), and published ones; what both are for (`generate`,
//! `eval`, `finetune`), and what they are (`info`, `bench`, `logits`, `convert`).

mod bench;
mod checkpoint;
mod clip;
mod convert;
mod data;
mod error;
mod eval;
mod finetune;
mod fingerprint;
mod generate;
mod history;
mod info;
mod logits;
mod memory;
mod plot;
mod pretrained;
mod recipe;
mod schedule;
mod settings;
mod text;
mod tokens;
mod train;
mod trainer;

use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use examples_common::cli::{refuse, refuse_arguments};
use examples_common::device;

use error::Error;
use trainer::Outcome;

/// Exit code after Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;

/// Mamba language models: one that is trained here, byte by byte, and published ones.
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
    Finetune(finetune::FinetuneArgs),
    Generate(generate::GenerateArgs),
    Eval(eval::EvalArgs),
    Info(info::InfoArgs),
    Bench(bench::BenchArgs),
    Logits(logits::LogitsArgs),
    Convert(convert::ConvertArgs),
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
    let device = device::open(&cli.device)?;
    let typed = matches.subcommand().map_or(matches, |(_, typed)| typed);
    match cli.command {
        Command::Train(args) => return train::train(args, typed, &device),
        Command::Finetune(args) => return finetune::finetune(args, typed, &device),
        Command::Generate(args) => generate::generate(&args, &device)?,
        Command::Eval(args) => eval::eval(&args, &device)?,
        Command::Bench(args) => bench::bench(&args, &device)?,
        Command::Info(args) => info::info(&args, typed, &device)?,
        Command::Logits(args) => logits::logits(&args, &device)?,
        Command::Convert(args) => convert::convert(&args, &device)?,
    }
    Ok(Outcome::Finished)
}
