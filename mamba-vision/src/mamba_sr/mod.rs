//! The super-resolution network of opensr-mamba (Aybar 2024), after MambaIR (Guo et al. 2024).

mod block;
mod config;
mod pretrained;

pub use block::{Attention, SrBlock, SrGroup};
pub use config::MambaSrConfig;

use crate::vmamba::{channels_first, channels_last};
use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{LayerNorm, PixelShuffle};
use burn::tensor::Tensor;
use mamba_blocks::parts::normalize;

/// Residual groups of scans between convolutions, and an image of more pixels out. Made by [`MambaSrConfig`].
#[derive(Module, Debug)]
pub struct MambaSr {
    /// From the image to the stream.
    pub conv_first: Conv2d,
    /// Norm before the groups.
    pub patch_norm: LayerNorm,
    /// The groups, first to last.
    pub layers: Vec<SrGroup>,
    /// Norm of the output of the groups.
    pub norm: LayerNorm,
    /// The last convolution beside the stream.
    pub conv_after_body: Conv2d,
    /// From the stream to `upscale^2` pixels of every channel.
    pub upsample: Conv2d,
    /// Puts these pixels beside each other.
    pub shuffle: PixelShuffle,
}

impl MambaSr {
    /// `[batch, out_channels, height * upscale, width * upscale]` of images `[batch, in_channels, height, width]`.
    ///
    /// # Panics
    /// If the images have another number of channels, or no pixels.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        let shallow = self.conv_first.forward(images);
        let mut x = normalize(&self.patch_norm, channels_last(shallow.clone()));
        for layer in &self.layers {
            x = layer.forward(x);
        }
        let deep = self.conv_after_body.forward(channels_first(normalize(&self.norm, x)));
        self.shuffle.forward(self.upsample.forward(deep + shallow))
    }
}
