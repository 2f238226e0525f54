//! The two-dimensional selective scan of VMamba.

use crate::init;
use crate::order::{Grid, Order, scan_paths};
use burn::config::Config;
use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{LayerNorm, LayerNormConfig, Linear, PaddingConfig2d};
use burn::tensor::activation::silu;
use burn::tensor::{Device, Tensor};
use mamba_blocks::parts::at_least_f32;
use mamba_blocks::parts::{project, project_in_halves};
use mamba_blocks::{ConfigError, Mamba, MambaConfig};
use mamba_core::{SelectiveScanOptions, linear, selective_scan};

/// Configuration of an [`Ss2d`]; the defaults are those of the first release (`v0`).
#[derive(Config, Debug, PartialEq)]
pub struct Ss2dConfig {
    /// Width of the input and the output.
    pub d_model: usize,
    /// States of every channel.
    #[config(default = 16)]
    pub d_state: usize,
    /// Inner channels for every channel of the input; the product is rounded down.
    #[config(default = 2.0)]
    pub ssm_ratio: f64,
    /// Rank of the projections to the time steps; none is `d_model / 16`, rounded up.
    pub dt_rank: Option<usize>,
    /// Whether the output is gated by a second half of `in_proj`, and the convolution has a bias; not in `v05_noz`.
    #[config(default = true)]
    pub gated: bool,
}

impl Ss2dConfig {
    /// Inner channels.
    pub fn d_inner(&self) -> usize {
        (self.ssm_ratio * self.d_model as f64) as usize
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`ConfigError`], which names the first setting at fault.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let ratio = self.ssm_ratio;
        if !(ratio > 0.0 && ratio <= 1024.0 && self.d_inner() > 0) {
            let expected = "a number that leaves at least one inner channel, and at most 1024";
            return Err(ConfigError::OutOfRange { name: "ssm_ratio", value: ratio, expected });
        }
        ConfigError::check_sizes(&[("d_inner", self.d_inner())])?;
        self.direction().validate()
    }

    /// Makes the mixer.
    ///
    /// # Panics
    /// With the text of the [`ConfigError`] that [`try_init`](Self::try_init) returns.
    pub fn init(&self, device: &Device) -> Ss2d {
        self.try_init(device).unwrap_or_else(|error| panic!("Ss2dConfig: {error}"))
    }

    /// Makes the mixer: every direction starts as a [`Mamba`] does.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn try_init(&self, device: &Device) -> Result<Ss2d, ConfigError> {
        self.validate()?;
        let (d_model, d_inner) = (self.d_model, self.d_inner());
        let directions: Vec<_> = Order::CROSS.iter().map(|_| self.direction().init(device)).collect();
        let stack = |of: fn(&Mamba) -> Tensor<2>| Tensor::stack::<3>(directions.iter().map(of).collect(), 0);
        let dt_bias = |mamba: &Mamba| mamba.dt_proj.bias.as_ref().expect("a mixer has time steps").val();
        Ok(Ss2d {
            in_proj: init::linear(d_model, if self.gated { 2 * d_inner } else { d_inner }, false, device),
            conv2d: Conv2dConfig::new([d_inner, d_inner], [3, 3])
                .with_groups(d_inner)
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .with_bias(self.gated)
                .init(device),
            x_proj_weight: parameter(stack(|mamba| mamba.x_proj.weight.val().transpose())),
            dt_projs_weight: parameter(stack(|mamba| mamba.dt_proj.weight.val().transpose())),
            dt_projs_bias: parameter(Tensor::stack(directions.iter().map(dt_bias).collect(), 0)),
            a_logs: parameter(Tensor::cat(directions.iter().map(|mamba| mamba.a_log.val()).collect(), 0)),
            ds: parameter(Tensor::cat(directions.iter().map(|mamba| mamba.d.val()).collect(), 0)),
            out_norm: LayerNormConfig::new(d_inner).init(device),
            out_proj: init::linear(d_inner, d_model, false, device),
            gated: self.gated,
        })
    }

    fn direction(&self) -> MambaConfig {
        MambaConfig::new(self.d_model)
            .with_d_state(self.d_state)
            .with_d_inner(Some(self.d_inner()))
            .with_dt_rank(self.dt_rank)
    }
}

/// A parameter with the values of others, but not their history.
fn parameter<const D: usize>(values: Tensor<D>) -> Param<Tensor<D>> {
    Param::from_tensor(values.detach())
}

