//! Curves and bars. Measured numbers are those of `benches/RESULTS.md`, which a test looks up.

use super::picture::{INK, PALE, Picture, SAND};
use crate::precision::{errors, to_bf16, to_f32};
use mamba_blocks::MambaLmConfig;
use plotters::prelude::*;
use std::error::Error;
use std::ops::Range;

const COLORS: [RGBColor; 3] = [RGBColor(59, 111, 181), RGBColor(200, 72, 32), RGBColor(90, 140, 70)];

/// What an axis shows.
struct Axis {
    label: &'static str,
    range: Range<f64>,
    /// Whether it shows the powers of ten.
    log: bool,
}

impl Axis {
    fn scaled(&self, value: f64) -> f64 {
        if self.log { value.log10() } else { value }
    }

    fn range(&self) -> Range<f64> {
        self.scaled(self.range.start)..self.scaled(self.range.end)
    }

    fn tick(&self, value: &f64) -> String {
        match self.log {
            true if value.fract().abs() < 1e-6 => short(10_f64.powf(*value)),
            true => String::new(),
            false => short(*value),
        }
    }
}

/// A number as an axis has room for it.
fn short(value: f64) -> String {
    let (value, unit) = match value.abs() {
        1e12.. => (value / 1e12, "T"),
        1e9.. => (value / 1e9, "G"),
        1e6.. => (value / 1e6, "M"),
        1e3.. => (value / 1e3, "k"),
        0.0 | 0.01.. => (value, ""),
        _ => return format!("{value:.0e}"),
    };
    let digits = if value == 0.0 || value.fract() == 0.0 { 0 } else { (1.0 - value.abs().log10().floor()) as usize };
    let number = format!("{value:.digits$}");
    let number = if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { &number };
    format!("{number}{unit}")
}

struct Curve {
    name: &'static str,
    points: Vec<(f64, f64)>,
    /// Whether the points are marked and not joined.
    dots: bool,
}

fn line(name: &'static str, points: Vec<(f64, f64)>) -> Curve {
    Curve { name, points, dots: false }
}

fn chart(x: Axis, y: Axis, curves: Vec<Curve>, legend: SeriesLabelPosition) -> String {
    let mut svg = String::new();
    draw(x, y, curves, legend, &mut svg).expect("a string takes every picture");
    svg
}

fn draw(
    x: Axis,
    y: Axis,
    curves: Vec<Curve>,
    legend: SeriesLabelPosition,
    svg: &mut String,
) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::with_string(svg, (720, 380)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(58)
        .build_cartesian_2d(x.range(), y.range())?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.1))
        .label_style(("sans-serif", 13))
        .x_desc(x.label)
        .y_desc(y.label)
        .x_label_formatter(&|value| x.tick(value))
        .y_label_formatter(&|value| y.tick(value))
        .draw()?;
    for (curve, color) in curves.into_iter().zip(COLORS) {
        let points: Vec<_> = curve.points.iter().map(|&(px, py)| (x.scaled(px), y.scaled(py))).collect();
        let style = color.stroke_width(2);
        if curve.dots {
            let dots = points.into_iter().map(|point| Circle::new(point, 5, color.filled()));
            chart.draw_series(dots)?.label(curve.name).legend(move |at| Circle::new(at, 5, color.filled()));
        } else {
            chart
                .draw_series(LineSeries::new(points, style))?
                .label(curve.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
        }
    }
    chart
        .configure_series_labels()
        .position(legend)
        .label_font(("sans-serif", 13))
        .background_style(WHITE)
        .border_style(BLACK.mix(0.3))
        .draw()?;
    root.present()?;
    Ok(())
}

/// The forward scan of batch 8, length 2048, d_inner 1536, 16 states, on an H200.
struct Measured {
    dtype: &'static str,
    floor_memory: f64,
    floor_unit: f64,
    ours: f64,
    peer: f64,
}

const MEASURED: [Measured; 2] = [
    Measured { dtype: "f32", floor_memory: 0.094, floor_unit: 0.120, ours: 0.198, peer: 0.880 },
    Measured { dtype: "bf16", floor_memory: 0.047, floor_unit: 0.120, ours: 0.188, peer: 0.444 },
];

/// Channels and tokens of that shape, in all.
const CELLS: f64 = 8.0 * 2048.0 * 1536.0;
/// Exponentials of a token of a channel, and reciprocals and the like.
const UNIT_OPS: f64 = 16.0 + 4.0;

