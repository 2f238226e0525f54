//! The curves of a run as SVG.

use examples_common::plot::{self, Axis, PlotError};

use crate::train::Record;

/// Training loss and test accuracy after every epoch.
pub fn curves(history: &[Record]) -> Result<String, PlotError> {
    let points = |value: fn(&Record) -> f64| -> Vec<(f64, f64)> {
        history.iter().map(|record| (record.epoch as f64, value(record))).collect()
    };
    let losses = points(|record| record.loss.into());
    let most = losses.iter().map(|point| point.1).fold(1.0, f64::max);
    let x = Axis { label: "epoch", range: 1.0..history.len().max(2) as f64 };
    let y = Axis { label: "loss, accuracy", range: 0.0..most * 1.05 };
    plot::curves(x, y, [("training loss", losses), ("test accuracy", points(|record| record.accuracy))])
}
