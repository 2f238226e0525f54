//! The hyper-parameters of `pretrain`: flags, and a part of its checkpoints.

use clap::parser::ValueSource;
use clap::{ArgMatches, Args};
use mamba_dna::{CaduceusConfig, MambaDna};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, check};
use crate::model::{LmConfig, Objective};

/// A field is the flag of the same name.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// What the model is asked for
    #[arg(long, value_enum, default_value = "masked", help_heading = "Model")]
    pub objective: Objective,
    /// Channels, of one strand for a masked model
    #[arg(long, default_value_t = 32, help_heading = "Model")]
    pub d_model: usize,
    /// Number of blocks
    #[arg(long, default_value_t = 2, help_heading = "Model")]
    pub n_layer: usize,
    /// A masked model of one strand (Caduceus-Ph), trained on both, instead of one for both strands (Caduceus-PS)
    #[arg(long, help_heading = "Model")]
    pub ph: bool,
    /// Windows in a batch
    #[arg(long, default_value_t = 8, help_heading = "Training")]
    pub batch: usize,
    /// Nucleotides in a window
    #[arg(long, default_value_t = 512, help_heading = "Training")]
    pub length: usize,
    /// Optimizer steps
    #[arg(long, default_value_t = 2000, help_heading = "Training")]
    pub steps: usize,
    /// Steps over which the learning rate rises to its peak
    #[arg(long, default_value_t = 100, help_heading = "Training")]
    pub warmup: usize,
    /// Peak learning rate
    #[arg(long, default_value_t = 5e-3, help_heading = "Training")]
    pub lr: f64,
    /// Learning rate at the end of the cosine
    #[arg(long, default_value_t = 1e-4, help_heading = "Training")]
    pub min_lr: f64,
    /// Weight decay of matrices (none on a_log, d, biases and norms)
    #[arg(long, default_value_t = 0.1, help_heading = "Training")]
    pub weight_decay: f64,
    /// How much a nucleotide in lower case, as repeats are in many genomes, counts in training
    #[arg(long, default_value_t = 1.0, help_heading = "Training")]
    pub repeat_weight: f32,
    /// Steps between two validations on a part of what is held out, each of which writes a checkpoint
    #[arg(long, default_value_t = 250, help_heading = "Training")]
    pub every: usize,
    /// Seed of the initial weights, the windows and the masks
    #[arg(long, default_value_t = 0, help_heading = "Training")]
    pub seed: u64,
}

impl Settings {
    /// The model that these settings describe.
    pub fn model(&self) -> LmConfig {
        match self.objective {
            Objective::Masked => LmConfig::Masked(CaduceusConfig::new(self.d_model, self.n_layer).with_rcps(!self.ph)),
            Objective::Causal => LmConfig::Causal(MambaDna::config(self.d_model, self.n_layer)),
        }
    }

    /// Refuses values that no run can have.
    pub fn validate(&self) -> Result<(), Error> {
        match self.model() {
            LmConfig::Masked(config) => config.validate()?,
            LmConfig::Causal(config) => config.validate()?,
        }
        let is_slip = self.d_model > 1 << 14 || self.n_layer > 1 << 10;
        check("d-model", self.d_model, !is_slip, "at most 16384, and --n-layer at most 1024")?;
        check("ph", true, !(self.ph && self.objective == Objective::Causal), "--objective masked")?;
        check("length", self.length, (2..=1 << 22).contains(&self.length), "2 to 4194304")?;
        let most = (1 << 22) / self.length;
        check("batch", self.batch, (1..=most).contains(&self.batch), format!("1 to {most} for this --length"))?;
        check("steps", self.steps, self.steps > 0, "at least 1")?;
        check("every", self.every, self.every > 0, "at least 1")?;
        check("warmup", self.warmup, self.warmup < self.steps, format!("less than --steps {}", self.steps))?;
        check("lr", self.lr, self.lr > 0.0 && self.lr <= 1.0, "more than 0 and at most 1")?;
        check("min-lr", self.min_lr, (0.0..=self.lr).contains(&self.min_lr), format!("0 to --lr {}", self.lr))?;
        check("repeat-weight", self.repeat_weight, (0.0..=1.0).contains(&self.repeat_weight), "0 to 1")?;
        check("weight-decay", self.weight_decay, (0.0..=1.0).contains(&self.weight_decay), "0 to 1")
    }

    /// The first flag on the command line whose value is not that of `stored`, and the stored value.
    pub fn conflict(&self, stored: &Self, matches: &ArgMatches) -> Option<(String, String)> {
        let fields = |settings: &Self| match serde_json::to_value(settings) {
            Ok(Value::Object(fields)) => fields,
            _ => unreachable!("settings are a JSON object"),
        };
        let stored = fields(stored);
        fields(self).into_iter().find_map(|(id, value)| {
            let typed = matches.value_source(&id) == Some(ValueSource::CommandLine);
            (typed && value != stored[&id]).then(|| (id.replace('_', "-"), stored[&id].to_string()))
        })
    }
}
