//! The training loop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::lr_scheduler::LrSchedulerConfig;
use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::lr_scheduler::linear::LinearLrSchedulerConfig;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::lr_scheduler::sequential::SequentialLrSchedulerConfig;
use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use examples_common::cli::Outcome;
use examples_common::progress;
use mamba_vision::Ema;
use mamba_vision::data::{Mix, Variation, cross_entropy, one_hot};
use mamba_vision::optim::adamw;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::checkpoint::{Checkpoint, Config};
use crate::dataset::DataSet;
use crate::error::Error;
use crate::evaluate::Confusion;
use crate::model::Model;
use crate::settings::Settings;
use crate::train::Record;

/// A model on its way through the images.
pub struct Trainer {
    pub config: Config,
    pub data: DataSet,
    pub model: Model,
    pub average: Option<Ema<Model>>,
    pub optimizer: ModuleOptimizer,
    pub history: Vec<Record>,
    /// On the test images, after the last epoch.
    pub confusion: Confusion,
    device: Device,
    schedule: ModuleLrScheduler,
    steps: usize,
}

impl Trainer {
    /// From initial weights.
    pub fn start(config: Config, data: DataSet, device: &Device) -> Result<Self, Error> {
        let device = device.clone().autodiff();
        device.seed(config.settings.seed);
        let model = config.sizes.init(config.settings.model, &device)?;
        let average = (config.settings.ema > 0.0).then(|| Ema::new(&model, config.settings.ema));
        let optimizer = optimizer(&config.settings);
        Self::new(config, data, (model, average), optimizer, vec![], device)
    }

    /// From a checkpoint.
    pub fn resume(checkpoint: Checkpoint, data: DataSet, device: &Device) -> Result<Self, Error> {
        let settings = &checkpoint.config.settings;
        let optimizer = checkpoint.optimizer(optimizer(settings))?;
        let updates = checkpoint.history.len() * data.train.len().div_ceil(settings.batch);
        let average = checkpoint.average(device)?.map(|average| Ema::from_average(average, settings.ema, updates));
        let device = device.clone().autodiff();
        let model = checkpoint.model(&device)?;
        let Checkpoint { config, history, .. } = checkpoint;
        Self::new(config, data, (model, average), optimizer, history, device)
    }

    fn new(
        config: Config,
        data: DataSet,
        (model, average): (Model, Option<Ema<Model>>),
        optimizer: ModuleOptimizer,
        history: Vec<Record>,
        device: Device,
    ) -> Result<Self, Error> {
        let steps_of_epoch = data.train.len().div_ceil(config.settings.batch);
        let mut schedule = schedule(&config.settings, steps_of_epoch)?;
        let steps = history.len() * steps_of_epoch;
        (0..steps).for_each(|_| {
            schedule.step();
        });
        let confusion = Confusion(Vec::new());
        Ok(Self { config, data, model, average, optimizer, history, confusion, device, schedule, steps })
    }

    /// Sees every image once. What is random depends on the seed and the epoch only, so that a run can go on after it.
    pub fn epoch(&mut self, epoch: usize, interrupted: &AtomicBool) -> Result<Outcome, Error> {
        let seed = self.config.settings.seed.wrapping_add(epoch as u64 * 0x9E37_79B9_7F4A_7C15);
        let mut rng = StdRng::seed_from_u64(seed);
        self.device.seed(seed);
        let mut order: Vec<_> = (0..self.data.train.len()).collect();
        order.shuffle(&mut rng);
        let Settings { batch, epochs, mixup, cutmix, unmixed, .. } = self.config.settings;
        let mix = if epoch > epochs.saturating_sub(unmixed) { Mix::default() } else { Mix { mixup, cutmix } };
        let (bar, started) = (progress::steps(order.len().div_ceil(batch), 0), Instant::now());
        // The device works on a step while the next is prepared: its loss is read then.
        let (mut sum, mut running) = (0.0, None);
        let mut read = |running: Option<(Tensor<1>, usize)>, step| -> Result<(), Error> {
            let Some((loss, images)) = running else { return Ok(()) };
            let loss = loss.into_scalar::<f32>();
            if !loss.is_finite() {
                return Err(Error::Diverged { step, loss });
            }
            sum += loss * images as f32;
            bar.set_message(format!("epoch {epoch}  loss {loss:.3}"));
            Ok(())
        };
        for indices in order.chunks(batch) {
            let loss = self.step(indices, mix, &mut rng);
            read(running.replace((loss, indices.len())), self.steps - 1)?;
            bar.inc(1);
            if interrupted.load(Ordering::Relaxed) {
                bar.abandon();
                return Ok(Outcome::Interrupted);
            }
        }
        read(running, self.steps)?;
        bar.finish_and_clear();
        self.confusion = self.measure();
        let (loss, accuracy) = (sum / order.len() as f32, self.confusion.accuracy());
        let before = self.history.last().map_or(0.0, |record| record.seconds);
        let seconds = before + started.elapsed().as_secs_f64();
        println!("epoch {epoch}: training loss {loss:.4}, test accuracy {:.2} %, {seconds:.0} s", 100.0 * accuracy);
        self.history.push(Record { epoch, loss, accuracy, seconds });
        Ok(Outcome::Finished)
    }

