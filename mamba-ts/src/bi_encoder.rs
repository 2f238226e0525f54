//! Rows into features that know the whole sequence.

use crate::both_ways::both_ways;
use crate::config::check_share;
use burn::config::Config;
use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use mamba_blocks::parts::{normalize, project};
use mamba_blocks::{ConfigError, Mamba, MambaConfig};

/// Configuration of a [`BiEncoder`].
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mamba_ts::BiEncoderConfig;
///
/// let device = Device::default();
/// let encoder = BiEncoderConfig::new(3).with_d_model(16).try_init(&device)?;
/// assert_eq!(encoder.forward(Tensor::ones([2, 10, 3], &device)).dims(), [2, 10, 16]);
/// # Ok::<(), mamba_blocks::ConfigError>(())
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct BiEncoderConfig {
    /// Values of a row.
    pub inputs: usize,
    /// Width of a feature.
    #[config(default = 64)]
    pub d_model: usize,
    /// Number of layers.
    #[config(default = 2)]
    pub n_layer: usize,
    /// States of every channel.
    #[config(default = 16)]
    pub d_state: usize,
    /// Share of what a layer returns that training drops.
    #[config(default = 0.1)]
    pub dropout: f64,
}

impl BiEncoderConfig {
    /// Makes the encoder.
    ///
    /// # Errors
    /// [`ConfigError`], which names the first setting at fault.
    pub fn try_init(&self, device: &Device) -> Result<BiEncoder, ConfigError> {
        ConfigError::check_sizes(&[("inputs", self.inputs), ("n_layer", self.n_layer)])?;
        check_share("dropout", self.dropout)?;
        let mixer = || MambaConfig::new(self.d_model).with_d_state(self.d_state).try_init(device);
        let norm = || LayerNormConfig::new(self.d_model).init(device);
        let layer = |_| Ok(BiLayer { norm: norm(), forward: mixer()?, backward: mixer()? });
        Ok(BiEncoder {
            embedding: LinearConfig::new(self.inputs, self.d_model).init(device),
            layers: (0..self.n_layer).map(layer).collect::<Result<_, ConfigError>>()?,
            norm: norm(),
            dropout: DropoutConfig::new(self.dropout).init(),
        })
    }
}

/// A linear embedding and residual layers with a Mamba mixer in each direction. Made by [`BiEncoderConfig`].
#[derive(Module, Debug)]
pub struct BiEncoder {
    /// From rows to features.
    pub embedding: Linear,
    /// The layers, first to last.
    pub layers: Vec<BiLayer>,
    /// The norm behind them.
    pub norm: LayerNorm,
    /// Dropout of what every layer returns.
    pub dropout: Dropout,
}

/// Norm, and a mixer in each direction.
#[derive(Module, Debug)]
pub struct BiLayer {
    /// Before the mixers.
    pub norm: LayerNorm,
    /// From the first row to the last.
    pub forward: Mamba,
    /// From the last row to the first.
    pub backward: Mamba,
}

impl BiEncoder {
    /// Features `[batch, length, d_model]` of rows `[batch, length, inputs]`.
    ///
    /// # Panics
    /// If a row has another number of values.
    pub fn forward(&self, rows: Tensor<3>) -> Tensor<3> {
        let features = self.layers.iter().fold(project(&self.embedding, rows), |x, layer| {
            let mixed = both_ways(&layer.forward, &layer.backward, normalize(&layer.norm, x.clone()));
            x + self.dropout.forward(mixed)
        });
        normalize(&self.norm, features)
    }
}
