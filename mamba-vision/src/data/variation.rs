//! How single images are varied in training.

use rand::{Rng, RngExt};

/// How images are varied in training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Variation {
    /// By how many pixels an image may be moved up, down, left and right; what comes in is black.
    pub shift: usize,
    /// Whether every second image is mirrored.
    pub flip: bool,
    /// The least share of an image's area that is cut out and scaled to the whole (Szegedy et al. 2015); 1 for none. The
    /// sides of what is cut out change by at most a third against each other.
    pub crop: f64,
    /// By how much brightness, contrast and, with three channels, saturation may change, each as a share.
    pub color: f64,
}

impl Default for Variation {
    /// None.
    fn default() -> Self {
        Self { shift: 0, flip: false, crop: 1.0, color: 0.0 }
    }
}

/// Weights of red, green and blue in what is bright (ITU-R BT.601).
const GREY: [f32; 3] = [0.299, 0.587, 0.114];

/// One draw of a [`Variation`], for images of one size.
struct Draw {
    size: [usize; 2],
    /// Where in the image the first pixel comes from, and how far apart the next are: rows, columns.
    start: [f64; 2],
    step: [f64; 2],
    is_mirrored: bool,
}

impl Variation {
    /// `image`, channel by channel, varied at random; white is 1.
    pub(super) fn vary<R: Rng + ?Sized>(&self, image: &[u8], size: [usize; 2], rng: &mut R) -> Vec<f32> {
        let draw = self.draw(size, rng);
        let channels = image.chunks(size[0] * size[1]);
        let mut varied: Vec<f32> = channels.flat_map(|channel| draw.sampled(channel)).collect();
        if self.color > 0.0 {
            self.recolor(&mut varied, size[0] * size[1], rng);
        }
        varied
    }

    fn draw<R: Rng + ?Sized>(&self, size: [usize; 2], rng: &mut R) -> Draw {
        let shift = self.shift as i64;
        let mut start = [(); 2].map(|()| -rng.random_range(-shift..=shift) as f64);
        let mut step = [1.0; 2];
        if self.crop < 1.0 {
            let area: f64 = rng.random_range(self.crop..=1.0);
            let aspect = (rng.random_range(-1.0..=1.0) * (4.0_f64 / 3.0).ln()).exp();
            step = [(area * aspect).sqrt(), (area / aspect).sqrt()].map(|step| step.min(1.0));
            for axis in 0..2 {
                start[axis] += rng.random::<f64>() * (1.0 - step[axis]) * size[axis] as f64;
                // Pixels are read at their middles.
                start[axis] += (step[axis] - 1.0) / 2.0;
            }
        }
        Draw { size, start, step, is_mirrored: self.flip && rng.random::<bool>() }
    }

    /// Factors for saturation, contrast and brightness.
    fn recolor<R: Rng + ?Sized>(&self, image: &mut [f32], pixels: usize, rng: &mut R) {
        let mut factor = || 1.0 + rng.random_range(-self.color..=self.color) as f32;
        let (saturation, contrast, brightness) = (factor(), factor(), factor());
        if image.len() == 3 * pixels {
            for pixel in 0..pixels {
                let grey: f32 = (0..3).map(|channel| GREY[channel] * image[channel * pixels + pixel]).sum();
                for channel in 0..3 {
                    let value = &mut image[channel * pixels + pixel];
                    *value = grey + saturation * (*value - grey);
                }
            }
        }
        let mean = image.iter().sum::<f32>() / image.len() as f32;
        for value in image {
            *value = (brightness * (mean + contrast * (*value - mean))).clamp(0.0, 1.0);
        }
    }
}

impl Draw {
    /// One channel of the varied image.
    fn sampled(&self, channel: &[u8]) -> Vec<f32> {
        let [height, width] = self.size;
        let mut sampled = Vec::with_capacity(height * width);
        for row in 0..height {
            for column in 0..width {
                let column = if self.is_mirrored { width - 1 - column } else { column };
                sampled.push(self.pixel(channel, row, column));
            }
        }
        sampled
    }

    /// Between the four pixels around its place; black outside.
    fn pixel(&self, channel: &[u8], row: usize, column: usize) -> f32 {
        let [y, x] = [(row, 0), (column, 1)].map(|(at, axis)| self.start[axis] + at as f64 * self.step[axis]);
        let (Some(rows), Some(columns)) = (around(y, self.size[0]), around(x, self.size[1])) else { return 0.0 };
        let at = |row: usize, column: usize| f64::from(channel[row * self.size[1] + column]);
        let rows =
            rows.map(|(row, down)| down * columns.iter().map(|&(column, right)| right * at(row, column)).sum::<f64>());
        (rows.iter().sum::<f64>() / 255.0) as f32
    }
}

/// The two pixels around a place, and their weights; none outside of the image.
fn around(at: f64, side: usize) -> Option<[(usize, f64); 2]> {
    let last = side as f64 - 1.0;
    if !(-0.5..=last + 0.5).contains(&at) {
        return None;
    }
    let at = at.clamp(0.0, last);
    let (before, part) = (at.floor(), at - at.floor());
    Some([(before as usize, 1.0 - part), ((before + 1.0).min(last) as usize, part)])
}
