//! `finetune`: a trained model on another text, as a whole or through adapters of low rank.

mod run;
mod tuning;

use std::path::PathBuf;

use burn::module::Module;
use burn::prelude::*;
use clap::{ArgMatches, Args};
use examples_common::cli::{Outcome, listen_for_interrupt};

use crate::error::Error;
use crate::eval::in_bits;
use crate::pretrained::Source;
use run::Run;
use tuning::Tuning;

/// Trains a model of a run, or a published one, further: as a whole, or with --lora.
#[derive(Args)]
// It starts from a trained model: shorter and gentler than `train`.
#[command(mut_arg("steps", |arg| arg.default_value("200")), mut_arg("warmup", |arg| arg.default_value("20")))]
#[command(mut_arg("lr", |arg| arg.default_value("0.002")), mut_arg("every", |arg| arg.default_value("50")))]
pub struct FinetuneArgs {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    tuning: Tuning,
    /// Text to train on; its last tenth is for validation [default: the tiny-shakespeare text that ships here]
    #[arg(long)]
    data: Option<PathBuf>,
    /// Folder of this run: checkpoints, history, loss curve, adapter
    #[arg(long, default_value = "runs/finetune")]
    out: PathBuf,
    /// Continue the run in --out exactly where its last checkpoint stands
    #[arg(long)]
    resume: bool,
    /// Replace the run in --out
    #[arg(long, conflicts_with = "resume")]
    overwrite: bool,
    /// At the end, write the model with its adapters merged into its weights to this folder, in Hugging Face's layout
    #[arg(long)]
    merge: Option<PathBuf>,
}

/// Trains on `device` until the last step or Ctrl-C; `matches` tells which flags were typed.
pub fn finetune(args: FinetuneArgs, matches: &ArgMatches, device: &Device) -> Result<Outcome, Error> {
    let merge = args.merge.clone();
    if let Some(path) = merge.as_ref().filter(|path| path.join("config.json").exists()) {
        return Err(Error::MergeExists { path: path.clone() });
    }
    let interrupted = listen_for_interrupt()?;
    let device = device.clone().autodiff();
    let mut run = match args.resume {
        true => Run::resume(args, matches, device)?,
        false => Run::start(args, device)?,
    };
    run.describe();
    let (folder, config) = (&run.folder, &run.config);
    let outcome = run.trainer.steps_to(&interrupted, |trainer| run::save(folder, config, trainer))?;
    if outcome == Outcome::Interrupted {
        println!("interrupted after step {}: continue with --resume", run.trainer.done());
        return Ok(outcome);
    }
    report(&run);
    if let Some(path) = merge {
        run.trainer.model.valid().materialize().save_pretrained(&path)?;
        run.tokens.copy_to(&path)?;
        println!("merged model stored in {}", path.display());
    }
    Ok(outcome)
}

fn report(run: &Run) {
    let before = run.config.before;
    if let Some(after) = run.trainer.history.iter().rev().find_map(|record| record.validation) {
        let bits = [before, after].map(|loss| in_bits(loss.into()));
        println!(
            "validation loss {before:.4} before, {after:.4} after, in nats per token ({:.4} and {:.4} bits)",
            bits[0], bits[1]
        );
    }
    println!("run stored in {}", run.folder.display());
}
