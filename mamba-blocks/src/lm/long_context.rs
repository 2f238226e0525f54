//! Options for inputs far longer than those of the training, for all layers of a model.

use super::MambaLm;
use crate::block::norm;
use crate::error::ConfigError;
use crate::mamba::{LongContextConfig, TokenFilterConfig};
use burn::module::Module;
use burn::tensor::{Int, Tensor};

impl MambaLm {
    /// The same model with mitigations of state collapse in every layer ([`LongContextConfig`] has the equations), for
    /// whatever runs it: `forward`, `generate`, decoding. A token filter that is there stays. They are no part of a
    /// checkpoint.
    ///
    /// # Errors
    /// [`ConfigError`] if a setting is out of range.
    pub fn with_long_context(mut self, config: &LongContextConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        for layer in &mut self.layers {
            let long = layer.mixer.long_context.take().unwrap_or_default();
            layer.mixer.long_context = Some(long.with(config));
        }
        Ok(self)
    }

    /// The same model with LongMamba's token filter in every layer ([`TokenFilterConfig`] tells how its thresholds are
    /// found), from `samples` `[samples, L]` of text such as that of the training, of its length `L`. A filter that is there
    /// is replaced, mitigations stay. It is no part of a checkpoint.
    ///
    /// # Errors
    /// [`ConfigError`] if a setting is out of range.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn with_token_filter(
        mut self,
        config: &TokenFilterConfig,
        samples: Tensor<2, Int>,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        // Every layer gets what it got in training.
        let mut model = self.valid();
        model.layers.iter_mut().for_each(|layer| layer.mixer.long_context = None);
        let (mut hidden, mut residual) = (model.embedding.forward(samples.without_autodiff()), None);
        for (layer, own) in model.layers.iter().zip(&mut self.layers) {
            let normed = norm(&layer.norm, hidden.clone(), residual.clone()).normed;
            let threshold = layer.mixer.token_filter(config, normed);
            let is_autodiff = own.mixer.a_log.val().is_autodiff();
            let threshold = if is_autodiff { Tensor::from_inner(threshold) } else { threshold };
            own.mixer.long_context.get_or_insert_default().threshold = Some(threshold);
            let (output, sum) = layer.forward(hidden, residual);
            (hidden, residual) = (output, Some(sum));
        }
        Ok(self)
    }
}
