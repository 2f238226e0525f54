//! A linear, time-invariant state space layer with a companion matrix: SpaceTime (Zhang et al. 2023, "Effectively
//! Modeling Time Series with Simple Discrete State Spaces", arXiv:2302.09489, section 3).
//!
//! ```text
//! h_t = A h_{t-1} + b u_t        A = | 0         a_1 |
//! y_t = <c, h_t> + d u_t             | 1 0       a_2 |
//!                                    |   . .      .  |
//!                                    |     1     a_n |
//! ```
//!
//! With `a = 0` and `b = (1, 0, .., 0)` the state is the last `n` inputs, so that `c` are the coefficients of any
//! autoregressive process of order `n` (proposition 1 of the paper). No diagonal matrix has such a state.

use crate::error::ConfigError;
use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::tensor::module::conv1d;
use burn::tensor::ops::{ConvOptions, PadMode};
use burn::tensor::{Device, Tensor};

/// Configuration of a [`Companion`] layer.
///
/// ```
/// use burn::tensor::{Device, Distribution, Tensor};
/// use mamba_blocks::CompanionConfig;
///
/// let device = Device::default();
/// let layer = CompanionConfig::new(3).with_d_state(8).try_init(&device)?;
/// let x = Tensor::<3>::random([2, 20, 3], Distribution::Default, &device);
/// // As one convolution, or token by token from a state `[batch, channels, d_state]`.
/// let whole = layer.forward(x.clone());
/// let (steps, state) = layer.forward_with_state(x, layer.init_state(2, &device));
/// assert_eq!(state.dims(), [2, 3, 8]);
/// assert!((whole - steps).abs().max().into_scalar::<f32>() < 1e-4);
///
/// // Settings from a user are refused, those of a program panic.
/// assert_eq!(CompanionConfig::new(0).try_init(&device).unwrap_err().to_string(), "`channels` is 0, expected at least 1");
/// let _layer = CompanionConfig::new(3).init(&device);
/// # Ok::<(), mamba_blocks::ConfigError>(())
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct CompanionConfig {
    /// Channels, each with a system of its own.
    pub channels: usize,
    /// States of every channel: the order of the autoregression that it can be.
    #[config(default = 64)]
    pub d_state: usize,
    /// Whether `a` is divided by the sum of its absolute values if that is more than 1, so that no state grows.
    #[config(default = true)]
    pub is_stable: bool,
}

impl CompanionConfig {
    /// Makes the layer.
    ///
    /// # Panics
    /// With the text of the [`ConfigError`] that [`try_init`](Self::try_init) returns.
    pub fn init(&self, device: &Device) -> Companion {
        self.try_init(device).unwrap_or_else(|error| panic!("CompanionConfig: {error}"))
    }

    /// Makes the layer. All but the skip starts normal with a variance of `1 / d_state`.
    ///
    /// # Errors
    /// [`ConfigError`], which names the first setting at fault.
    pub fn try_init(&self, device: &Device) -> Result<Companion, ConfigError> {
        ConfigError::check_sizes(&[("channels", self.channels), ("d_state", self.d_state)])?;
        let normal = Initializer::Normal { mean: 0.0, std: (self.d_state as f64).sqrt().recip() };
        let shape = [self.channels, self.d_state];
        Ok(Companion {
            a: normal.init(shape, device),
            b: normal.init(shape, device),
            c: normal.init(shape, device),
            d: Initializer::Zeros.init([self.channels], device),
            is_stable: self.is_stable,
        })
    }
}

/// A companion-matrix system for every channel. Made by [`CompanionConfig`].
#[derive(Module, Debug)]
pub struct Companion {
    /// The last column of the matrix: `[channels, d_state]`.
    pub a: Param<Tensor<2>>,
    /// From an input to the state: `[channels, d_state]`.
    pub b: Param<Tensor<2>>,
    /// From the state to an output: `[channels, d_state]`.
    pub c: Param<Tensor<2>>,
    /// The skip connection: `[channels]`.
    pub d: Param<Tensor<1>>,
    /// Whether `a` is kept within a sum of 1.
    pub is_stable: bool,
}

