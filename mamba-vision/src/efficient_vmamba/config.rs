//! The sizes and the initialisation of EfficientVMamba.

use super::block::{ConvBranch, EvssBlock, InvertedResidual};
use super::{EfficientBlock, EfficientStage, EfficientVMamba};
use crate::channel_attention::{ChannelAttention, REDUCTION};
use crate::config::check_drop_path;
use crate::drop_path::{DropPath, rising};
use crate::init;
use crate::vmamba::{Classifier, Downsample, DownsampleType, PatchEmbed, PatchEmbedType, ScanPattern, Ss2dConfig};
use burn::config::Config;
use burn::nn::LayerNormConfig;
use burn::tensor::Device;
use mamba_blocks::ConfigError;

/// Configuration of an [`EfficientVMamba`]; the defaults are those of the published models.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mamba_vision::EfficientVMambaConfig;
///
/// let device = Device::default();
/// let model = EfficientVMambaConfig::new(8, vec![1, 1, 1]).with_num_classes(10).init(&device);
/// assert_eq!(model.forward(Tensor::ones([1, 3, 32, 48], &device)).dims(), [1, 10]);
///
/// // The published sizes, for other classes than those of ImageNet.
/// let [tiny, small, base] = [EfficientVMambaConfig::tiny(), EfficientVMambaConfig::small(), EfficientVMambaConfig::base()];
/// assert_eq!([tiny.d_model, small.d_model, base.d_model], [48, 64, 96]);
/// // Settings of a user: an error names the first at fault.
/// assert!(tiny.with_num_classes(0).try_init(&device).unwrap_err().to_string().contains("num_classes"));
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct EfficientVMambaConfig {
    /// Width of the first stage; every stage has twice that of the one before.
    pub d_model: usize,
    /// Number of blocks of every stage; those of the first two have scans.
    pub depths: Vec<usize>,
    /// Channels of the images.
    #[config(default = 3)]
    pub in_channels: usize,
    /// Number of classes.
    #[config(default = 1000)]
    pub num_classes: usize,
    /// States of every channel.
    #[config(default = 16)]
    pub d_state: usize,
    /// Inner channels of a scan for every channel of its stage.
    #[config(default = 2.0)]
    pub ssm_ratio: f64,
    /// How likely the last block is left out in training; it rises from 0 at the first.
    #[config(default = 0.1)]
    pub drop_path: f64,
}

/// Stages with scans.
const SCANNING: usize = 2;
/// The width doubles from stage to stage.
const MOST_STAGES: usize = 16;

impl EfficientVMambaConfig {
    /// EfficientVMamba-T: 6 M parameters.
    pub fn tiny() -> Self {
        Self::new(48, vec![2, 2, 4, 2])
    }

    /// EfficientVMamba-S: 11 M parameters.
    pub fn small() -> Self {
        Self::new(64, vec![2, 2, 4, 2])
    }

    /// EfficientVMamba-B: 34 M parameters.
    pub fn base() -> Self {
        Self::new(96, vec![2, 2, 9, 2])
    }

    /// Width of a stage.
    pub fn d_model_of(&self, stage: usize) -> usize {
        self.d_model << stage
    }

    /// The scan of a stage.
    pub fn scan_of(&self, stage: usize) -> Ss2dConfig {
        Ss2dConfig::new(self.d_model_of(stage))
            .with_d_state(self.d_state)
            .with_ssm_ratio(self.ssm_ratio)
            .with_pattern(ScanPattern::Atrous)
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`ConfigError`], which names the first setting at fault.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let stages = self.depths.len();
        ConfigError::check_sizes(&[
            ("d_model", self.d_model),
            ("depths", stages),
            ("in_channels", self.in_channels),
            ("num_classes", self.num_classes),
        ])?;
        if stages > MOST_STAGES {
            return Err(ConfigError::TooLarge { name: "depths", value: stages, expected: MOST_STAGES });
        }
        if self.d_model < REDUCTION {
            let value = self.d_model as f64;
            return Err(ConfigError::OutOfRange { name: "d_model", value, expected: "at least 8" });
        }
        check_drop_path(self.drop_path)?;
        for (stage, &depth) in self.depths.iter().enumerate() {
            ConfigError::check_sizes(&[("depths", depth), ("d_model", self.d_model_of(stage))])?;
            self.scan_of(stage).validate()?;
        }
        Ok(())
    }

    /// Makes the model.
    ///
    /// # Panics
    /// With the text of the [`ConfigError`] that [`try_init`](Self::try_init) returns.
    pub fn init(&self, device: &Device) -> EfficientVMamba {
        self.try_init(device).unwrap_or_else(|error| panic!("EfficientVMambaConfig: {error}"))
    }

    /// Makes the model, initialised as the original is.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn try_init(&self, device: &Device) -> Result<EfficientVMamba, ConfigError> {
        self.validate()?;
        let last = self.depths.len() - 1;
        let mut drop_path = rising(self.drop_path, self.depths.iter().sum());
        let mut layers = Vec::with_capacity(self.depths.len());
        for (stage, &depth) in self.depths.iter().enumerate() {
            let blocks = drop_path.by_ref().take(depth).map(|prob| self.block(stage, DropPath::new(prob), device));
            let blocks = blocks.collect::<Result<_, _>>()?;
            let halving = || Downsample::new(DownsampleType::V1, self.d_model_of(stage), device);
            layers.push(EfficientStage { blocks, downsample: (stage < last).then(halving) });
        }
        let d_model = self.d_model_of(last);
        Ok(EfficientVMamba {
            patch_embed: PatchEmbed::new(PatchEmbedType::V1, self.in_channels, self.d_model, device),
            layers,
            classifier: Classifier {
                norm: LayerNormConfig::new(d_model).init(device),
                head: init::linear(d_model, self.num_classes, true, device),
            },
        })
    }

    fn block(&self, stage: usize, drop_path: DropPath, device: &Device) -> Result<EfficientBlock, ConfigError> {
        let d_model = self.d_model_of(stage);
        if stage >= SCANNING {
            return Ok(EfficientBlock::Inverted(InvertedResidual::new(d_model, drop_path, device)));
        }
        Ok(EfficientBlock::Evss(EvssBlock {
            norm: LayerNormConfig::new(d_model).init(device),
            op: self.scan_of(stage).try_init(device)?,
            conv_branch: ConvBranch::new(d_model, device),
            se: ChannelAttention::new(d_model, device),
            drop_path,
        }))
    }
}
