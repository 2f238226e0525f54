//! Histories, forecasts and losses as SVG.

use std::error::Error;
use std::ops::Range;

use examples_common::plot::{self, Axis, PlotError};
use mamba_ts::data::Series;
use mamba_ts::forecast::Forecast;
use mamba_ts::training::EpochRecord;
use plotters::coord::Shift;
use plotters::prelude::*;

const WIDTH: u32 = 840;
/// Of one variate.
const HEIGHT: u32 = 220;
/// More variates do not fit a page.
const MOST_VARIATES: usize = 12;
const HISTORY: RGBColor = RGBColor(90, 90, 90);
const FORECAST: RGBColor = RGBColor(200, 72, 32);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Training and validation loss after every epoch.
pub fn curves(history: &[EpochRecord]) -> Result<String, PlotError> {
    let points = |value: fn(&EpochRecord) -> f64| -> Vec<(f64, f64)> {
        history.iter().map(|record| (record.epoch as f64, value(record))).collect()
    };
    let (train, validation) = (points(|record| record.train), points(|record| record.validation));
    let most = train.iter().chain(&validation).map(|point| point.1).fold(0.0, f64::max);
    let x = Axis { label: "epoch", range: 1.0..history.len().max(2) as f64 };
    let y = Axis { label: "loss", range: 0.0..most.max(1e-3) * 1.05 };
    plot::curves(x, y, [("training", train), ("validation", validation)])
}

/// The end of a series and its forecast with bands between quantiles, a panel for each variate.
pub fn forecast(series: &Series, forecast: &Forecast) -> Result<String, Box<dyn Error>> {
    let history = (3 * forecast.horizon()).max(48).min(series.len());
    let first = series.len() - history;
    panels(series, |area, variate| {
        panel(area, series, variate, first..series.len(), &[(series.len(), forecast.clone())])
    })
}

/// The end of a series with the forecasts made in it, a panel for each variate.
pub fn backtest(series: &Series, forecasts: &[(usize, Forecast)]) -> Result<String, Box<dyn Error>> {
    let forecasts = &forecasts[forecasts.len().saturating_sub(8)..];
    let first = forecasts.first().map_or(0, |(origin, forecast)| origin.saturating_sub(forecast.horizon()));
    panels(series, |area, variate| panel(area, series, variate, first..series.len(), forecasts))
}

fn panels(
    series: &Series,
    draw: impl Fn(&Area<'_>, usize) -> Result<(), Box<dyn Error>>,
) -> Result<String, Box<dyn Error>> {
    let variates = series.variates().min(MOST_VARIATES);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, HEIGHT * variates as u32)).into_drawing_area();
        root.fill(&WHITE)?;
        for (variate, area) in root.split_evenly((variates, 1)).iter().enumerate() {
            draw(area, variate)?;
        }
        root.present()?;
    }
    Ok(svg)
}

fn panel(
    area: &Area<'_>,
    series: &Series,
    variate: usize,
    rows: Range<usize>,
    forecasts: &[(usize, Forecast)],
) -> Result<(), Box<dyn Error>> {
    let end = forecasts.iter().map(|(origin, forecast)| origin + forecast.horizon()).fold(rows.end, usize::max);
    let known = |row: usize| Some((row as f64, f64::from(series.row(row)[variate]))).filter(|point| !point.1.is_nan());
    let points: Vec<Option<(f64, f64)>> = rows.clone().map(known).collect();
    let forecast_values = forecasts.iter().flat_map(|(_, forecast)| {
        (0..forecast.horizon())
            .flat_map(move |row| forecast.outputs(row, variate).iter().map(|&value| f64::from(value)))
    });
    let values = || points.iter().flatten().map(|point| point.1).chain(forecast_values.clone());
    let (low, high) = values().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), y| (low.min(y), high.max(y)));
    let margin = if high > low { 0.05 * (high - low) } else { 1.0 };

    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .caption(&series.names()[variate], ("sans-serif", 15))
        .x_label_area_size(24)
        .y_label_area_size(56)
        .build_cartesian_2d(rows.start as f64..end as f64, low - margin..high + margin)?;
    let time = |row: &f64| match series.calendar().and_then(|calendar| calendar.time(*row as usize)) {
        Some(time) => time.strftime("%Y-%m-%d %H:%M").to_string(),
        None => format!("{row:.0}"),
    };
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.1))
        .label_style(("sans-serif", 12))
        .x_labels(6)
        .y_labels(5)
        .x_label_formatter(&time)
        .draw()?;
    // A line for each stretch without gaps.
    for stretch in points.split(Option::is_none).filter(|stretch| !stretch.is_empty()) {
        chart.draw_series(LineSeries::new(stretch.iter().flatten().copied(), HISTORY.stroke_width(1)))?;
    }
    for (origin, forecast) in forecasts {
        let at = |row: usize, output: usize| ((origin + row) as f64, f64::from(forecast.outputs(row, variate)[output]));
        let rows = 0..forecast.horizon();
        for band in 0..forecast.levels().len() / 2 {
            let upper = rows.clone().rev().map(|row| at(row, forecast.levels().len() - 1 - band));
            let outline: Vec<_> = rows.clone().map(|row| at(row, band)).chain(upper).collect();
            chart.draw_series(std::iter::once(Polygon::new(outline, FORECAST.mix(0.18))))?;
        }
        let line = rows.map(|row| ((origin + row) as f64, f64::from(forecast.value(row, variate))));
        chart.draw_series(LineSeries::new(line, FORECAST.stroke_width(2)))?;
    }
    Ok(())
}
