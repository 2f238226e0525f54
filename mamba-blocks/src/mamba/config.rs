//! The sizes and the initialisation of a Mamba-1 mixer.

use super::Mamba;
use crate::error::ConfigError;
use burn::config::Config;
use burn::module::{Initializer, Param};
use burn::nn::conv::{Conv1d, Conv1dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig1d};
use burn::tensor::{DType, Device, Distribution, Int, Tensor};

/// How the weight of `dt_proj` is initialised; `s` is `dt_scale / sqrt(dt_rank)`.
#[derive(Config, Debug, PartialEq)]
pub enum DtInit {
    /// Uniform in `(-s, s)`.
    Random,
    /// Every entry is `s`.
    Constant,
}

/// Configuration of a [`Mamba`] mixer; the defaults are those of the original implementation.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mamba_blocks::MambaConfig;
///
/// let device = Device::default();
/// let config = MambaConfig::new(16).with_d_state(8).with_d_conv(3);
/// let mamba = config.init(&device);
/// assert_eq!(mamba.forward(Tensor::ones([2, 10, 16], &device)).dims(), [2, 10, 16]);
///
/// // Settings from a file or a user: an error names the first at fault.
/// let error = config.with_dt_rank(Some(0)).try_init(&device).unwrap_err();
/// assert_eq!(error.to_string(), "`dt_rank` is 0, expected at least 1");
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct MambaConfig {
    /// Width of the input and the output.
    pub d_model: usize,
    /// States of every channel.
    #[config(default = 16)]
    pub d_state: usize,
    /// Taps of the convolution, at least 2.
    #[config(default = 4)]
    pub d_conv: usize,
    /// Inner channels for every channel of the input.
    #[config(default = 2)]
    pub expand: usize,
    /// Inner channels; none is `expand * d_model`.
    pub d_inner: Option<usize>,
    /// Rank of the projection to the time steps; none is `d_model / 16`, rounded up.
    pub dt_rank: Option<usize>,
    /// Whether dt, b and c get an RMS norm without weights, and what it adds to the mean square (FalconMamba).
    pub inner_norm_epsilon: Option<f64>,
    /// Smallest initial time step.
    #[config(default = 0.001)]
    pub dt_min: f64,
    /// Largest initial time step.
    #[config(default = 0.1)]
    pub dt_max: f64,
    /// How `dt_proj`'s weight is initialised.
    #[config(default = "DtInit::Random")]
    pub dt_init: DtInit,
    /// Scale of `dt_proj`'s initial weight.
    #[config(default = 1.0)]
    pub dt_scale: f64,
    /// Initial time steps below this are raised to it.
    #[config(default = 1e-4)]
    pub dt_init_floor: f64,
    /// Whether the convolution has a bias.
    #[config(default = true)]
    pub conv_bias: bool,
    /// Whether `in_proj` and `out_proj` have a bias.
    #[config(default = false)]
    pub bias: bool,
}

impl MambaConfig {
    /// Inner channels.
    pub fn d_inner(&self) -> usize {
        self.d_inner.unwrap_or(self.expand * self.d_model)
    }

    /// Rank of the projection to the time steps.
    pub fn dt_rank(&self) -> usize {
        self.dt_rank.unwrap_or(self.d_model.div_ceil(16))
    }

