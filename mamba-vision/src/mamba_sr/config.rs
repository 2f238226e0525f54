//! The sizes and the initialisation of the super-resolution network.

use super::MambaSr;
use super::block::{Attention, SrBlock, SrGroup};
use crate::config::check_drop_path;
use crate::drop_path::{DropPath, rising};
use crate::vmamba::Ss2dConfig;
use burn::config::Config;
use burn::module::Initializer;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{LayerNormConfig, PaddingConfig2d, PixelShuffleConfig};
use burn::tensor::Device;
use mamba_blocks::ConfigError;

/// Configuration of a [`MambaSr`]; the defaults are those of the published models.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mamba_vision::MambaSrConfig;
///
/// let device = Device::default();
/// // Four bands, twice as many pixels in both directions.
/// let model = MambaSrConfig::new(4, 4, 2).with_d_model(12).with_depths(vec![1]).init(&device);
/// assert_eq!(model.forward(Tensor::ones([1, 4, 12, 20], &device)).dims(), [1, 4, 24, 40]);
///
/// // The published models.
/// let models = [MambaSrConfig::opensr_rgb(), MambaSrConfig::opensr_to_10m(), MambaSrConfig::opensr_to_2m5()];
/// assert_eq!(models.each_ref().map(|config| config.upscale), [4, 1, 1]);
/// // Settings of a user: an error names the first at fault.
/// assert!(MambaSrConfig::new(0, 4, 2).try_init(&device).unwrap_err().to_string().contains("in_channels"));
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct MambaSrConfig {
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// By what the sides of the image grow.
    pub upscale: usize,
    /// Width of the residual stream.
    #[config(default = 60)]
    pub d_model: usize,
    /// Number of blocks of every group.
    #[config(default = "vec![2, 2, 2, 2]")]
    pub depths: Vec<usize>,
    /// States of every channel.
    #[config(default = 16)]
    pub d_state: usize,
    /// Inner channels of a scan for every channel of the stream.
    #[config(default = 1.5)]
    pub ssm_ratio: f64,
    /// How the attention of a block meets its stream.
    #[config(default = "Attention::Sum")]
    pub attention: Attention,
    /// How likely the scan of the last block is left out in training; it rises from 0 at the first.
    #[config(default = 0.1)]
    pub drop_path: f64,
}

impl MambaSrConfig {
    /// `srmodel` of opensr-mamba: red, green and blue of Sentinel-2, from 10 m to 2.5 m.
    pub fn opensr_rgb() -> Self {
        Self::new(3, 3, 4)
    }

    /// `fusionmodel01` of opensr-mamba: the six bands of 20 m, and the four of 10 m after them, to 10 m.
    pub fn opensr_to_10m() -> Self {
        Self::new(10, 6, 1).with_attention(Attention::Product)
    }

    /// `fusionmodel02` of opensr-mamba: the seven other bands to the 2.5 m of red, green and blue.
    pub fn opensr_to_2m5() -> Self {
        Self::new(10, 7, 1)
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`ConfigError`], which names the first setting at fault.
    pub fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::check_sizes(&[
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels),
            ("upscale", self.upscale),
            ("depths", self.depths.len()),
        ])?;
        for &depth in &self.depths {
            ConfigError::check_sizes(&[("depths", depth)])?;
        }
        check_drop_path(self.drop_path)?;
        self.scan().validate()
    }

    /// The configuration of one scan.
    pub fn scan(&self) -> Ss2dConfig {
        Ss2dConfig::new(self.d_model).with_d_state(self.d_state).with_ssm_ratio(self.ssm_ratio)
    }

    /// Makes the model.
    ///
    /// # Panics
    /// With the text of the [`ConfigError`] that [`try_init`](Self::try_init) returns.
    pub fn init(&self, device: &Device) -> MambaSr {
        self.try_init(device).unwrap_or_else(|error| panic!("MambaSrConfig: {error}"))
    }

    /// Makes the model, initialised as the original is.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn try_init(&self, device: &Device) -> Result<MambaSr, ConfigError> {
        self.validate()?;
        let d_model = self.d_model;
        let mut drop_path = rising(self.drop_path, self.depths.iter().sum());
        let mut layers = Vec::with_capacity(self.depths.len());
        for &depth in &self.depths {
            let blocks = drop_path.by_ref().take(depth).map(|prob| self.block(prob, device));
            layers.push(SrGroup { blocks: blocks.collect::<Result<_, _>>()?, conv: conv([d_model, d_model], device) });
        }
        let norm = || LayerNormConfig::new(d_model).init(device);
        Ok(MambaSr {
            conv_first: conv([self.in_channels, d_model], device),
            patch_norm: norm(),
            layers,
            norm: norm(),
            conv_after_body: conv([d_model, d_model], device),
            upsample: conv([d_model, self.out_channels * self.upscale.pow(2)], device),
            shuffle: PixelShuffleConfig::new(self.upscale).init(),
        })
    }

    fn block(&self, drop_path: f64, device: &Device) -> Result<SrBlock, ConfigError> {
        let norm = || LayerNormConfig::new(self.d_model).init(device);
        let ones = || Initializer::Ones.init([self.d_model], device);
        Ok(SrBlock {
            norm: norm(),
            op: self.scan().try_init(device)?,
            skip_scale: ones(),
            norm2: norm(),
            skip_scale2: ones(),
            drop_path: DropPath::new(drop_path),
            attention: self.attention,
        })
    }
}

/// A 3 x 3 convolution that keeps the size of the image.
fn conv(channels: [usize; 2], device: &Device) -> Conv2d {
    Conv2dConfig::new(channels, [3, 3]).with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1)).init(device)
}
