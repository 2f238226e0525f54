//! What kind of sequence it is.

use crate::bi_encoder::{BiEncoder, BiEncoderConfig};
use burn::config::Config;
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use mamba_blocks::ConfigError;
use mamba_blocks::parts::project;

/// Configuration of a [`SequenceClassifier`].
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mamba_ts::{BiEncoderConfig, SequenceClassifierConfig};
///
/// let device = Device::default();
/// let classifier = SequenceClassifierConfig::new(BiEncoderConfig::new(3).with_d_model(16), 5).try_init(&device)?;
/// assert_eq!(classifier.forward(Tensor::ones([2, 10, 3], &device), None).dims(), [2, 5]);
/// # Ok::<(), mamba_blocks::ConfigError>(())
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct SequenceClassifierConfig {
    /// What reads the sequence.
    pub encoder: BiEncoderConfig,
    /// Number of classes.
    pub classes: usize,
}

impl SequenceClassifierConfig {
    /// Makes the classifier.
    ///
    /// # Errors
    /// [`ConfigError`], which names the first setting at fault.
    pub fn try_init(&self, device: &Device) -> Result<SequenceClassifier, ConfigError> {
        ConfigError::check_sizes(&[("classes", self.classes)])?;
        Ok(SequenceClassifier {
            encoder: self.encoder.try_init(device)?,
            head: LinearConfig::new(self.encoder.d_model, self.classes).init(device),
        })
    }
}

/// The class of a multivariate sequence. Made by [`SequenceClassifierConfig`].
#[derive(Module, Debug)]
pub struct SequenceClassifier {
    /// Reads the sequence.
    pub encoder: BiEncoder,
    /// From the mean feature to the classes.
    pub head: Linear,
}

impl SequenceClassifier {
    /// Logits `[batch, classes]` of sequences `[batch, length, variates]`. With a mask, `[batch, length]`, only rows
    /// whose entry is 1 count in the mean; sequences of different lengths are padded at their ends with rows of 0.
    ///
    /// # Panics
    /// If a row has another number of values, or the mask does not fit.
    pub fn forward(&self, sequences: Tensor<3>, mask: Option<Tensor<2>>) -> Tensor<2> {
        let features = self.encoder.forward(sequences);
        let mean = match mask {
            Some(mask) => {
                let rows = mask.clone().sum_dim(1).clamp_min(1.0);
                (features * mask.unsqueeze_dim(2)).sum_dim(1).squeeze_dim::<2>(1) / rows
            }
            None => features.mean_dim(1).squeeze_dim(1),
        };
        project(&self.head, mean)
    }
}
