//! The random orders of tokens in which the layers of a model train.

use crate::order::{Path, ScanPaths};
use burn::tensor::{Device, Distribution, Tensor};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Layer `l` of `layers` meets its tokens in a random order with probability `most * l / layers` (Stochastic Layer-Wise
/// Shuffle, Huang et al. 2024). Scans follow the order in place, so that nothing is shuffled back behind the layer.
pub(super) struct Shuffle {
    most: f64,
    layers: usize,
    layer: usize,
    device: Device,
    rng: StdRng,
}

impl Shuffle {
    /// One pass through the model; none outside of training, or if `most` is 0.
    pub fn start(most: f64, layers: usize, device: &Device) -> Option<Self> {
        if most == 0.0 || !device.is_autodiff() {
            return None;
        }
        // One draw from the device's random numbers, so that its seed decides about orders, too.
        let draw = Tensor::<1>::random([2], Distribution::Uniform(0.0, f64::from(1 << 24)), device);
        let seed = draw.into_data().iter::<f32>().fold(0, |seed, draw| seed << 24 | u64::from(draw as u32));
        Some(Self { most, layers, layer: 0, device: device.clone(), rng: StdRng::seed_from_u64(seed) })
    }

    /// The path of the next layer through `tokens` tokens; none if it is not shuffled.
    pub fn next_path(&mut self, tokens: usize) -> Option<ScanPaths> {
        self.layer += 1;
        let is_shuffled = self.rng.random_bool(self.most * self.layer as f64 / self.layers as f64);
        let path = is_shuffled.then(|| Path::shuffled(tokens, &mut self.rng))?;
        Some(ScanPaths::new(&[path], &self.device).expect("a shuffle is a permutation"))
    }
}
