//! DLinear (Zeng et al. 2023, "Are Transformers Effective for Time Series Forecasting?"): trend and remainder, a linear
//! map each.

use super::check_look_back;
use crate::data::Input;
use crate::network::Network;
use burn::config::Config;
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::ops::PadMode;
use burn::tensor::{Device, Tensor};
use mamba_blocks::ConfigError;
use mamba_blocks::parts::project;

/// Configuration of a [`DLinear`].
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mamba_ts::{Network, DLinearConfig, data::Input};
///
/// let device = Device::default();
/// let network = DLinearConfig::new(24, 12).try_init(&device)?;
/// // Two look-backs of three variates.
/// let input = Input { values: Tensor::ones([2, 24, 3], &device), marks: None };
/// assert_eq!(network.forecast(input).dims(), [2, 12, 3, 1]);
/// # Ok::<(), mamba_blocks::ConfigError>(())
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct DLinearConfig {
    /// Rows of a look-back.
    pub look_back: usize,
    /// Rows of a horizon.
    pub horizon: usize,
    /// Rows of the moving average that is the trend; an odd number.
    #[config(default = 25)]
    pub kernel: usize,
    /// Outputs for each value: 1, or the number of quantiles.
    #[config(default = 1)]
    pub outputs: usize,
}

impl DLinearConfig {
    /// Makes the model.
    ///
    /// # Errors
    /// [`ConfigError`], which names the first setting at fault.
    pub fn try_init(&self, device: &Device) -> Result<DLinear, ConfigError> {
        let Self { look_back, horizon, kernel, outputs } = *self;
        ConfigError::check_sizes(&[("look_back", look_back), ("horizon", horizon), ("outputs", outputs)])?;
        if kernel.is_multiple_of(2) {
            return Err(ConfigError::OutOfRange { name: "kernel", value: kernel as f64, expected: "an odd number" });
        }
        let linear = || LinearConfig::new(look_back, horizon * outputs).init(device);
        Ok(DLinear { linear_seasonal: linear(), linear_trend: linear(), kernel, outputs })
    }
}

/// DLinear with weights that all variates share. Made by [`DLinearConfig`].
#[derive(Module, Debug)]
pub struct DLinear {
    /// From what is left of the look-back to the horizon.
    pub linear_seasonal: Linear,
    /// From the trend of the look-back to the horizon.
    pub linear_trend: Linear,
    /// Rows of the moving average.
    pub kernel: usize,
    /// Outputs for each value.
    pub outputs: usize,
}

impl Network for DLinear {
    fn look_back(&self) -> usize {
        self.linear_trend.weight.dims()[0]
    }

    fn horizon(&self) -> usize {
        self.linear_trend.weight.dims()[1] / self.outputs
    }

    fn forecast(&self, Input { values, .. }: Input) -> Tensor<4> {
        check_look_back("DLinear", &values, self.look_back());
        let [batch, _, variates] = values.dims();
        let trend = self.trend(values.clone());
        let seasonal = (values - trend.clone()).swap_dims(1, 2);
        let outputs = project(&self.linear_seasonal, seasonal) + project(&self.linear_trend, trend.swap_dims(1, 2));
        outputs.reshape([batch, variates, self.horizon(), self.outputs]).swap_dims(1, 2)
    }
}

impl DLinear {
    /// The moving average; before the first row and after the last, these are repeated.
    fn trend(&self, values: Tensor<3>) -> Tensor<3> {
        let side = self.kernel / 2;
        let padded = values.pad([(0, 0), (side, side), (0, 0)], PadMode::Edge);
        padded.unfold::<4, _>(1, self.kernel, 1).mean_dim(3).squeeze_dim(3)
    }
}
