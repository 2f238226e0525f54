//! Models of DNA: trained on a genome (`pretrain`), on labelled sequences (`finetune`), and what they are for (`eval`,
//! `score-variants`, `embed`, `generate`, `saliency`).

mod baselines;
mod checkpoint;
mod embed;
mod error;
mod eval;
mod finetune;
mod fit;
mod fitting;
mod generate;
mod genome;
mod labelled;
mod logo;
mod markov;
mod metrics;
mod model;
mod pretrain;
mod promoters;
mod saliency;
mod score_variants;
mod settings;
mod table;
mod vcf;

use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use examples_common::cli::{refuse, refuse_arguments};
use examples_common::device;

use error::Error;

/// Exit code after Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;

/// Models of DNA: Caduceus, which reads both strands alike, and a causal one.
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
    Pretrain(pretrain::PretrainArgs),
    Promoters(promoters::PromotersArgs),
    Finetune(finetune::FinetuneArgs),
    Eval(eval::EvalArgs),
    ScoreVariants(score_variants::ScoreArgs),
    Embed(embed::EmbedArgs),
    Generate(generate::GenerateArgs),
    Saliency(saliency::SaliencyArgs),
}

/// How a command ended.
#[derive(Debug, PartialEq)]
enum Outcome {
    Finished,
    Interrupted,
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
        Command::Pretrain(args) => return pretrain::pretrain(args, typed, &device),
        Command::Promoters(args) => promoters::promoters(&args)?,
        Command::Finetune(args) => finetune::finetune(&args, &device)?,
        Command::Eval(args) => eval::eval(&args, &device)?,
        Command::ScoreVariants(args) => score_variants::score_variants(&args, &device)?,
        Command::Embed(args) => embed::embed(&args, &device)?,
        Command::Generate(args) => generate::generate(&args, &device)?,
        Command::Saliency(args) => saliency::saliency(&args, &device)?,
    }
    Ok(Outcome::Finished)
}
