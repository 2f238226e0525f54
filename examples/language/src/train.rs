//! `train`: the training loop.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsAccumulator, GradientsParams, ModuleOptimizer};
use burn::prelude::*;
use clap::{ArgMatches, Args};
use indicatif::{ProgressBar, ProgressStyle};
use mamba_blocks::MambaLm;
use mamba_blocks::optim::adamw;

use crate::checkpoint::{self, Checkpoint, Config};
use crate::clip::clip_norm;
use crate::data::{Corpus, shipped_text};
use crate::error::Error;
use crate::eval::{WINDOW, cross_entropy, in_bits, nats_per_byte};
use crate::files::{publish, remove_scratch, write_synced};
use crate::generate::sample;
use crate::history::{Record, to_lines};
use crate::plot::loss_curve;
use crate::schedule::schedule;
use crate::settings::Settings;

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

/// How a training ended.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    Finished,
    Interrupted,
}

/// Trains on `device` until the last step or Ctrl-C; `matches` tells which flags were typed.
pub fn train(args: TrainArgs, matches: &ArgMatches, device: &Device) -> Result<Outcome, Error> {
    let interrupted = listen_for_interrupt()?;
    let device = device.clone().autodiff();
    let mut run = match args.resume {
        true => Run::resume(args, matches, device)?,
        false => Run::start(args, device)?,
    };
    if run.steps_to(&interrupted)? == Outcome::Interrupted {
        println!("interrupted after step {}: continue with --resume", run.done());
        return Ok(Outcome::Interrupted);
    }
    run.report()?;
    Ok(Outcome::Finished)
}

/// A training run: what `checkpoint` stores, and what it is made from.
struct Run {
    folder: PathBuf,
    config: Config,
    corpus: Corpus,
    device: Device,
    model: MambaLm,
    optimizer: ModuleOptimizer,
    history: Vec<Record>,
}

impl Run {
    fn start(args: TrainArgs, device: Device) -> Result<Self, Error> {
        let TrainArgs { settings, data, out: folder, overwrite, .. } = args;
        settings.validate()?;
        let data = data.unwrap_or_else(shipped_text);
        let data = std::path::absolute(&data).map_err(Error::read(&data))?;
        let corpus = Corpus::read(&data, settings.length)?;
        if checkpoint::exists(&folder) && !overwrite {
            return Err(Error::RunExists { path: folder });
        }
        fs::create_dir_all(&folder).map_err(Error::write(&folder))?;
        remove_scratch(&folder)?;
        checkpoint::remove_others(&folder, None)?;

        device.seed(settings.seed);
        let config = Config::new(settings, data, corpus.fingerprint);
        let (model, optimizer) = (config.model.init(&device), optimizer(&config.settings));
        Ok(Self { folder, config, corpus, device, model, optimizer, history: vec![] })
    }

    fn resume(args: TrainArgs, matches: &ArgMatches, device: Device) -> Result<Self, Error> {
        let TrainArgs { settings, data, out: folder, .. } = args;
        let checkpoint = Checkpoint::open(&folder)?;
        checkpoint.refuse_conflict(&settings, matches)?;
        let data = data.unwrap_or_else(|| checkpoint.config.data.clone());
        let corpus = Corpus::read(&data, checkpoint.config.settings.length)?;
        if corpus.fingerprint != checkpoint.config.text {
            let stored = format!("the content of {}", checkpoint.config.data.display());
            return Err(checkpoint.conflict("data", data.display(), stored));
        }
        remove_scratch(&folder)?;
        let model = checkpoint.model(&device)?;
        let optimizer = checkpoint.optimizer(optimizer(&checkpoint.config.settings))?;
        let Checkpoint { config, history, .. } = checkpoint;
        Ok(Self { folder, config, corpus, device, model, optimizer, history })
    }

    /// Steps done.
    fn done(&self) -> usize {
        self.history.last().map_or(0, |record| record.step)
    }

    /// Steps until the last or until `interrupted`; every validation and every interruption leaves a checkpoint.
    fn steps_to(&mut self, interrupted: &AtomicBool) -> Result<Outcome, Error> {
        let Settings { steps, every, batch, length, .. } = self.config.settings;
        let (done, before) = (self.done(), self.history.last().map_or(0.0, |record| record.seconds));
        let mut schedule = schedule(&self.config.settings, done)?;
        let bar = progress_bar(steps, done);
        let started = Instant::now();
        for step in done + 1..=steps {
            let lr = schedule.step().base();
            let train = self.step(step, lr)?;
            let validation = (step % every == 0 || step == steps).then(|| self.validate() as f32);
            let elapsed = started.elapsed().as_secs_f64();
            self.history.push(Record { step, train, validation, lr: lr as f32, seconds: before + elapsed });

            let rate = ((step - done) * batch * length) as f64 / elapsed;
            bar.set_message(format!("loss {train:.3}  lr {lr:.1e}  {rate:.0} tokens/s"));
            bar.inc(1);
            if let Some(loss) = validation {
                bar.suspend(|| println!("step {step}: training loss {train:.4}, validation loss {loss:.4}"));
            }
            let interrupted = interrupted.load(Ordering::Relaxed);
            if validation.is_some() || interrupted {
                self.save()?;
            }
            if interrupted && step < steps {
                bar.abandon();
                return Ok(Outcome::Interrupted);
            }
        }
        bar.finish();
        Ok(Outcome::Finished)
    }

