//! How far forecasts are from what came: per step of the horizon and over all of it.

use crate::data::Series;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The usual measures of forecasts. Where nothing is known, all are NaN.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Mean squared error.
    pub mse: f64,
    /// Mean absolute error.
    pub mae: f64,
    /// Square root of the mean squared error.
    pub rmse: f64,
    /// Symmetric mean absolute percentage error, 0 to 200 (Makridakis et al. 2020, the M4 competition).
    pub smape: f64,
    /// Mean absolute scaled error (Hyndman & Koehler 2006); none without scales.
    pub mase: Option<f64>,
    /// Mean pinball loss over all levels; none without quantiles.
    pub pinball: Option<f64>,
    /// Continuous ranked probability score, as twice the mean pinball loss over evenly spaced levels (Gneiting & Ranjan
    /// 2011); none without quantiles.
    pub crps: Option<f64>,
}

/// Sums over forecasts.
#[derive(Clone, Debug, Default)]
struct Sums {
    count: f64,
    square: f64,
    absolute: f64,
    percentage: f64,
    scaled: f64,
    pinball: f64,
}

impl Sums {
    fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.square += other.square;
        self.absolute += other.absolute;
        self.percentage += other.percentage;
        self.scaled += other.scaled;
        self.pinball += other.pinball;
    }
}

/// Collects forecasts and what came.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mamba_ts::metrics::Evaluation;
///
/// let device = Device::default();
/// let mut evaluation = Evaluation::new(12, &[]);
/// evaluation.add(Tensor::ones([2, 12, 3, 1], &device), Tensor::zeros([2, 12, 3], &device), None);
/// assert_eq!((evaluation.count(), evaluation.scores_of(0..12).mse), (72, 1.0));
/// ```
#[derive(Clone, Debug)]
pub struct Evaluation {
    steps: Vec<Sums>,
    levels: Vec<f64>,
    point: usize,
    /// The seasonal naive error of every variate.
    scales: Option<Vec<f64>>,
}

impl Evaluation {
    /// For a horizon, and outputs that are quantiles of these levels; one output that is the value itself if there are
    /// none.
    pub fn new(horizon: usize, levels: &[f64]) -> Self {
        let point = crate::Objective::Quantiles(levels.to_vec()).point();
        Self { steps: vec![Sums::default(); horizon], levels: levels.to_vec(), point, scales: None }
    }

    /// The scales of MASE: see [`naive_errors`].
    pub fn with_scales(mut self, scales: Vec<f64>) -> Self {
        self.scales = Some(scales);
        self
    }

    /// A batch of forecasts `[batch, horizon, variates, outputs]` with what came, `[batch, horizon, variates]`, and
    /// where it is known.
    ///
    /// # Panics
    /// If shapes do not fit.
    pub fn add(&mut self, outputs: Tensor<4>, target: Tensor<3>, mask: Option<Tensor<3>>) {
        let [batch, horizon, variates, count] = outputs.dims();
        assert_eq!(target.dims(), [batch, horizon, variates], "Evaluation::add: shape of the target");
        assert_eq!(horizon, self.steps.len(), "Evaluation::add: steps of the horizon");
        let values = |tensor: Tensor<3>| tensor.into_data().iter::<f32>().collect::<Vec<_>>();
        let outputs = values(outputs.reshape([batch * horizon, variates, count]));
        let (target, mask) = (values(target), mask.map(values));
        for row in 0..batch * horizon {
            let places = row * variates..(row + 1) * variates;
            let known = mask.as_ref().map(|mask| &mask[places.clone()]);
            let outputs = &outputs[places.start * count..places.end * count];
            self.add_row(row % horizon, outputs, |column| match known {
                Some(known) if known[column] == 0.0 => f32::NAN,
                _ => target[places.start + column],
            });
        }
    }

    /// One row of a forecast: `outputs` variate by variate, and what came of each; NaN where it is missing.
    pub(crate) fn add_row(&mut self, step: usize, outputs: &[f32], target: impl Fn(usize) -> f32) {
        let count = self.levels.len().max(1);
        let sums = &mut self.steps[step];
        for (column, outputs) in outputs.chunks(count).enumerate() {
            let target = f64::from(target(column));
            if target.is_nan() {
                continue;
            }
            let point = f64::from(outputs[self.point]);
            let error = target - point;
            sums.count += 1.0;
            sums.square += error * error;
            sums.absolute += error.abs();
            let size = target.abs() + point.abs();
            sums.percentage += if size > 0.0 { 200.0 * error.abs() / size } else { 0.0 };
            if let Some(scales) = &self.scales {
                sums.scaled += error.abs() / scales[column];
            }
            let pinball = |(&level, &output): (&f64, &f32)| {
                let error = target - f64::from(output);
                (level * error).max((level - 1.0) * error)
            };
            sums.pinball += self.levels.iter().zip(outputs).map(pinball).sum::<f64>() / count as f64;
        }
    }

