//! PNG and JPEG files as pixels.

use super::DataError;
use image::imageops::FilterType;
use image::{DynamicImage, ImageError, ImageFormat, ImageReader, Limits};
use std::path::Path;

/// One image as bytes.
///
/// ```
/// use mamba_vision::data::{Picture, is_picture};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let file = folder.path().join("grey.png");
/// # image::GrayImage::new(20, 10).save(&file)?;
/// assert!(is_picture(&file));
/// assert_eq!(Picture::read(&file, 1)?.pixels.len(), 20 * 10);
/// // As a model sees it.
/// assert_eq!(Picture::read_at(&file, 3, [8, 8])?.pixels.len(), 3 * 8 * 8);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Channel by channel, row by row.
    pub pixels: Vec<u8>,
    /// Grey, or red, green and blue.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

/// No side may be longer.
pub const MOST_SIDE: u32 = 1 << 15;
/// Bytes that decoding may take.
const MOST_BYTES: u64 = 1 << 30;
/// What models are evaluated on is this share of the shorter side (256 pixels for 224).
const CENTER: f64 = 0.875;

/// Whether a file has one of the names that PNG and JPEG files have.
pub fn is_picture(path: &Path) -> bool {
    let format = ImageFormat::from_path(path).ok();
    matches!(format, Some(ImageFormat::Png | ImageFormat::Jpeg))
}

impl Picture {
    /// Decodes a PNG or JPEG file as grey (`channels` 1) or as red, green and blue (3), whatever it has.
    ///
    /// # Errors
    /// [`DataError::Read`], [`DataError::Image`] for what is damaged or of another kind, and [`DataError::Huge`].
    ///
    /// # Panics
    /// If `channels` is neither 1 nor 3.
    pub fn read(path: impl AsRef<Path>, channels: usize) -> Result<Self, DataError> {
        Ok(Self::of(&open(path.as_ref())?, channels))
    }

    /// As [`read`](Self::read), at `[height, width]` as models are evaluated: the shorter side is scaled to a little
    /// more than its target, and the middle is cut out.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    ///
    /// # Panics
    /// As [`read`](Self::read), or if a side is 0.
    pub fn read_at(path: impl AsRef<Path>, channels: usize, size: [usize; 2]) -> Result<Self, DataError> {
        assert!(size.iter().all(|&side| side > 0), "Picture: size {size:?}, expected at least 1 x 1");
        let image = open(path.as_ref())?;
        let [height, width] = size.map(|side| side as u32);
        if (image.height(), image.width()) == (height, width) {
            return Ok(Self::of(&image, channels));
        }
        // What remains of the image.
        let scale = (f64::from(height) / f64::from(image.height())).max(f64::from(width) / f64::from(image.width()));
        let side = |target: u32, side: u32| {
            let part = (f64::from(target) / scale * CENTER).round() as u32;
            part.clamp(1, side)
        };
        let [rows, columns] = [side(height, image.height()), side(width, image.width())];
        let (top, left) = ((image.height() - rows) / 2, (image.width() - columns) / 2);
        let middle = image.crop_imm(left, top, columns, rows);
        Ok(Self::of(&middle.resize_exact(width, height, FilterType::CatmullRom), channels))
    }

    fn of(image: &DynamicImage, channels: usize) -> Self {
        let (height, width) = (image.height() as usize, image.width() as usize);
        let pixels = match channels {
            1 => image.to_luma8().into_raw(),
            3 => planes(&image.to_rgb8()),
            _ => panic!("Picture: {channels} channels, expected 1 or 3"),
        };
        Self { pixels, channels, height, width }
    }
}

/// Channel by channel, what is pixel by pixel there.
pub(super) fn planes(image: &image::RgbImage) -> Vec<u8> {
    (0..3).flat_map(|channel| image.pixels().map(move |pixel| pixel.0[channel])).collect()
}

/// The decoded file.
pub(super) fn open(path: &Path) -> Result<DynamicImage, DataError> {
    let reader = ImageReader::open(path).map_err(DataError::read(path))?;
    // The name may be wrong.
    let mut reader = reader.with_guessed_format().map_err(DataError::read(path))?;
    let mut limits = Limits::default();
    limits.max_image_height = Some(MOST_SIDE);
    limits.max_image_width = Some(MOST_SIDE);
    limits.max_alloc = Some(MOST_BYTES);
    reader.limits(limits);
    let image = reader.decode().map_err(|error| refused(path, &error))?;
    match image.height() == 0 || image.width() == 0 {
        true => Err(DataError::Image { path: path.to_path_buf(), reason: "it has no pixels".into() }),
        false => Ok(image),
    }
}

fn refused(path: &Path, error: &ImageError) -> DataError {
    let (path, reason) = (path.to_path_buf(), error.to_string());
    match error {
        ImageError::Limits(_) => DataError::Huge { path, reason },
        _ => DataError::Image { path, reason },
    }
}
