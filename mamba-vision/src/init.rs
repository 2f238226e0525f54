//! Initial values that Burn's initializers do not have.

use burn::nn::{Initializer, Linear, LinearConfig};
use burn::tensor::{DType, Device, Distribution, Tensor};

/// The standard deviation of weights of linear layers, class tokens and positions.
pub(crate) const STD: f64 = 0.02;

/// The original cuts this normal distribution at 100 standard deviations, that is, not at all.
pub(crate) fn normal() -> Initializer {
    Initializer::Normal { mean: 0.0, std: STD }
}

/// A linear layer with a [`normal`] weight and a bias of zero.
pub(crate) fn linear(d_input: usize, d_output: usize, bias: bool, device: &Device) -> Linear {
    let bias = bias.then(|| Initializer::Zeros.init([d_output], device));
    Linear { bias, ..LinearConfig::new(d_input, d_output).with_bias(false).with_initializer(normal()).init(device) }
}

/// LeCun's initialisation: a variance of `1 / fan_in`, from a normal distribution cut at two standard deviations.
pub(crate) fn lecun_normal<const D: usize>(shape: [usize; D], fan_in: usize, device: &Device) -> Tensor<D> {
    // The standard deviation of a standard normal distribution that is cut there.
    const CUT: f64 = 0.879_625_661_034_239_8;
    let std = (fan_in as f64).sqrt().recip() / CUT;
    let draw = || Tensor::<D>::random(shape, Distribution::Normal(0.0, std), (device, DType::F32));
    let mut values = draw();
    // One in twenty is outside and drawn again; after ten times none is left in 10^13.
    for _ in 0..10 {
        let outside = values.clone().abs().greater_scalar(2.0 * std);
        values = values.mask_where(outside, draw());
    }
    values.clamp(-2.0 * std, 2.0 * std)
}
