//! Chapter 'Design and contributing': a model from its configuration to its forward pass.

// ANCHOR: model
use burn::config::Config;
use burn::module::Module;
use burn::nn::{Linear, LinearConfig, RmsNorm, RmsNormConfig};
use burn::tensor::{Device, Tensor};
use mamba_blocks::{ConfigError, MambaBlock, MambaBlockConfig, MambaConfig};

/// Configuration of a [`SequenceClassifier`].
#[derive(Config, Debug, PartialEq)]
pub struct SequenceClassifierConfig {
    /// Width of the input and of the residual stream.
    pub d_model: usize,
    /// Number of classes.
    pub num_classes: usize,
    /// Number of blocks.
    #[config(default = 4)]
    pub depth: usize,
}

/// Blocks over a sequence, and one class for all of it. Made by [`SequenceClassifierConfig`].
#[derive(Module, Debug)]
pub struct SequenceClassifier {
    /// The blocks, first to last.
    pub layers: Vec<MambaBlock>,
    /// Norm of the output of the blocks.
    pub norm_f: RmsNorm,
    /// From the mean over all tokens to the classes.
    pub head: Linear,
}

impl SequenceClassifierConfig {
    /// Makes the model.
    ///
    /// # Panics
    /// With the text of the [`ConfigError`] that [`try_init`](Self::try_init) returns.
    pub fn init(&self, device: &Device) -> SequenceClassifier {
        self.try_init(device).unwrap_or_else(|error| panic!("SequenceClassifierConfig: {error}"))
    }

    /// Makes the model.
    ///
    /// # Errors
    /// [`ConfigError`], which names the first setting at fault.
    pub fn try_init(&self, device: &Device) -> Result<SequenceClassifier, ConfigError> {
        ConfigError::check_sizes(&[("num_classes", self.num_classes), ("depth", self.depth)])?;
        let block = MambaBlockConfig::new(MambaConfig::new(self.d_model));
        Ok(SequenceClassifier {
            layers: (0..self.depth).map(|_| block.try_init(device)).collect::<Result<_, _>>()?,
            norm_f: RmsNormConfig::new(self.d_model).init(device),
            head: LinearConfig::new(self.d_model, self.num_classes).init(device),
        })
    }
}

impl SequenceClassifier {
    /// The logits `[batch, num_classes]` of sequences `[batch, length, d_model]`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<2> {
        let (mut hidden, mut residual) = (x, None);
        for layer in &self.layers {
            let (output, sum) = layer.forward(hidden, residual);
            (hidden, residual) = (output, Some(sum));
        }
        let sum = match residual {
            Some(residual) => hidden + residual,
            None => hidden,
        };
        let pooled = self.norm_f.forward(sum).mean_dim(1).squeeze_dim(1);
        self.head.forward(pooled)
    }
}
// ANCHOR_END: model

#[test]
fn a_sequence_has_a_class_and_a_wrong_size_a_name() {
    let device = Device::default();
    let config = SequenceClassifierConfig::new(16, 3).with_depth(2);
    assert_eq!(config.init(&device).forward(crate::random([2, 9, 16], &device)).dims(), [2, 3]);
    let error = SequenceClassifierConfig::new(16, 0).try_init(&device).unwrap_err();
    assert!(error.to_string().contains("num_classes"));
}