/// Floors and times, one under the other.
pub fn traffic() -> String {
    let mut picture = Picture::new(720, 290);
    let scale = 500.0 / 0.9;
    let mut y = 20.0;
    for Measured { dtype, floor_memory, floor_unit, ours, peer } in MEASURED {
        picture.label(16.0, y + 66.0, dtype);
        let rows = [
            ("memory traffic", floor_memory, PALE),
            ("exponentials", floor_unit, PALE),
            ("measured", ours, SAND),
            ("mamba-ssm", peer, "#ddd"),
        ];
        for (name, time, fill) in rows {
            picture.text_in(160.0, y + 17.0, name, INK, "end");
            picture.rect([170.0, y], [time * scale, 24.0], fill);
            picture.label(170.0 + time * scale + 8.0, y + 17.0, &format!("{time:.3}"));
            y += 29.0;
        }
        y += 16.0;
    }
    picture.text_in(700.0, 280.0, "milliseconds, forward pass", INK, "end");
    picture.finish()
}

/// Rates of the unit for exponentials, against its work for every byte that must move.
pub fn roofline() -> String {
    let ops = CELLS * UNIT_OPS;
    let roof = ops / (MEASURED[0].floor_unit * 1e-3);
    let bytes = |dtype_bytes: f64| 4.0 * CELLS * dtype_bytes;
    let bandwidth = bytes(4.0) / (MEASURED[0].floor_memory * 1e-3);
    let intensities = [0.1, roof / bandwidth, 10.0];
    let points = |time: fn(&Measured) -> f64| {
        MEASURED.iter().zip([4.0, 2.0]).map(|(m, size)| (ops / bytes(size), ops / (time(m) * 1e-3))).collect()
    };
    chart(
        Axis { label: "operations of the unit for each byte that must move", range: 0.1..10.0, log: true },
        Axis { label: "operations per second", range: 3e11..1e13, log: true },
        vec![
            line("roof: memory, then the unit", intensities.map(|x| (x, (x * bandwidth).min(roof))).to_vec()),
            Curve { name: "measured, f32 and bf16", points: points(|m| m.ours), dots: true },
            Curve { name: "mamba-ssm, f32 and bf16", points: points(|m| m.peer), dots: true },
        ],
        SeriesLabelPosition::UpperLeft,
    )
}

/// Time of a token over the length, on an H200.
pub fn lengths() -> String {
    let one = vec![(2048.0, 46.0), (65_536.0, 20.9), (262_144.0, 19.9), (1_048_576.0, 20.4)];
    let eight = vec![(2048.0, 12.7), (16_384.0, 12.6), (131_072.0, 12.8)];
    chart(
        Axis { label: "tokens of a sequence", range: 1e3..2e6, log: true },
        Axis { label: "nanoseconds a token", range: 0.0..50.0, log: false },
        vec![line("batch 1", one), line("batch 8", eight)],
        SeriesLabelPosition::UpperRight,
    )
}

/// What a model remembers, by its configuration.
pub fn state_size() -> String {
    let config = MambaLmConfig::new(50277, 768, 24);
    let mixer = config.mixer();
    let state = 4.0 * (config.n_layer * mixer.d_inner() * (mixer.d_state + mixer.d_conv - 1)) as f64;
    // Keys and values of 12 layers of the same width, in 16 bits.
    let cache = |tokens: f64| 12.0 * 2.0 * 768.0 * 2.0 * tokens;
    let lengths = [10.0, 1e3, 1e5, 1e6];
    chart(
        Axis { label: "tokens read", range: 10.0..1e6, log: true },
        Axis { label: "bytes", range: 1e5..1e11, log: true },
        vec![
            line("state of mamba-130m, f32", lengths.map(|tokens| (tokens, state)).to_vec()),
            line("keys and values of 12 layers as wide, f16", lengths.map(|tokens| (tokens, cache(tokens))).to_vec()),
        ],
        SeriesLabelPosition::UpperLeft,
    )
}

/// What rounding the state after every step does to it.
pub fn rounding() -> String {
    let (delta, steps) = (1e-3, 10_000);
    let curve = |name, round: fn(f64) -> f64| {
        let errors = errors(round, delta, steps);
        let at = (0..=40).map(|i| 10_f64.powf(f64::from(i) / 10.0).round() as usize);
        line(name, at.map(|step| (step as f64, errors[step - 1].max(1e-9))).collect())
    };
    chart(
        Axis { label: "steps of size 0.001", range: 1.0..1e4, log: true },
        Axis { label: "relative error of the state", range: 1e-9..10.0, log: true },
        vec![curve("state in f32", to_f32), curve("state in bf16", to_bf16)],
        SeriesLabelPosition::MiddleRight,
    )
}

#[test]
fn what_was_measured_is_in_the_results() {
    let results = include_str!("../../../benches/RESULTS.md");
    for Measured { floor_memory, floor_unit, ours, peer, .. } in MEASURED {
        for number in [floor_memory, floor_unit, ours, peer] {
            assert!(results.contains(&format!("{number:.3}")), "{number} is not in benches/RESULTS.md");
        }
    }
    for numbers in ["20.9, 19.9 and 20.4 ns", "took 46 ns", "| 12.7 | 12.6 | 12.8 |"] {
        assert!(results.contains(numbers), "{numbers} is not in benches/RESULTS.md");
    }
}
