//! The settings of a training.

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::model::{Kind, Stem};

/// What a run is, from its first step to its last. A field is the flag of the same name.
#[derive(Args, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Which model: the VMamba, or one to compare it with
    #[arg(long, value_enum, default_value = "vmamba")]
    pub model: Kind,
    /// Channels of the VMamba's first stage; the CNN gets as many parameters as it has
    #[arg(long, default_value_t = 64)]
    pub d_model: usize,
    /// Blocks of each of the VMamba's stages
    #[arg(long, value_delimiter = ',', default_value = "1,1")]
    pub depths: Vec<usize>,
    /// How the VMamba makes its patches
    #[arg(long, value_enum, default_value = "conv")]
    pub stem: Stem,
    /// How many times as large the VMamba sees the images: its patches are 4 pixels wide
    #[arg(long, default_value_t = 1)]
    pub enlarge: usize,
    /// Rows and columns that pictures of a folder are scaled to
    #[arg(long, default_value_t = 64)]
    pub side: usize,
    /// How often every image is seen
    #[arg(long, default_value_t = 25)]
    pub epochs: usize,
    /// Images of one step
    #[arg(long, default_value_t = 32)]
    pub batch: usize,
    /// Learning rate after the first epoch, in which it rises; from there it falls to zero along a cosine
    #[arg(long, default_value_t = 3e-3)]
    pub lr: f64,
    /// Weight decay
    #[arg(long, default_value_t = 0.05)]
    pub weight_decay: f64,
    /// Drop path of the VMamba's last block
    #[arg(long, default_value_t = 0.0)]
    pub drop_path: f64,
    /// Label smoothing
    #[arg(long, default_value_t = 0.1)]
    pub smoothing: f64,
    /// By how many pixels images are moved at random; they are mirrored at random as well
    #[arg(long, default_value_t = 1)]
    pub shift: usize,
    /// Least share of an image that is cut out and scaled to the whole; 1 for none
    #[arg(long, default_value_t = 1.0)]
    pub crop: f64,
    /// By which share brightness, contrast and saturation change
    #[arg(long, default_value_t = 0.0)]
    pub color: f64,
    /// Mixup: the number of its beta distribution; 0 for none
    #[arg(long, default_value_t = 0.0)]
    pub mixup: f64,
    /// CutMix: the number of its beta distribution; 0 for none
    #[arg(long, default_value_t = 1.0)]
    pub cutmix: f64,
    /// Last epochs without mixup and CutMix, which see images as those of the test are
    #[arg(long, default_value_t = 9)]
    pub unmixed: usize,
    /// Decay of the average of the weights, which is what is tested and stored; 0 for none
    #[arg(long, default_value_t = 0.99)]
    pub ema: f64,
    /// Seed of the initial weights, the order of the images and their variation
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

impl Settings {
    /// Checks what the model's own configuration does not.
    pub fn validate(&self) -> Result<(), Error> {
        let check = |flag, given: &dyn ToString, is_valid, expected| match is_valid {
            true => Ok(()),
            false => Err(Error::Flag { flag, given: given.to_string(), expected }),
        };
        for (flag, value) in [("epochs", self.epochs), ("batch", self.batch)] {
            check(flag, &value, (1..=1 << 20).contains(&value), "1 to 1048576")?;
        }
        check("enlarge", &self.enlarge, (1..=16).contains(&self.enlarge), "1 to 16")?;
        check("side", &self.side, (1..=1024).contains(&self.side), "1 to 1024")?;
        check("lr", &self.lr, self.lr > 0.0 && self.lr <= 1.0, "more than 0 and at most 1")?;
        check("weight-decay", &self.weight_decay, (0.0..=10.0).contains(&self.weight_decay), "0 to 10")?;
        check("smoothing", &self.smoothing, (0.0..1.0).contains(&self.smoothing), "at least 0 and less than 1")?;
        check("shift", &self.shift, self.shift <= 1024, "at most 1024")?;
        check("crop", &self.crop, self.crop > 0.0 && self.crop <= 1.0, "more than 0 and at most 1")?;
        check("color", &self.color, (0.0..=1.0).contains(&self.color), "0 to 1")?;
        for (flag, value) in [("mixup", self.mixup), ("cutmix", self.cutmix)] {
            check(flag, &value, (0.0..=100.0).contains(&value), "0 to 100")?;
        }
        check("ema", &self.ema, (0.0..1.0).contains(&self.ema), "at least 0 and less than 1")
    }
}
