//! The blocks of EfficientVMamba.

use crate::channel_attention::ChannelAttention;
use crate::conv;
use crate::drop_path::DropPath;
use crate::vmamba::{Ss2d, channels_first, channels_last};
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, LayerNorm, PaddingConfig2d};
use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::{Device, Tensor};
use mamba_blocks::parts::normalize;
use mamba_core::gelu;

/// A scan of sub-grids and a convolution beside each other, both with the same attention over channels (Pei et al.
/// 2024).
#[derive(Module, Debug)]
pub struct EvssBlock {
    /// Norm before both.
    pub norm: LayerNorm,
    /// The scan.
    pub op: Ss2d,
    /// The convolution.
    pub conv_branch: ConvBranch,
    /// The attention.
    pub se: ChannelAttention,
    /// Leaves out both.
    pub drop_path: DropPath,
}

impl EvssBlock {
    /// `[batch, height, width, d_model]`, the same shape.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let normed = normalize(&self.norm, x.clone());
        let attended = |y: Tensor<4>| self.se.forward(y.flatten(1, 2)).reshape(x.dims());
        let global = attended(self.op.forward(normed.clone()));
        let local = attended(self.conv_branch.forward(normed));
        x.clone() + self.drop_path.forward(global + local)
    }
}

/// A depthwise convolution of 3 x 3, batch norm and GELU, and a projection.
#[derive(Module, Debug)]
pub struct ConvBranch {
    /// Depthwise.
    pub conv: Conv2d,
    /// Norm of its output.
    pub norm: BatchNorm,
    /// From `d_model` to `d_model`, place by place.
    pub proj: Conv2d,
}

impl ConvBranch {
    pub(super) fn new(d_model: usize, device: &Device) -> Self {
        Self {
            conv: depthwise(d_model, true, device),
            norm: BatchNormConfig::new(d_model).init(device),
            proj: pointwise([d_model, d_model], true, device),
        }
    }

    /// `[batch, height, width, d_model]`, the same shape.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.norm.forward(channels_first(conv::depthwise(&self.conv, x)));
        conv::pointwise(&self.proj, channels_last(gelu(x)))
    }
}

/// MobileNetV2's block (Sandler et al. 2018) with squeeze and excitation: wide between two projections.
#[derive(Module, Debug)]
pub struct InvertedResidual {
    /// From `d_model` to `4 * d_model`, place by place.
    pub conv_pw: ConvNorm,
    /// Depthwise, 3 x 3.
    pub conv_dw: ConvNorm,
    /// The attention over channels.
    pub se: SqueezeExcite,
    /// From `4 * d_model` to `d_model`, place by place.
    pub conv_pw2: ConvNorm,
    /// Leaves out the block.
    pub drop_path: DropPath,
}

impl InvertedResidual {
    pub(super) fn new(d_model: usize, drop_path: DropPath, device: &Device) -> Self {
        let wide = EXPANSION * d_model;
        let normed = |conv: Conv2d, channels| ConvNorm { conv, norm: BatchNormConfig::new(channels).init(device) };
        Self {
            conv_pw: normed(pointwise([d_model, wide], false, device), wide),
            conv_dw: normed(depthwise(wide, false, device), wide),
            se: SqueezeExcite {
                conv_reduce: pointwise([wide, (wide / REDUCTION).max(1)], true, device),
                conv_expand: pointwise([(wide / REDUCTION).max(1), wide], true, device),
            },
            conv_pw2: normed(pointwise([wide, d_model], false, device), d_model),
            drop_path,
        }
    }

    /// `[batch, height, width, d_model]`, the same shape.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let wide = relu(self.conv_pw.forward(x.clone(), conv::pointwise));
        let wide = relu(self.conv_dw.forward(wide, conv::depthwise));
        let wide = channels_last(self.se.forward(channels_first(wide)));
        x + self.drop_path.forward(self.conv_pw2.forward(wide, conv::pointwise))
    }
}

/// A convolution without a bias, and a batch norm.
#[derive(Module, Debug)]
pub struct ConvNorm {
    /// The convolution.
    pub conv: Conv2d,
    /// Norm of its output.
    pub norm: BatchNorm,
}

impl ConvNorm {
    /// Channels are last; `convolve` is how.
    fn forward(&self, x: Tensor<4>, convolve: fn(&Conv2d, Tensor<4>) -> Tensor<4>) -> Tensor<4> {
        channels_last(self.norm.forward(channels_first(convolve(&self.conv, x))))
    }
}

/// Every channel times a factor that its mean and those of the others tell (Hu et al. 2018).
#[derive(Module, Debug)]
pub struct SqueezeExcite {
    /// From all channels to an eighth of them.
    pub conv_reduce: Conv2d,
    /// From these to the factors before their sigmoid.
    pub conv_expand: Conv2d,
}

impl SqueezeExcite {
    /// `[batch, channels, height, width]`, the same shape.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mean = channels_last(x.clone().mean_dim(3).mean_dim(2));
        let few = relu(conv::pointwise(&self.conv_reduce, mean));
        x * channels_first(sigmoid(conv::pointwise(&self.conv_expand, few)))
    }
}

const EXPANSION: usize = 4;
const REDUCTION: usize = 8;

fn depthwise(channels: usize, bias: bool, device: &Device) -> Conv2d {
    let config = Conv2dConfig::new([channels, channels], [3, 3]).with_groups(channels).with_bias(bias);
    config.with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1)).init(device)
}

fn pointwise(channels: [usize; 2], bias: bool, device: &Device) -> Conv2d {
    Conv2dConfig::new(channels, [1, 1]).with_bias(bias).init(device)
}
