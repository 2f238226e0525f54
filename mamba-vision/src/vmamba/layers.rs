//! What lies between the blocks of VMamba: patches in, half the image from stage to stage.

use super::ss2d::channels_last;
use super::stem::ConvStem;
use crate::{conv, init};
use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{LayerNorm, LayerNormConfig, Linear, PaddingConfig2d};
use burn::tensor::{Device, Tensor};
use mamba_blocks::parts::{normalize, project};
use mamba_core::gelu;

/// How an image becomes patches of 4 x 4.
#[derive(Config, Debug, Copy, PartialEq)]
pub enum PatchEmbedType {
    /// One convolution.
    V1,
    /// Two overlapping convolutions that halve the image each.
    V2,
    /// A [`ConvStem`], which no published model has.
    ConvStem,
}

/// How a stage halves the image for the next.
#[derive(Config, Debug, Copy, PartialEq)]
pub enum DownsampleType {
    /// Squares of 2 x 2 are concatenated and projected, as in the Swin Transformer.
    V1,
    /// An overlapping convolution.
    V3,
}

/// From images `[batch, in_channels, height, width]` to patches `[batch, height / 4, width / 4, d_model]`.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "a model has one")]
pub enum PatchEmbed {
    /// As [`PatchEmbedType::V1`] and [`PatchEmbedType::V2`].
    Strided(StridedPatches),
    /// As [`PatchEmbedType::ConvStem`].
    Stem(ConvStem),
}

/// One or two convolutions with strides, each with a norm.
#[derive(Module, Debug)]
pub struct StridedPatches {
    /// The first convolution, or the only one.
    pub conv1: Conv2d,
    /// Norm of its output.
    pub norm1: LayerNorm,
    /// The second convolution, after a GELU.
    pub conv2: Option<Conv2d>,
    /// Norm of its output.
    pub norm2: Option<LayerNorm>,
}

impl PatchEmbed {
    pub(crate) fn new(kind: PatchEmbedType, in_channels: usize, d_model: usize, device: &Device) -> Self {
        let norm = |size| LayerNormConfig::new(size).init(device);
        match kind {
            PatchEmbedType::V1 => {
                let conv1 = Conv2dConfig::new([in_channels, d_model], [4, 4]).with_stride([4, 4]).init(device);
                Self::Strided(StridedPatches { conv1, norm1: norm(d_model), conv2: None, norm2: None })
            }
            PatchEmbedType::V2 => Self::Strided(StridedPatches {
                conv1: halving([in_channels, d_model / 2], device),
                norm1: norm(d_model / 2),
                conv2: Some(halving([d_model / 2, d_model], device)),
                norm2: Some(norm(d_model)),
            }),
            PatchEmbedType::ConvStem => Self::Stem(ConvStem::new(in_channels, d_model, device)),
        }
    }

    /// See [`PatchEmbed`].
    pub fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Strided(patches) => patches.forward(images),
            Self::Stem(stem) => stem.forward(images),
        }
    }
}

impl StridedPatches {
    /// See [`PatchEmbed`].
    pub fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        match (&self.conv2, &self.norm2) {
            (Some(conv2), Some(norm2)) => {
                let x = normalize(&self.norm1, conv::halving(&self.conv1, channels_last(images)));
                normalize(norm2, conv::halving(conv2, gelu(x)))
            }
            _ => normalize(&self.norm1, channels_last(self.conv1.forward(images))),
        }
    }
}

/// From `[batch, height, width, d_model]` to `[batch, height / 2, width / 2, 2 * d_model]`, rounded up.
#[derive(Module, Debug)]
pub enum Downsample {
    /// As [`DownsampleType::V1`].
    Merge(PatchMerging),
    /// As [`DownsampleType::V3`].
    Conv(ConvDownsample),
}

/// See [`DownsampleType::V1`]. Odd sides are padded with zeros.
#[derive(Module, Debug)]
pub struct PatchMerging {
    /// Norm of the four places together, `4 * d_model`.
    pub merged_norm: LayerNorm,
    /// From `4 * d_model` to `2 * d_model`.
    pub reduction: Linear,
}

/// See [`DownsampleType::V3`].
#[derive(Module, Debug)]
pub struct ConvDownsample {
    /// 3 x 3, every second place.
    pub conv: Conv2d,
    /// Norm of its output.
    pub norm: LayerNorm,
}

impl Downsample {
    pub(crate) fn new(kind: DownsampleType, d_model: usize, device: &Device) -> Self {
        let norm = |size| LayerNormConfig::new(size).init(device);
        match kind {
            DownsampleType::V1 => {
                let reduction = init::linear(4 * d_model, 2 * d_model, false, device);
                Self::Merge(PatchMerging { merged_norm: norm(4 * d_model), reduction })
            }
            DownsampleType::V3 => {
                let conv = halving([d_model, 2 * d_model], device);
                Self::Conv(ConvDownsample { conv, norm: norm(2 * d_model) })
            }
        }
    }

    /// See [`Downsample`].
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Merge(merge) => project(&merge.reduction, normalize(&merge.merged_norm, squares(x))),
            Self::Conv(down) => normalize(&down.norm, conv::halving(&down.conv, x)),
        }
    }
}

/// The places of every 2 x 2 square one after the other, column by column.
pub(super) fn squares(x: Tensor<4>) -> Tensor<4> {
    let [batch, height, width, channels] = x.dims();
    let x = match (height % 2, width % 2) {
        (0, 0) => x,
        (bottom, right) => conv::zero_padded(x, [0, bottom, right, 0]),
    };
    let [height, width] = [height.div_ceil(2), width.div_ceil(2)];
    // [batch, rows, row in square, columns, column in square, channels]
    let x = x.reshape([batch, height, 2, width, 2, channels]).permute([0, 1, 3, 4, 2, 5]);
    x.reshape([batch, height, width, 4 * channels])
}

/// A 3 x 3 convolution at every second place.
fn halving(channels: [usize; 2], device: &Device) -> Conv2d {
    let padding = PaddingConfig2d::Explicit(1, 1, 1, 1);
    Conv2dConfig::new(channels, [3, 3]).with_stride([2, 2]).with_padding(padding).init(device)
}
