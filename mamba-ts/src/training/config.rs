//! The settings of a training, and what can go wrong in it.

use crate::config::check_positive;
use crate::network::Objective;
use burn::config::Config;
use mamba_blocks::ConfigError;
use thiserror::Error;

/// How a network is trained; the defaults are those of S-Mamba's program, which many others share.
#[derive(Config, Debug, PartialEq)]
pub struct TrainingConfig {
    /// How often every window is seen at most.
    #[config(default = 10)]
    pub epochs: usize,
    /// Training ends after so many epochs that brought nothing.
    #[config(default = 3)]
    pub patience: usize,
    /// Windows of one step.
    #[config(default = 32)]
    pub batch: usize,
    /// Learning rate of the first epoch.
    #[config(default = 1e-4)]
    pub lr: f64,
    /// What the learning rate is multiplied with before every later epoch.
    #[config(default = 0.5)]
    pub lr_decay: f64,
    /// How many epochs have the first learning rate. The original's falls after an epoch to what is meant for that
    /// epoch, so that the second one has the first one's.
    #[config(default = 2)]
    pub lr_hold: usize,
    /// Whether windows that do not fill a batch sit out the epoch; others do in the next one.
    #[config(default = true)]
    pub drop_last: bool,
    /// Seed of the order of windows and of dropout.
    #[config(default = 1)]
    pub seed: u64,
    /// What it is trained for.
    #[config(default = "Objective::Mse")]
    pub objective: Objective,
}

impl TrainingConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`ConfigError`], which names the first setting at fault.
    pub fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::check_sizes(&[
            ("epochs", self.epochs),
            ("patience", self.patience),
            ("batch", self.batch),
            ("lr_hold", self.lr_hold),
        ])?;
        check_positive("lr", self.lr)?;
        check_positive("lr_decay", self.lr_decay)?;
        self.objective.validate()
    }
}

/// Why a training did not go on.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum TrainingError {
    /// The settings make no training.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A loss was not finite.
    #[error("the loss of batch {batch} of epoch {epoch} is {loss}: lower the learning rate")]
    Diverged {
        /// The epoch, from 1.
        epoch: usize,
        /// The batch in it, from 1.
        batch: usize,
        /// The loss.
        loss: f64,
    },
    /// There is nothing to learn from.
    #[error("there are {train} windows to train on and {validation} to validate, expected at least one of each")]
    NoWindows {
        /// Windows to train on.
        train: usize,
        /// Windows to validate.
        validation: usize,
    },
}
