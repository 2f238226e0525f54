//! Shapes and words as SVG.

use std::fmt::Write;

pub const INK: &str = "#333";
pub const FAINT: &str = "#bbb";
pub const BLUE: &str = "#3b6fb5";
pub const RED: &str = "#c84820";
pub const PALE: &str = "#e8eef7";
pub const SAND: &str = "#f6eee3";

/// A picture that grows shape by shape; on white, so that it is readable on pages of any colour.
pub struct Picture {
    svg: String,
}

impl Picture {
    pub fn new(width: u32, height: u32) -> Self {
        let svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             font-family=\"sans-serif\" font-size=\"13\">\n<defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" \
             refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\"><path d=\"M0 0 8 4 0 8z\" \
             fill=\"context-stroke\"/></marker></defs>\n<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n"
        );
        Self { svg }
    }

    pub fn finish(self) -> String {
        self.svg + "</svg>\n"
    }

    fn add(&mut self, shape: std::fmt::Arguments<'_>) {
        writeln!(self.svg, "{shape}").expect("a string takes everything");
    }

    /// Words around `x`, on the line `y`.
    pub fn text(&mut self, x: f64, y: f64, words: &str) {
        self.text_in(x, y, words, INK, "middle");
    }

    /// Words from `x` on.
    pub fn label(&mut self, x: f64, y: f64, words: &str) {
        self.text_in(x, y, words, INK, "start");
    }

    pub fn text_in(&mut self, x: f64, y: f64, words: &str, color: &str, anchor: &str) {
        let words = words.replace('&', "&amp;").replace('<', "&lt;");
        self.add(format_args!(r#"<text x="{x}" y="{y}" fill="{color}" text-anchor="{anchor}">{words}</text>"#));
    }

    pub fn rect(&mut self, [x, y]: [f64; 2], [width, height]: [f64; 2], fill: &str) {
        self.add(format_args!(
            r#"<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="4" fill="{fill}" stroke="{FAINT}"/>"#
        ));
    }

    /// A box with words in its middle.
    pub fn named(&mut self, [x, y]: [f64; 2], [width, height]: [f64; 2], fill: &str, words: &str) {
        self.rect([x, y], [width, height], fill);
        self.text(x + width / 2.0, y + height / 2.0 + 4.5, words);
    }

    pub fn circle(&mut self, [x, y]: [f64; 2], radius: f64, fill: &str) {
        self.add(format_args!(r#"<circle cx="{x}" cy="{y}" r="{radius}" fill="{fill}" stroke="{FAINT}"/>"#));
    }

    pub fn line(&mut self, [x, y]: [f64; 2], [to_x, to_y]: [f64; 2], color: &str) {
        self.add(format_args!(
            r#"<line x1="{x}" y1="{y}" x2="{to_x}" y2="{to_y}" stroke="{color}" stroke-width="1.5"/>"#
        ));
    }

    pub fn arrow(&mut self, [x, y]: [f64; 2], [to_x, to_y]: [f64; 2], color: &str) {
        self.add(format_args!(
            r#"<path d="M{x} {y} {to_x} {to_y}" stroke="{color}" stroke-width="1.5" marker-end="url(#tip)"/>"#
        ));
    }
}
