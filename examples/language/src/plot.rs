//! The loss curve as SVG.

use plotters::prelude::*;

use crate::error::Error;
use crate::history::Record;

const SIZE: (u32, u32) = (720, 400);
/// The training loss is noisy: at most this many means are drawn.
const POINTS: usize = 150;
const TRAINING: RGBColor = RGBColor(122, 162, 214);
const VALIDATION: RGBColor = RGBColor(200, 72, 32);

/// Training loss (means over a few steps) and validation loss against the step.
pub fn loss_curve(history: &[Record]) -> Result<String, Error> {
    let mut svg = String::new();
    draw(history, &mut svg).map_err(|error| Error::Plot(error.to_string()))?;
    Ok(svg)
}

fn draw(history: &[Record], svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let training: Vec<(f64, f64)> = history.chunks(history.len().div_ceil(POINTS).max(1)).map(mean).collect();
    let validation: Vec<(f64, f64)> =
        history.iter().filter_map(|record| Some((record.step as f64, record.validation?.into()))).collect();
    let losses = || training.iter().chain(&validation).map(|point| point.1);
    let (low, high) = (losses().fold(f64::INFINITY, f64::min), losses().fold(0.0, f64::max));
    let last = history.last().map_or(1.0, |record| record.step as f64);

    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..last, low.min(high) - 0.1..high + 0.1)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.1))
        .label_style(("sans-serif", 13))
        .x_desc("step")
        .y_desc("nats per byte")
        .x_label_formatter(&|step| format!("{step:.0}"))
        .y_label_formatter(&|loss| format!("{loss:.1}"))
        .draw()?;
    for (label, color, points) in [("training", TRAINING, training), ("validation", VALIDATION, validation)] {
        let style = color.stroke_width(2);
        let label = match points.last() {
            Some((_, loss)) => format!("{label} {loss:.3}"),
            None => label.to_string(),
        };
        chart
            .draw_series(LineSeries::new(points, style))?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .label_font(("sans-serif", 13))
        .background_style(WHITE)
        .border_style(BLACK.mix(0.3))
        .draw()?;
    root.present()?;
    Ok(())
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
