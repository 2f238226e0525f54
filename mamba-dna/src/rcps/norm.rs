//! The residual stream of both strands, and its norm.

use super::{stack, turn, unstack};
use burn::config::Config;
use burn::module::Module;
use burn::nn::{RmsNorm, RmsNormConfig};
use burn::tensor::{Device, Tensor};
use mamba_core::{AddRmsNormOutput, add_rms_norm};

/// Which half of the stream becomes which half of the norm. Models have the same parameters in either order, but are
/// different functions: a checkpoint needs the order that it was trained in.
#[derive(Config, Debug, Copy, PartialEq)]
pub enum NormOrder {
    /// The halves stay where they are.
    Plain,
    /// The halves change places, in the norm and in the residual stream: the fused kernels of the published models read
    /// the second half as the strand at hand (`fused_add_norm` in their configurations).
    Fused,
}

/// Configuration of an [`RcpsNorm`].
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mamba_dna::rcps::RcpsNormConfig;
///
/// let device = Device::default();
/// let norm = RcpsNormConfig::new(8).init(&device);
/// let out = norm.forward(Tensor::ones([1, 7, 16], &device), None);
/// assert_eq!((out.normed.dims(), out.sum.dims()), ([1, 7, 16], [1, 7, 16]));
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct RcpsNormConfig {
    /// Channels of one strand.
    pub d_model: usize,
    /// Which half becomes which.
    #[config(default = "NormOrder::Fused")]
    pub order: NormOrder,
    /// What the norm adds to the mean square.
    #[config(default = 1e-5)]
    pub epsilon: f64,
}

impl RcpsNormConfig {
    /// Makes the layer.
    pub fn init(&self, device: &Device) -> RcpsNorm {
        let norm = RmsNormConfig::new(self.d_model).with_epsilon(self.epsilon).init(device);
        RcpsNorm { norm, order: self.order }
    }
}

/// RMS norm of the sum of what a mixer returned and the residual stream. Made by [`RcpsNormConfig`].
#[derive(Module, Debug)]
pub struct RcpsNorm {
    /// The norm of one strand.
    pub norm: RmsNorm,
    /// Which half becomes which.
    #[module(skip)]
    pub order: NormOrder,
}

impl RcpsNorm {
    /// `hidden` and `residual` are `[batch, length, 2 * d_model]`. Returns the norm of their sum, and the sum in f32.
    ///
    /// # Panics
    /// If shapes do not fit.
    pub fn forward(&self, hidden: Tensor<3>, residual: Option<Tensor<3>>) -> AddRmsNormOutput {
        let AddRmsNormOutput { normed, sum } =
            add_norm(&self.norm, Some(self.order), stack(hidden), residual.map(stack));
        AddRmsNormOutput { normed: unstack(normed), sum: unstack(sum) }
    }
}

/// Of the rows of [both strands](stack), or of one if there is no order.
pub(crate) fn add_norm(
    norm: &RmsNorm,
    order: Option<NormOrder>,
    hidden: Tensor<3>,
    residual: Option<Tensor<3>>,
) -> AddRmsNormOutput {
    let (hidden, residual) = match order {
        Some(NormOrder::Fused) => (turn(hidden), residual.map(turn)),
        Some(NormOrder::Plain) | None => (hidden, residual),
    };
    add_rms_norm(hidden, residual, norm.gamma.val(), norm.epsilon)
}
