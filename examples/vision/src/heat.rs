//! Numbers for every pixel as pictures.

use std::path::Path;

use examples_common::files::{publish, write_synced};
use image::imageops::{self, FilterType};
use image::{ImageFormat, Rgb, RgbImage};
use std::io::Cursor;

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

/// Writes a picture; what its name ends with tells whether as PNG or JPEG.
pub fn write(picture: &RgbImage, path: &Path) -> Result<(), Error> {
    let format = match ImageFormat::from_path(path) {
        Ok(format @ (ImageFormat::Png | ImageFormat::Jpeg)) => format,
        _ => {
            let given = path.display().to_string();
            return Err(Error::Flag { flag: "out", given, expected: "a name that ends in .png, .jpg or .tif" });
        }
    };
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).map_err(|error| Error::write(path)(std::io::Error::other(error)))?;
    Ok(publish(path, |path| write_synced(path, bytes.get_ref()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_value_is_white_and_nothing_is_black() {
        let picture = map(&[0.0, 1.0, 2.0, 4.0], 2);
        let corner = |x: u32, y: u32| picture.get_pixel(x * (picture.width() - 1), y * (picture.height() - 1)).0;
        assert_eq!((corner(0, 0), corner(1, 1)), ([0; 3], [255; 3]));
        assert_eq!(picture.dimensions(), (448, 448));
    }
}
