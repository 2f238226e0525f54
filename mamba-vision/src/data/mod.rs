//! Labelled images: how they are read, varied and put on a device.

mod cifar;
mod decode;
mod error;
mod folder;
mod idx;
mod mix;
mod variation;

pub use cifar::CIFAR10_CLASSES;
pub use decode::{Picture, is_picture};
pub use error::DataError;
pub use folder::{FolderImages, ImageFolder};
pub use mix::{Mix, cross_entropy, one_hot};
pub use variation::Variation;

use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use rayon::prelude::*;
use std::path::Path;

/// Images of one size with their classes.
#[derive(Clone, Debug)]
pub struct LabelledImages {
    /// Image by image, channel by channel, row by row.
    pixels: Vec<u8>,
    labels: Vec<u16>,
    channels: usize,
    height: usize,
    width: usize,
    classes: usize,
}

impl LabelledImages {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none; what is read has some.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Channels, height and width.
    pub fn dims(&self) -> [usize; 3] {
        [self.channels, self.height, self.width]
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The class of every image.
    pub fn labels(&self) -> &[u16] {
        &self.labels
    }

    /// Mean and standard deviation of all pixels, white being 1.
    pub fn statistics(&self) -> (f32, f32) {
        let count = self.pixels.len() as f64;
        let value = |&pixel: &u8| f64::from(pixel) / 255.0;
        let mean = self.pixels.iter().map(value).sum::<f64>() / count;
        let variance = self.pixels.iter().map(|pixel| (value(pixel) - mean).powi(2)).sum::<f64>() / count;
        (mean as f32, variance.sqrt() as f32)
    }

    /// Images `[batch, channels, height, width]`, white being 1, and their classes `[batch]`.
    ///
    /// # Panics
    /// If there is no such image.
    pub fn batch(&self, indices: &[usize], device: &Device) -> (Tensor<4>, Tensor<1, Int>) {
        let images = indices.iter().flat_map(|&index| self.image(index)).map(|&pixel| f32::from(pixel) / 255.0);
        self.on_device(images.collect(), indices, device)
    }

    /// As [`batch`](Self::batch), each image varied at random, on all cores.
    ///
    /// # Panics
    /// As [`batch`](Self::batch).
    pub fn varied_batch<R: Rng + ?Sized>(
        &self,
        indices: &[usize],
        variation: Variation,
        rng: &mut R,
        device: &Device,
    ) -> (Tensor<4>, Tensor<1, Int>) {
        let size = [self.height, self.width];
        // A seed for each image: what it becomes does not depend on which core takes it.
        let draws: Vec<(usize, u64)> = indices.iter().map(|&index| (index, rng.random())).collect();
        let varied = draws
            .into_par_iter()
            .flat_map_iter(|(index, seed)| variation.vary(self.image(index), size, &mut StdRng::seed_from_u64(seed)));
        self.on_device(varied.collect(), indices, device)
    }

    fn image(&self, index: usize) -> &[u8] {
        let size = self.channels * self.height * self.width;
        &self.pixels[index * size..(index + 1) * size]
    }

    fn on_device(&self, images: Vec<f32>, indices: &[usize], device: &Device) -> (Tensor<4>, Tensor<1, Int>) {
        let labels: Vec<_> = indices.iter().map(|&index| i32::from(self.labels[index])).collect();
        let images = TensorData::new(images, [indices.len(), self.channels, self.height, self.width]);
        let labels = TensorData::new(labels, [indices.len()]);
        (Tensor::from_data(images, device), Tensor::from_data(labels, device))
    }
}

/// `labels` of `images` images in the file `path`, if there is one for each and all are less than `classes`.
fn checked_labels(
    path: &Path,
    labels: impl ExactSizeIterator<Item = usize>,
    images: usize,
    classes: usize,
) -> Result<Vec<u16>, DataError> {
    if labels.len() != images {
        return Err(DataError::Labels { path: path.to_path_buf(), found: labels.len(), expected: images });
    }
    let check = |(index, label)| match label < classes {
        true => Ok(label as u16),
        false => Err(DataError::Label { path: path.to_path_buf(), index, label, classes }),
    };
    labels.enumerate().map(check).collect()
}
