//! The VMamba, and two models to compare it with.

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::interpolate::{Interpolate2d, Interpolate2dConfig, InterpolateMode};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use clap::ValueEnum;
use mamba_blocks::ConfigError;
use mamba_vision::{PatchEmbedType, VMamba, VMambaConfig};
use serde::{Deserialize, Serialize};

/// Which model.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Stages of blocks that scan the image in four directions
    Vmamba,
    /// Three convolutions with batch norms, of as many parameters
    Cnn,
    /// One linear layer
    Linear,
}

/// How a VMamba makes patches of 4 x 4 pixels.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stem {
    /// Two convolutions with batch norms: the greatest of neighbours halve the first, the second takes every second place
    Conv,
    /// The published one: two convolutions at every second place
    Patches,
}

/// The sizes of a [`Model`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sizes {
    pub d_model: usize,
    pub depths: Vec<usize>,
    pub stem: Stem,
    pub enlarge: usize,
    pub drop_path: f64,
    /// Channels, height and width of the images.
    pub image: [usize; 3],
    pub classes: usize,
}

/// From images to classes.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "a program has one")]
pub enum Model {
    VMamba(Enlarged),
    Cnn(Cnn),
    Linear(Linear),
}

/// A VMamba that sees images larger than they are.
#[derive(Module, Debug)]
pub struct Enlarged {
    vmamba: VMamba,
    enlarge: Option<Interpolate2d>,
}

/// Convolution, batch norm and ReLU three times, with the image halved after the first two.
#[derive(Module, Debug)]
pub struct Cnn {
    convs: Vec<Conv2d>,
    norms: Vec<BatchNorm>,
    pool: MaxPool2d,
    head: Linear,
}

impl Sizes {
    pub fn init(&self, kind: Kind, device: &Device) -> Result<Model, ConfigError> {
        let [channels, height, width] = self.image;
        let vmamba = || {
            let config = VMambaConfig::new(self.d_model, self.depths.clone()).with_in_channels(channels);
            let config = config.with_patch_embed(match self.stem {
                Stem::Conv => PatchEmbedType::ConvStem,
                Stem::Patches => PatchEmbedType::V2,
            });
            config.with_num_classes(self.classes).with_drop_path(self.drop_path).try_init(device)
        };
        Ok(match kind {
            Kind::Vmamba => Model::VMamba(Enlarged { vmamba: vmamba()?, enlarge: self.enlargement() }),
            Kind::Cnn => {
                let parameters = vmamba()?.num_params();
                let cnn = |width| CnnConfig::new(channels, width, self.classes).init(device);
                let width = (1..).find(|&width| cnn(width).num_params() >= parameters).expect("widths have no end");
                Model::Cnn(cnn(width))
            }
            Kind::Linear => Model::Linear(LinearConfig::new(channels * height * width, self.classes).init(device)),
        })
    }
}

impl Sizes {
    fn enlargement(&self) -> Option<Interpolate2d> {
        let config = Interpolate2dConfig::new().with_mode(InterpolateMode::Linear).with_align_corners(false);
        let times = [self.enlarge as f32; 2];
        (self.enlarge > 1).then(|| config.with_scale_factor(Some(times)).init())
    }
}

#[derive(Config, Debug)]
struct CnnConfig {
    channels: usize,
    width: usize,
    classes: usize,
}

impl CnnConfig {
    fn init(&self, device: &Device) -> Cnn {
        let widths = [self.channels, self.width, 2 * self.width, 4 * self.width];
        let conv = |channels: &[usize]| {
            let padding = PaddingConfig2d::Explicit(1, 1, 1, 1);
            Conv2dConfig::new([channels[0], channels[1]], [3, 3]).with_padding(padding).with_bias(false).init(device)
        };
        Cnn {
            convs: widths.windows(2).map(conv).collect(),
            norms: widths[1..].iter().map(|&width| BatchNormConfig::new(width).init(device)).collect(),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            head: LinearConfig::new(4 * self.width, self.classes).init(device),
        }
    }
}

impl Model {
    /// The logits `[batch, classes]` of images `[batch, channels, height, width]`.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        match self {
            Self::VMamba(enlarged) => enlarged.vmamba.forward(enlarged.seen(images)),
            Self::Cnn(cnn) => cnn.head.forward(cnn.features(images).mean_dim(3).mean_dim(2).flatten(1, 3)),
            Self::Linear(linear) => linear.forward(images.flatten(1, 3)),
        }
    }

    /// The last features with places, `[batch, height, width, channels]`; a linear model has none.
    pub fn features(&self, images: Tensor<4>) -> Option<Tensor<4>> {
        match self {
            Self::VMamba(enlarged) => enlarged.vmamba.features(enlarged.seen(images)).pop(),
            Self::Cnn(cnn) => Some(cnn.features(images).permute([0, 2, 3, 1])),
            Self::Linear(_) => None,
        }
    }
}

impl Enlarged {
    fn seen(&self, images: Tensor<4>) -> Tensor<4> {
        match &self.enlarge {
            Some(enlarge) => enlarge.forward(images),
            None => images,
        }
    }
}

impl Cnn {
    fn features(&self, images: Tensor<4>) -> Tensor<4> {
        let mut x = images;
        for (layer, (conv, norm)) in self.convs.iter().zip(&self.norms).enumerate() {
            if layer > 0 {
                x = self.pool.forward(x);
            }
            x = relu(norm.forward(conv.forward(x)));
        }
        x
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Distribution;

    #[test]
    fn models_give_a_number_for_each_class_and_the_cnn_is_as_large_as_the_vmamba() {
        let device = Device::default();
        for stem in [Stem::Conv, Stem::Patches] {
            let depths = vec![2, 2];
            let sizes =
                Sizes { d_model: 16, depths, stem, enlarge: 2, drop_path: 0.0, image: [1, 28, 28], classes: 10 };
            let images = Tensor::<4>::random([2, 1, 28, 28], Distribution::Default, &device);
            let [vmamba, cnn, _] = [Kind::Vmamba, Kind::Cnn, Kind::Linear].map(|kind| {
                let model = sizes.init(kind, &device).unwrap();
                assert_eq!(model.forward(images.clone()).dims(), [2, 10]);
                model.num_params() as f64
            });
            assert!((1.0..1.1).contains(&(cnn / vmamba)), "{cnn} and {vmamba}");
        }
    }
}
