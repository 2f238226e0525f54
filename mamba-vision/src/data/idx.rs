//! The idx format of the MNIST family (LeCun et al. 1998).

use super::{DataError, LabelledImages, checked_labels};
use flate2::read::GzDecoder;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

impl LabelledImages {
    /// Reads a file of images and one of their labels, which are less than `classes`; names that end in `.gz` are
    /// unpacked.
    ///
    /// # Errors
    /// [`DataError`], which names the file. No more memory is taken than the headers promise.
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use mamba_vision::data::LabelledImages;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let (images, labels) = (folder.path().join("images"), folder.path().join("labels"));
    /// # std::fs::write(&images, [[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2].as_slice(), &[0, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8]].concat())?;
    /// # std::fs::write(&labels, [0, 0, 8, 1, 0, 0, 0, 2, 7, 3])?;
    /// // Two images of 2 by 2 pixels.
    /// let images = LabelledImages::read_idx(&images, &labels, 10)?;
    /// assert_eq!((images.dims(), images.labels()), ([1, 2, 2], [7, 3].as_slice()));
    /// let (batch, _classes) = images.batch(&[0, 1], &Device::default());
    /// assert_eq!(batch.dims(), [2, 1, 2, 2]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn read_idx(
        images: impl AsRef<Path>,
        labels: impl AsRef<Path>,
        classes: usize,
    ) -> Result<LabelledImages, DataError> {
        let (images, labels_path) = (images.as_ref(), labels.as_ref());
        let ([count, height, width], pixels) = read::<3>(images)?;
        let ([_], labels) = read::<1>(labels_path)?;
        let labels = labels.into_iter().map(usize::from);
        let labels = checked_labels(labels_path, labels, count, classes)?;
        Ok(Self { pixels, labels, channels: 1, height, width, classes })
    }
}

/// Type 8 is unsigned bytes.
const BYTES: u8 = 8;

/// The sizes and the bytes of a file with `D` dimensions.
fn read<const D: usize>(path: &Path) -> Result<([usize; D], Vec<u8>), DataError> {
    let file = BufReader::new(File::open(path).map_err(DataError::read(path))?);
    let is_packed = path.extension().is_some_and(|extension| extension == "gz");
    let mut file: Box<dyn Read> = if is_packed { Box::new(GzDecoder::new(file)) } else { Box::new(file) };

    let mut start = Vec::new();
    file.by_ref().take(4 + 4 * D as u64).read_to_end(&mut start).map_err(DataError::read(path))?;
    let path = path.to_path_buf();
    let Some((_, sizes)) = start.split_at_checked(4).filter(|(magic, _)| *magic == [0, 0, BYTES, D as u8]) else {
        start.truncate(4);
        return Err(DataError::Magic { path, found: start, expected: D });
    };
    let sizes: Vec<_> = sizes.as_chunks().0.iter().map(|size| u32::from_be_bytes(*size)).collect();
    let expected = sizes.iter().try_fold(1_u64, |product, &size| product.checked_mul(size.into()));
    let expected = expected.unwrap_or(u64::MAX);
    if sizes.contains(&0) {
        return Err(DataError::Empty { path, sizes });
    }
    let mut bytes = Vec::new();
    // One more, to see what is behind the end.
    file.take(expected.saturating_add(1)).read_to_end(&mut bytes).map_err(DataError::read(&path))?;
    match <[u32; D]>::try_from(sizes.clone()) {
        Ok(sizes) if bytes.len() as u64 == expected => Ok((sizes.map(|size| size as usize), bytes)),
        _ => Err(DataError::Length { path, found: bytes.len(), expected, sizes }),
    }
}
