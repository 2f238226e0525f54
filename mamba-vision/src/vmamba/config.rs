//! The sizes and the initialisation of VMamba.

use super::block::{Mlp, VssBlock};
use super::layers::{Downsample, DownsampleType, PatchEmbed, PatchEmbedType};
use super::pattern::ScanPattern;
use super::ss2d::Ss2dConfig;
use super::{Classifier, VMamba, VssStage};
use crate::config::check_drop_path;
use crate::drop_path::{DropPath, rising};
use crate::init;
use burn::config::Config;
use burn::nn::LayerNormConfig;
use burn::tensor::Device;
use mamba_blocks::ConfigError;

/// Configuration of a [`VMamba`]; the defaults are those of the second release (`v05_noz`).
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mamba_vision::VMambaConfig;
///
/// let device = Device::default();
/// let config = VMambaConfig::new(8, vec![1, 2]).with_num_classes(10);
/// let model = config.init(&device);
/// assert_eq!(model.forward(Tensor::ones([1, 3, 32, 48], &device)).dims(), [1, 10]);
/// // Settings of a user: an error names the first at fault.
/// assert!(config.with_num_classes(0).try_init(&device).unwrap_err().to_string().contains("num_classes"));
///
/// // The published sizes of the second release, those with twice the inner channels, and those of the first.
/// let second = [VMambaConfig::tiny(), VMambaConfig::small(), VMambaConfig::base()];
/// let wide = [VMambaConfig::tiny_s2l5(), VMambaConfig::small_s2l15(), VMambaConfig::base_s2l15()];
/// let first = [VMambaConfig::vanilla_tiny(), VMambaConfig::vanilla_small(), VMambaConfig::vanilla_base()];
/// assert!(second.iter().chain(&wide).all(|config| !config.gated) && first.iter().all(|config| config.gated));
/// // One of yours in the manner of the first.
/// assert!(VMambaConfig::vanilla(64, vec![1, 1]).gated);
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct VMambaConfig {
    /// Width of the first stage; every stage has twice that of the one before.
    pub d_model: usize,
    /// Number of blocks of every stage.
    pub depths: Vec<usize>,
    /// Channels of the images.
    #[config(default = 3)]
    pub in_channels: usize,
    /// Number of classes.
    #[config(default = 1000)]
    pub num_classes: usize,
    /// States of every channel.
    #[config(default = 1)]
    pub d_state: usize,
    /// Inner channels of a scan for every channel of its stage.
    #[config(default = 2.0)]
    pub ssm_ratio: f64,
    /// Whether scans are gated, and their convolution has a bias.
    #[config(default = false)]
    pub gated: bool,
    /// Hidden channels of an MLP for every channel of its stage; none if there are no MLPs.
    #[config(default = "Some(4.0)")]
    pub mlp_ratio: Option<f64>,
    /// How an image becomes patches.
    #[config(default = "PatchEmbedType::V2")]
    pub patch_embed: PatchEmbedType,
    /// How a stage halves the image for the next.
    #[config(default = "DownsampleType::V3")]
    pub downsample: DownsampleType,
    /// How likely the last block is left out in training; it rises from 0 at the first.
    #[config(default = 0.0)]
    pub drop_path: f64,
}

impl VMambaConfig {
    /// VMamba-T of the second release, `s1l8`: 30 M parameters.
    pub fn tiny() -> Self {
        Self::new(96, vec![2, 2, 8, 2]).with_ssm_ratio(1.0).with_drop_path(0.2)
    }

    /// VMamba-S of the second release, `s1l20`: 49 M parameters.
    pub fn small() -> Self {
        Self::new(96, vec![2, 2, 20, 2]).with_ssm_ratio(1.0).with_drop_path(0.3)
    }

    /// VMamba-B of the second release, `s1l20`: 87 M parameters.
    pub fn base() -> Self {
        Self::new(128, vec![2, 2, 20, 2]).with_ssm_ratio(1.0).with_drop_path(0.5)
    }

    /// VMamba-T with twice the inner channels and fewer blocks, `s2l5`: 31 M parameters.
    pub fn tiny_s2l5() -> Self {
        Self::new(96, vec![2, 2, 5, 2]).with_drop_path(0.2)
    }

    /// VMamba-S with twice the inner channels and fewer blocks, `s2l15`: 50 M parameters.
    pub fn small_s2l15() -> Self {
        Self::new(96, vec![2, 2, 15, 2]).with_drop_path(0.3)
    }

