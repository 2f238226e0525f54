//! Curves as SVG.

use std::ops::Range;

use plotters::prelude::*;

const SIZE: (u32, u32) = (720, 400);
const COLORS: [RGBColor; 2] = [RGBColor(122, 162, 214), RGBColor(200, 72, 32)];

/// A picture cannot be drawn.
#[derive(Debug, thiserror::Error)]
#[error("cannot draw the curves: {0}")]
pub struct PlotError(String);

/// What an axis shows: its label and its ends.
pub struct Axis {
    /// The quantity and its unit.
    pub label: &'static str,
    /// From the least value to the greatest.
    pub range: Range<f64>,
}

/// Two curves, each with a name, which the legend puts before its last value.
///
/// # Errors
/// If plotters does not draw them.
pub fn curves(x: Axis, y: Axis, curves: [(&str, Vec<(f64, f64)>); 2]) -> Result<String, PlotError> {
    let mut svg = String::new();
    draw(x, y, curves, &mut svg).map_err(|error| PlotError(error.to_string()))?;
    Ok(svg)
}

fn draw(
    x: Axis,
    y: Axis,
    curves: [(&str, Vec<(f64, f64)>); 2],
    svg: &mut String,
) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(48)
        .build_cartesian_2d(x.range, y.range)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.1))
        .label_style(("sans-serif", 13))
        .x_desc(x.label)
        .y_desc(y.label)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.1}"))
        .draw()?;
    for ((name, points), color) in curves.into_iter().zip(COLORS) {
        let style = color.stroke_width(2);
        let label = match points.last() {
            Some((_, last)) => format!("{name} {last:.3}"),
            None => name.to_string(),
        };
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
