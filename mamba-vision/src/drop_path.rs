//! Stochastic depth (Huang et al. 2016): in training, a branch is left out at random.

use burn::module::Module;
use burn::tensor::{Distribution, Tensor};

/// Zeroes whole rows of the batch in training, and scales the others by `1 / (1 - prob)`.
#[derive(Module, Debug)]
pub struct DropPath {
    /// How likely a row is zeroed.
    pub prob: f64,
}

impl DropPath {
    /// `prob` has been checked to be in `[0, 1)`.
    pub(crate) fn new(prob: f64) -> Self {
        Self { prob }
    }

    /// `[batch, ..]`, the same shape. Unchanged on a device without gradients.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        if self.prob == 0.0 || !x.device().is_autodiff() {
            return x;
        }
        let mut rows = [1; D];
        rows[0] = x.dims()[0];
        let keep = 1.0 - self.prob;
        let kept = Tensor::<D>::random(rows, Distribution::Bernoulli(keep), (&x.device(), x.dtype()));
        x * kept.div_scalar(keep)
    }
}

/// The probabilities of `blocks` blocks, rising from 0 to `last`.
pub(crate) fn rising(last: f64, blocks: usize) -> impl Iterator<Item = f64> {
    (0..blocks).map(move |block| last * block as f64 / (blocks - 1).max(1) as f64)
}
