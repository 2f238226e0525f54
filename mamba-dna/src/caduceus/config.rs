//! The sizes and the initialisation of Caduceus.

use super::{Caduceus, CaduceusBlock, CaduceusMaskedLm};
use crate::bimamba::{BiMamba, BiMambaConfig, Combine};
use crate::heads::{CaduceusClassifier, CaduceusTracks, Pooling};
use crate::mixer::Mixer;
use crate::rcps::NormOrder;
use crate::tokens::VOCABULARY;
use burn::config::Config;
use burn::module::Initializer;
use burn::nn::{EmbeddingConfig, LinearConfig, RmsNormConfig};
use burn::tensor::Device;
use mamba_blocks::{ConfigError, MambaConfig};

/// Configuration of a [`Caduceus`]; the defaults are those of the published models, for the names see there.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mamba_dna::{CaduceusConfig, tokens};
///
/// let device = Device::default();
/// let config = CaduceusConfig::new(16, 2);
/// let dna = tokens::to_tensor(&[tokens::encode("GATTACA").unwrap()], &device);
/// // Without a head: features of both strands, one after the other.
/// let (ps, ph) = (config.init(&device), config.clone().with_rcps(false).try_init(&device)?);
/// assert_eq!((ps.forward(dna.clone()).dims(), ph.forward(dna.clone()).dims()), ([1, 7, 32], [1, 7, 16]));
/// // With a new head for two classes, and one for three values of each nucleotide.
/// assert_eq!(config.classifier(ps.clone(), 2).forward(dna.clone()).dims(), [1, 2]);
/// assert_eq!(config.tracks(ps, 3).forward(dna).dims(), [1, 7, 3]);
/// # Ok::<(), mamba_blocks::ConfigError>(())
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct CaduceusConfig {
    /// Channels of one strand.
    pub d_model: usize,
    /// Number of blocks.
    pub n_layer: usize,
    /// Whether the model commutes with the reverse complement (Caduceus-PS). Without (Caduceus-Ph) it is trained on both
    /// strands, and its predictions for both are averaged.
    #[config(default = true)]
    pub rcps: bool,
    /// Which half of the stream the norms of a model with `rcps` take for which: true for all published models; see
    /// [`NormOrder`].
    #[config(default = true)]
    pub fused_add_norm: bool,
    /// Whether there is a direction from the last token to the first.
    #[config(default = true)]
    pub bidirectional: bool,
    /// How the outputs of both directions become one.
    #[config(default = "Combine::Add")]
    pub bidirectional_strategy: Combine,
    /// Whether both directions share the projections in and out.
    #[config(default = true)]
    pub bidirectional_weight_tie: bool,
    /// States of every channel; this and the settings down to `bias` are those of [`MambaConfig`].
    #[config(default = 16)]
    pub d_state: usize,
    /// Taps of the convolution, at least 2.
    #[config(default = 4)]
    pub d_conv: usize,
    /// Inner channels for every channel of a strand.
    #[config(default = 2)]
    pub expand: usize,
    /// Rank of the projection to the time steps; none is `d_model / 16`, rounded up.
    pub dt_rank: Option<usize>,
    /// Whether the convolution has a bias.
    #[config(default = true)]
    pub conv_bias: bool,
    /// Whether the projections in and out have a bias.
    #[config(default = false)]
    pub bias: bool,
    /// What the norms add to the mean square.
    #[config(default = 1e-5)]
    pub norm_epsilon: f64,
    /// Whether the residual stream is kept in f32 when the parameters are not.
    #[config(default = false)]
    pub residual_in_fp32: bool,
    /// The vocabulary is padded to a multiple of this.
    #[config(default = 8)]
    pub pad_vocab_size_multiple: usize,
    /// Standard deviation of the initial embedding.
    #[config(default = 0.02)]
    pub initializer_range: f64,
    /// Whether the initial weights of `out_proj` are divided by `sqrt(n_layer)`.
    #[config(default = true)]
    pub rescale_prenorm_residual: bool,
}

impl CaduceusConfig {
    /// The vocabulary with its padding: the last dimension of the logits.
    pub fn padded_vocab_size(&self) -> usize {
        VOCABULARY.next_multiple_of(self.pad_vocab_size_multiple)
    }

