//! Any mixer on both strands.

use super::{stack, unstack};
use crate::mixer::Mixer;
use burn::module::Module;
use burn::tensor::Tensor;

/// The same mixer on each strand, read in its own direction.
///
/// ```
/// use burn::tensor::{Device, Distribution, Tensor};
/// use mamba_blocks::MambaConfig;
/// use mamba_dna::rcps::{RcpsWrapper, flip};
///
/// let device = Device::default();
/// let layer = RcpsWrapper::new(MambaConfig::new(8).init(&device));
/// // Both strands, 8 channels each.
/// let x = Tensor::<3>::random([1, 7, 16], Distribution::Default, &device);
/// assert_eq!(layer.forward(flip(x.clone())).into_data(), flip(layer.forward(x)).into_data());
/// ```
#[derive(Module, Debug)]
pub struct RcpsWrapper<M: Module> {
    /// From `[batch, length, d_model]` to the same shape.
    pub submodule: M,
}

impl<M: Mixer> RcpsWrapper<M> {
    /// Around `submodule`.
    pub fn new(submodule: M) -> Self {
        Self { submodule }
    }

    /// Mixes `[batch, length, 2 * d_model]` into the same shape.
    ///
    /// # Panics
    /// If the number of channels is odd, or not what the mixer takes.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        unstack(self.submodule.mix(stack(x)))
    }
}

impl<M: Mixer> Mixer for RcpsWrapper<M> {
    fn mix(&self, input: Tensor<3>) -> Tensor<3> {
        self.forward(input)
    }
}
