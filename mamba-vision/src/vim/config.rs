//! The sizes and the initialisation of Vision Mamba.

use super::mixer::{BiMambaConfig, BiMambaType};
use super::{Vim, VimBlock};
use crate::config::{check_drop_path, check_positive};
use crate::drop_path::{DropPath, rising};
use crate::init;
use burn::config::Config;
use burn::module::{Initializer, Param};
use burn::nn::RmsNormConfig;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::{Device, Tensor};
use mamba_blocks::{ConfigError, MambaConfig};

/// Where the token is whose output tells the class.
#[derive(Config, Debug, Copy, PartialEq)]
pub enum ClassToken {
    /// There is none; the mean over all tokens tells the class.
    Absent,
    /// Before the patches.
    Head,
    /// Between the two halves of the patches, as in all published models.
    Middle,
}

impl ClassToken {
    /// At which of `tokens` tokens it is.
    pub fn place(self, tokens: usize) -> Option<usize> {
        match self {
            Self::Absent => None,
            Self::Head => Some(0),
            Self::Middle => Some((tokens - 1) / 2),
        }
    }
}

/// Configuration of a [`Vim`]; the defaults are those of the published models.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mamba_vision::{ClassToken, VimConfig};
///
/// let device = Device::default();
/// let config = VimConfig::new(16).with_depth(2).with_image_size([32, 48]).with_class_token(ClassToken::Head);
/// let model = config.with_num_classes(10).try_init(&device)?;
/// assert_eq!(model.forward(Tensor::ones([1, 3, 32, 48], &device)).dims(), [1, 10]);
///
/// // The published sizes.
/// let sizes = [VimConfig::tiny(), VimConfig::small(), VimConfig::base()];
/// assert_eq!(sizes.map(|config| config.d_model), [192, 384, 768]);
/// # Ok::<(), mamba_blocks::ConfigError>(())
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct VimConfig {
    /// Width of the residual stream.
    pub d_model: usize,
    /// Number of blocks.
    #[config(default = 24)]
    pub depth: usize,
    /// Height and width of the images.
    #[config(default = "[224, 224]")]
    pub image_size: [usize; 2],
    /// Channels of the images.
    #[config(default = 3)]
    pub in_channels: usize,
    /// Side of a patch.
    #[config(default = 16)]
    pub patch_size: usize,
    /// From one patch to the next.
    #[config(default = 16)]
    pub stride: usize,
    /// Number of classes.
    #[config(default = 1000)]
    pub num_classes: usize,
    /// States of every channel.
    #[config(default = 16)]
    pub d_state: usize,
    /// Taps of the convolutions, at least 2.
    #[config(default = 4)]
    pub d_conv: usize,
    /// Inner channels for every channel of the residual stream.
    #[config(default = 2)]
    pub expand: usize,
    /// What the direction from the last token to the first has of its own.
    #[config(default = "BiMambaType::V2")]
    pub bimamba_type: BiMambaType,
    /// Whether the outputs of both directions are averaged instead of added.
    #[config(default = true)]
    pub divide_out: bool,
    /// Where the class token is.
    #[config(default = "ClassToken::Middle")]
    pub class_token: ClassToken,
    /// What the norms add to the mean square.
    #[config(default = 1e-5)]
    pub norm_epsilon: f64,
    /// How likely the last block is left out in training; it rises from 0 at the first.
    #[config(default = 0.0)]
    pub drop_path: f64,
    /// How likely the last block meets its tokens in a random order in training; it rises from near 0 at the first
    /// (Stochastic Layer-Wise Shuffle, Huang et al. 2024).
    #[config(default = 0.0)]
    pub shuffle: f64,
}

impl VimConfig {
    /// Vim-Ti: 7 M parameters.
    pub fn tiny() -> Self {
        Self::new(192)
    }

    /// Vim-S: 26 M parameters, drop path 0.05.
    pub fn small() -> Self {
        Self::new(384).with_drop_path(0.05)
    }

    /// Vim-B: 98 M parameters.
    pub fn base() -> Self {
        Self::new(768)
    }

    /// Rows and columns of patches. For a configuration that is valid.
    pub fn patches(&self) -> [usize; 2] {
        self.image_size.map(|size| (size - self.patch_size) / self.stride + 1)
    }

