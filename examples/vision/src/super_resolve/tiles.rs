//! Large images, part by part.

use burn::tensor::{Device, Tensor, TensorData};
use examples_common::progress;
use mamba_vision::MambaSr;

use super::TIMES;
use super::raster::Raster;

/// What `model` makes of `image`, in tiles that see `overlap` pixels beyond their edges.
pub fn through(model: &MambaSr, image: &Raster, white: f32, [tile, overlap]: [usize; 2], device: &Device) -> Raster {
    let mut enlarged = image.enlarged(TIMES);
    let corners = |length: usize| (0..length).step_by(tile);
    let tiles: Vec<_> =
        corners(image.height).flat_map(|top| corners(image.width).map(move |left| [top, left])).collect();
    let bar = progress::steps(tiles.len(), 0);
    for [top, left] in tiles {
        let rows = Span::new(top, tile, overlap, image.height);
        let columns = Span::new(left, tile, overlap, image.width);
        let seen = read(image, white, &rows, &columns, device);
        let made: Vec<_> = model.forward(seen).into_data().iter::<f32>().collect();
        write(&mut enlarged, white, &made, &rows, &columns);
        bar.inc(1);
    }
    bar.finish_and_clear();
    enlarged
}

/// One side of a tile: from where to where it is written, and seen.
struct Span {
    start: usize,
    end: usize,
    seen_from: usize,
    seen_to: usize,
}

impl Span {
    fn new(start: usize, tile: usize, overlap: usize, length: usize) -> Self {
        let end = (start + tile).min(length);
        Self { start, end, seen_from: start.saturating_sub(overlap), seen_to: (end + overlap).min(length) }
    }

    fn seen(&self) -> usize {
        self.seen_to - self.seen_from
    }
}

fn read(image: &Raster, white: f32, rows: &Span, columns: &Span, device: &Device) -> Tensor<4> {
    let (size, bands) = (image.height * image.width, image.bands);
    let mut values = Vec::with_capacity(bands * rows.seen() * columns.seen());
    for band in 0..bands {
        for row in rows.seen_from..rows.seen_to {
            let start = band * size + row * image.width;
            let row = &image.values[start + columns.seen_from..start + columns.seen_to];
            values.extend(row.iter().map(|value| value / white));
        }
    }
    Tensor::from_data(TensorData::new(values, [1, bands, rows.seen(), columns.seen()]), device)
}

/// Puts the middle of a tile where it belongs.
fn write(image: &mut Raster, white: f32, made: &[f32], rows: &Span, columns: &Span) {
    let size = image.height * image.width;
    let (height, width) = (TIMES * rows.seen(), TIMES * columns.seen());
    for band in 0..image.bands {
        for row in TIMES * rows.start..TIMES * rows.end {
            let from = (band * height + row - TIMES * rows.seen_from) * width;
            let to = band * size + row * image.width;
            for column in TIMES * columns.start..TIMES * columns.end {
                let value = made[from + column - TIMES * columns.seen_from];
                image.values[to + column] = (value * white).clamp(0.0, image.kind.most());
            }
        }
    }
}
