//! AR-Net (Triebe et al. 2019, "AR-Net: A simple Auto-Regressive Neural Network for time-series", arXiv:1911.12436).

use super::{check_look_back, joined};
use crate::config::check_positive;
use crate::data::{Batch, Input};
use crate::network::{Network, Objective};
use burn::config::Config;
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use mamba_blocks::ConfigError;
use mamba_blocks::parts::project;

/// Configuration of an [`ArNet`].
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mamba_ts::{Network, ArNetConfig, data::Input};
///
/// let device = Device::default();
/// let network = ArNetConfig::new(24, 12, 4).try_init(&device)?;
/// // Two look-backs of three variates.
/// let input = Input { values: Tensor::ones([2, 24, 3], &device), marks: None };
/// assert_eq!(network.forecast(input).dims(), [2, 12, 3, 1]);
/// # Ok::<(), mamba_blocks::ConfigError>(())
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct ArNetConfig {
    /// Rows of a look-back.
    pub look_back: usize,
    /// Rows of a horizon.
    pub horizon: usize,
    /// How many rows back the regression reaches, at most the look-back.
    pub order: usize,
    /// Weight of the sparsity regularisation; none by default.
    pub sparsity: Option<f64>,
}

impl ArNetConfig {
    /// Makes the model.
    ///
    /// # Errors
    /// [`ConfigError`], which names the first setting at fault.
    pub fn try_init(&self, device: &Device) -> Result<ArNet, ConfigError> {
        let Self { look_back, horizon, order, sparsity } = *self;
        ConfigError::check_sizes(&[("look_back", look_back), ("horizon", horizon), ("order", order)])?;
        if order > look_back {
            return Err(ConfigError::TooLarge { name: "order", value: order, expected: look_back });
        }
        if let Some(sparsity) = sparsity {
            check_positive("sparsity", sparsity)?;
        }
        Ok(ArNet { regression: LinearConfig::new(order, 1).init(device), look_back, horizon, sparsity })
    }
}

/// A linear autoregression, trained by gradients on one step and applied again and again. All variates share its
/// coefficients. Made by [`ArNetConfig`].
#[derive(Module, Debug)]
pub struct ArNet {
    /// From the last rows, oldest first, to the next one: weight `[order, 1]`.
    pub regression: Linear,
    /// Rows of a look-back.
    pub look_back: usize,
    /// Rows of a horizon.
    pub horizon: usize,
    /// Weight of the sparsity regularisation.
    pub sparsity: Option<f64>,
}

impl ArNet {
    /// The coefficients, that of the row before first.
    pub fn coefficients(&self) -> Vec<f32> {
        let mut weight: Vec<f32> = self.regression.weight.val().into_data().iter::<f32>().collect();
        weight.reverse();
        weight
    }

    fn order(&self) -> usize {
        self.regression.weight.dims()[0]
    }

    /// The mean over the coefficients of `2 / (1 + exp(-c1 |w|^(1 / c2))) - 1`, with c1 and c2 of 3 as in section 3.2.
    fn penalty(&self) -> Tensor<1> {
        let size = self.regression.weight.val().abs().add_scalar(1e-9).powf_scalar(1.0 / 3.0);
        size.mul_scalar(-3.0).exp().add_scalar(1.0).recip().mul_scalar(2.0).sub_scalar(1.0).mean()
    }
}

impl Network for ArNet {
    fn look_back(&self) -> usize {
        self.look_back
    }

    fn horizon(&self) -> usize {
        self.horizon
    }

    fn forecast(&self, Input { values, .. }: Input) -> Tensor<4> {
        check_look_back("ArNet", &values, self.look_back);
        let order = self.order();
        let mut last = values.narrow(1, self.look_back - order, order).swap_dims(1, 2);
        let mut forecast = Vec::with_capacity(self.horizon);
        for _ in 0..self.horizon {
            let next = project(&self.regression, last.clone());
            last = match order {
                1 => next.clone(),
                _ => Tensor::cat(vec![last.narrow(2, 1, order - 1), next.clone()], 2),
            };
            forecast.push(next);
        }
        Tensor::cat(forecast, 2).swap_dims(1, 2).unsqueeze_dim(3)
    }

    /// That of one step, from every place of the look-back and the horizon.
    fn loss(&self, batch: Batch, objective: &Objective) -> Tensor<1> {
        let order = self.order();
        let places = self.look_back + self.horizon - order;
        let series = joined(batch.input.values, batch.target);
        let before = series.clone().narrow(1, 0, places + order - 1).unfold::<4, _>(1, order, 1);
        let next = |series: Tensor<3>| series.narrow(1, order, places).unsqueeze_dim::<4>(3);
        let mask = batch.input_mask.zip(batch.mask).map(|(look_back, horizon)| next(joined(look_back, horizon)));
        let loss = objective.loss(project(&self.regression, before), next(series), mask);
        match self.sparsity {
            Some(weight) => loss + self.penalty().mul_scalar(weight),
            None => loss,
        }
    }
}
