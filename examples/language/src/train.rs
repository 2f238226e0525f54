//! `train`: a model from nothing.

use std::fs;
use std::path::PathBuf;

use burn::module::Module;
use burn::prelude::*;
use clap::{ArgMatches, Args};

use crate::checkpoint::{self, Checkpoint, Config};
use crate::data::{Corpus, shipped_text};
use crate::error::Error;
use crate::eval::in_bits;
use crate::generate::sample;
use crate::history::Record;
use crate::settings::Settings;
use crate::trainer::{Trainer, optimizer};
use examples_common::cli::{Outcome, listen_for_interrupt};
use examples_common::files::{publish, remove_scratch, write_synced};

/// Trains a model and prints a sample of what it writes.
#[derive(Args)]
pub struct TrainArgs {
    #[command(flatten)]
    settings: Settings,
    /// Text to train on; its last tenth is for validation [default: the tiny-shakespeare text that ships here]
    #[arg(long)]
    data: Option<PathBuf>,
    /// Folder of the run: checkpoints, history, loss curve, sample
    #[arg(long, default_value = "runs/language")]
    out: PathBuf,
    /// Continue the run in --out exactly where its last checkpoint stands
    #[arg(long)]
    resume: bool,
    /// Replace the run in --out
    #[arg(long, conflicts_with = "resume")]
    overwrite: bool,
}

/// Trains on `device` until the last step or Ctrl-C; `matches` tells which flags were typed.
pub fn train(args: TrainArgs, matches: &ArgMatches, device: &Device) -> Result<Outcome, Error> {
    let interrupted = listen_for_interrupt()?;
    let device = device.clone().autodiff();
    let mut run = match args.resume {
        true => Run::resume(args, matches, device)?,
        false => Run::start(args, device)?,
    };
    let (folder, config) = (&run.folder, &run.config);
    let outcome = run.trainer.steps_to(&interrupted, |trainer| {
        checkpoint::save(folder, config, &trainer.history, &trainer.model, &trainer.optimizer)?;
        trainer.show(folder)
    })?;
    match outcome {
        Outcome::Interrupted => println!("interrupted after step {}: continue with --resume", run.trainer.done()),
        Outcome::Finished => run.report()?,
    }
    Ok(outcome)
}

/// A training run: what `checkpoint` stores, and what it is made from.
struct Run {
    folder: PathBuf,
    config: Config,
    trainer: Trainer,
}

impl Run {
    fn start(args: TrainArgs, device: Device) -> Result<Self, Error> {
        let TrainArgs { settings, data, out: folder, overwrite, .. } = args;
        settings.validate()?;
        let data = data.unwrap_or_else(shipped_text);
        let data = std::path::absolute(&data).map_err(Error::read(&data))?;
        let corpus = Corpus::read(&data, settings.recipe.length)?;
        if checkpoint::exists(&folder) && !overwrite {
            return Err(Error::RunExists { path: folder });
        }
        fs::create_dir_all(&folder).map_err(Error::write(&folder))?;
        remove_scratch(&folder)?;
        checkpoint::remove_others(&folder, None)?;

        device.seed(settings.recipe.seed);
        let config = Config::new(settings, data, corpus.fingerprint);
        let (recipe, model) = (config.settings.recipe.clone(), config.model.init(&device));
        let optimizer = optimizer(&recipe);
        Ok(Self { folder, config, trainer: Trainer { recipe, corpus, device, model, optimizer, history: vec![] } })
    }

    fn resume(args: TrainArgs, matches: &ArgMatches, device: Device) -> Result<Self, Error> {
        let TrainArgs { settings, data, out: folder, .. } = args;
        let checkpoint = Checkpoint::open(&folder)?;
        checkpoint.refuse_conflict(&settings, matches)?;
        let recipe = checkpoint.config.settings.recipe.clone();
        let data = data.unwrap_or_else(|| checkpoint.config.data.clone());
        let corpus = Corpus::read(&data, recipe.length)?;
        if corpus.fingerprint != checkpoint.config.text {
            let stored = format!("the content of {}", checkpoint.config.data.display());
            return Err(checkpoint.conflict("data", data.display(), stored));
        }
        remove_scratch(&folder)?;
        let model = checkpoint.model(&device)?;
        let optimizer = checkpoint.optimizer(optimizer(&recipe))?;
        let Checkpoint { config, history, .. } = checkpoint;
        Ok(Self { folder, config, trainer: Trainer { recipe, corpus, device, model, optimizer, history } })
    }

    /// Prints and stores what the finished run gives.
    fn report(&self) -> Result<(), Error> {
        let last = self.trainer.history.last();
        let Some(Record { step, validation: Some(loss), seconds, .. }) = last else { return Ok(()) };
        println!(
            "validation loss {loss:.4} nats per byte ({:.4} bits per byte) after {step} steps in {seconds:.0} s",
            in_bits((*loss).into())
        );
        let text = sample(&self.trainer.model.valid())?;
        println!("sample:\n{}", String::from_utf8_lossy(&text));
        publish(&self.folder.join("sample.txt"), |path| write_synced(path, &text))?;
        println!("run stored in {}", self.folder.display());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    use crate::recipe::Recipe;
    use crate::settings::tests::recipe;

    /// The losses of the first steps.
    fn losses(change: impl FnOnce(&mut Recipe)) -> Vec<f32> {
        let folder = tempfile::tempdir().unwrap();
        let mut recipe = Recipe { batch: 4, length: 24, steps: 3, warmup: 0, lr: 1e-2, ..recipe() };
        change(&mut recipe);
        let settings = Settings { d_model: 16, n_layer: 2, d_state: 4, recipe };
        let args = TrainArgs { settings, data: None, out: folder.path().join("run"), resume: false, overwrite: false };
        let mut run = Run::start(args, Device::default().autodiff()).unwrap();
        // Parameters are drawn when they are first used, which is in another order with recomputed blocks.
        let _ = run.trainer.model.valid();
        run.trainer.steps_to(&AtomicBool::new(false), |_| Ok(())).unwrap();
        run.trainer.history.iter().map(|record| record.train).collect()
    }

    #[test]
    fn parts_and_recomputed_blocks_train_the_same() {
        let expected = losses(|_| {});
        for (accumulate, checkpointing) in [(2, false), (4, false), (1, true), (2, true)] {
            let found = losses(|recipe| (recipe.accumulate, recipe.checkpointing) = (accumulate, checkpointing));
            let near = found.iter().zip(&expected).all(|(found, expected)| (found - expected).abs() < 1e-4);
            assert!(near, "{accumulate} {checkpointing}: {found:?}, expected {expected:?}");
        }
    }
}
