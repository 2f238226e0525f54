//! Training of networks as the literature does it: Adam, a learning rate that falls every epoch, the best epoch kept.

mod config;

pub use config::{TrainingConfig, TrainingError};

use crate::data::Windows;
use crate::metrics::Evaluation;
use crate::network::Network;
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::Device;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

/// One epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Epochs done, this one included.
    pub epoch: usize,
    /// Mean loss of its batches.
    pub train: f64,
    /// Loss on the validation windows after it.
    pub validation: f64,
}

/// Where an epoch stands.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// The epoch, from 1.
    pub epoch: usize,
    /// Batches done in it.
    pub batch: usize,
    /// Batches that it has.
    pub batches: usize,
    /// Loss of the last batch.
    pub loss: f64,
}

/// What a caller says to a [`Progress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Go on.
    Continue,
    /// Leave the epoch unfinished.
    Stop,
}

/// A network in training.
///
/// Everything that happens in an epoch follows from its number and the seed, so that a training that goes on from
/// its parts after any epoch is the same training.
///
/// ```
/// use burn::tensor::Device;
/// use mamba_ts::data::Series;
/// use mamba_ts::training::{Control, Trainer, TrainingConfig, evaluate};
/// use mamba_ts::{DLinearConfig, forecast::lesson, metrics::Evaluation};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let waves = (0..120).map(|row| (row as f32 / 4.0).sin()).collect();
/// # let series = Series::new(vec!["wave".into()], waves, None);
/// # let device = Device::default().autodiff();
/// let (_scaler, train, validation) = lesson(&series, 24, 12)?;
/// let network = DLinearConfig::new(24, 12).try_init(&device)?;
/// let mut trainer = Trainer::new(network, TrainingConfig::new().with_epochs(2), &device)?;
/// while !trainer.is_done() {
///     let record = trainer.epoch(&train, &validation, &mut |_progress| Control::Continue)?;
///     println!("{record:?}");
/// }
/// let mut evaluation = Evaluation::new(12, &[]);
/// evaluate(&trainer.best, &validation, &mut evaluation, 32, &device.inner(), |_done| {});
/// println!("MSE {}", evaluation.scores_of(0..12).mse);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Trainer<N> {
    /// The settings.
    pub config: TrainingConfig,
    /// The network, on a device with gradients.
    pub network: N,
    /// The network after the epoch with the least loss on the validation windows, without gradients.
    pub best: N,
    /// The optimizer.
    pub optimizer: ModuleOptimizer,
    /// What every epoch measured.
    pub history: Vec<EpochRecord>,
    device: Device,
}

impl<N: Network> Trainer<N> {
    /// A training that starts. `network` is on `device`, which has gradients.
    ///
    /// # Errors
    /// [`TrainingError::Config`].
    pub fn new(network: N, config: TrainingConfig, device: &Device) -> Result<Self, TrainingError> {
        config.validate()?;
        let optimizer = AdamConfig::new().with_epsilon(1e-8).init();
        Ok(Self { best: network.valid(), network, config, optimizer, history: Vec::new(), device: device.clone() })
    }

    /// Whether all epochs are done, the last ones brought nothing, or there is nothing to train.
    pub fn is_done(&self) -> bool {
        let best = self.best_epoch();
        let waited = self.history.len() - best;
        self.network.num_params() == 0 || self.history.len() >= self.config.epochs || waited >= self.config.patience
    }

    /// The epoch with the least loss on the validation windows; 0 before the first.
    pub fn best_epoch(&self) -> usize {
        let best = self.history.iter().min_by(|a, b| a.validation.total_cmp(&b.validation));
        best.map_or(0, |record| record.epoch)
    }

    /// The learning rate of an epoch, counted from 1.
    pub fn learning_rate(&self, epoch: usize) -> f64 {
        self.config.lr * self.config.lr_decay.powi(epoch.saturating_sub(self.config.lr_hold) as i32)
    }

