//! Options for inputs far longer than those of the training; off unless asked for.
//!
//! A trained model is changed in what its scan gets, not in its weights. With `delta'` the time steps after the softplus,
//! the recurrence is
//!
//! ```text
//! h_t = exp(forget delta'_t a) h_(t-1) + insert delta'_t u_t b_t, then h_t <- h_t min(1, max_state_norm / |h_t|)
//! ```
//!
//! - `forget` and `insert`, `max_state_norm`, and `window` are the three mitigations of state collapse, "forget more and
//!   remember less", "state normalisation" and "sliding window", of Chen et al. 2024, "Stuffed Mamba"
//!   (arXiv:2410.07145v1). There they serve Mamba-2, whose state has one matrix for each head; here a head is a channel.
//!   With a window, `h_t` is the sum over the last `window` tokens alone.
//! - The token filter is LongMamba's (Ye et al. 2025, arXiv:2504.16053, section 4): where a channel is *global*, a token
//!   whose `delta'_t` is not above the channel's threshold gets `delta'_t = 0`. It neither decays the state nor enters it.
//!
//! All are decided token by token from settings that do not depend on the input's length, so that a prefill and steps after
//! it give what one scan does.

use super::Mamba;
use crate::error::ConfigError;
use crate::parts::at_least_f32;
use burn::config::Config;
use burn::module::Module;
use burn::tensor::activation::softplus;
use burn::tensor::{Int, Tensor};

/// Mitigations of state collapse; the defaults change nothing. See
/// [`MambaLm::with_long_context`](crate::MambaLm::with_long_context).
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use mamba_blocks::{LongContextConfig, MambaLmConfig};
///
/// let device = Device::default();
/// let model = MambaLmConfig::new(32, 16, 1).init(&device);
/// let model = model.with_long_context(&LongContextConfig::new().with_window(Some(4)))?;
/// assert_eq!(model.forward(Tensor::<2, Int>::ones([1, 10], &device)).dims()[..2], [1, 10]);
/// # Ok::<(), mamba_blocks::ConfigError>(())
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct LongContextConfig {
    /// `a` is multiplied by this: the state decays faster with more than 1.
    #[config(default = 1.0)]
    pub forget: f64,
    /// `b` is multiplied by this: less enters the state with less than 1.
    #[config(default = 1.0)]
    pub insert: f64,
    /// The largest norm of the states of a channel. Every token then waits for the one before it: slow in a prefill.
    pub max_state_norm: Option<f64>,
    /// How many tokens a token sees, itself included; all if none. A state then holds, besides, the inputs of the scan for
    /// that many tokens. Not together with `max_state_norm`: it takes a state apart into what each token left in it.
    pub window: Option<usize>,
}

impl LongContextConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`ConfigError`], which names the first setting at fault.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if let Some(window) = self.window {
            ConfigError::check_sizes(&[("window", window)])?;
            if let Some(value) = self.max_state_norm {
                let expected = "none together with `window`";
                return Err(ConfigError::OutOfRange { name: "max_state_norm", value, expected });
            }
        }
        let norm = self.max_state_norm.map(|norm| ("max_state_norm", norm));
        check_positive([("forget", self.forget), ("insert", self.insert)].into_iter().chain(norm))
    }
}

/// How LongMamba's thresholds are found. See [`MambaLm::with_token_filter`](crate::MambaLm::with_token_filter).
///
/// On samples of `L` tokens, the length of the training, a channel's state has decayed to `exp(a sum_t delta'_t)` at the
/// end, with the slowest of the channel's `a`. The channel is global if that is more than `global_decay`, in the mean of
/// the samples. Its threshold is such that the tokens above it have `L / length` of the sum of all `delta'`: then the
/// state has decayed after `length` tokens about as much as in training after `L`.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use mamba_blocks::{MambaLmConfig, TokenFilterConfig};
///
/// let device = Device::default();
/// let model = MambaLmConfig::new(32, 16, 1).init(&device);
/// // Texts as long as those of the training, for a model that is to read texts eight times as long.
/// let samples = Tensor::<2, Int>::ones([2, 10], &device);
/// let model = model.with_token_filter(&TokenFilterConfig::new(80), samples)?;
/// # Ok::<(), mamba_blocks::ConfigError>(())
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct TokenFilterConfig {
    /// Tokens over which the model is to remember; not more than the samples have filters nothing.
    pub length: usize,
    /// What must be left of a channel's state after a sample for the channel to be global.
    #[config(default = 1e-10)]
    pub global_decay: f64,
}

impl TokenFilterConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`ConfigError`], which names the first setting at fault.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.length == 0 {
            return Err(ConfigError::Zero { name: "length" });
        }
        check_positive([("global_decay", self.global_decay)])
    }

    /// The thresholds, `[d_inner]`, from the `delta'` of samples, `[samples, L, d_inner]`; 0 for local channels.
    pub(crate) fn thresholds(&self, delta: Tensor<3>, a: Tensor<2>) -> Tensor<1> {
        let [_, tokens, _] = delta.dims();
        if self.length <= tokens {
            return Tensor::zeros_like(&a.max_dim(1).squeeze_dim::<1>(1));
        }
        let total = delta.clone().sum_dim(1);
        let slowest = a.max_dim(1).squeeze_dim::<1>(1).unsqueeze::<3>();
        let left = (total.clone() * slowest).exp().mean_dim(0).squeeze_dims::<1>(&[0, 1]);
        let is_local = left.lower_equal_elem(self.global_decay);
        let share = total.mul_scalar(tokens as f64 / self.length as f64);
        let sorted = delta.sort_descending(1);
        let kept: Tensor<3, Int> = sorted.clone().cumsum(1).lower_equal(share.expand(sorted.dims())).int().sum_dim(1);
        let threshold = sorted.gather(1, kept.clamp_max(tokens as i64 - 1));
        threshold.mean_dim(0).squeeze_dims::<1>(&[0, 1]).mask_fill(is_local, 0.0)
    }
}

