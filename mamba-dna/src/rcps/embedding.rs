//! The embedding of both strands.

use super::{reverse_complement, unstack};
use burn::config::Config;
use burn::module::{Initializer, Module};
use burn::nn::{Embedding, EmbeddingConfig};
use burn::tensor::{Device, Int, Tensor};

/// Configuration of an [`RcpsEmbedding`].
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mamba_dna::{rcps::RcpsEmbeddingConfig, tokens};
///
/// let device = Device::default();
/// let embedding = RcpsEmbeddingConfig::new(16, 8).init(&device);
/// let dna = tokens::to_tensor(&[tokens::encode("GATTACA").unwrap()], &device);
/// assert_eq!(embedding.forward(dna).dims(), [1, 7, 16]);
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct RcpsEmbeddingConfig {
    /// Number of tokens, padding included.
    pub vocabulary: usize,
    /// Channels of one strand.
    pub d_model: usize,
    /// Standard deviation of the initial weight.
    #[config(default = 0.02)]
    pub initializer_range: f64,
}

impl RcpsEmbeddingConfig {
    /// Makes the layer.
    pub fn init(&self, device: &Device) -> RcpsEmbedding {
        let normal = Initializer::Normal { mean: 0.0, std: self.initializer_range };
        let embedding = EmbeddingConfig::new(self.vocabulary, self.d_model).with_initializer(normal);
        RcpsEmbedding { embedding: embedding.init(device) }
    }
}

/// Both strands' embeddings. Made by [`RcpsEmbeddingConfig`].
#[derive(Module, Debug)]
pub struct RcpsEmbedding {
    /// `[vocabulary, d_model]`.
    pub embedding: Embedding,
}

impl RcpsEmbedding {
    /// `[batch, length, 2 * d_model]` for tokens `[batch, length]`.
    pub fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        unstack(embed(&self.embedding, tokens))
    }
}

/// The [stack](super::stack) of both strands.
pub(crate) fn embed(embedding: &Embedding, tokens: Tensor<2, Int>) -> Tensor<3> {
    let other = reverse_complement(tokens.clone()).flip([0]);
    embedding.forward(Tensor::cat(vec![tokens, other], 0))
}
