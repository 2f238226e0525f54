//! Patches by early convolutions.

use super::ss2d::{channels_first, channels_last};
use crate::conv;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

/// A convolution of 3 x 3 with the greatest of every 2 x 2 places, and one at every second place, each with batch norm and
/// ReLU: from images `[batch, in_channels, height, width]` of at least 2 x 2 to patches `[batch, height / 4, width / 4,
/// d_model]`, where the first halving rounds down and the second up.
///
/// Early convolutions (Xiao et al. 2021, arXiv:2106.14881), the first of which is computed at every pixel, for small images
/// and few of them.
#[derive(Module, Debug)]
pub struct ConvStem {
    /// From `in_channels` to `d_model / 2`.
    pub conv1: Conv2d,
    /// Halves the image.
    pub pool: MaxPool2d,
    /// Norm of what is left.
    pub norm1: BatchNorm,
    /// From `d_model / 2` to `d_model`, every second place.
    pub conv2: Conv2d,
    /// Norm of its output.
    pub norm2: BatchNorm,
}

impl ConvStem {
    pub(super) fn new(in_channels: usize, d_model: usize, device: &Device) -> Self {
        // A bias would only move the mean that the norm takes away.
        let conv = |channels, stride| {
            let config = Conv2dConfig::new(channels, [3, 3]).with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
            config.with_stride([stride; 2]).with_bias(false).init(device)
        };
        let norm = |size| BatchNormConfig::new(size).init(device);
        Self {
            conv1: conv([in_channels, d_model / 2], 1),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            norm1: norm(d_model / 2),
            conv2: conv([d_model / 2, d_model], 2),
            norm2: norm(d_model),
        }
    }

    /// See [`ConvStem`].
    pub fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        let x = relu(self.norm1.forward(self.pool.forward(self.conv1.forward(images))));
        let x = conv::halving(&self.conv2, channels_last(x));
        channels_last(relu(self.norm2.forward(channels_first(x))))
    }
}
