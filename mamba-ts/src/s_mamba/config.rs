//! The sizes and the initialisation of S-Mamba.

use super::{Encoder, EncoderLayer, InvertedEmbedding, SMamba};
use crate::config::check_share;
use burn::config::Config;
use burn::nn::{DropoutConfig, LayerNormConfig, LinearConfig};
use burn::tensor::Device;
use mamba_blocks::{ConfigError, MambaConfig};

/// The activation of a feed-forward.
#[derive(Config, Debug, Copy, PartialEq)]
pub enum Activation {
    /// x Φ(x).
    Gelu,
    /// max(x, 0).
    Relu,
}

/// Configuration of an [`SMamba`]; the defaults are those of the original program.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mamba_ts::{Network, SMambaConfig, data::Input};
///
/// let device = Device::default();
/// let network = SMambaConfig::new(24, 12).with_d_model(16).with_d_ff(16).try_init(&device)?;
/// // Two look-backs of three variates.
/// let input = Input { values: Tensor::ones([2, 24, 3], &device), marks: None };
/// assert_eq!(network.forecast(input).dims(), [2, 12, 3, 1]);
/// # Ok::<(), mamba_blocks::ConfigError>(())
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct SMambaConfig {
    /// Rows of a look-back.
    pub look_back: usize,
    /// Rows of a horizon.
    pub horizon: usize,
    /// Width of a token.
    #[config(default = 512)]
    pub d_model: usize,
    /// Width of the feed-forward.
    #[config(default = 2048)]
    pub d_ff: usize,
    /// Number of layers.
    #[config(default = 2)]
    pub e_layers: usize,
    /// States of every channel.
    #[config(default = 32)]
    pub d_state: usize,
    /// Share of the activations that training drops.
    #[config(default = 0.1)]
    pub dropout: f64,
    /// The feed-forward's activation.
    #[config(default = "Activation::Gelu")]
    pub activation: Activation,
    /// Whether every window is normalised by itself.
    #[config(default = true)]
    pub use_norm: bool,
    /// Outputs for each value: 1, or the number of quantiles.
    #[config(default = 1)]
    pub outputs: usize,
}

impl SMambaConfig {
    /// The configuration of one mixer: two taps, and as many inner channels as `d_model`.
    pub fn mixer(&self) -> MambaConfig {
        MambaConfig::new(self.d_model).with_d_state(self.d_state).with_d_conv(2).with_expand(1)
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`ConfigError`], which names the first setting at fault.
    pub fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::check_sizes(&[
            ("look_back", self.look_back),
            ("horizon", self.horizon),
            ("d_ff", self.d_ff),
            ("e_layers", self.e_layers),
            ("outputs", self.outputs),
        ])?;
        check_share("dropout", self.dropout)?;
        self.mixer().validate()
    }

    /// Makes the model.
    ///
    /// # Panics
    /// With the text of the [`ConfigError`] that [`try_init`](Self::try_init) returns.
    pub fn init(&self, device: &Device) -> SMamba {
        self.try_init(device).unwrap_or_else(|error| panic!("SMambaConfig: {error}"))
    }

    /// Makes the model, initialised as the original is.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn try_init(&self, device: &Device) -> Result<SMamba, ConfigError> {
        self.validate()?;
        let dropout = DropoutConfig::new(self.dropout).init();
        let norm = || LayerNormConfig::new(self.d_model).init(device);
        let layer = |_| {
            Ok(EncoderLayer {
                attention: self.mixer().try_init(device)?,
                attention_r: self.mixer().try_init(device)?,
                conv1: LinearConfig::new(self.d_model, self.d_ff).init(device),
                conv2: LinearConfig::new(self.d_ff, self.d_model).init(device),
                norm1: norm(),
                norm2: norm(),
                dropout: dropout.clone(),
                activation: self.activation,
            })
        };
        let layers = (0..self.e_layers).map(layer).collect::<Result<_, ConfigError>>()?;
        let value_embedding = LinearConfig::new(self.look_back, self.d_model).init(device);
        Ok(SMamba {
            enc_embedding: InvertedEmbedding { value_embedding, dropout: dropout.clone() },
            encoder: Encoder { attn_layers: layers, norm: norm() },
            projector: LinearConfig::new(self.d_model, self.horizon * self.outputs).init(device),
            use_norm: self.use_norm,
            outputs: self.outputs,
        })
    }
}
