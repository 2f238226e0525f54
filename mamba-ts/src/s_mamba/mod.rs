//! S-Mamba (Wang et al. 2024, "Is Mamba Effective for Time Series Forecasting?", arXiv:2403.11144): variates as tokens.

mod config;
mod pretrained;
mod published;

pub use config::{Activation, SMambaConfig};

use crate::both_ways::both_ways;
use crate::data::Input;
use crate::network::Network;
use crate::normalization::Instance;
use burn::module::Module;
use burn::nn::{Dropout, LayerNorm, Linear};
use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use mamba_blocks::Mamba;
use mamba_blocks::parts::{normalize, project};
use mamba_core::gelu;

/// S-Mamba. Made by [`SMambaConfig`].
///
/// The whole look-back of a variate is one token, and a scan goes over the variates; time marks are further tokens.
#[derive(Module, Debug)]
pub struct SMamba {
    /// From look-backs to tokens.
    pub enc_embedding: InvertedEmbedding,
    /// Mixes the tokens.
    pub encoder: Encoder,
    /// From tokens to horizons: `d_model` to `horizon * outputs`.
    pub projector: Linear,
    /// Whether every window is normalised by itself.
    pub use_norm: bool,
    /// Outputs for each value.
    pub outputs: usize,
}

/// The linear embedding of whole look-backs.
#[derive(Module, Debug)]
pub struct InvertedEmbedding {
    /// From `look_back` to `d_model`.
    pub value_embedding: Linear,
    /// Dropout of the tokens.
    pub dropout: Dropout,
}

/// Layers and a norm.
#[derive(Module, Debug)]
pub struct Encoder {
    /// The layers, first to last.
    pub attn_layers: Vec<EncoderLayer>,
    /// The norm behind them.
    pub norm: LayerNorm,
}

/// A mixer in each direction and a feed-forward, each followed by a norm. The names are the original's, which has
/// mixers where its predecessor had attention.
#[derive(Module, Debug)]
pub struct EncoderLayer {
    /// From the first variate to the last.
    pub attention: Mamba,
    /// From the last variate to the first.
    pub attention_r: Mamba,
    /// From `d_model` to `d_ff`; a convolution over single tokens in the original.
    pub conv1: Linear,
    /// From `d_ff` to `d_model`.
    pub conv2: Linear,
    /// Behind the mixers.
    pub norm1: LayerNorm,
    /// Behind the feed-forward.
    pub norm2: LayerNorm,
    /// Dropout within the feed-forward.
    pub dropout: Dropout,
    /// The feed-forward's activation.
    #[module(skip)]
    pub activation: Activation,
}

/// What is added to the variance of a window.
const EPSILON: f64 = 1e-5;

impl SMamba {
    /// The horizon `[batch, horizon, variates]` of look-backs `[batch, look_back, variates]` with time marks
    /// `[batch, look_back, marks]`; of several outputs the first.
    ///
    /// # Panics
    /// If the look-back has another length.
    pub fn forward(&self, values: Tensor<3>, marks: Option<Tensor<3>>) -> Tensor<3> {
        self.forecast(Input { values, marks }).narrow(3, 0, 1).squeeze_dim(3)
    }
}

impl Network for SMamba {
    fn look_back(&self) -> usize {
        self.enc_embedding.value_embedding.weight.dims()[0]
    }

    fn horizon(&self) -> usize {
        self.projector.weight.dims()[1] / self.outputs
    }

    fn forecast(&self, Input { values, marks }: Input) -> Tensor<4> {
        let [batch, look_back, variates] = values.dims();
        let expected = self.look_back();
        assert!(
            batch > 0 && look_back == expected && variates > 0,
            "SMamba: the values have shape {:?}, expected [batch, {expected}, variates] with none of them 0",
            [batch, look_back, variates]
        );
        let (values, instance) = match self.use_norm {
            true => {
                let (values, instance) = Instance::normalize(values, EPSILON);
                (values, Some(instance))
            }
            false => (values, None),
        };
        let tokens = self.encoder.forward(self.enc_embedding.forward(values, marks));
        let tokens = tokens.narrow(1, 0, variates); // Without those of time marks.
        let outputs = project(&self.projector, tokens).reshape([batch, variates, self.horizon(), self.outputs]);
        let outputs = outputs.swap_dims(1, 2);
        match instance {
            Some(instance) => instance.denormalize(outputs),
            None => outputs,
        }
    }
}

impl InvertedEmbedding {
    /// A token `[batch, variates + marks, d_model]` for each variate and each kind of time mark.
    pub fn forward(&self, values: Tensor<3>, marks: Option<Tensor<3>>) -> Tensor<3> {
        let series = match marks {
            Some(marks) => Tensor::cat(vec![values, marks], 2),
            None => values,
        };
        self.dropout.forward(project(&self.value_embedding, series.swap_dims(1, 2)))
    }
}

impl Encoder {
    /// Mixes `[batch, tokens, d_model]` into the same shape.
    pub fn forward(&self, tokens: Tensor<3>) -> Tensor<3> {
        normalize(&self.norm, self.attn_layers.iter().fold(tokens, |tokens, layer| layer.forward(tokens)))
    }
}

impl EncoderLayer {
    /// Mixes `[batch, tokens, d_model]` into the same shape.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let x = normalize(&self.norm1, x.clone() + both_ways(&self.attention, &self.attention_r, x));
        let y = self.dropout.forward(self.activation.forward(project(&self.conv1, x.clone())));
        let y = self.dropout.forward(project(&self.conv2, y));
        normalize(&self.norm2, x + y)
    }
}

impl Activation {
    fn forward(self, x: Tensor<3>) -> Tensor<3> {
        match self {
            Self::Gelu => gelu(x),
            Self::Relu => relu(x),
        }
    }
}
