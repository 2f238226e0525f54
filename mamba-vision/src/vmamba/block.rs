//! The residual block of VMamba.

use super::ss2d::Ss2d;
use crate::drop_path::DropPath;
use crate::init;
use burn::module::Module;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::{Device, Tensor};
use mamba_blocks::parts::{normalize, project};
use mamba_core::gelu;

/// Norm and [`Ss2d`], then norm and [`Mlp`], each beside the residual stream (Liu et al. 2024).
#[derive(Module, Debug)]
pub struct VssBlock {
    /// Norm before the scan.
    pub norm: LayerNorm,
    /// The scan.
    pub op: Ss2d,
    /// Norm before the MLP.
    pub norm2: Option<LayerNorm>,
    /// The MLP; not in the first release.
    pub mlp: Option<Mlp>,
    /// Leaves out the scan, and the MLP.
    pub drop_path: DropPath,
}

/// Two linear layers with a GELU between them.
#[derive(Module, Debug)]
pub struct Mlp {
    /// From `d_model` to the hidden channels.
    pub fc1: Linear,
    /// From the hidden channels to `d_model`.
    pub fc2: Linear,
}

impl VssBlock {
    /// `[batch, height, width, d_model]`, the same shape.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mixed = self.op.forward(normalize(&self.norm, x.clone()));
        let x = x + self.drop_path.forward(mixed);
        match (&self.norm2, &self.mlp) {
            (Some(norm2), Some(mlp)) => {
                let hidden = mlp.forward(normalize(norm2, x.clone()));
                x + self.drop_path.forward(hidden)
            }
            _ => x,
        }
    }
}

impl Mlp {
    pub(super) fn new(d_model: usize, hidden: usize, device: &Device) -> Self {
        Self { fc1: init::linear(d_model, hidden, true, device), fc2: init::linear(hidden, d_model, true, device) }
    }

    /// `[.., d_model]`, the same shape.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        project(&self.fc2, gelu(project(&self.fc1, x)))
    }
}