    /// Number of parameters of the mixer.
    pub fn num_params(&self) -> usize {
        let (d_model, d_inner, d_state, dt_rank) = (self.d_model, self.d_inner(), self.d_state, self.dt_rank());
        let in_proj = d_model * 2 * d_inner + usize::from(self.bias) * 2 * d_inner;
        let conv1d = d_inner * self.d_conv + usize::from(self.conv_bias) * d_inner;
        let x_proj = d_inner * (dt_rank + 2 * d_state);
        let dt_proj = dt_rank * d_inner + d_inner;
        let a_log_and_d = d_inner * d_state + d_inner;
        let out_proj = d_inner * d_model + usize::from(self.bias) * d_model;
        in_proj + conv1d + x_proj + dt_proj + a_log_and_d + out_proj
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`ConfigError`], which names the first setting at fault.
    pub fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::check_sizes(&[
            ("d_model", self.d_model),
            ("d_state", self.d_state),
            ("d_conv", self.d_conv),
            ("expand", self.expand),
            ("dt_rank", self.dt_rank()),
        ])?;
        if let Some(d_inner) = self.d_inner {
            ConfigError::check_sizes(&[("d_inner", d_inner)])?;
        }
        if self.d_conv == 1 {
            return Err(ConfigError::OutOfRange { name: "d_conv", value: 1.0, expected: "at least 2" });
        }
        let (dt_min, dt_max) = (self.dt_min, self.dt_max);
        if !(0.0 < dt_min && dt_min < dt_max && dt_max.is_finite()) {
            return Err(ConfigError::DtRange { dt_min, dt_max });
        }
        let inner_norm_epsilon = self.inner_norm_epsilon.map(|value| ("inner_norm_epsilon", value));
        let positive = [("dt_scale", self.dt_scale), ("dt_init_floor", self.dt_init_floor)];
        for (name, value) in positive.into_iter().chain(inner_norm_epsilon) {
            if !(value > 0.0 && value.is_finite()) {
                return Err(ConfigError::OutOfRange { name, value, expected: "a positive number" });
            }
        }
        Ok(())
    }

    /// Makes the mixer.
    ///
    /// # Panics
    /// With the text of the [`ConfigError`] that [`try_init`](Self::try_init) returns.
    pub fn init(&self, device: &Device) -> Mamba {
        self.try_init(device).unwrap_or_else(|error| panic!("MambaConfig: {error}"))
    }

    /// Makes the mixer.
    ///
    /// Linear layers and the convolution start as PyTorch's do, uniform in `1 / sqrt(fan_in)` to either side, and
    /// biases of linear layers at zero. `dt_proj`, `a_log` and `d` start as in section 3.6 of the paper.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn try_init(&self, device: &Device) -> Result<Mamba, ConfigError> {
        self.validate()?;
        let (d_inner, dt_rank) = (self.d_inner(), self.dt_rank());
        Ok(Mamba {
            in_proj: linear(self.d_model, 2 * d_inner, self.bias, device),
            conv1d: self.conv1d(device),
            x_proj: linear(d_inner, dt_rank + 2 * self.d_state, false, device),
            dt_proj: self.dt_proj(device),
            a_log: Param::from_tensor(self.a_log(device)),
            d: Param::from_tensor(Tensor::ones([d_inner], (device, DType::F32))),
            out_proj: linear(d_inner, self.d_model, self.bias, device),
            inner_norm_epsilon: self.inner_norm_epsilon,
            long_context: None,
            kept_rates: None,
        })
    }

    pub(crate) fn conv1d(&self, device: &Device) -> Conv1d {
        let d_inner = self.d_inner();
        Conv1dConfig::new(d_inner, d_inner, self.d_conv)
            .with_groups(d_inner)
            .with_padding(PaddingConfig1d::Explicit(self.d_conv - 1, 0))
            .with_bias(self.conv_bias)
            .init(device)
    }

    /// Its bias is the inverse softplus of time steps that are log-uniform in `dt_min..dt_max`.
    fn dt_proj(&self, device: &Device) -> Linear {
        let (d_inner, dt_rank) = (self.d_inner(), self.dt_rank());
        let scale = self.dt_scale / (dt_rank as f64).sqrt();
        let weight = match self.dt_init {
            DtInit::Random => Initializer::Uniform { min: -scale, max: scale },
            DtInit::Constant => Initializer::Constant { value: scale },
        };
        let log_dt = Distribution::Uniform(self.dt_min.ln(), self.dt_max.ln());
        let dt = Tensor::<1>::random([d_inner], log_dt, (device, DType::F32)).exp().clamp_min(self.dt_init_floor);
        // ln(e^dt - 1) = dt / 2 + ln(2 sinh(dt / 2)), which loses no digits for a small dt.
        let half = dt.mul_scalar(0.5);
        let bias = half.clone() + half.sinh().mul_scalar(2.0).log();
        Linear { weight: weight.init([dt_rank, d_inner], device), bias: Some(Param::from_tensor(bias)) }
    }

    /// `ln(1), ..., ln(d_state)` for every channel.
    fn a_log(&self, device: &Device) -> Tensor<2> {
        let n = Tensor::<1, Int>::arange(1..self.d_state as i64 + 1, device).float().cast(DType::F32);
        n.log().unsqueeze::<2>().repeat_dim(0, self.d_inner())
    }
}

/// A linear layer as the original model starts it: PyTorch's weight and a bias of zero.
fn linear(d_input: usize, d_output: usize, bias: bool, device: &Device) -> Linear {
    let bias = bias.then(|| Initializer::Zeros.init([d_output], device));
    Linear { bias, ..LinearConfig::new(d_input, d_output).with_bias(false).init(device) }
}