    /// Sees every training window once, except those that [`TrainingConfig::drop_last`] leaves out. Returns what was
    /// measured; nothing, and the network is as it was, if `watch` stops it.
    ///
    /// # Errors
    /// [`TrainingError::Diverged`] at the first loss that is not finite, [`TrainingError::NoWindows`] if there are
    /// none.
    pub fn epoch(
        &mut self,
        train: &Windows,
        validation: &Windows,
        watch: &mut dyn FnMut(Progress) -> Control,
    ) -> Result<Option<EpochRecord>, TrainingError> {
        if train.is_empty() || validation.is_empty() {
            return Err(TrainingError::NoWindows { train: train.len(), validation: validation.len() });
        }
        let epoch = self.history.len() + 1;
        let (network, optimizer) = (self.network.clone(), self.optimizer.clone());
        let seed = self.config.seed.wrapping_add(epoch as u64);
        self.device.seed(seed);
        let mut order: Vec<_> = (0..train.len()).collect();
        order.shuffle(&mut StdRng::seed_from_u64(seed));
        let size = self.config.batch;
        if self.config.drop_last && order.len() > size {
            order.truncate(order.len() / size * size);
        }

        let (mut sum, batches) = (0.0, order.len().div_ceil(size));
        for (batch, indices) in order.chunks(size).enumerate() {
            let loss = self.step(train, indices, (epoch, batch + 1))?;
            sum += loss * indices.len() as f64;
            if watch(Progress { epoch, batch: batch + 1, batches, loss }) == Control::Stop {
                (self.network, self.optimizer) = (network, optimizer);
                return Ok(None);
            }
        }
        let best = self.history.iter().map(|record| record.validation).fold(f64::INFINITY, f64::min);
        let network = self.network.valid();
        let validation = mean_loss(&network, &self.config, validation, &self.device.clone().inner());
        if validation.is_nan() {
            return Err(TrainingError::Diverged { epoch, batch: batches, loss: validation });
        }
        if validation < best {
            self.best = network;
        }
        let record = EpochRecord { epoch, train: sum / order.len() as f64, validation };
        self.history.push(record.clone());
        Ok(Some(record))
    }

    /// One optimizer step; returns the loss of its batch.
    fn step(&mut self, train: &Windows, indices: &[usize], place: (usize, usize)) -> Result<f64, TrainingError> {
        let batch = train.batch(indices, &self.device);
        let loss = self.network.loss(batch, &self.config.objective);
        let value = loss.clone().into_scalar::<f32>().into();
        if !f64::is_finite(value) {
            return Err(TrainingError::Diverged { epoch: place.0, batch: place.1, loss: value });
        }
        let gradients = GradientsParams::from_grads(loss.backward(), &self.network);
        let lr = self.learning_rate(place.0);
        self.network = self.optimizer.step(lr, self.network.clone(), gradients);
        Ok(value)
    }

    /// Epochs until the last; returns the network of the best one.
    ///
    /// # Errors
    /// As [`epoch`](Self::epoch).
    pub fn run(mut self, train: &Windows, validation: &Windows) -> Result<N, TrainingError> {
        while !self.is_done() {
            self.epoch(train, validation, &mut |_| Control::Continue)?;
        }
        Ok(self.best)
    }
}

/// The mean loss of the forecasts of all windows.
fn mean_loss<N: Network>(network: &N, config: &TrainingConfig, windows: &Windows, device: &Device) -> f64 {
    let (mut sum, all) = (0.0, (0..windows.len()).collect::<Vec<_>>());
    for indices in all.chunks(config.batch) {
        let batch = windows.batch(indices, device);
        let mask = batch.mask.map(|mask| mask.unsqueeze_dim(3));
        let loss = config.objective.loss(network.forecast(batch.input), batch.target.unsqueeze_dim(3), mask);
        sum += f64::from(loss.into_scalar::<f32>()) * indices.len() as f64;
    }
    sum / all.len() as f64
}

/// Adds the forecasts of all windows to an evaluation; `progress` hears how many windows are done.
pub fn evaluate<N: Network>(
    network: &N,
    windows: &Windows,
    evaluation: &mut Evaluation,
    batch: usize,
    device: &Device,
    mut progress: impl FnMut(usize),
) {
    let all: Vec<_> = (0..windows.len()).collect();
    let mut done = 0;
    for indices in all.chunks(batch.max(1)) {
        let batch = windows.batch(indices, device);
        evaluation.add(network.forecast(batch.input), batch.target, batch.mask);
        done += indices.len();
        progress(done);
    }
}