/// VMamba's SS2D (Liu et al. 2024): a depthwise convolution, four selective scans across the
/// image, and their sum. Made by [`Ss2dConfig`].
///
/// Every direction `k` of [`Order::CROSS`] has a selection of its own. All read the same image in place, in one launch.
#[derive(Module, Debug)]
pub struct Ss2d {
    /// From `d_model` to `d_inner`, or to `[x, z]`, `2 * d_inner`, if gated.
    pub in_proj: Linear,
    /// Depthwise, 3 x 3: weight `[d_inner, 1, 3, 3]`.
    pub conv2d: Conv2d,
    /// From `d_inner` to `[dt, b, c]` for every direction: `[4, dt_rank + 2 * d_state, d_inner]`.
    pub x_proj_weight: Param<Tensor<3>>,
    /// From `dt_rank` to `d_inner` for every direction: `[4, d_inner, dt_rank]`.
    pub dt_projs_weight: Param<Tensor<3>>,
    /// The bias of the time steps, added inside the scan: `[4, d_inner]`.
    pub dt_projs_bias: Param<Tensor<2>>,
    /// `a = -exp(a_logs)`: `[4 * d_inner, d_state]`.
    pub a_logs: Param<Tensor<2>>,
    /// The skip connections: `[4 * d_inner]`.
    pub ds: Param<Tensor<1>>,
    /// Norm of the sum of all directions.
    pub out_norm: LayerNorm,
    /// From `d_inner` to `d_model`.
    pub out_proj: Linear,
    /// Whether the output is gated.
    pub gated: bool,
}

impl Ss2d {
    /// Mixes `[batch, height, width, d_model]` into the same shape.
    ///
    /// # Panics
    /// If the input's last dimension is not `d_model`, or a dimension is zero.
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let (x, z) = match self.gated {
            true => {
                let (x, z) = project_in_halves(&self.in_proj, input);
                (x, Some(z))
            }
            false => (project(&self.in_proj, input), None),
        };
        let x = silu(channels_last(self.conv2d.forward(channels_first(x))));
        let y = self.out_norm.forward(self.scan(x));
        let y = match z {
            Some(z) => y * silu(z),
            None => y,
        };
        project(&self.out_proj, y)
    }

    /// The sum of the scans along all directions, `[batch, height, width, d_inner]`.
    fn scan(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, height, width, d_inner] = x.dims();
        let (length, device) = (height * width, x.device());
        let [k, features, _] = self.x_proj_weight.dims();
        let [_, d_state] = self.a_logs.dims();
        let dt_rank = features - 2 * d_state;
        let paths = scan_paths(&Order::CROSS, Grid::image(height, width), &device)
            .unwrap_or_else(|error| panic!("Ss2d: the input has shape {:?}: {error}", x.dims()));

        // All directions at once, as none of this depends on the order of tokens.
        let x = x.reshape([batch, length, d_inner]);
        let weight = self.x_proj_weight.val().reshape([k * features, d_inner]).transpose();
        let dt_b_c = linear(x.clone(), weight, None).reshape([batch, length, k, features]);
        let delta = (0..k).map(|k| {
            let dt = dt_b_c.clone().narrow(2, k, 1).narrow(3, 0, dt_rank).squeeze_dim::<3>(2);
            let weight = self.dt_projs_weight.val().narrow(0, k, 1).squeeze_dim::<2>(0);
            linear(dt, weight.transpose(), None)
        });
        let delta = Tensor::cat(delta.collect(), 2);
        let b = dt_b_c.clone().narrow(3, dt_rank, d_state);
        let c = dt_b_c.narrow(3, dt_rank + d_state, d_state);
        let a = at_least_f32(self.a_logs.val()).exp().neg();

        let options = SelectiveScanOptions::new()
            .with_delta_softplus(true)
            .with_delta_bias(self.dt_projs_bias.val().reshape([k * d_inner]))
            .with_d(self.ds.val());
        let dtype = x.dtype();
        let y = selective_scan(x, delta, a, b, c, paths.scan(batch, options)).y;
        let sum = at_least_f32(y).reshape([batch, length, k, d_inner]).sum_dim(2);
        sum.reshape([batch, height, width, d_inner]).cast(dtype)
    }
}

/// `[batch, height, width, channels]` as convolutions take it.
pub(crate) fn channels_first(x: Tensor<4>) -> Tensor<4> {
    x.permute([0, 3, 1, 2])
}

/// `[batch, channels, height, width]` as everything else takes it.
pub(crate) fn channels_last(x: Tensor<4>) -> Tensor<4> {
    x.permute([0, 2, 3, 1])
}
