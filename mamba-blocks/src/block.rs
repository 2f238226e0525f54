//! The pre-norm residual block around a mixer (Gu & Dao 2023, section 3.4).

use crate::error::ConfigError;
use crate::mamba::{Mamba, MambaConfig, MambaOptions, MambaState};
use burn::config::Config;
use burn::module::Module;
use burn::nn::{RmsNorm, RmsNormConfig};
use burn::tensor::{Device, Tensor};
use mamba_core::{AddRmsNormOutput, add_rms_norm};

/// Configuration of a [`MambaBlock`].
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mamba_blocks::{MambaBlockConfig, MambaConfig};
///
/// let device = Device::default();
/// let config = MambaBlockConfig::new(MambaConfig::new(16));
/// let blocks = [config.init(&device), config.try_init(&device)?];
///
/// let (mut hidden, mut residual) = (Tensor::<3>::ones([2, 10, 16], &device), None);
/// for block in &blocks {
///     let next = block.forward(hidden, residual);
///     (hidden, residual) = (next.0, Some(next.1));
/// }
/// assert_eq!((hidden + residual.unwrap()).dims(), [2, 10, 16]);
/// # Ok::<(), mamba_blocks::ConfigError>(())
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct MambaBlockConfig {
    /// The mixer.
    pub mixer: MambaConfig,
    /// What the norm adds to the mean square.
    #[config(default = 1e-5)]
    pub norm_epsilon: f64,
    /// Whether the residual stream is kept in f32 when the parameters are not.
    #[config(default = true)]
    pub residual_in_fp32: bool,
}

impl MambaBlockConfig {
    /// Number of parameters of the block.
    pub fn num_params(&self) -> usize {
        self.mixer.num_params() + self.mixer.d_model
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`ConfigError`], which names the first setting at fault.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let value = self.norm_epsilon;
        if !(value > 0.0 && value.is_finite()) {
            return Err(ConfigError::OutOfRange { name: "norm_epsilon", value, expected: "a positive number" });
        }
        self.mixer.validate()
    }

    /// Makes the block.
    ///
    /// # Panics
    /// With the text of the [`ConfigError`] that [`try_init`](Self::try_init) returns.
    pub fn init(&self, device: &Device) -> MambaBlock {
        self.try_init(device).unwrap_or_else(|error| panic!("MambaBlockConfig: {error}"))
    }

    /// Makes the block.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn try_init(&self, device: &Device) -> Result<MambaBlock, ConfigError> {
        self.validate()?;
        Ok(MambaBlock {
            norm: RmsNormConfig::new(self.mixer.d_model).with_epsilon(self.norm_epsilon).init(device),
            mixer: self.mixer.try_init(device)?,
            residual_in_fp32: self.residual_in_fp32,
        })
    }
}

/// Add, norm, mixer. Made by [`MambaBlockConfig`].
///
/// The stream between blocks is a pair: what the last mixer returned (`hidden`) and the sum of all before it
/// (`residual`). A block adds the two, and the norm sees the sum before it is rounded. After the last block,
/// `hidden + residual` is the output of the stack.
#[derive(Module, Debug)]
pub struct MambaBlock {
    /// RMS norm of the residual stream.
    pub norm: RmsNorm,
    /// The mixer.
    pub mixer: Mamba,
    /// Whether the residual stream is kept in f32.
    pub residual_in_fp32: bool,
}

impl MambaBlock {
    /// `hidden` and `residual` are `[batch, length, d_model]`; the first block has no residual. Returns the next pair.
    ///
    /// # Panics
    /// If shapes do not fit; see [`Mamba::forward`].
    pub fn forward(&self, hidden: Tensor<3>, residual: Option<Tensor<3>>) -> (Tensor<3>, Tensor<3>) {
        let (hidden, residual, _) = self.forward_with(hidden, residual, MambaOptions::new());
        (hidden, residual)
    }

    /// As [`forward`](Self::forward), with options for the mixer; returns its state after the last token as well.
    ///
    /// With [`MambaOptions::with_state`] it goes on from a state; a length of one is a decoding step.
    pub fn forward_with(
        &self,
        hidden: Tensor<3>,
        residual: Option<Tensor<3>>,
        options: MambaOptions,
    ) -> (Tensor<3>, Tensor<3>, MambaState) {
        let dtype = hidden.dtype();
        let AddRmsNormOutput { normed, sum } = norm(&self.norm, hidden, residual);
        let residual = if self.residual_in_fp32 { sum } else { sum.cast(dtype) };
        let (hidden, state) = self.mixer.forward_with(normed, options);
        (hidden, residual, state)
    }
}

/// [`RmsNorm`] of `hidden + residual`.
pub(crate) fn norm(norm: &RmsNorm, hidden: Tensor<3>, residual: Option<Tensor<3>>) -> AddRmsNormOutput {
    add_rms_norm(hidden, residual, norm.gamma.val(), norm.epsilon)
}
