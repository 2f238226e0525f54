//! EfficientVMamba (Pei et al. 2024): stages of blocks with a scan of sub-grids beside a convolution, then stages of
//! convolutions.

mod block;
mod config;
mod pretrained;

pub use block::{ConvBranch, ConvNorm, EvssBlock, InvertedResidual, SqueezeExcite};
pub use config::EfficientVMambaConfig;

use crate::vmamba::{Classifier, Downsample, PatchEmbed};
use burn::module::Module;
use burn::tensor::Tensor;

/// EfficientVMamba. Made by [`EfficientVMambaConfig`].
#[derive(Module, Debug)]
pub struct EfficientVMamba {
    /// From images to patches.
    pub patch_embed: PatchEmbed,
    /// The stages, first to last.
    pub layers: Vec<EfficientStage>,
    /// Norm and head.
    pub classifier: Classifier,
}

/// Blocks of one width.
#[derive(Module, Debug)]
pub struct EfficientStage {
    /// The blocks, first to last.
    pub blocks: Vec<EfficientBlock>,
    /// Halves the image for the next stage; not in the last.
    pub downsample: Option<Downsample>,
}

/// A block of a stage.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "a model has few")]
pub enum EfficientBlock {
    /// In the first two stages.
    Evss(EvssBlock),
    /// In the others.
    Inverted(InvertedResidual),
}

impl EfficientVMamba {
    /// The logits `[batch, num_classes]` of images `[batch, in_channels, height, width]` of any size.
    ///
    /// # Panics
    /// If the images have another number of channels, or are smaller than a patch.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.classifier.forward(self.features(images).pop().expect("a model has stages"))
    }

    /// The features of every stage, for dense tasks: stage `s` is `[batch, height / 2^(s + 2), width / 2^(s + 2),
    /// d_model * 2^s]`, before its image is halved.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn features(&self, images: Tensor<4>) -> Vec<Tensor<4>> {
        let mut x = self.patch_embed.forward(images);
        let mut features = Vec::with_capacity(self.layers.len());
        for stage in &self.layers {
            for block in &stage.blocks {
                x = block.forward(x);
            }
            features.push(x.clone());
            if let Some(downsample) = &stage.downsample {
                x = downsample.forward(x);
            }
        }
        features
    }
}

impl EfficientBlock {
    /// `[batch, height, width, d_model]`, the same shape.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Evss(block) => block.forward(x),
            Self::Inverted(block) => block.forward(x),
        }
    }
}
