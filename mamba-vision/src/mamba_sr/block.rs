//! The blocks of the super-resolution network.

use crate::drop_path::DropPath;
use crate::vmamba::{Ss2d, channels_first, channels_last};
use burn::config::Config;
use burn::module::{Module, Param};
use burn::nn::LayerNorm;
use burn::nn::conv::Conv2d;
use burn::tensor::Tensor;
use burn::tensor::activation::sigmoid;
use mamba_blocks::parts::normalize;

/// How the attention of a block meets its stream.
#[derive(Config, Debug, Copy, PartialEq)]
pub enum Attention {
    /// It is added.
    Sum,
    /// It is a factor.
    Product,
}

/// A scan and an attention without parameters, `sigmoid(x) - 1/2`, each beside a scaled stream.
#[derive(Module, Debug)]
pub struct SrBlock {
    /// Norm before the scan.
    pub norm: LayerNorm,
    /// The scan.
    pub op: Ss2d,
    /// Factors of the stream beside the scan: `[d_model]`.
    pub skip_scale: Param<Tensor<1>>,
    /// Norm before the attention.
    pub norm2: LayerNorm,
    /// Factors of the stream beside the attention: `[d_model]`.
    pub skip_scale2: Param<Tensor<1>>,
    /// Leaves out the scan.
    pub drop_path: DropPath,
    /// How the attention meets the stream.
    #[module(skip)]
    pub attention: Attention,
}

impl SrBlock {
    /// `[batch, height, width, d_model]`, the same shape.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mixed = self.op.forward(normalize(&self.norm, x.clone()));
        let x = x * self.skip_scale.val().unsqueeze() + self.drop_path.forward(mixed);
        let attention = sigmoid(normalize(&self.norm2, x.clone())).sub_scalar(0.5);
        let x = x * self.skip_scale2.val().unsqueeze();
        match self.attention {
            Attention::Sum => x + attention,
            Attention::Product => x * attention,
        }
    }
}

/// Blocks and a convolution beside the stream (the residual state space group of MambaIR, Guo et al. 2024).
#[derive(Module, Debug)]
pub struct SrGroup {
    /// The blocks, first to last.
    pub blocks: Vec<SrBlock>,
    /// 3 x 3.
    pub conv: Conv2d,
}

impl SrGroup {
    /// `[batch, height, width, d_model]`, the same shape.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mixed = self.blocks.iter().fold(x.clone(), |x, block| block.forward(x));
        x + channels_last(self.conv.forward(channels_first(mixed)))
    }
}
