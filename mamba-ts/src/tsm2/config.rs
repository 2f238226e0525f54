//! The sizes of TSM2.

use super::{Averages, MambaMixerBlock, Tsm2};
use crate::config::check_share;
use crate::normalization::RevInConfig;
use burn::config::Config;
use burn::nn::{DropoutConfig, GroupNormConfig, LinearConfig};
use burn::tensor::Device;
use mamba_blocks::{ConfigError, Mamba, MambaConfig};

/// Configuration of a [`Tsm2`].
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mamba_ts::{Network, Tsm2Config, data::Input};
///
/// let device = Device::default();
/// let config = Tsm2Config::new(24, 12, 3);
/// let network = config.init(&device);
/// // Two look-backs of three variates.
/// let input = Input { values: Tensor::ones([2, 24, 3], &device), marks: None };
/// assert_eq!(network.forecast(input).dims(), [2, 12, 3, 1]);
/// // Settings of a user: an error names the first at fault.
/// assert!(config.with_d_state(0).try_init(&device).unwrap_err().to_string().contains("d_state"));
/// # Ok::<(), mamba_blocks::ConfigError>(())
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct Tsm2Config {
    /// Rows of a look-back.
    pub look_back: usize,
    /// Rows of a horizon.
    pub horizon: usize,
    /// Number of variates.
    pub variates: usize,
    /// Time marks of a row.
    #[config(default = 0)]
    pub marks: usize,
    /// Number of blocks.
    #[config(default = 2)]
    pub n_blocks: usize,
    /// States of every channel.
    #[config(default = 16)]
    pub d_state: usize,
    /// Inner channels for every channel of a mixer.
    #[config(default = 2)]
    pub expand: usize,
    /// Share of the activations that training drops.
    #[config(default = 0.1)]
    pub dropout: f64,
    /// Outputs for each value: 1, or the number of quantiles.
    #[config(default = 1)]
    pub outputs: usize,
}

impl Tsm2Config {
    fn mixer(&self, d_model: usize) -> MambaConfig {
        MambaConfig::new(d_model).with_d_state(self.d_state).with_expand(self.expand)
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`ConfigError`], which names the first setting at fault.
    pub fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::check_sizes(&[
            ("look_back", self.look_back),
            ("horizon", self.horizon),
            ("variates", self.variates),
            ("n_blocks", self.n_blocks),
            ("outputs", self.outputs),
        ])?;
        check_share("dropout", self.dropout)?;
        self.mixer(self.look_back).validate()
    }

    /// Makes the model.
    ///
    /// # Panics
    /// With the text of the [`ConfigError`] that [`try_init`](Self::try_init) returns.
    pub fn init(&self, device: &Device) -> Tsm2 {
        self.try_init(device).unwrap_or_else(|error| panic!("Tsm2Config: {error}"))
    }

    /// Makes the model.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn try_init(&self, device: &Device) -> Result<Tsm2, ConfigError> {
        self.validate()?;
        let columns = self.variates + self.marks;
        let mixer = |d_model: usize| -> Result<Mamba, ConfigError> { self.mixer(d_model).try_init(device) };
        let norm = || GroupNormConfig::new(1, columns).init(device);
        let dropout = DropoutConfig::new(self.dropout).init();
        let block = |place: usize| {
            Ok(MambaMixerBlock {
                token_average: Averages::new(place, place, device),
                token_norm: norm(),
                token_mixer: mixer(columns)?,
                channel_average: Averages::new(place + 1, place, device),
                channel_norm: norm(),
                channel_mixer: mixer(self.look_back)?,
                channel_mixer_r: mixer(self.look_back)?,
                dropout: dropout.clone(),
            })
        };
        Ok(Tsm2 {
            rev_in: RevInConfig::new(self.variates).init(device),
            blocks: (1..=self.n_blocks).map(block).collect::<Result<_, ConfigError>>()?,
            average: Averages::new(self.n_blocks + 1, self.n_blocks + 1, device),
            dropout: dropout.clone(),
            head: LinearConfig::new(self.look_back, self.horizon * self.outputs).init(device),
            outputs: self.outputs,
        })
    }
}
