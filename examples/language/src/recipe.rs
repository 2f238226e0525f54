//! How a model is trained: flags of `train` and `finetune`, stored in their checkpoints.

use clap::parser::ValueSource;
use clap::{ArgMatches, Args};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::Error;

/// Larger batches than this are slips of the finger: nothing here is meant for them.
const MOST_TOKENS: usize = 1 << 22;

/// The hyper-parameters of training. A field is the flag of the same name.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Recipe {
    /// Sequences in a batch
    #[arg(long, default_value_t = 8, help_heading = "Training")]
    pub batch: usize,
    /// Parts of a batch that are computed one after another, for less memory; their gradients are added up
    #[arg(long, default_value_t = 1, help_heading = "Training")]
    #[serde(default = "one")]
    pub accumulate: usize,
    /// Keep no activations but the input of every block, and compute each again going back: less memory, more time
    #[arg(long, help_heading = "Training")]
    #[serde(default)]
    pub checkpointing: bool,
    /// Tokens in a sequence
    #[arg(long, default_value_t = 128, help_heading = "Training")]
    pub length: usize,
    /// Optimizer steps
    #[arg(long, default_value_t = 1000, help_heading = "Training")]
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
    /// Largest norm of the whole gradient
    #[arg(long, default_value_t = 1.0, help_heading = "Training")]
    pub clip: f64,
    /// Steps between two validations, each of which writes a checkpoint
    #[arg(long, default_value_t = 200, help_heading = "Training")]
    pub every: usize,
    /// Seed of the initial weights, or adapters, and of the batches
    #[arg(long, default_value_t = 0, help_heading = "Training")]
    pub seed: u64,
}

/// What runs have that were stored before there was a choice.
fn one() -> usize {
    1
}

impl Recipe {
    /// Refuses values that no run can have.
    pub fn validate(&self) -> Result<(), Error> {
        check("length", self.length, self.length > 0, "at least 1")?;
        let most = MOST_TOKENS / self.length;
        check("batch", self.batch, (1..=most).contains(&self.batch), format_args!("1 to {most} for this --length"))?;
        let divides = self.accumulate > 0 && self.batch.is_multiple_of(self.accumulate);
        check("accumulate", self.accumulate, divides, format_args!("a divisor of --batch {}", self.batch))?;
        check("steps", self.steps, self.steps > 0, "at least 1")?;
        check("every", self.every, self.every > 0, "at least 1")?;
        check("warmup", self.warmup, self.warmup < self.steps, format_args!("less than --steps {}", self.steps))?;
        check("lr", self.lr, self.lr > 0.0 && self.lr <= 1.0, "more than 0 and at most 1")?;
        check("min-lr", self.min_lr, (0.0..=self.lr).contains(&self.min_lr), format_args!("0 to --lr {}", self.lr))?;
        check("weight-decay", self.weight_decay, (0.0..=1.0).contains(&self.weight_decay), "0 to 1")?;
        check("clip", self.clip, self.clip > 0.0 && self.clip.is_finite(), "more than 0")
    }
}

/// The first flag on the command line whose value is not that of `stored`: its name, its value and the stored one.
pub fn conflict<S: Serialize>(given: &S, stored: &S, matches: &ArgMatches) -> Option<(String, String, String)> {
    let (given, stored) = (as_fields(given), as_fields(stored));
    given.into_iter().find_map(|(id, value)| {
        let typed = matches.value_source(&id) == Some(ValueSource::CommandLine);
        (typed && value != stored[&id]).then(|| (id.replace('_', "-"), value.to_string(), stored[&id].to_string()))
    })
}

fn as_fields(settings: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(settings) {
        Ok(Value::Object(fields)) => fields,
        _ => unreachable!("a struct of settings is a JSON object"),
    }
}

/// An error that names `flag` unless `valid`.
pub fn check(
    flag: &'static str,
    given: impl ToString,
    valid: bool,
    expected: impl std::fmt::Display,
) -> Result<(), Error> {
    match valid {
        true => Ok(()),
        false => Err(Error::Flag { flag, given: given.to_string(), expected: expected.to_string() }),
    }
}
