//! The loss curve as SVG.

use examples_common::plot::{Axis, PlotError, curves};

use crate::history::Record;

/// The training loss is noisy: at most this many means are drawn.
const POINTS: usize = 150;

/// Training loss (means over a few steps) and validation loss against the step.
pub fn loss_curve(history: &[Record]) -> Result<String, PlotError> {
    let training: Vec<(f64, f64)> = history.chunks(history.len().div_ceil(POINTS).max(1)).map(mean).collect();
    let validation: Vec<(f64, f64)> =
        history.iter().filter_map(|record| Some((record.step as f64, record.validation?.into()))).collect();
    let losses = || training.iter().chain(&validation).map(|point| point.1);
    let (low, high) = (losses().fold(f64::INFINITY, f64::min), losses().fold(0.0, f64::max));
    let last = history.last().map_or(1.0, |record| record.step as f64);
    let x = Axis { label: "step", range: 0.0..last };
    let y = Axis { label: "nats per byte", range: low.min(high) - 0.1..high + 0.1 };
    curves(x, y, [("training", training), ("validation", validation)])
}

fn mean(records: &[Record]) -> (f64, f64) {
    let sum = |value: fn(&Record) -> f64| records.iter().map(value).sum::<f64>() / records.len() as f64;
    (sum(|record| record.step as f64), sum(|record| f64::from(record.train)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_histories_stay_small() {
        let history: Vec<Record> = (1..=5000)
            .map(|step| {
                let train = 5.0 / step as f32;
                let validation = (step % 500 == 0).then_some(train);
                Record { step, train, validation, lr: 0.1, seconds: 1.0 }
            })
            .collect();
        let svg = loss_curve(&history).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        assert!(svg.contains("validation 0.001"), "{svg}");
        assert!(svg.len() < 16_000, "{}", svg.len());
    }

    #[test]
    fn one_step_is_enough() {
        let record = Record { step: 1, train: 5.5, validation: None, lr: 0.1, seconds: 1.0 };
        assert!(loss_curve(&[record]).unwrap().contains("</svg>"));
    }
}