    /// How many values have been compared.
    pub fn count(&self) -> usize {
        self.steps.iter().map(|sums| sums.count).sum::<f64>() as usize
    }

    /// Over some steps of the horizon, counted from 0.
    ///
    /// # Panics
    /// If there are no such steps.
    pub fn scores_of(&self, steps: Range<usize>) -> Scores {
        let mut sums = Sums::default();
        self.steps[steps].iter().for_each(|step| sums.add(step));
        let mean = |sum: f64| sum / sums.count;
        let pinball = (!self.levels.is_empty()).then(|| mean(sums.pinball));
        Scores {
            mse: mean(sums.square),
            mae: mean(sums.absolute),
            rmse: mean(sums.square).sqrt(),
            smape: mean(sums.percentage),
            mase: self.scales.as_ref().map(|_| mean(sums.scaled)),
            pinball,
            crps: pinball.map(|pinball| 2.0 * pinball),
        }
    }

    /// Over the whole horizon.
    pub fn scores(&self) -> Scores {
        self.scores_of(0..self.steps.len())
    }
}

/// The mean absolute difference of every variate to its value a season before, in the given rows: the scale of MASE. 1
/// where it is zero or unknown.
///
/// ```
/// use mamba_ts::{data::Series, metrics::naive_errors};
///
/// let series = Series::new(vec!["a".into()], vec![1.0, 2.0, 4.0, 7.0], None);
/// // From one row to the next: 1, 2 and 3.
/// assert_eq!(naive_errors(&series, 0..4, 1), [2.0]);
/// ```
pub fn naive_errors(series: &Series, rows: Range<usize>, season: usize) -> Vec<f64> {
    let errors = |column: usize| {
        let difference = |row: usize| f64::from((series.row(row)[column] - series.row(row - season)[column]).abs());
        let (mut sum, mut count) = (0.0, 0.0);
        let differences = (rows.start + season..rows.end).map(difference).filter(|difference| !difference.is_nan());
        differences.for_each(|difference| (sum, count) = (sum + difference, count + 1.0));
        if sum > 0.0 { sum / count } else { 1.0 }
    };
    (0..series.variates()).map(errors).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn scores_are_their_formulas() {
        let device = Device::default();
        let mut evaluation = Evaluation::new(2, &[]).with_scales(vec![2.0]);
        let outputs = Tensor::<4>::from_floats([[[[1.0]], [[5.0]]]], &device);
        let target = Tensor::<3>::from_floats([[[3.0], [4.0]]], &device);
        evaluation.add(outputs, target, None);
        let scores = evaluation.scores();
        assert_eq!((scores.mse, scores.mae, scores.mase), (2.5, 1.5, Some(0.75)));
        assert!((scores.smape - (200.0 * 2.0 / 4.0 + 200.0 / 9.0) / 2.0).abs() < 1e-9);
        assert_eq!((scores.rmse, scores.crps), (2.5_f64.sqrt(), None));
        assert_eq!(evaluation.scores_of(1..2).mae, 1.0);
    }

    #[test]
    fn what_is_missing_does_not_count() {
        let device = Device::default();
        let mut evaluation = Evaluation::new(1, &[0.1, 0.5]);
        let outputs = Tensor::<4>::from_floats([[[[0.0, 2.0], [7.0, 7.0]]]], &device);
        let target = Tensor::<3>::from_floats([[[1.0, 0.0]]], &device);
        let mask = Tensor::<3>::from_floats([[[1.0, 0.0]]], &device);
        evaluation.add(outputs, target, Some(mask));
        let scores = evaluation.scores();
        assert_eq!((evaluation.count(), scores.mae), (1, 1.0));
        // Too low by 1 at the first level, too high by 1 at the second.
        assert!((scores.pinball.unwrap() - (0.1 + 0.5) / 2.0).abs() < 1e-9);
        assert!((scores.crps.unwrap() - 0.6).abs() < 1e-9);
        assert!(Evaluation::new(1, &[]).scores().mse.is_nan());
    }

    #[test]
    fn naive_errors_are_differences_over_a_season() {
        let series = Series::new(vec!["a".into()], vec![1.0, 5.0, 2.0, 8.0, f32::NAN, 8.0], None);
        assert_eq!(naive_errors(&series, 0..6, 2), [(1.0 + 3.0 + 0.0) / 3.0]);
        assert_eq!(naive_errors(&series, 0..1, 2), [1.0]);
    }
}
