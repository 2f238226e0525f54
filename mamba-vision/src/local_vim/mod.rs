//! LocalVim (Huang et al. 2024): Vision Mamba with four of eight directions in every layer.

mod config;
mod mixer;
mod pretrained;
mod rope;

pub use config::LocalVimConfig;
pub use mixer::LocalMamba;
pub use rope::Rope;

use crate::drop_path::DropPath;
use crate::order::{Grid, Order};
use crate::vim::{ClassToken, norm, with_class_token};
use burn::module::{Module, Param};
use burn::nn::conv::Conv2d;
use burn::nn::{Linear, RmsNorm};
use burn::tensor::Tensor;
use mamba_blocks::parts::project;
use mamba_core::AddRmsNormOutput;

/// LocalVim. Made by [`LocalVimConfig`].
#[derive(Module, Debug)]
pub struct LocalVim {
    /// From patches to tokens: weight `[d_model, in_channels, patch_size, patch_size]`.
    pub patch_embed: Conv2d,
    /// The class token, `[1, 1, d_model]`.
    pub cls_token: Option<Param<Tensor<3>>>,
    /// What is added to every token for its place, the class token's among them: `[1, tokens, d_model]`.
    pub pos_embed: Param<Tensor<3>>,
    /// Turns the stream before every layer.
    pub rope: Option<Rope>,
    /// The blocks, first to last.
    pub layers: Vec<LocalVimBlock>,
    /// Leaves out the output of the last block.
    pub drop_path: DropPath,
    /// RMS norm of the output of the blocks.
    pub norm_f: RmsNorm,
    /// From `d_model` to the classes.
    pub head: Linear,
    /// Where the class token is.
    #[module(skip)]
    pub class_token: ClassToken,
    /// Rows and columns of patches.
    pub patches: [usize; 2],
}

/// Add, norm, mixer; the stream between blocks is a pair as that of [`mamba_blocks::MambaBlock`].
#[derive(Module, Debug)]
pub struct LocalVimBlock {
    /// RMS norm of the residual stream.
    pub norm: RmsNorm,
    /// The mixer.
    pub mixer: LocalMamba,
    /// Leaves out what the block before returned.
    pub drop_path: DropPath,
}

impl LocalVim {
    /// The logits `[batch, num_classes]` of images `[batch, in_channels, height, width]`.
    ///
    /// # Panics
    /// If the images have another size than the model's, or there are none.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let tokens = self.features(images);
        let feature = match self.class_token.place(tokens.dims()[1]) {
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
        let (hidden, residual) = self.through(images, self.layers.len(), |_| ());
        norm(&self.norm_f, self.drop_path.forward(hidden), residual).normed
    }

    /// The residual stream behind each of `layers` (the first is 0, in rising order), without the class token, for dense
    /// tasks: `[batch, rows, columns, d_model]`.
    ///
    /// # Panics
    /// As [`forward`](Self::forward), or if there is no such layer.
    pub fn layer_features(&self, images: Tensor<4>, layers: &[usize]) -> Vec<Tensor<4>> {
        let last = layers.last().map_or(0, |&last| last + 1);
        assert!(last <= self.layers.len(), "LocalVim: layer {} of {}", last - 1, self.layers.len());
        let mut sums = Vec::with_capacity(last);
        let (hidden, residual) = self.through(images, last, |sum| sums.push(sum));
        // What a layer adds to the stream is added by the next.
        sums.push(residual.map_or(hidden.clone(), |residual| residual + hidden));
        layers.iter().map(|layer| self.on_grid(sums[layer + 1].clone())).collect()
    }

    /// `hidden` and `residual` behind the first `layers` layers; `see` gets the sum that each of them norms.
    fn through(
        &self,
        images: Tensor<4>,
        layers: usize,
        mut see: impl FnMut(Tensor<3>),
    ) -> (Tensor<3>, Option<Tensor<3>>) {
        let [rows, columns] = self.patches;
        let turned = |x: Tensor<3>| match &self.rope {
            Some(rope) => rope.forward(x),
            None => x,
        };
        let mut hidden = self.tokens(images);
        let mut residual = None;
        for layer in &self.layers[..layers] {
            let (output, sum) =
                layer.forward(turned(hidden), residual.map(turned), Grid::image(rows, columns), self.class_token);
            see(sum.clone());
            (hidden, residual) = (output, Some(sum));
        }
        (hidden, residual)
    }

    /// The `count` directions with the greatest weights of every layer, as [`LocalVimConfig`] takes them; none without a
    /// search.
    pub fn strongest_directions(&self, count: usize) -> Option<Vec<Vec<Order>>> {
        self.layers.iter().map(|layer| layer.mixer.merge.strongest(count)).collect()
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

    /// Tokens without the class token, in rows and columns.
    fn on_grid(&self, tokens: Tensor<3>) -> Tensor<4> {
        let [batch, length, d_model] = tokens.dims();
        let patches = match self.class_token.place(length) {
            None => tokens,
            Some(0) => tokens.narrow(1, 1, length - 1),
            Some(place) => {
                let after = tokens.clone().narrow(1, place + 1, length - 1 - place);
                Tensor::cat(vec![tokens.narrow(1, 0, place), after], 1)
            }
        };
        let [rows, columns] = self.patches;
        patches.reshape([batch, rows, columns, d_model])
    }

    fn check(&self, images: &Tensor<4>) {
        let [batch, ..] = images.dims();
        let [_, channels, side, _] = self.patch_embed.weight.dims();
        let [height, width] = self.patches.map(|patches| patches * side);
        assert!(
            batch > 0 && images.dims() == [batch, channels, height, width],
            "LocalVim: the images have shape {:?}, expected [batch, {channels}, {height}, {width}] with a batch of at \
             least 1",
            images.dims()
        );
    }
}

impl LocalVimBlock {
    /// `hidden` and `residual` are `[batch, tokens, d_model]`; the first block has no residual. Returns the next pair.
    fn forward(
        &self,
        hidden: Tensor<3>,
        residual: Option<Tensor<3>>,
        grid: Grid,
        class: ClassToken,
    ) -> (Tensor<3>, Tensor<3>) {
        let hidden = if residual.is_some() { self.drop_path.forward(hidden) } else { hidden };
        let class = class.place(hidden.dims()[1]);
        let AddRmsNormOutput { normed, sum } = norm(&self.norm, hidden, residual);
        (self.mixer.forward(normed, grid, class), sum)
    }
}
