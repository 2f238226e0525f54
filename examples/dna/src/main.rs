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

use clap::{ArgMatches, Subcommand};
use examples_common::cli::{self, Cli, Outcome};
use examples_common::device;

use error::Error;

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

fn main() -> ExitCode {
    cli::main(env!("CARGO_PKG_NAME"), "Models of DNA: Caduceus, which reads both strands alike, and a causal one", run)
}

fn run(cli: Cli<Command>, typed: &ArgMatches) -> Result<Outcome, Error> {
    let device = device::open(&cli.device)?;
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