impl Companion {
    /// `[batch, length, channels]` into the same shape, as a causal convolution with [`kernel`](Self::kernel).
    ///
    /// # Panics
    /// If the input has another number of channels, or a dimension is zero.
    pub fn forward(&self, input: Tensor<3>) -> Tensor<3> {
        let [_, length, channels] = self.check(&input);
        let kernel = self.kernel(length).flip([1]).unsqueeze_dim::<3>(1);
        let padded = input.clone().swap_dims(1, 2).pad([(0, 0), (0, 0), (length - 1, 0)], PadMode::Constant(0.0));
        let output = conv1d(padded, kernel, None, ConvOptions::new([1], [0], [1], channels));
        output.swap_dims(1, 2) + input * self.d.val().unsqueeze()
    }

    /// As [`forward`](Self::forward), token by token from `state`, `[batch, channels, d_state]`; returns the state
    /// behind the last.
    ///
    /// # Panics
    /// As [`forward`](Self::forward), or if the state does not fit.
    pub fn forward_with_state(&self, input: Tensor<3>, mut state: Tensor<3>) -> (Tensor<3>, Tensor<3>) {
        let [_, length, _] = self.check(&input);
        let mut outputs = Vec::with_capacity(length);
        for t in 0..length {
            let (output, next) = self.step(input.clone().narrow(1, t, 1).squeeze_dim(1), state);
            outputs.push(output.unsqueeze_dim::<3>(1));
            state = next;
        }
        (Tensor::cat(outputs, 1), state)
    }

    /// One token, `[batch, channels]`.
    ///
    /// # Panics
    /// If shapes do not fit.
    pub fn step(&self, input: Tensor<2>, state: Tensor<3>) -> (Tensor<2>, Tensor<3>) {
        let state = self.advance(state) + self.b.val().unsqueeze::<3>() * input.clone().unsqueeze_dim(2);
        let read = (state.clone() * self.c.val().unsqueeze()).sum_dim(2).squeeze_dim::<2>(2);
        (read + input * self.d.val().unsqueeze(), state)
    }

    /// The state before the first token of `batch` sequences.
    pub fn init_state(&self, batch: usize, device: &Device) -> Tensor<3> {
        let [channels, d_state] = self.a.dims();
        Tensor::zeros([batch, channels, d_state], device)
    }

    /// The response to an impulse without the skip, `<c, A^t b>` for `t` from 0: `[channels, length]`.
    ///
    /// The powers are doubled: `A^t b` for `t < 2m` from those for `t < m`, in as many products as `length` has digits.
    pub fn kernel(&self, length: usize) -> Tensor<2> {
        let mut power = self.matrix();
        let mut states: Tensor<3> = self.b.val().unsqueeze_dim(2);
        while states.dims()[2] < length {
            states = Tensor::cat(vec![states.clone(), power.clone().matmul(states)], 2);
            power = power.clone().matmul(power);
        }
        let states = states.narrow(2, 0, length);
        self.c.val().unsqueeze_dim::<3>(1).matmul(states).squeeze_dim(1)
    }

    /// The companion matrices, `[channels, d_state, d_state]`.
    pub fn matrix(&self) -> Tensor<3> {
        let [channels, d_state] = self.a.dims();
        let unit = Tensor::<2>::eye(d_state, &self.a.device()).unsqueeze::<3>().repeat_dim(0, channels);
        // Its columns are the images of the unit vectors, and rows of a batch are advanced alike.
        self.advance(unit.swap_dims(0, 1)).swap_dims(0, 1).swap_dims(1, 2)
    }

    /// `A h` for states `[batch, channels, d_state]`: all move by one place, and the last returns through `a`.
    fn advance(&self, state: Tensor<3>) -> Tensor<3> {
        let [_, _, d_state] = state.dims();
        let last = state.clone().narrow(2, d_state - 1, 1);
        let moved = match d_state {
            1 => state.zeros_like(),
            _ => state.narrow(2, 0, d_state - 1).pad([(0, 0), (0, 0), (1, 0)], PadMode::Constant(0.0)),
        };
        moved + last * self.column().unsqueeze()
    }

    /// `a`, kept within a sum of 1.
    fn column(&self) -> Tensor<2> {
        let a = self.a.val();
        match self.is_stable {
            true => a.clone() / a.abs().sum_dim(1).clamp_min(1.0),
            false => a,
        }
    }

    fn check(&self, input: &Tensor<3>) -> [usize; 3] {
        let [batch, length, channels] = input.dims();
        let [expected, _] = self.a.dims();
        assert!(
            batch > 0 && length > 0 && channels == expected,
            "Companion: the input has shape {:?}, expected [batch, length, {expected}] with neither batch nor length 0",
            input.dims()
        );
        [batch, length, channels]
    }
}