    /// One optimizer step; returns the loss of its batch.
    fn step(&mut self, step: usize, lr: f64) -> Result<f32, Error> {
        let Settings { seed, batch, length, clip, accumulate, .. } = self.config.settings;
        let (inputs, targets) = self.corpus.batch(seed, step, [batch, length], &self.device);
        let (mut sum, mut value) = (GradientsAccumulator::new(), 0.0);
        for part in 0..accumulate {
            let rows = batch / accumulate;
            let rows_of = |tokens: &Tensor<2, Int>| tokens.clone().narrow(0, part * rows, rows);
            let (loss, grads) = self.gradients(rows_of(&inputs), rows_of(&targets));
            value += loss.into_scalar::<f32>();
            sum.accumulate(&self.model, grads);
        }
        if !value.is_finite() {
            return Err(Error::Diverged { step, loss: value });
        }
        let mut grads = sum.grads();
        clip_norm(&self.model, &mut grads, clip);
        self.model = self.optimizer.step(lr, self.model.clone(), grads);
        Ok(value)
    }

    /// The share of one part in the loss of its batch, and the gradients of this share.
    fn gradients(&self, inputs: Tensor<2, Int>, targets: Tensor<2, Int>) -> (Tensor<1>, GradientsParams) {
        let Settings { accumulate, checkpointing, .. } = self.config.settings;
        let share = |logits: Tensor<3>| cross_entropy(logits, targets).div_scalar(accumulate as f64);
        if checkpointing {
            return self.model.gradients_by_block(inputs, None, share);
        }
        let loss = share(self.model.forward(inputs));
        let grads = loss.backward();
        (loss, GradientsParams::from_grads(grads, &self.model))
    }

    fn validate(&self) -> f64 {
        nats_per_byte(&self.model.valid(), self.corpus.validation(), WINDOW, &self.device.clone().inner())
    }

    /// A checkpoint, then the history and the loss curve for people to look at.
    fn save(&self) -> Result<(), Error> {
        checkpoint::save(&self.folder, &self.config, &self.history, &self.model, &self.optimizer)?;
        let curve = loss_curve(&self.history)?;
        publish(&self.folder.join("loss.svg"), |path| write_synced(path, curve.as_bytes()))?;
        publish(&self.folder.join("history.jsonl"), |path| write_synced(path, to_lines(&self.history)?.as_bytes()))
    }

    /// Prints and stores what the finished run gives.
    fn report(&self) -> Result<(), Error> {
        let Some(Record { step, validation: Some(loss), seconds, .. }) = self.history.last() else { return Ok(()) };
        println!(
            "validation loss {loss:.4} nats per byte ({:.4} bits per byte) after {step} steps in {seconds:.0} s",
            in_bits((*loss).into())
        );
        let text = sample(&self.model.valid())?;
        println!("sample:\n{}", String::from_utf8_lossy(&text));
        publish(&self.folder.join("sample.txt"), |path| write_synced(path, &text))?;
        println!("run stored in {}", self.folder.display());
        Ok(())
    }
}

/// AdamW with the betas that the Mamba paper trains with (Gu & Dao 2023, appendix E.2.1).
fn optimizer(settings: &Settings) -> ModuleOptimizer {
    let weight_decay = settings.weight_decay as f32;
    adamw(&AdamWConfig::new().with_beta_1(0.9).with_beta_2(0.95).with_epsilon(1e-8).with_weight_decay(weight_decay))
}

fn progress_bar(steps: usize, done: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}  {eta} left");
    let bar = ProgressBar::new(steps as u64).with_position(done as u64);
    bar.reset_eta();
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// The first Ctrl-C asks for an end after the current step, the second ends the program.
fn listen_for_interrupt() -> Result<Arc<AtomicBool>, Error> {
    let flag = Arc::new(AtomicBool::new(false));
    let asked = flag.clone();
    ctrlc::set_handler(move || {
        if asked.swap(true, Ordering::Relaxed) {
            std::process::exit(crate::INTERRUPTED.into());
        }
    })?;
    Ok(flag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::settings;

    /// The losses of the first steps.
    fn losses(change: impl FnOnce(&mut Settings)) -> Vec<f32> {
        let folder = tempfile::tempdir().unwrap();
        let mut settings =
            Settings { d_model: 16, n_layer: 2, d_state: 4, batch: 4, length: 24, steps: 3, warmup: 0, ..settings() };
        change(&mut settings);
        let args = TrainArgs { settings, data: None, out: folder.path().join("run"), resume: false, overwrite: false };
        let mut run = Run::start(args, Device::default().autodiff()).unwrap();
        // Parameters are drawn when they are first used, which is in another order with recomputed blocks.
        let _ = run.model.valid();
        (1..=3).map(|step| run.step(step, 1e-2).unwrap()).collect()
    }

    #[test]
    fn parts_and_recomputed_blocks_train_the_same() {
        let expected = losses(|_| {});
        for (accumulate, checkpointing) in [(2, false), (4, false), (1, true), (2, true)] {
            let found = losses(|settings| (settings.accumulate, settings.checkpointing) = (accumulate, checkpointing));
            let near = found.iter().zip(&expected).all(|(found, expected)| (found - expected).abs() < 1e-4);
            assert!(near, "{accumulate} {checkpointing}: {found:?}, expected {expected:?}");
        }
    }
}
