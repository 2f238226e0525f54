//! One direction of a Mamba mixer: what lies between its projections in and out.

use crate::order::ScanPaths;
use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::nn::conv::Conv1d;
use burn::tensor::Tensor;
use mamba_blocks::parts::at_least_f32;
use mamba_blocks::parts::project;
use mamba_blocks::{Direction, Mamba};
use mamba_core::{CausalConv1dOptions, SelectiveScanOptions, causal_conv1d, linear, selective_scan};

/// Convolution, selection and scan of a Mamba mixer (Gu & Dao 2023, algorithm 2), without the projections in and out.
#[derive(Module, Debug)]
pub struct Branch {
    /// The causal depthwise convolution: weight `[d_inner, 1, d_conv]`, bias `[d_inner]`.
    pub conv1d: Conv1d,
    /// From `d_inner` to `[dt, b, c]`, `dt_rank + 2 * d_state`.
    pub x_proj: Linear,
    /// From `dt_rank` to `d_inner`; its bias is added inside the scan.
    pub dt_proj: Linear,
    /// `a = -exp(a_log)`: `[d_inner, d_state]`.
    pub a_log: Param<Tensor<2>>,
    /// The skip connection: `[d_inner]`.
    pub d: Param<Tensor<1>>,
}

/// How a branch goes through the tokens.
#[derive(Clone, Copy)]
pub(crate) struct Way<'a> {
    pub direction: Direction,
    /// One path; none through the tokens as they are.
    pub path: Option<&'a ScanPaths>,
}

/// What a scan reads of the tokens.
#[derive(Clone)]
pub(crate) struct Selection {
    /// `[batch, length, d_inner]`.
    x: Tensor<3>,
    delta: Tensor<3>,
    /// `[batch, length, 1, d_state]`.
    b: Tensor<4>,
    c: Tensor<4>,
}

impl Branch {
    /// That of a new mixer.
    pub(crate) fn of(mixer: Mamba) -> Self {
        let Mamba { conv1d, x_proj, dt_proj, a_log, d, .. } = mixer;
        Self { conv1d, x_proj, dt_proj, a_log, d }
    }

    /// `x` and the gate `z` are `[batch, length, d_inner]`; returns the same shape.
    pub fn forward(&self, x: Tensor<3>, z: Tensor<3>, direction: Direction) -> Tensor<3> {
        self.go(x, z, Way { direction, path: None })
    }

    /// As [`forward`](Self::forward) along one path through the tokens.
    pub fn forward_along(&self, x: Tensor<3>, z: Tensor<3>, path: &ScanPaths) -> Tensor<3> {
        self.go(x, z, Way { direction: Direction::Forward, path: Some(path) })
    }

    pub(crate) fn go(&self, x: Tensor<3>, z: Tensor<3>, way: Way) -> Tensor<3> {
        self.scan(self.select(x, way), &self.a_log, z, way)
    }

    /// Convolution, and what follows from its output token by token.
    pub(crate) fn select(&self, x: Tensor<3>, way: Way) -> Selection {
        let [batch, ..] = x.dims();
        let [_, d_state] = self.a_log.dims();
        let [dt_rank, _] = self.dt_proj.weight.dims();
        let mut options = CausalConv1dOptions::new().with_silu(true);
        if let Some(bias) = &self.conv1d.bias {
            options = options.with_bias(bias.val());
        }
        options = options.with_direction(way.direction);
        if let Some(path) = way.path {
            options = path.convolution(batch, options);
        }
        let x = causal_conv1d(x, self.conv1d.weight.val().squeeze_dim(1), options).y;

        let dt_b_c = project(&self.x_proj, x.clone());
        let delta = linear(dt_b_c.clone().narrow(2, 0, dt_rank), self.dt_proj.weight.val(), None);
        // One group: every channel reads the same b and c.
        let b_c = dt_b_c.unsqueeze_dim::<4>(2);
        let b = b_c.clone().narrow(3, dt_rank, d_state);
        let c = b_c.narrow(3, dt_rank + d_state, d_state);
        Selection { x, delta, b, c }
    }

    /// The scan with the decay rates of `a_log`.
    pub(crate) fn scan(&self, selection: Selection, a_log: &Param<Tensor<2>>, z: Tensor<3>, way: Way) -> Tensor<3> {
        let Selection { x, delta, b, c } = selection;
        let [batch, ..] = x.dims();
        let a = at_least_f32(a_log.val()).exp().neg();
        let mut options = SelectiveScanOptions::new().with_delta_softplus(true).with_d(self.d.val()).with_z(z);
        if let Some(bias) = &self.dt_proj.bias {
            options = options.with_delta_bias(bias.val());
        }
        options = options.with_direction(way.direction);
        if let Some(path) = way.path {
            options = path.scan(batch, options);
        }
        selective_scan(x, delta, a, b, c, options).y
    }
}
