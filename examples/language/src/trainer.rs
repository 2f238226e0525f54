//! The training loop, which `train` and `finetune` share.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsAccumulator, GradientsParams, ModuleOptimizer};
use burn::prelude::*;
use mamba_blocks::MambaLm;
use mamba_blocks::optim::adamw;

use crate::clip::clip_norm;
use crate::data::Corpus;
use crate::error::Error;
use crate::eval::{WINDOW, cross_entropy, nats_per_token};
use crate::history::{Record, to_lines};
use crate::plot::loss_curve;
use crate::recipe::Recipe;
use crate::schedule::schedule;
use examples_common::cli::Outcome;
use examples_common::files::{publish, write_synced};
use examples_common::progress;

/// A model on its way through a text.
pub struct Trainer<T = u8> {
    pub recipe: Recipe,
    pub corpus: Corpus<T>,
    pub device: Device,
    pub model: MambaLm,
    pub optimizer: ModuleOptimizer,
    pub history: Vec<Record>,
}

impl<T: Copy + Into<u32>> Trainer<T> {
    /// Steps done.
    pub fn done(&self) -> usize {
        self.history.last().map_or(0, |record| record.step)
    }

    /// Steps until the last or until `interrupted`; every validation and every interruption is followed by `save`.
    pub fn steps_to(
        &mut self,
        interrupted: &AtomicBool,
        save: impl Fn(&Self) -> Result<(), Error>,
    ) -> Result<Outcome, Error> {
        let Recipe { steps, every, batch, length, .. } = self.recipe;
        let (done, before) = (self.done(), self.history.last().map_or(0.0, |record| record.seconds));
        let mut schedule = schedule(&self.recipe, done)?;
        let bar = progress::steps(steps, done);
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
                save(self)?;
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
        let Recipe { seed, batch, length, clip, accumulate, .. } = self.recipe;
        let (inputs, targets) = self.corpus.batch(seed, step, [batch, length], &self.device);
        let (mut sum, mut value) = (GradientsAccumulator::new(), 0.0);
        let rows = batch / accumulate;
        for (inputs, targets) in inputs.split(rows, 0).into_iter().zip(targets.split(rows, 0)) {
            let (loss, grads) = self.gradients(inputs, targets);
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
        let Recipe { accumulate, checkpointing, .. } = self.recipe;
        let share = |logits: Tensor<3>| cross_entropy(logits, targets).div_scalar(accumulate as f64);
        if checkpointing {
            return self.model.gradients_by_block(inputs, None, share);
        }
        let loss = share(self.model.forward(inputs));
        let grads = loss.backward();
        (loss, GradientsParams::from_grads(grads, &self.model))
    }

    /// Mean negative log-likelihood of the validation part, in nats per token.
    pub fn validate(&self) -> f64 {
        // Weights with adapters are composed once, not for every window.
        let model = self.model.valid().materialize();
        nats_per_token(&model, self.corpus.validation(), WINDOW, &self.device.clone().inner())
    }

    /// The history and the loss curve, for people to look at.
    pub fn show(&self, folder: &Path) -> Result<(), Error> {
        let curve = loss_curve(&self.history)?;
        publish(&folder.join("loss.svg"), |path| write_synced(path, curve.as_bytes()))?;
        publish(&folder.join("history.jsonl"), |path| write_synced(path, to_lines(&self.history)?.as_bytes()))?;
        Ok(())
    }
}

/// AdamW with the betas that the Mamba paper trains with (Gu & Dao 2023, appendix E.2.1).
pub fn optimizer(recipe: &Recipe) -> ModuleOptimizer {
    let weight_decay = recipe.weight_decay as f32;
    adamw(&AdamWConfig::new().with_beta_1(0.9).with_beta_2(0.95).with_epsilon(1e-8).with_weight_decay(weight_decay))
}
