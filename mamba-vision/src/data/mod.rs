//! Labelled images: how they are read, varied and put on a device.

mod error;
mod idx;

pub use error::DataError;

use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::{Rng, RngExt};

/// Images of one size with their classes.
#[derive(Clone, Debug)]
pub struct LabelledImages {
    /// Image by image, channel by channel, row by row.
    pixels: Vec<u8>,
    labels: Vec<u8>,
    channels: usize,
    height: usize,
    width: usize,
    classes: usize,
}

/// How images are varied in training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Variation {
    /// By how many pixels an image may be moved up, down, left and right; what comes in is black.
    pub shift: usize,
    /// Whether every second image is mirrored.
    pub flip: bool,
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
    pub fn labels(&self) -> &[u8] {
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

    /// As [`batch`](Self::batch), each image varied at random.
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
        let mut images = Vec::with_capacity(indices.len() * self.channels * self.height * self.width);
        for &index in indices {
            let shift = variation.shift as i64;
            let [down, right] = [(); 2].map(|()| rng.random_range(-shift..=shift) as isize);
            let is_mirrored = variation.flip && rng.random::<bool>();
            for channel in self.image(index).chunks(self.height * self.width) {
                let pixel = |row: usize, column: usize| {
                    let column = if is_mirrored { self.width - 1 - column } else { column };
                    let (row, column) = (row.checked_add_signed(-down)?, column.checked_add_signed(-right)?);
                    (row < self.height && column < self.width).then(|| channel[row * self.width + column])
                };
                let places = (0..self.height).flat_map(|row| (0..self.width).map(move |column| (row, column)));
                images.extend(places.map(|(row, column)| f32::from(pixel(row, column).unwrap_or(0)) / 255.0));
            }
        }
        self.on_device(images, indices, device)
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
