//! The two-dimensional selective scan of VMamba.

use super::layers::squares;
use super::pattern::ScanPattern;
use crate::channel_attention::REDUCTION;
use crate::conv;
use crate::init;
use crate::local::{DirectionMerge, check_directions};
use crate::order::{Grid, OrderError, ScanPaths, padded_scan_paths, scan_paths};
use burn::config::Config;
use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{LayerNorm, LayerNormConfig, Linear, PaddingConfig2d};
use burn::tensor::activation::silu;
use burn::tensor::{Device, Tensor};
use mamba_blocks::parts::{at_least_f32, normalize, project, project_in_halves};
use mamba_blocks::{ConfigError, Mamba, MambaConfig};
use mamba_core::{SelectiveScanOptions, linear, selective_scan};

/// Configuration of an [`Ss2d`]; the defaults are those of the first release (`v0`).
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mamba_vision::Ss2dConfig;
///
/// let device = Device::default();
/// let cross = Ss2dConfig::new(8).init(&device);
/// // `[batch, height, width, d_model]`
/// assert_eq!(cross.forward(Tensor::ones([1, 4, 6, 8], &device)).dims(), [1, 4, 6, 8]);
/// // Settings of a user: an error names the first at fault.
/// assert!(Ss2dConfig::new(8).with_d_state(0).try_init(&device).unwrap_err().to_string().contains("d_state"));
/// ```
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
    /// Which ways the scans go.
    #[config(default = "ScanPattern::Cross")]
    pub pattern: ScanPattern,
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
        check_directions(self.pattern.orders())?;
        if self.pattern.is_local() && self.d_inner() < REDUCTION {
            let value = self.d_inner() as f64;
            return Err(ConfigError::OutOfRange { name: "d_inner", value, expected: "at least 8 for local scans" });
        }
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
        let directions: Vec<_> = self.pattern.orders().iter().map(|_| self.direction().init(device)).collect();
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
            merge: self.pattern.is_local().then(|| DirectionMerge::new(d_inner, self.pattern.is_search(), device)),
            pattern: self.pattern.clone(),
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

