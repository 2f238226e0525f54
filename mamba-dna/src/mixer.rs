//! What a block mixes tokens with.

use burn::module::{Module, ModuleDisplay};
use burn::tensor::Tensor;
use mamba_blocks::Mamba;

/// A layer from `[batch, length, d_model]` to the same shape that lets tokens see each other. Attention, Mamba-2 or any
/// other layer stands inside the blocks of this crate by implementing it.
pub trait Mixer: Module + ModuleDisplay {
    /// Mixes `[batch, length, d_model]` into the same shape.
    fn mix(&self, input: Tensor<3>) -> Tensor<3>;
}

impl Mixer for Mamba {
    fn mix(&self, input: Tensor<3>) -> Tensor<3> {
        self.forward(input)
    }
}