    /// Patches, and the class token. For a configuration that is valid.
    pub fn num_tokens(&self) -> usize {
        self.patches().iter().product::<usize>() + usize::from(self.class_token != ClassToken::Absent)
    }

    /// The configuration of one mixer.
    pub fn mixer(&self) -> BiMambaConfig {
        let mixer =
            MambaConfig::new(self.d_model).with_d_state(self.d_state).with_d_conv(self.d_conv).with_expand(self.expand);
        BiMambaConfig { mixer, bimamba_type: self.bimamba_type, divide_out: self.divide_out }
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`ConfigError`], which names the first setting at fault.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let [height, width] = self.image_size;
        ConfigError::check_sizes(&[
            ("depth", self.depth),
            ("image_size", height),
            ("image_size", width),
            ("in_channels", self.in_channels),
            ("patch_size", self.patch_size),
            ("stride", self.stride),
            ("num_classes", self.num_classes),
        ])?;
        if self.patch_size > height.min(width) {
            let value = self.patch_size as f64;
            return Err(ConfigError::OutOfRange { name: "patch_size", value, expected: "at most the image's sides" });
        }
        check_positive("norm_epsilon", self.norm_epsilon)?;
        check_drop_path(self.drop_path)?;
        if !(0.0..=1.0).contains(&self.shuffle) {
            let (value, expected) = (self.shuffle, "at least 0 and at most 1");
            return Err(ConfigError::OutOfRange { name: "shuffle", value, expected });
        }
        self.mixer().mixer.validate()
    }

    /// Makes the model.
    ///
    /// # Panics
    /// With the text of the [`ConfigError`] that [`try_init`](Self::try_init) returns.
    pub fn init(&self, device: &Device) -> Vim {
        self.try_init(device).unwrap_or_else(|error| panic!("VimConfig: {error}"))
    }

    /// Makes the model, initialised as the original is.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn try_init(&self, device: &Device) -> Result<Vim, ConfigError> {
        self.validate()?;
        let has_class_token = self.class_token != ClassToken::Absent;
        // Shifted by one block: the second is never left out either.
        let drop_path = std::iter::once(0.0).chain(rising(self.drop_path, self.depth));
        let layers = drop_path.take(self.depth).map(|prob| self.block(prob, device)).collect::<Result<_, _>>()?;
        Ok(Vim {
            patch_embed: self.patch_embed(device),
            cls_token: has_class_token.then(|| init::normal().init([1, 1, self.d_model], device)),
            pos_embed: init::normal().init([1, self.num_tokens(), self.d_model], device),
            layers,
            drop_path: DropPath::new(self.drop_path),
            norm_f: RmsNormConfig::new(self.d_model).with_epsilon(self.norm_epsilon).init(device),
            head: init::linear(self.d_model, self.num_classes, true, device),
            class_token: self.class_token,
            image_size: self.image_size,
            shuffle: self.shuffle,
        })
    }

    fn block(&self, drop_path: f64, device: &Device) -> Result<VimBlock, ConfigError> {
        let mut mixer = self.mixer().try_init(device)?;
        mixer.out_proj.weight = out_proj_weight([self.mixer().mixer.d_inner(), self.d_model], self.depth, device);
        Ok(VimBlock {
            norm: RmsNormConfig::new(self.d_model).with_epsilon(self.norm_epsilon).init(device),
            mixer,
            drop_path: DropPath::new(drop_path),
        })
    }

    fn patch_embed(&self, device: &Device) -> Conv2d {
        let (channels, side) = ([self.in_channels, self.d_model], [self.patch_size; 2]);
        let conv = Conv2dConfig::new(channels, side).with_stride([self.stride; 2]).with_bias(false).init(device);
        let weight = init::lecun_normal(conv.weight.dims(), self.in_channels * self.patch_size.pow(2), device);
        let bias = Initializer::Zeros.init([self.d_model], device);
        Conv2d { weight: Param::from_tensor(weight), bias: Some(bias), ..conv }
    }
}

/// PyTorch's uniform weight, divided for a residual stream through `depth` blocks.
pub(crate) fn out_proj_weight([d_inner, d_model]: [usize; 2], depth: usize, device: &Device) -> Param<Tensor<2>> {
    let gain = 1.0 / (3.0 * depth as f64).sqrt();
    let uniform = Initializer::KaimingUniform { gain, fan_out_only: false };
    uniform.init_with([d_inner, d_model], Some(d_inner), None, device)
}
