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

use clap::{ArgMatches, Subcommand};
use examples_common::cli::{self, Cli, Outcome};
use examples_common::device;

use error::Error;

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
    cli::main(
        env!("CARGO_PKG_NAME"),
        "Mamba language models: one that is trained here, byte by byte, and published ones",
        run,
    )
}

fn run(cli: Cli<Command>, typed: &ArgMatches) -> Result<Outcome, Error> {
    let device = device::open(&cli.device)?;
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
