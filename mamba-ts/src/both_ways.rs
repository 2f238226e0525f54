//! Two mixers that read the same tokens from either end.

use burn::tensor::Tensor;
use mamba_blocks::{Direction, Mamba, MambaOptions};

/// What `forward` makes of the tokens from the first on, and `backward` from the last on, added: `[batch, length,
/// d_model]`.
///
/// That of the other direction is what flipping its input and its output gives, without the copies.
pub(crate) fn both_ways(forward: &Mamba, backward: &Mamba, input: Tensor<3>) -> Tensor<3> {
    let reverse = MambaOptions::new().with_direction(Direction::Reverse);
    forward.forward(input.clone()) + backward.forward_with(input, reverse).0
}
