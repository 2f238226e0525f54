//! Patches by early convolutions.

use super::ss2d::channels_last;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

/// Two convolutions of 3 x 3, each with batch norm, ReLU and the greatest of every 2 x 2 places: from images
/// `[batch, in_channels, height, width]` to patches `[batch, height / 4, width / 4, d_model]`, rounded down.
///
/// Early convolutions (Xiao et al. 2021, arXiv:2106.14881) that see every pixel, for small images and few of them.
#[derive(Module, Debug)]
pub struct ConvStem {
    /// From `in_channels` to `d_model / 2`.
    pub conv1: Conv2d,
    /// Norm of its output.
    pub norm1: BatchNorm,
    /// From `d_model / 2` to `d_model`.
    pub conv2: Conv2d,
    /// Norm of its output.
    pub norm2: BatchNorm,
    /// Halves the image.
    pub pool: MaxPool2d,
}

impl ConvStem {
    pub(super) fn new(in_channels: usize, d_model: usize, device: &Device) -> Self {
        // A bias would only move the mean that the norm takes away.
        let conv = |channels| {
            let config = Conv2dConfig::new(channels, [3, 3]).with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
            config.with_bias(false).init(device)
        };
        let norm = |size| BatchNormConfig::new(size).init(device);
        Self {
            conv1: conv([in_channels, d_model / 2]),
            norm1: norm(d_model / 2),
            conv2: conv([d_model / 2, d_model]),
            norm2: norm(d_model),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
        }
    }

    /// See [`ConvStem`].
    pub fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        let x = self.pool.forward(relu(self.norm1.forward(self.conv1.forward(images))));
        channels_last(self.pool.forward(relu(self.norm2.forward(self.conv2.forward(x)))))
    }
}
