//! Vision Mamba (Zhu et al. 2024): patches as tokens through bidirectional mixers.

mod config;
mod mixer;
mod pretrained;
mod shuffle;

pub(crate) use config::out_proj_weight;
pub use config::{ClassToken, VimConfig};
pub use mixer::{BiMamba, BiMambaConfig, BiMambaType};

use crate::drop_path::DropPath;
use crate::order::ScanPaths;
use burn::module::{Module, Param};
use burn::nn::conv::Conv2d;
use burn::nn::{Linear, RmsNorm};
use burn::tensor::Tensor;
use mamba_blocks::parts::project;
use mamba_core::{AddRmsNormOutput, add_rms_norm};
use shuffle::Shuffle;

/// Vision Mamba. Made by [`VimConfig`].
#[derive(Module, Debug)]
pub struct Vim {
    /// From patches to tokens: weight `[d_model, in_channels, patch_size, patch_size]`.
    pub patch_embed: Conv2d,
    /// The class token, `[1, 1, d_model]`.
    pub cls_token: Option<Param<Tensor<3>>>,
    /// What is added to every token for its place, the class token's among them: `[1, tokens, d_model]`.
    pub pos_embed: Param<Tensor<3>>,
    /// The blocks, first to last.
    pub layers: Vec<VimBlock>,
    /// Leaves out the output of the last block.
    pub drop_path: DropPath,
    /// RMS norm of the output of the blocks.
    pub norm_f: RmsNorm,
    /// From `d_model` to the classes.
    pub head: Linear,
    /// Where the class token is.
    #[module(skip)]
    pub class_token: ClassToken,
    /// Height and width of the images.
    pub image_size: [usize; 2],
    /// See [`VimConfig::shuffle`].
    pub shuffle: f64,
}

/// Add, norm, mixer; the stream between blocks is a pair as that of [`mamba_blocks::MambaBlock`].
#[derive(Module, Debug)]
pub struct VimBlock {
    /// RMS norm of the residual stream.
    pub norm: RmsNorm,
    /// The mixer.
    pub mixer: BiMamba,
    /// Leaves out what the block before returned.
    pub drop_path: DropPath,
}

impl Vim {
    /// The logits `[batch, num_classes]` of images `[batch, in_channels, height, width]`.
    ///
    /// # Panics
    /// If the images have another size than the model's, or there are none.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let tokens = self.features(images);
        let feature = match self.class_place(tokens.dims()[1]) {
            Some(place) => tokens.narrow(1, place, 1),
            None => tokens.mean_dim(1),
        };
        project(&self.head, feature.squeeze_dim(1))
    }

    /// The output of the final norm for every token, `[batch, tokens, d_model]`.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn features(&self, images: Tensor<4>) -> Tensor<3> {
        let mut hidden = self.tokens(images);
        let mut residual = None;
        let mut shuffle = Shuffle::start(self.shuffle, self.layers.len(), &hidden.device());
        for layer in &self.layers {
            let path = shuffle.as_mut().and_then(|shuffle| shuffle.next_path(hidden.dims()[1]));
            let (output, sum) = layer.forward_along(hidden, residual, path.as_ref());
            (hidden, residual) = (output, Some(sum));
        }
        norm(&self.norm_f, self.drop_path.forward(hidden), residual).normed
    }

    /// At which of `tokens` tokens the class token is.
    pub fn class_place(&self, tokens: usize) -> Option<usize> {
        self.class_token.place(tokens)
    }

    /// Patches row by row, the class token among them, and all with their places.
    fn tokens(&self, images: Tensor<4>) -> Tensor<3> {
        self.check(&images);
        let patches: Tensor<3> = self.patch_embed.forward(images).flatten(2, 3);
        let patches = patches.swap_dims(1, 2);
        let [_, tokens, _] = self.pos_embed.dims();
        let tokens = match (&self.cls_token, self.class_token.place(tokens)) {
            (Some(class), Some(place)) => with_class_token(patches, class.val(), place),
            _ => patches,
        };
        tokens + self.pos_embed.val()
    }

    fn check(&self, images: &Tensor<4>) {
        let [batch, ..] = images.dims();
        let [_, channels, ..] = self.patch_embed.weight.dims();
        let [height, width] = self.image_size;
        assert!(
            batch > 0 && images.dims() == [batch, channels, height, width],
            "Vim: the images have shape {:?}, expected [batch, {channels}, {height}, {width}] with a batch of at least 1",
            images.dims()
        );
    }
}

impl VimBlock {
    /// `hidden` and `residual` are `[batch, tokens, d_model]`; the first block has no residual. Returns the next pair.
    pub fn forward(&self, hidden: Tensor<3>, residual: Option<Tensor<3>>) -> (Tensor<3>, Tensor<3>) {
        self.forward_along(hidden, residual, None)
    }

    /// As [`forward`](Self::forward), with the mixer along one path through the tokens.
    pub fn forward_along(
        &self,
        hidden: Tensor<3>,
        residual: Option<Tensor<3>>,
        path: Option<&ScanPaths>,
    ) -> (Tensor<3>, Tensor<3>) {
        let hidden = if residual.is_some() { self.drop_path.forward(hidden) } else { hidden };
        let AddRmsNormOutput { normed, sum } = norm(&self.norm, hidden, residual);
        (self.mixer.forward_along(normed, path), sum)
    }
}

/// `patches` `[batch, length, d_model]` with `class` `[1, 1, d_model]` among them, so that it stands at `place`.
pub(crate) fn with_class_token(patches: Tensor<3>, class: Tensor<3>, place: usize) -> Tensor<3> {
    let [batch, length, d_model] = patches.dims();
    let class = class.expand([batch, 1, d_model]);
    // Burn has no empty tensors to put before the first patch.
    let after = patches.clone().narrow(1, place, length - place);
    let parts = match place {
        0 => vec![class, after],
        _ => vec![patches.narrow(1, 0, place), class, after],
    };
    Tensor::cat(parts, 1)
}

/// [`RmsNorm`] of `hidden + residual`.
pub(crate) fn norm(norm: &RmsNorm, hidden: Tensor<3>, residual: Option<Tensor<3>>) -> AddRmsNormOutput {
    add_rms_norm(hidden, residual, norm.gamma.val(), norm.epsilon)
}
