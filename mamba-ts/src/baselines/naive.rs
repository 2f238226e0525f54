//! Rules without parameters.

use super::check_look_back;
use crate::data::Input;
use crate::network::Network;
use burn::config::Config;
use burn::module::Module;
use burn::tensor::Tensor;
use mamba_blocks::ConfigError;

/// Configuration of a [`LastValue`].
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mamba_ts::{Network, LastValueConfig, data::Input};
///
/// let device = Device::default();
/// let network = LastValueConfig::new(24, 12).try_init()?;
/// // Two look-backs of three variates.
/// let input = Input { values: Tensor::ones([2, 24, 3], &device), marks: None };
/// assert_eq!(network.forecast(input).dims(), [2, 12, 3, 1]);
/// # Ok::<(), mamba_blocks::ConfigError>(())
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct LastValueConfig {
    /// Rows of a look-back.
    pub look_back: usize,
    /// Rows of a horizon.
    pub horizon: usize,
}

/// Everything stays as it is. Made by [`LastValueConfig`].
#[derive(Module, Debug)]
pub struct LastValue {
    /// Rows of a look-back.
    pub look_back: usize,
    /// Rows of a horizon.
    pub horizon: usize,
}

/// Configuration of a [`SeasonalNaive`].
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mamba_ts::{Network, SeasonalNaiveConfig, data::Input};
///
/// let device = Device::default();
/// let network = SeasonalNaiveConfig::new(24, 12, 6).try_init()?;
/// // Two look-backs of three variates.
/// let input = Input { values: Tensor::ones([2, 24, 3], &device), marks: None };
/// assert_eq!(network.forecast(input).dims(), [2, 12, 3, 1]);
/// # Ok::<(), mamba_blocks::ConfigError>(())
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct SeasonalNaiveConfig {
    /// Rows of a look-back.
    pub look_back: usize,
    /// Rows of a horizon.
    pub horizon: usize,
    /// Rows of a season, at most those of a look-back.
    pub season: usize,
}

/// The last season comes again and again. Made by [`SeasonalNaiveConfig`].
#[derive(Module, Debug)]
pub struct SeasonalNaive {
    /// Rows of a look-back.
    pub look_back: usize,
    /// Rows of a horizon.
    pub horizon: usize,
    /// Rows of a season.
    pub season: usize,
}

impl LastValueConfig {
    /// Makes the rule.
    ///
    /// # Errors
    /// [`ConfigError`], which names the first setting at fault.
    pub fn try_init(&self) -> Result<LastValue, ConfigError> {
        ConfigError::check_sizes(&[("look_back", self.look_back), ("horizon", self.horizon)])?;
        Ok(LastValue { look_back: self.look_back, horizon: self.horizon })
    }
}

impl SeasonalNaiveConfig {
    /// Makes the rule.
    ///
    /// # Errors
    /// [`ConfigError`], which names the first setting at fault.
    pub fn try_init(&self) -> Result<SeasonalNaive, ConfigError> {
        let Self { look_back, horizon, season } = *self;
        ConfigError::check_sizes(&[("look_back", look_back), ("horizon", horizon), ("season", season)])?;
        match season <= look_back {
            true => Ok(SeasonalNaive { look_back, horizon, season }),
            false => Err(ConfigError::TooLarge { name: "season", value: season, expected: look_back }),
        }
    }
}

impl Network for LastValue {
    fn look_back(&self) -> usize {
        self.look_back
    }

    fn horizon(&self) -> usize {
        self.horizon
    }

    fn forecast(&self, Input { values, .. }: Input) -> Tensor<4> {
        check_look_back("LastValue", &values, self.look_back);
        values.narrow(1, self.look_back - 1, 1).repeat_dim(1, self.horizon).unsqueeze_dim(3)
    }
}

impl Network for SeasonalNaive {
    fn look_back(&self) -> usize {
        self.look_back
    }

    fn horizon(&self) -> usize {
        self.horizon
    }

    fn forecast(&self, Input { values, .. }: Input) -> Tensor<4> {
        check_look_back("SeasonalNaive", &values, self.look_back);
        let season = values.narrow(1, self.look_back - self.season, self.season);
        season.repeat_dim(1, self.horizon.div_ceil(self.season)).narrow(1, 0, self.horizon).unsqueeze_dim(3)
    }
}