    /// One optimizer step; returns the loss of its batch.
    fn step(&mut self, indices: &[usize], mix: Mix, rng: &mut StdRng) -> Tensor<1> {
        let Settings { shift, crop, color, smoothing, .. } = self.config.settings;
        let variation = Variation { shift, flip: true, crop, color };
        let (images, labels) = self.data.train.varied_batch(indices, variation, rng, &self.device);
        let shares = one_hot(labels, self.config.sizes.classes, smoothing);
        let (images, shares) = mix.apply(self.config.normalized(images), shares, rng);
        let loss = cross_entropy(self.model.forward(images), shares);
        let value = loss.clone().inner();
        self.steps += 1;
        let gradients = GradientsParams::from_grads(loss.backward(), &self.model);
        let lr = self.schedule.step().base();
        self.model = self.optimizer.step(lr, self.model.clone(), gradients);
        if let Some(average) = &mut self.average {
            average.update(&self.model);
        }
        value
    }

    /// How often the model, or its average, is right on the test images.
    fn measure(&self) -> Confusion {
        let model = self.average.as_ref().map_or_else(|| self.model.valid(), |average| average.model().clone());
        let prepare = |images| self.config.normalized(images);
        Confusion::of(&model, &self.data.test, prepare, &self.device.clone().inner())
    }
}

fn optimizer(settings: &Settings) -> ModuleOptimizer {
    // PyTorch's epsilon: Burn's, a thousand times as large, slows the weights that have small gradients.
    adamw(&AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(settings.weight_decay as f32))
}

/// Rises for an epoch, then falls along a cosine.
fn schedule(settings: &Settings, steps_of_epoch: usize) -> Result<ModuleLrScheduler, Error> {
    let lr = settings.lr;
    let rise = LinearLrSchedulerConfig::new(lr / (steps_of_epoch + 1) as f64, lr, steps_of_epoch);
    let fall = CosineAnnealingLrSchedulerConfig::new(lr, (steps_of_epoch * (settings.epochs - 1)).max(1));
    let phases = vec![LrSchedulerConfig::Linear(rise), LrSchedulerConfig::Cosine(fall)];
    SequentialLrSchedulerConfig::new(phases, vec![steps_of_epoch]).init().map_err(Error::Schedule)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::save;
    use crate::dataset::tests::tiny;
    use crate::model::{Kind, Sizes};
    use clap::{Args, FromArgMatches};

    fn settings(model: Kind) -> Settings {
        let command = Settings::augment_args(clap::Command::new("train"));
        let flags = ["--epochs=3", "--batch=4", "--d-model=8", "--depths=1,1", "--drop-path=0.3", "--ema=0.9"];
        let more = ["--mixup=0.8", "--cutmix=1", "--unmixed=1", "--crop=0.5", "--color=0.3"];
        let matches = command.get_matches_from(["train"].iter().chain(&flags).chain(&more));
        Settings { model, ..Settings::from_arg_matches(&matches).unwrap() }
    }

    /// What a model says of all test images.
    fn scores(model: &Model, run: &Trainer, device: &Device) -> Vec<f32> {
        let (images, _) = run.data.test.batch(&[0, 1, 2, 3], device);
        model.forward(run.config.normalized(images)).into_data().iter::<f32>().collect()
    }

    #[test]
    fn a_run_goes_on_from_its_checkpoint_as_if_it_had_not_stopped() {
        for kind in [Kind::Vmamba, Kind::Cnn] {
            let (device, folder) = (Device::default(), tempfile::tempdir().unwrap());
            let settings = settings(kind);
            settings.validate().unwrap();
            let data = || crate::dataset::read(tiny(folder.path()), settings.side).unwrap();
            let sizes = Sizes {
                d_model: settings.d_model,
                depths: settings.depths.clone(),
                stem: settings.stem,
                enlarge: 1,
                drop_path: settings.drop_path,
                image: data().train.dims(),
                classes: data().train.classes(),
            };
            let (names, statistics) = (data().names, data().train.statistics());
            let config = Config::new(settings.clone(), sizes, names, (folder.path().into(), 12), statistics);
            let go_on = AtomicBool::new(false);
            let mut run = Trainer::start(config, data(), &device).unwrap();
            run.epoch(1, &go_on).unwrap();
            let average = run.average.as_ref().map(|average| average.model());
            save(folder.path(), &run.config, &run.history, (&run.model, average), &run.optimizer).unwrap();
            let checkpoint = Checkpoint::open(folder.path()).unwrap();
            let mut other = Trainer::resume(checkpoint, data(), &device).unwrap();
            for epoch in 2..=3 {
                run.epoch(epoch, &go_on).unwrap();
                other.epoch(epoch, &go_on).unwrap();
            }
            let last = |run: &Trainer| scores(&run.model.valid(), run, &device);
            assert_eq!(last(&run), last(&other), "{kind:?}");
            let average = |run: &Trainer| scores(run.average.as_ref().unwrap().model(), run, &device);
            assert_eq!(average(&run), average(&other), "{kind:?}");
            let losses = |run: &Trainer| run.history.iter().map(|record| record.loss).collect::<Vec<_>>();
            assert_eq!(losses(&run), losses(&other));
        }
    }
}