    /// VMamba-B with twice the inner channels and fewer blocks, `s2l15`: 89 M parameters.
    pub fn base_s2l15() -> Self {
        Self::new(128, vec![2, 2, 15, 2]).with_drop_path(0.6)
    }

    /// A model of the first release (`v0`): gated scans of 16 states, no MLPs, patches that do not overlap.
    pub fn vanilla(d_model: usize, depths: Vec<usize>) -> Self {
        Self::new(d_model, depths)
            .with_d_state(16)
            .with_gated(true)
            .with_mlp_ratio(None)
            .with_patch_embed(PatchEmbedType::V1)
            .with_downsample(DownsampleType::V1)
    }

    /// VMamba-T of the first release: 23 M parameters.
    pub fn vanilla_tiny() -> Self {
        Self::vanilla(96, vec![2, 2, 9, 2]).with_drop_path(0.1)
    }

    /// VMamba-S of the first release: 44 M parameters.
    pub fn vanilla_small() -> Self {
        Self::vanilla(96, vec![2, 2, 27, 2]).with_drop_path(0.3)
    }

    /// VMamba-B of the first release: 76 M parameters.
    pub fn vanilla_base() -> Self {
        Self::vanilla(128, vec![2, 2, 27, 2]).with_drop_path(0.6)
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
            .with_gated(self.gated)
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
        if self.patch_embed != PatchEmbedType::V1 && self.d_model < 2 {
            return Err(ConfigError::OutOfRange { name: "d_model", value: 1.0, expected: "at least 2" });
        }
        if let Some(value) = self.mlp_ratio
            && !(value > 0.0 && value <= 1024.0)
        {
            let expected = "a positive number, at most 1024";
            return Err(ConfigError::OutOfRange { name: "mlp_ratio", value, expected });
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
    pub fn init(&self, device: &Device) -> VMamba {
        self.try_init(device).unwrap_or_else(|error| panic!("VMambaConfig: {error}"))
    }

    /// Makes the model, initialised as the original is.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn try_init(&self, device: &Device) -> Result<VMamba, ConfigError> {
        self.try_init_with(|_| ScanPattern::Cross, device)
    }

    /// As [`try_init`](Self::try_init) with a pattern of its own for every block, counted from the first.
    pub(crate) fn try_init_with(
        &self,
        pattern: impl Fn(usize) -> ScanPattern,
        device: &Device,
    ) -> Result<VMamba, ConfigError> {
        self.validate()?;
        let last = self.depths.len() - 1;
        let mut blocks = rising(self.drop_path, self.depths.iter().sum()).enumerate();
        let mut layers = Vec::with_capacity(self.depths.len());
        for (stage, &depth) in self.depths.iter().enumerate() {
            let blocks = blocks.by_ref().take(depth);
            let blocks = blocks.map(|(block, prob)| self.block(stage, pattern(block), prob, device));
            let blocks = blocks.collect::<Result<_, _>>()?;
            let downsample = (stage < last).then(|| Downsample::new(self.downsample, self.d_model_of(stage), device));
            layers.push(VssStage { blocks, downsample });
        }
        let d_model = self.d_model_of(last);
        Ok(VMamba {
            patch_embed: PatchEmbed::new(self.patch_embed, self.in_channels, self.d_model, device),
            layers,
            classifier: Classifier {
                norm: LayerNormConfig::new(d_model).init(device),
                head: init::linear(d_model, self.num_classes, true, device),
            },
        })
    }

    fn block(
        &self,
        stage: usize,
        pattern: ScanPattern,
        drop_path: f64,
        device: &Device,
    ) -> Result<VssBlock, ConfigError> {
        let d_model = self.d_model_of(stage);
        let norm = || LayerNormConfig::new(d_model).init(device);
        let hidden = self.mlp_ratio.map(|ratio| ((ratio * d_model as f64) as usize).max(1));
        Ok(VssBlock {
            norm: norm(),
            op: self.scan_of(stage).with_pattern(pattern).try_init(device)?,
            norm2: hidden.map(|_| norm()),
            mlp: hidden.map(|hidden| Mlp::new(d_model, hidden, device)),
            drop_path: DropPath::new(drop_path),
        })
    }
}

/// The width doubles from stage to stage.
const MOST_STAGES: usize = 16;
