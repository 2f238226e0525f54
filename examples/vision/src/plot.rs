//! The curves of a run as SVG.

use plotters::prelude::*;

use crate::error::Error;
use crate::train::Record;

const SIZE: (u32, u32) = (720, 400);
const TRAINING: RGBColor = RGBColor(122, 162, 214);
const TEST: RGBColor = RGBColor(200, 72, 32);

/// Training loss and test accuracy after every epoch.
pub fn curves(history: &[Record]) -> Result<String, Error> {
    let mut svg = String::new();
    draw(history, &mut svg).map_err(|error| Error::Plot(error.to_string()))?;
    Ok(svg)
}

fn draw(history: &[Record], svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let points = |value: fn(&Record) -> f64| -> Vec<(f64, f64)> {
        history.iter().map(|record| (record.epoch as f64, value(record))).collect()
    };
    let losses = points(|record| record.loss.into());
    let accuracies = points(|record| record.accuracy);
    let most = losses.iter().map(|point| point.1).fold(1.0, f64::max);
    let last = history.len().max(2) as f64;

    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(48)
        .build_cartesian_2d(1.0..last, 0.0..most * 1.05)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.1))
        .label_style(("sans-serif", 13))
        .x_desc("epoch")
        .x_label_formatter(&|epoch| format!("{epoch:.0}"))
        .y_label_formatter(&|value| format!("{value:.1}"))
        .draw()?;
    for (label, color, points) in [("training loss", TRAINING, losses), ("test accuracy", TEST, accuracies)] {
        let style = color.stroke_width(2);
        let label = format!("{label} {:.3}", points.last().map_or(0.0, |point| point.1));
        chart
            .draw_series(LineSeries::new(points, style))?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::MiddleRight)
        .label_font(("sans-serif", 13))
        .background_style(WHITE)
        .border_style(BLACK.mix(0.3))
        .draw()?;
    root.present()?;
    Ok(())
}
