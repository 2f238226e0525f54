//! The settings of a training.

use clap::Args;
use serde::Serialize;

use crate::error::Error;
use crate::model::Kind;

/// What a run is, from its first step to its last.
#[derive(Args, Clone, Debug, Serialize)]
pub struct Settings {
    /// Which model: the VMamba, or one to compare it with
    #[arg(long, value_enum, default_value = "vmamba")]
    pub model: Kind,
    /// Channels of the VMamba's first stage; the CNN gets as many parameters as it has
    #[arg(long, default_value_t = 32)]
    pub d_model: usize,
    /// How often every image is seen
    #[arg(long, default_value_t = 15)]
    pub epochs: usize,
    /// Images of one step
    #[arg(long, default_value_t = 32)]
    pub batch: usize,
    /// Learning rate after the first epoch, in which it rises; from there it falls to zero along a cosine
    #[arg(long, default_value_t = 4e-3)]
    pub lr: f64,
    /// Weight decay
    #[arg(long, default_value_t = 0.05)]
    pub weight_decay: f64,
    /// Label smoothing
    #[arg(long, default_value_t = 0.1)]
    pub smoothing: f32,
    /// By how many pixels images are moved at random; they are mirrored at random as well
    #[arg(long, default_value_t = 1)]
    pub shift: usize,
    /// Seed of the initial weights, the order of the images and their variation
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

impl Settings {
    /// Checks what the model's own configuration does not.
    pub fn validate(&self) -> Result<(), Error> {
        let flag = |flag, given: &dyn ToString, expected| Error::Flag { flag, given: given.to_string(), expected };
        for (name, value) in [("epochs", self.epochs), ("batch", self.batch)] {
            if !(1..=1 << 20).contains(&value) {
                return Err(flag(name, &value, "1 to 1048576"));
            }
        }
        if !(self.lr > 0.0 && self.lr <= 1.0) {
            return Err(flag("lr", &self.lr, "more than 0 and at most 1"));
        }
        if !(0.0..=10.0).contains(&self.weight_decay) {
            return Err(flag("weight-decay", &self.weight_decay, "0 to 10"));
        }
        if !(0.0..1.0).contains(&self.smoothing) {
            return Err(flag("smoothing", &self.smoothing, "at least 0 and less than 1"));
        }
        if self.shift > 1024 {
            return Err(flag("shift", &self.shift, "at most 1024"));
        }
        Ok(())
    }
}