fn check_positive(settings: impl IntoIterator<Item = (&'static str, f64)>) -> Result<(), ConfigError> {
    for (name, value) in settings {
        if !(value > 0.0 && value.is_finite()) {
            return Err(ConfigError::OutOfRange { name, value, expected: "a positive number" });
        }
    }
    Ok(())
}

/// What a [`Mamba`] mixer does otherwise for long inputs; the defaults change nothing. It is no part of a checkpoint.
#[derive(Module, Debug)]
pub struct LongContext {
    /// `a` is multiplied by this.
    pub forget: f64,
    /// `b` is multiplied by this.
    pub insert: f64,
    /// The largest norm of the states of a channel.
    pub max_state_norm: Option<f64>,
    /// How many tokens a token sees.
    pub window: Option<usize>,
    /// The token filter's threshold for `delta'`: `[d_inner]`, f32, 0 where all tokens pass.
    pub threshold: Option<Tensor<1>>,
}

impl Default for LongContext {
    fn default() -> Self {
        Self { forget: 1.0, insert: 1.0, max_state_norm: None, window: None, threshold: None }
    }
}

impl LongContext {
    /// With the settings of `config` and the threshold that is there.
    pub(crate) fn with(self, config: &LongContextConfig) -> Self {
        let LongContextConfig { forget, insert, max_state_norm, window } = *config;
        Self { forget, insert, max_state_norm, window, ..self }
    }

    pub(super) fn rates(&self, a: Tensor<2>) -> Tensor<2> {
        if self.forget == 1.0 { a } else { a.mul_scalar(self.forget) }
    }

    pub(super) fn inserted(&self, b: Tensor<4>) -> Tensor<4> {
        if self.insert == 1.0 { b } else { b.mul_scalar(self.insert) }
    }

    /// `delta`, before its bias and softplus, such that `delta'` is 0 where the token does not pass.
    pub(super) fn filtered(&self, mixer: &Mamba, delta: Tensor<3>) -> Tensor<3> {
        // Its softplus is 0 in every dtype, whatever the bias, and so is its gradient.
        const SKIP: f32 = -3e4;
        let Some(threshold) = &self.threshold else { return delta };
        let steps = mixer.time_steps(delta.clone());
        let skip = steps.clone().lower_equal(threshold.clone().unsqueeze::<3>().expand(steps.dims()));
        delta.mask_fill(skip, SKIP)
    }
}

impl Mamba {
    /// `delta'`, in no less than f32, from `delta` before its bias and softplus.
    pub(crate) fn time_steps(&self, delta: Tensor<3>) -> Tensor<3> {
        let delta = at_least_f32(delta);
        let delta = match &self.dt_proj.bias {
            Some(bias) => delta + at_least_f32(bias.val()).unsqueeze(),
            None => delta,
        };
        // Above 20 the softplus is the identity in the original.
        let is_linear = delta.clone().greater_scalar(20.0);
        softplus(delta.clone().clamp_max(20.0), 1.0).mask_where(is_linear, delta)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn the_largest_steps_up_to_their_share_of_the_sum_pass() {
        let device = Device::default();
        // Two channels with the same steps; the state of the second decays to nothing.
        let delta = Tensor::<3>::from_floats([[[2.0, 2.0], [4.0, 4.0], [1.0, 1.0], [3.0, 3.0]]], &device);
        let a = Tensor::<2>::from_floats([[-8.0, -0.1], [-8.0, -4.0]], &device);
        let thresholds = |length| {
            let config = TokenFilterConfig::new(length).with_global_decay(0.1);
            config.thresholds(delta.clone(), a.clone()).into_data().try_to_vec::<f32>().unwrap()
        };
        assert_eq!(thresholds(4), [0.0, 0.0]);
        // 4 + 3 of 10 are within 4 / 5, and 4 within 4 / 8; not even that within 4 / 100.
        assert_eq!(thresholds(5), [2.0, 0.0]);
        assert_eq!(thresholds(8), [3.0, 0.0]);
        assert_eq!(thresholds(100), [4.0, 0.0]);
    }

    #[test]
    fn impossible_settings_are_named() {
        let config = LongContextConfig::new;
        let cases = [
            ("forget", config().with_forget(0.0).validate()),
            ("insert", config().with_insert(f64::NAN).validate()),
            ("max_state_norm", config().with_max_state_norm(Some(-1.0)).validate()),
            ("max_state_norm", config().with_max_state_norm(Some(1.0)).with_window(Some(8)).validate()),
            ("window", config().with_window(Some(0)).validate()),
            ("length", TokenFilterConfig::new(0).validate()),
            ("global_decay", TokenFilterConfig::new(1).with_global_decay(f64::INFINITY).validate()),
        ];
        for (name, result) in cases {
            let message = result.unwrap_err().to_string();
            assert!(message.contains(name), "{message}");
        }
    }
}
