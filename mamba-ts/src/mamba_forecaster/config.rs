//! The sizes of a forecaster with states.

use super::MambaForecaster;
use burn::config::Config;
use burn::nn::{LinearConfig, RmsNormConfig};
use burn::tensor::Device;
use mamba_blocks::{ConfigError, MambaBlockConfig, MambaConfig};

/// Configuration of a [`MambaForecaster`].
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mamba_ts::{Network, MambaForecasterConfig, data::Input};
///
/// let device = Device::default();
/// let config = MambaForecasterConfig::new(24, 12).with_patch(6).with_d_model(16);
/// let network = config.init(&device);
/// // Two look-backs of three variates.
/// let input = Input { values: Tensor::ones([2, 24, 3], &device), marks: None };
/// assert_eq!(network.forecast(input).dims(), [2, 12, 3, 1]);
/// // Settings of a user: an error names the first at fault.
/// assert!(config.with_d_model(0).try_init(&device).unwrap_err().to_string().contains("d_model"));
/// # Ok::<(), mamba_blocks::ConfigError>(())
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct MambaForecasterConfig {
    /// Rows of the look-backs to train on; a trained model reads any number of rows.
    pub look_back: usize,
    /// Rows of a horizon.
    pub horizon: usize,
    /// Values in a token: the newest, and at least one before it.
    #[config(default = 24)]
    pub patch: usize,
    /// Time marks of a row.
    #[config(default = 0)]
    pub marks: usize,
    /// Width of a token.
    #[config(default = 64)]
    pub d_model: usize,
    /// Number of blocks.
    #[config(default = 2)]
    pub n_layer: usize,
    /// States of every channel.
    #[config(default = 16)]
    pub d_state: usize,
    /// Outputs for each value: 1, or the number of quantiles.
    #[config(default = 1)]
    pub outputs: usize,
}

impl MambaForecasterConfig {
    /// The configuration of one block.
    pub fn block(&self) -> MambaBlockConfig {
        MambaBlockConfig::new(MambaConfig::new(self.d_model).with_d_state(self.d_state))
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`ConfigError`], which names the first setting at fault.
    pub fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::check_sizes(&[
            ("look_back", self.look_back),
            ("horizon", self.horizon),
            ("patch", self.patch),
            ("n_layer", self.n_layer),
            ("outputs", self.outputs),
        ])?;
        if self.patch == 1 {
            return Err(ConfigError::OutOfRange { name: "patch", value: 1.0, expected: "at least 2" });
        }
        self.block().validate()
    }

    /// Makes the model.
    ///
    /// # Panics
    /// With the text of the [`ConfigError`] that [`try_init`](Self::try_init) returns.
    pub fn init(&self, device: &Device) -> MambaForecaster {
        self.try_init(device).unwrap_or_else(|error| panic!("MambaForecasterConfig: {error}"))
    }

    /// Makes the model.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn try_init(&self, device: &Device) -> Result<MambaForecaster, ConfigError> {
        self.validate()?;
        let linear = |from: usize, to: usize| LinearConfig::new(from, to).init(device);
        Ok(MambaForecaster {
            embedding: linear(self.patch, self.d_model),
            mark_embedding: (self.marks > 0).then(|| linear(self.marks, self.d_model)),
            layers: (0..self.n_layer).map(|_| self.block().try_init(device)).collect::<Result<_, _>>()?,
            norm_f: RmsNormConfig::new(self.d_model).init(device),
            head: linear(self.d_model, self.horizon * self.outputs),
            look_back: self.look_back,
            outputs: self.outputs,
        })
    }
}