/// VMamba's SS2D (Liu et al. 2024): a depthwise convolution, selective scans across the image, and their sum. Made by
/// [`Ss2dConfig`].
///
/// Every direction `k` of [`ScanPattern::orders`] has a selection of its own. All read the same image in place, in one
/// launch.
#[derive(Module, Debug)]
pub struct Ss2d {
    /// From `d_model` to `d_inner`, or to `[x, z]`, `2 * d_inner`, if gated.
    pub in_proj: Linear,
    /// Depthwise, 3 x 3: weight `[d_inner, 1, 3, 3]`.
    pub conv2d: Conv2d,
    /// From `d_inner` to `[dt, b, c]` for every direction: `[k, dt_rank + 2 * d_state, d_inner]`.
    pub x_proj_weight: Param<Tensor<3>>,
    /// From `dt_rank` to `d_inner` for every direction: `[k, d_inner, dt_rank]`.
    pub dt_projs_weight: Param<Tensor<3>>,
    /// The bias of the time steps, added inside the scan: `[k, d_inner]`.
    pub dt_projs_bias: Param<Tensor<2>>,
    /// `a = -exp(a_logs)`: `[k * d_inner, d_state]`.
    pub a_logs: Param<Tensor<2>>,
    /// The skip connections: `[k * d_inner]`.
    pub ds: Param<Tensor<1>>,
    /// Norm of the sum of all directions.
    pub out_norm: LayerNorm,
    /// From `d_inner` to `d_model`.
    pub out_proj: Linear,
    /// Whether the output is gated.
    pub gated: bool,
    /// The attention over the directions of LocalMamba.
    pub merge: Option<DirectionMerge>,
    /// Which ways the scans go.
    #[module(skip)]
    pub pattern: ScanPattern,
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
        let x = conv::depthwise_silu(&self.conv2d, x);
        let y = normalize(&self.out_norm, self.scan(x));
        let y = match z {
            Some(z) => y * silu(z),
            None => y,
        };
        project(&self.out_proj, y)
    }

    /// The scans along all directions as one, `[batch, height, width, d_inner]`.
    fn scan(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, height, width, channels] = x.dims();
        let (grid, dims, dtype) = (Grid::image(height, width), x.dims(), x.dtype());
        let orders = self.pattern.orders();
        let y = match (&self.pattern, &self.merge) {
            (ScanPattern::Atrous, _) => return self.scan_sub_grids(x),
            (_, None) => {
                let paths = scan_paths(orders, grid, &x.device());
                let options = SelectiveScanOptions::new().with_sum_over_orders(true);
                self.directions(x.flatten(1, 2), &expected(paths, dims), options)
            }
            (_, Some(merge)) => {
                let paths = expected(padded_scan_paths(orders, grid, None, &x.device()), dims);
                let padding = paths.dims()[1] - grid.length();
                let y = self.directions(padded(x.flatten(1, 2), padding), &paths, SelectiveScanOptions::new());
                let y = at_least_f32(y.narrow(1, 0, grid.length()));
                merge.forward(y.split(channels, 2))
            }
        };
        y.reshape(dims).cast(dtype)
    }

    /// The four sub-grids of every second row and column, each scanned for itself: a quarter of the tokens with four
    /// times the channels. Odd sides are padded with zeros.
    fn scan_sub_grids(&self, x: Tensor<4>) -> Tensor<4> {
        let ([_, height, width, _], dtype, device) = (x.dims(), x.dtype(), x.device());
        let x = squares(x);
        let [batch, rows, columns, channels] = x.dims();
        let paths = scan_paths(self.pattern.orders(), Grid::image(rows, columns), &device);
        let options = SelectiveScanOptions::new();
        let y = self.directions(x.clone().flatten(1, 2), &expected(paths, x.dims()), options);
        // [batch, rows, columns, column in square, row in square, d_inner]
        let y = y.reshape([batch, rows, columns, 2, 2, channels / 4]).permute([0, 1, 4, 2, 3, 5]);
        let y = y.reshape([batch, 2 * rows, 2 * columns, channels / 4]);
        y.narrow(1, 0, height).narrow(2, 0, width).cast(dtype)
    }

    /// What each direction gives of the tokens `[batch, length, d_inner]`, which all read, or of `k * d_inner`
    /// channels, of which each reads its own: `[batch, length, k * d_inner]`, or `d_inner` if `options` sum them.
    fn directions(&self, x: Tensor<3>, paths: &ScanPaths, options: SelectiveScanOptions) -> Tensor<3> {
        let [batch, length, channels] = x.dims();
        let [k, features, d_inner] = self.x_proj_weight.dims();
        let [_, d_state] = self.a_logs.dims();
        let sizes = [features - 2 * d_state, d_state, d_state];

        // None of this depends on the order of tokens. dt, b and c of all directions, one after the other.
        let own = self.x_proj_weight.val().split_with_sizes(sizes.to_vec(), 1).into_iter();
        let weight = match channels == d_inner {
            true => Tensor::cat(own.map(|weight| weight.flatten::<2>(0, 1)).collect(), 0).transpose(),
            false => Tensor::cat(own.map(|weight| block_diagonal(weight.swap_dims(1, 2))).collect(), 1),
        };
        let dt_b_c = linear(x.clone(), weight, None).split_with_sizes(sizes.map(|size| k * size).to_vec(), 2);
        let [dt, b, c] = dt_b_c.try_into().expect("three sizes");
        let delta = linear(dt, block_diagonal(self.dt_projs_weight.val().swap_dims(1, 2)), None);
        let [b, c] = [b, c].map(|x: Tensor<3>| x.reshape([batch, length, k, d_state]));
        let a = at_least_f32(self.a_logs.val()).exp().neg();

        let options = options
            .with_delta_softplus(true)
            .with_delta_bias(self.dt_projs_bias.val().reshape([k * d_inner]))
            .with_d(self.ds.val());
        selective_scan(x, delta, a, b, c, paths.scan(batch, options)).y
    }
}

/// Of matrices `[k, rows, columns]` one, `[k * rows, k * columns]`, that multiplies each with its own: one product, with
/// zeros, and nothing to cut or to put together.
fn block_diagonal(matrices: Tensor<3>) -> Tensor<2> {
    let [k, rows, columns] = matrices.dims();
    let own = Tensor::<2>::eye(k, &matrices.device()).cast(matrices.dtype());
    let blocks = matrices.unsqueeze_dim::<4>(2) * own.reshape([k, 1, k, 1]);
    blocks.reshape([k * rows, k * columns])
}

/// Tokens `[batch, length, channels]` with `padding` zeros behind them.
pub(crate) fn padded(x: Tensor<3>, padding: usize) -> Tensor<3> {
    if padding == 0 { x } else { conv::zero_padded(x, [0, padding, 0]) }
}

fn expected(paths: Result<ScanPaths, OrderError>, dims: [usize; 4]) -> ScanPaths {
    paths.unwrap_or_else(|error| panic!("Ss2d: the input has shape {dims:?}: {error}"))
}

/// `[batch, height, width, channels]` as convolutions take it.
pub(crate) fn channels_first(x: Tensor<4>) -> Tensor<4> {
    x.permute([0, 3, 1, 2])
}

/// `[batch, channels, height, width]` as everything else takes it.
pub(crate) fn channels_last(x: Tensor<4>) -> Tensor<4> {
    x.permute([0, 2, 3, 1])
}
