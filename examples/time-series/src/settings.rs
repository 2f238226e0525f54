//! The settings of a training.

use clap::Args;
use mamba_ts::Objective;
use mamba_ts::training::TrainingConfig;
use serde::{Deserialize, Serialize};

use crate::model::{Kind, Sizes};

/// What a model is and how it is trained.
#[derive(Args, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Which model
    #[arg(long, value_enum, default_value = "s-mamba")]
    pub model: Kind,
    /// Rows that a forecast is made from
    #[arg(long, default_value_t = 96)]
    pub look_back: usize,
    /// Width of a token; a quarter of it for `mamba`
    #[arg(long, default_value_t = 128)]
    pub d_model: usize,
    /// Layers or blocks
    #[arg(long, default_value_t = 2)]
    pub layers: usize,
    /// States of every channel
    #[arg(long, default_value_t = 2)]
    pub d_state: usize,
    /// How often every window is seen at most
    #[arg(long, default_value_t = 10)]
    pub epochs: usize,
    /// Training ends after so many epochs that brought nothing
    #[arg(long, default_value_t = 3)]
    pub patience: usize,
    /// Windows of one step
    #[arg(long, default_value_t = 32)]
    pub batch: usize,
    /// Learning rate of the first epoch [default: one for each model]
    #[arg(long)]
    pub lr: Option<f64>,
    /// What it is multiplied with after every epoch
    #[arg(long, default_value_t = 0.5)]
    pub lr_decay: f64,
    /// Seed of the initial weights, the order of the windows and of dropout
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

impl Settings {
    /// For quantiles of these levels where the model has them; for the mean otherwise, or without levels.
    pub fn objective(&self, levels: &[f64]) -> Objective {
        match self.model.has_quantiles() && !levels.is_empty() {
            true => Objective::Quantiles(levels.to_vec()),
            false => Objective::Mse,
        }
    }

    pub fn training(&self, objective: Objective) -> TrainingConfig {
        TrainingConfig::new()
            .with_epochs(self.epochs)
            .with_patience(self.patience)
            .with_batch(self.batch)
            .with_lr(self.lr.unwrap_or(self.model.lr()))
            .with_lr_decay(self.lr_decay)
            .with_seed(self.seed)
            .with_objective(objective)
    }

    pub fn sizes(&self, horizon: usize, objective: &Objective) -> Sizes {
        Sizes {
            kind: self.model,
            look_back: self.look_back,
            horizon,
            d_model: self.d_model,
            layers: self.layers,
            d_state: self.d_state,
            outputs: objective.outputs(),
        }
    }
}
