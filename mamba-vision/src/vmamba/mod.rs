//! VMamba (Liu et al. 2024): stages of blocks that scan the image in four directions.

mod block;
mod config;
mod layers;
mod pattern;
mod pretrained;
mod ss2d;
mod stem;

pub use block::{Mlp, VssBlock};
pub use config::VMambaConfig;
pub use layers::{
    ConvDownsample, Downsample, DownsampleType, PatchEmbed, PatchEmbedType, PatchMerging, StridedPatches,
};
pub use pattern::ScanPattern;
pub(crate) use pretrained::LAYOUT;
pub use ss2d::{Ss2d, Ss2dConfig};
pub(crate) use ss2d::{channels_first, channels_last, padded};
pub use stem::ConvStem;

use crate::order::Order;
use burn::module::Module;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::Tensor;
use mamba_blocks::parts::{normalize, project};

/// VMamba. Made by [`VMambaConfig`].
#[derive(Module, Debug)]
pub struct VMamba {
    /// From images to patches.
    pub patch_embed: PatchEmbed,
    /// The stages, first to last.
    pub layers: Vec<VssStage>,
    /// Norm and head.
    pub classifier: Classifier,
}

/// Blocks of one width.
#[derive(Module, Debug)]
pub struct VssStage {
    /// The blocks, first to last.
    pub blocks: Vec<VssBlock>,
    /// Halves the image for the next stage; not in the last.
    pub downsample: Option<Downsample>,
}

/// From the features of the last stage to the classes.
#[derive(Module, Debug)]
pub struct Classifier {
    /// Norm of every place.
    pub norm: LayerNorm,
    /// From the mean over all places to the classes.
    pub head: Linear,
}

impl VMamba {
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

    /// The `count` directions with the greatest weights of every block, as [`LocalVMambaConfig`] takes them; none
    /// without a search.
    ///
    /// [`LocalVMambaConfig`]: crate::LocalVMambaConfig
    pub fn strongest_directions(&self, count: usize) -> Option<Vec<Vec<Order>>> {
        let blocks = self.layers.iter().flat_map(|stage| &stage.blocks);
        blocks.map(|block| block.op.merge.as_ref()?.strongest(count)).collect()
    }
}

impl Classifier {
    /// The logits `[batch, num_classes]` of features `[batch, height, width, d_model]`.
    pub fn forward(&self, features: Tensor<4>) -> Tensor<2> {
        let pooled = normalize(&self.norm, features).mean_dim(1).mean_dim(2);
        project(&self.head, pooled.squeeze_dims(&[1, 2]))
    }
}
