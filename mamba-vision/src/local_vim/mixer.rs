//! The mixer of LocalVim.

use crate::branch::Branch;
use crate::init;
use crate::local::DirectionMerge;
use crate::order::{ClassPlace, Grid, Order, padded_scan_paths};
use crate::vim::out_proj_weight;
use crate::vmamba::padded;
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use mamba_blocks::parts::{project, project_in_halves};
use mamba_blocks::{ConfigError, MambaConfig};

/// One projection in and one out, and between them a branch for each direction, the attention of all and their sum (Huang
/// et al. 2024).
#[derive(Module, Debug)]
pub struct LocalMamba {
    /// From `d_model` to `[x, z]`, `2 * d_inner`.
    pub in_proj: Linear,
    /// One for each direction.
    pub branches: Vec<Branch>,
    /// Attention and sum.
    pub merge: DirectionMerge,
    /// From `d_inner` to `d_model`.
    pub out_proj: Linear,
    /// The directions.
    #[module(skip)]
    pub directions: Vec<Order>,
}

impl LocalMamba {
    /// As the original starts it, of `depth` such mixers: without regard to the time steps.
    pub(super) fn new(
        config: &MambaConfig,
        directions: Vec<Order>,
        is_search: bool,
        depth: usize,
        device: &Device,
    ) -> Result<Self, ConfigError> {
        let (d_model, d_inner) = (config.d_model, config.d_inner());
        let branch = |_| {
            let mut branch = Branch::of(config.try_init(device)?);
            branch.x_proj = init::linear(d_inner, config.dt_rank() + 2 * config.d_state, false, device);
            branch.dt_proj = init::linear(config.dt_rank(), d_inner, true, device);
            Ok(branch)
        };
        let mut out_proj = init::linear(d_inner, d_model, false, device);
        out_proj.weight = out_proj_weight([d_inner, d_model], depth, device);
        Ok(Self {
            in_proj: init::linear(d_model, 2 * d_inner, false, device),
            branches: directions.iter().map(branch).collect::<Result<_, _>>()?,
            merge: DirectionMerge::new(d_inner, is_search, device),
            out_proj,
            directions,
        })
    }

    /// Mixes `[batch, tokens, d_model]`, the places of `grid` and the class token, into the same shape.
    pub(super) fn forward(&self, input: Tensor<3>, grid: Grid, class: ClassPlace) -> Tensor<3> {
        let ([_, tokens, _], device) = (input.dims(), input.device());
        let (x, z) = project_in_halves(&self.in_proj, input);
        let outputs = self.branches.iter().zip(&self.directions).map(|(branch, &order)| {
            let path = padded_scan_paths(&[order], grid, class, &device)
                .unwrap_or_else(|error| panic!("LocalMamba: an image of {grid}: {error}"));
            let padding = path.dims()[1] - tokens;
            let y = branch.forward_along(padded(x.clone(), padding), padded(z.clone(), padding), &path);
            y.narrow(1, 0, tokens)
        });
        project(&self.out_proj, self.merge.forward(outputs))
    }
}