    /// The configuration of one mixer.
    pub fn mixer(&self) -> BiMambaConfig {
        let mixer = MambaConfig::new(self.d_model)
            .with_d_state(self.d_state)
            .with_d_conv(self.d_conv)
            .with_expand(self.expand)
            .with_dt_rank(self.dt_rank)
            .with_conv_bias(self.conv_bias)
            .with_bias(self.bias);
        BiMambaConfig::new(mixer)
            .with_bidirectional(self.bidirectional)
            .with_combine(self.bidirectional_strategy)
            .with_weight_tie(self.bidirectional_weight_tie)
    }

    /// The order of the norms; none without `rcps`.
    pub fn order(&self) -> Option<NormOrder> {
        self.rcps.then_some(if self.fused_add_norm { NormOrder::Fused } else { NormOrder::Plain })
    }

    /// Number of parameters, the tied head counted once. For a configuration that is valid.
    pub fn num_params(&self) -> usize {
        let block = self.mixer().num_params() + self.d_model;
        self.padded_vocab_size() * self.d_model + self.n_layer * block + self.d_model
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`ConfigError`], which names the first setting at fault.
    pub fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::check_sizes(&[
            ("n_layer", self.n_layer),
            ("pad_vocab_size_multiple", self.pad_vocab_size_multiple),
        ])?;
        for (name, value) in [("norm_epsilon", self.norm_epsilon), ("initializer_range", self.initializer_range)] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(ConfigError::OutOfRange { name, value, expected: "a positive number" });
            }
        }
        self.mixer().mixer.validate()
    }

    /// Makes the model without a head.
    ///
    /// # Panics
    /// With the text of the [`ConfigError`] that [`try_init`](Self::try_init) returns.
    pub fn init(&self, device: &Device) -> Caduceus {
        self.try_init(device).unwrap_or_else(|error| panic!("CaduceusConfig: {error}"))
    }

    /// Makes the model without a head.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn try_init(&self, device: &Device) -> Result<Caduceus, ConfigError> {
        self.try_init_with(device, |_| {
            let mut mixer: BiMamba = self.mixer().try_init(device)?;
            if self.rescale_prenorm_residual {
                mixer.rescale(self.n_layer, device);
            }
            Ok(mixer)
        })
    }

    /// Makes the model with mixers of any kind: `mixer` makes that of each block, counted from 0 on. A mixer that is an
    /// enum of several makes a hybrid.
    ///
    /// # Errors
    /// As [`validate`](Self::validate), or that of `mixer`.
    pub fn try_init_with<M: Mixer>(
        &self,
        device: &Device,
        mixer: impl Fn(usize) -> Result<M, ConfigError>,
    ) -> Result<Caduceus<M>, ConfigError> {
        self.validate()?;
        let norm = || RmsNormConfig::new(self.d_model).with_epsilon(self.norm_epsilon).init(device);
        let (order, residual_in_fp32) = (self.order(), self.residual_in_fp32);
        let block = |index| Ok(CaduceusBlock { norm: norm(), mixer: mixer(index)?, order, residual_in_fp32 });
        let normal = Initializer::Normal { mean: 0.0, std: self.initializer_range };
        let embedding = EmbeddingConfig::new(self.padded_vocab_size(), self.d_model).with_initializer(normal);
        Ok(Caduceus {
            embedding: embedding.init(device),
            layers: (0..self.n_layer).map(block).collect::<Result<_, _>>()?,
            norm_f: norm(),
            order,
        })
    }

    /// Makes the model with the head of masked language models, which is tied to the embedding.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn try_init_masked_lm(&self, device: &Device) -> Result<CaduceusMaskedLm, ConfigError> {
        Ok(CaduceusMaskedLm { caduceus: self.try_init(device)? })
    }

    /// `caduceus` with a new head for `classes` classes of sequences.
    pub fn classifier<M: Mixer>(&self, caduceus: Caduceus<M>, classes: usize) -> CaduceusClassifier<M> {
        let device = caduceus.embedding.weight.device();
        let normal = Initializer::Normal { mean: 0.0, std: self.initializer_range };
        let score = LinearConfig::new(self.d_model, classes).with_bias(false).with_initializer(normal).init(&device);
        CaduceusClassifier { caduceus, score, pooling: Pooling::Mean }
    }

    /// `caduceus` with a new head for `tracks` values of each nucleotide.
    pub fn tracks<M: Mixer>(&self, caduceus: Caduceus<M>, tracks: usize) -> CaduceusTracks<M> {
        let device = caduceus.embedding.weight.device();
        CaduceusTracks { caduceus, head: LinearConfig::new(self.d_model, tracks).init(&device) }
    }
}
