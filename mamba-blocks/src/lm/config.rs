//! The sizes and the initialisation of a language model.

use super::MambaLm;
use crate::block::MambaBlockConfig;
use crate::error::ConfigError;
use crate::mamba::{DtInit, MambaConfig};
use burn::config::Config;
use burn::module::Initializer;
use burn::nn::{EmbeddingConfig, LinearConfig, RmsNormConfig};
use burn::tensor::Device;

/// Configuration of a [`MambaLm`]; the defaults are those of the original implementation.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use mamba_blocks::MambaLmConfig;
///
/// let device = Device::default();
/// // 50 tokens, rows of the embedding padded to a multiple of 8; 16 channels, 2 blocks.
/// let config = MambaLmConfig::new(50, 16, 2);
/// let model = config.try_init(&device)?;
/// let logits = model.forward(Tensor::<2, Int>::ones([2, 10], &device));
/// assert_eq!(logits.dims(), [2, 10, 56]);
/// # Ok::<(), mamba_blocks::ConfigError>(())
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct MambaLmConfig {
    /// Number of different tokens.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Number of blocks.
    pub n_layer: usize,
    /// States of every channel; this and the settings down to `bias` are those of [`MambaConfig`].
    #[config(default = 16)]
    pub d_state: usize,
    /// Taps of the convolution, at least 2.
    #[config(default = 4)]
    pub d_conv: usize,
    /// Inner channels for every channel of the residual stream.
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
    /// What the norms add to the mean square.
    #[config(default = 1e-5)]
    pub norm_epsilon: f64,
    /// Whether the residual stream is kept in f32 when the parameters are not.
    #[config(default = true)]
    pub residual_in_fp32: bool,
    /// The vocabulary is padded to a multiple of this.
    #[config(default = 8)]
    pub pad_vocab_size_multiple: usize,
    /// Whether the head shares its weight with the embedding.
    #[config(default = true)]
    pub tie_embeddings: bool,
    /// Standard deviation of the initial embedding.
    #[config(default = 0.02)]
    pub initializer_range: f64,
    /// Whether the initial weights of `out_proj` are divided by `sqrt(n_layer)`.
    #[config(default = true)]
    pub rescale_prenorm_residual: bool,
}

impl MambaLmConfig {
    /// The vocabulary with its padding: the last dimension of the logits.
    pub fn padded_vocab_size(&self) -> usize {
        self.vocab_size.next_multiple_of(self.pad_vocab_size_multiple)
    }

    /// The configuration of one mixer.
    pub fn mixer(&self) -> MambaConfig {
        MambaConfig {
            d_model: self.d_model,
            d_state: self.d_state,
            d_conv: self.d_conv,
            expand: self.expand,
            d_inner: self.d_inner,
            dt_rank: self.dt_rank,
            inner_norm_epsilon: self.inner_norm_epsilon,
            dt_min: self.dt_min,
            dt_max: self.dt_max,
            dt_init: self.dt_init.clone(),
            dt_scale: self.dt_scale,
            dt_init_floor: self.dt_init_floor,
            conv_bias: self.conv_bias,
            bias: self.bias,
        }
    }

    /// The configuration of one block.
    pub fn block(&self) -> MambaBlockConfig {
        MambaBlockConfig {
            mixer: self.mixer(),
            norm_epsilon: self.norm_epsilon,
            residual_in_fp32: self.residual_in_fp32,
        }
    }

    /// Number of parameters of the model, a tied head counted once. For a configuration that is valid.
    pub fn num_params(&self) -> usize {
        let embedding = self.padded_vocab_size() * self.d_model;
        let head = if self.tie_embeddings { 0 } else { embedding };
        embedding + self.n_layer * self.block().num_params() + self.d_model + head
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`ConfigError`], which names the first setting at fault.
    pub fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::check_sizes(&[
            ("vocab_size", self.vocab_size),
            ("n_layer", self.n_layer),
            ("pad_vocab_size_multiple", self.pad_vocab_size_multiple),
        ])?;
        let value = self.initializer_range;
        if !(value > 0.0 && value.is_finite()) {
            return Err(ConfigError::OutOfRange { name: "initializer_range", value, expected: "a positive number" });
        }
        self.block().validate()
    }

    /// Makes the model.
    ///
    /// # Panics
    /// With the text of the [`ConfigError`] that [`try_init`](Self::try_init) returns.
    pub fn init(&self, device: &Device) -> MambaLm {
        self.try_init(device).unwrap_or_else(|error| panic!("MambaLmConfig: {error}"))
    }

    /// Makes the model.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn try_init(&self, device: &Device) -> Result<MambaLm, ConfigError> {
        self.validate()?;
        let (d_model, vocab) = (self.d_model, self.padded_vocab_size());
        let mut layers = Vec::with_capacity(self.n_layer);
        for _ in 0..self.n_layer {
            let mut layer = self.block().try_init(device)?;
            if self.rescale_prenorm_residual {
                let d_inner = self.mixer().d_inner();
                // PyTorch's uniform weight, divided.
                let gain = 1.0 / (3.0 * self.n_layer as f64).sqrt();
                layer.mixer.out_proj.weight = Initializer::KaimingUniform { gain, fan_out_only: false }.init_with(
                    [d_inner, d_model],
                    Some(d_inner),
                    None,
                    device,
                );
            }
            layers.push(layer);
        }
        let normal = Initializer::Normal { mean: 0.0, std: self.initializer_range };
        Ok(MambaLm {
            embedding: EmbeddingConfig::new(vocab, d_model).with_initializer(normal).init(device),
            layers,
            norm_f: RmsNormConfig::new(d_model).with_epsilon(self.norm_epsilon).init(device),
            lm_head: (!self.tie_embeddings).then(|| LinearConfig::new(d_model, vocab).with_bias(false).init(device)),
            vocab_size: self.vocab_size,
        })
    }
}
