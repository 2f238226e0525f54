//! The settings of a training.

use clap::Args;
use mamba_ts::training::TrainingConfig;
use mamba_ts::{Objective, SMambaConfig};
use serde::{Deserialize, Serialize};

use crate::model::Kind;

/// What a model is and how it is trained, as far as the user says so.
#[derive(Args, Clone, Debug)]
pub struct Choices {
    /// Which model
    #[arg(long, value_enum, default_value = "s-mamba")]
    pub model: Kind,
    /// Rows that a forecast is made from
    #[arg(long, default_value_t = 96)]
    pub look_back: usize,
    /// Width of a token; a quarter of it for `mamba` [default: 128]
    #[arg(long)]
    pub d_model: Option<usize>,
    /// Layers or blocks [default: 2]
    #[arg(long)]
    pub layers: Option<usize>,
    /// States of every channel [default: 2]
    #[arg(long)]
    pub d_state: Option<usize>,
    /// How often every window is seen at most [default: 10]
    #[arg(long)]
    pub epochs: Option<usize>,
    /// Training ends after so many epochs that brought nothing
    #[arg(long, default_value_t = 3)]
    pub patience: usize,
    /// Windows of one step [default: 32]
    #[arg(long)]
    pub batch: Option<usize>,
    /// Learning rate of the first epochs [default: one for each model]
    #[arg(long)]
    pub lr: Option<f64>,
    /// How many epochs have it
    #[arg(long, default_value_t = 2)]
    pub lr_hold: usize,
    /// What it is multiplied with before every later epoch
    #[arg(long, default_value_t = 0.5)]
    pub lr_decay: f64,
    /// Seed of the initial weights, the order of the windows and of dropout
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// What a model is and how it is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub model: Kind,
    pub look_back: usize,
    pub d_model: usize,
    pub d_ff: usize,
    pub layers: usize,
    pub d_state: usize,
    pub use_norm: bool,
    pub epochs: usize,
    pub patience: usize,
    pub batch: usize,
    pub lr: f64,
    pub lr_hold: usize,
    pub lr_decay: f64,
    pub seed: u64,
}

impl Choices {
    /// With what the user leaves open: as published for S-Mamba, a data set of the literature and a horizon.
    pub fn published(&self, dataset: &str, horizon: usize) -> Settings {
        let published = SMambaConfig::published(dataset, horizon).filter(|_| self.model == Kind::SMamba);
        published.map_or_else(|| self.plain(), |(model, training)| self.fill(&model, &training))
    }

    /// With what the user leaves open: small enough for a CPU.
    pub fn plain(&self) -> Settings {
        let model = SMambaConfig::new(0, 0).with_d_model(128).with_d_ff(128).with_d_state(2);
        self.fill(&model, &TrainingConfig::new().with_lr(self.model.lr()))
    }

    fn fill(&self, model: &SMambaConfig, training: &TrainingConfig) -> Settings {
        Settings {
            model: self.model,
            look_back: self.look_back,
            d_model: self.d_model.unwrap_or(model.d_model),
            d_ff: self.d_model.unwrap_or(model.d_ff),
            layers: self.layers.unwrap_or(model.e_layers),
            d_state: self.d_state.unwrap_or(model.d_state),
            use_norm: model.use_norm,
            epochs: self.epochs.unwrap_or(training.epochs),
            patience: self.patience,
            batch: self.batch.unwrap_or(training.batch),
            lr: self.lr.unwrap_or(training.lr),
            lr_hold: self.lr_hold,
            lr_decay: self.lr_decay,
            seed: self.seed,
        }
    }
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
            .with_lr(self.lr)
            .with_lr_hold(self.lr_hold)
            .with_lr_decay(self.lr_decay)
            .with_seed(self.seed)
            .with_objective(objective)
    }
}
