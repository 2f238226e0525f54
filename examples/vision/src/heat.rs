//! Numbers for every pixel as pictures.

use std::io::Cursor;
use std::path::Path;

use examples_common::files::{publish, write_synced};
use image::imageops::{self, FilterType};
use image::{ImageFormat, Rgb, RgbImage};

use crate::error::Error;

/// Pictures have at least this many pixels on their longer side.
const SIDE: u32 = 448;

/// Dark over red to white, from the least (0) to the greatest (1).
fn color(value: f32) -> Rgb<u8> {
    let channel = |from: f32| (255.0 * ((value - from) * 3.0).clamp(0.0, 1.0)) as u8;
    Rgb([channel(0.0), channel(1.0 / 3.0), channel(2.0 / 3.0)])
}

/// `values`, row by row, none negative, as a picture; roots of them, so that small ones are seen.
pub fn map(values: &[f32], width: usize) -> RgbImage {
    let most = values.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    let height = values.len() / width;
    let pixel = |column: u32, row: u32| color((values[row as usize * width + column as usize] / most).sqrt());
    enlarged(&RgbImage::from_fn(width as u32, height as u32, pixel), FilterType::Triangle)
}

/// Enlarged to be looked at.
pub fn enlarged(image: &RgbImage, filter: FilterType) -> RgbImage {
    let times = SIDE.div_ceil(image.width().max(image.height()));
    imageops::resize(image, image.width() * times, image.height() * times, filter)
}

/// Pictures of one height beside each other.
pub fn beside(pictures: &[RgbImage]) -> RgbImage {
    const GAP: u32 = 8;
    let width = pictures.iter().map(|picture| picture.width() + GAP).sum::<u32>() - GAP;
    let height = pictures.iter().map(RgbImage::height).max().unwrap_or(0);
    let mut whole = RgbImage::from_pixel(width, height, Rgb([255; 3]));
    let mut left = 0;
    for picture in pictures {
        imageops::replace(&mut whole, picture, i64::from(left), 0);
        left += picture.width() + GAP;
    }
    whole
}

/// Whether a file is a PNG or a JPEG, by its name.
pub fn format(path: &Path) -> Result<ImageFormat, Error> {
    match ImageFormat::from_path(path) {
        Ok(format @ (ImageFormat::Png | ImageFormat::Jpeg)) => Ok(format),
        _ => Err(Error::Format { path: path.to_path_buf() }),
    }
}

/// Writes a picture as what its name tells.
pub fn write(picture: &RgbImage, path: &Path) -> Result<(), Error> {
    let mut bytes = Cursor::new(Vec::new());
    let written = picture.write_to(&mut bytes, format(path)?);
    written.map_err(|error| Error::write(path)(std::io::Error::other(error)))?;
    Ok(publish(path, |path| write_synced(path, bytes.get_ref()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_value_is_white_and_zero_is_black() {
        let picture = map(&[0.0, 1.0, 2.0, 4.0], 2);
        let corner = |x: u32, y: u32| picture.get_pixel(x * (picture.width() - 1), y * (picture.height() - 1)).0;
        assert_eq!(corner(0, 0), [0; 3]);
        assert!(corner(1, 1).iter().all(|&channel| channel >= 254));
        assert_eq!(picture.dimensions(), (448, 448));
    }
}
