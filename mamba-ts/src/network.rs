//! What networks that forecast have in common, and what they are trained for.

use crate::data::{Batch, Input};
use burn::module::Module;
use burn::tensor::Tensor;
use mamba_blocks::ConfigError;
use serde::{Deserialize, Serialize};

/// A network from look-backs to horizons.
pub trait Network: Module {
    /// Rows of a look-back.
    fn look_back(&self) -> usize;

    /// Rows of a horizon.
    fn horizon(&self) -> usize;

    /// What follows the look-back, several outputs for each value: `[batch, horizon, variates, outputs]`. One output is
    /// the value itself; several are its quantiles, in the order of [`Objective::Quantiles`].
    ///
    /// # Panics
    /// If the look-back is not one of [`look_back`](Self::look_back) rows.
    fn forecast(&self, input: Input) -> Tensor<4>;

    /// What training makes smaller.
    fn loss(&self, batch: Batch, objective: &Objective) -> Tensor<1> {
        let mask = batch.mask.map(|mask| mask.unsqueeze_dim(3));
        objective.loss(self.forecast(batch.input), batch.target.unsqueeze_dim(3), mask)
    }
}

/// What a network is trained for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Objective {
    /// The mean, by the squared error.
    Mse,
    /// The median, by the absolute error.
    Mae,
    /// Quantiles of these levels, by the pinball loss (Koenker & Bassett 1978).
    Quantiles(Vec<f64>),
}

impl Objective {
    /// How many outputs a network needs for each value.
    pub fn outputs(&self) -> usize {
        match self {
            Self::Mse | Self::Mae => 1,
            Self::Quantiles(levels) => levels.len(),
        }
    }

    /// The levels of the outputs if they are quantiles.
    pub fn levels(&self) -> &[f64] {
        match self {
            Self::Mse | Self::Mae => &[],
            Self::Quantiles(levels) => levels,
        }
    }

    /// Which output is the value itself: the quantile next to the median.
    pub fn point(&self) -> usize {
        let distance = |level: &f64| (level - 0.5).abs();
        let levels = self.levels().iter().enumerate();
        levels.min_by(|a, b| distance(a.1).total_cmp(&distance(b.1))).map_or(0, |(place, _)| place)
    }

    /// Checks that quantiles have levels between 0 and 1 that rise.
    ///
    /// # Errors
    /// [`ConfigError`], which names the level at fault.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let Self::Quantiles(levels) = self else { return Ok(()) };
        if levels.is_empty() {
            return Err(ConfigError::Zero { name: "quantiles" });
        }
        let mut before = 0.0;
        for &value in levels {
            if !(before < value && value < 1.0) {
                let expected = "more than 0 and the level before, and less than 1";
                return Err(ConfigError::OutOfRange { name: "quantiles", value, expected });
            }
            before = value;
        }
        Ok(())
    }

    /// The mean over all known values and all outputs; `outputs` is `[.., outputs]`, `target` and `mask` are `[.., 1]`.
    ///
    /// # Panics
    /// If there is another number of outputs.
    pub fn loss<const D: usize>(&self, outputs: Tensor<D>, target: Tensor<D>, mask: Option<Tensor<D>>) -> Tensor<1> {
        let found = outputs.dims()[D - 1];
        assert_eq!(found, self.outputs(), "Objective::loss: there are {found} outputs, expected {}", self.outputs());
        // A missing target has the value that was carried to it, so that what is masked is finite.
        let error = target - outputs;
        let loss = match self {
            Self::Mse => error.square(),
            Self::Mae => error.abs(),
            Self::Quantiles(levels) => {
                let levels = Tensor::<1>::from_floats(levels.as_slice(), &error.device()).unsqueeze::<D>();
                // max(q e, (q - 1) e)
                error.clone() * levels + error.neg().clamp_min(0.0)
            }
        };
        match mask {
            None => loss.mean(),
            Some(mask) => {
                let known = mask.clone().sum().mul_scalar(found as f64).clamp_min(1.0);
                (loss * mask).sum() / known
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn loss(objective: Objective, outputs: [f32; 2], target: f32, mask: Option<f32>) -> f32 {
        let device = Device::default();
        let outputs = Tensor::<2>::from_floats([outputs], &device).narrow(1, 0, objective.outputs());
        let scalar = |value: f32| Tensor::<2>::from_floats([[value]], &device);
        objective.loss(outputs, scalar(target), mask.map(scalar)).into_scalar()
    }

    #[test]
    fn losses_are_their_formulas() {
        assert_eq!(loss(Objective::Mse, [1.0, 0.0], 3.0, None), 4.0);
        assert_eq!(loss(Objective::Mae, [1.0, 0.0], 3.0, None), 2.0);
        let quantiles = Objective::Quantiles(vec![0.25, 0.75]);
        // Too low by 2 and too high by 4: (0.25 * 2 + 0.25 * 4) / 2.
        assert!((loss(quantiles.clone(), [1.0, 7.0], 3.0, None) - 0.75).abs() < 1e-6);
        assert_eq!(loss(quantiles.clone(), [1.0, 7.0], 3.0, Some(0.0)), 0.0);
        assert_eq!(quantiles.point(), 0);
        assert_eq!(Objective::Quantiles(vec![0.1, 0.5, 0.9]).point(), 1);
    }

    #[test]
    fn levels_that_do_not_rise_are_refused() {
        for levels in [vec![], vec![0.0], vec![1.0], vec![0.5, 0.5], vec![0.9, 0.1], vec![f64::NAN]] {
            assert!(Objective::Quantiles(levels).validate().is_err());
        }
        assert!(Objective::Quantiles(vec![0.1, 0.9]).validate().is_ok());
    }
}
