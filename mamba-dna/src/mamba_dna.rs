//! A causal language model of DNA.

use crate::tokens::{NUCLEOTIDES, VOCABULARY, to_tensor};
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use mamba_blocks::{CheckpointError, ConfigError, GenerationConfig, GenerationError, MambaLm, MambaLmConfig, Prompts};
use std::ops::ControlFlow;
use std::path::Path;

/// A [`MambaLm`] over the [tokens](crate::tokens) of DNA: each nucleotide from those before it. Its memory of a sequence
/// has a fixed size, whatever the length.
///
/// ```
/// use burn::tensor::Device;
/// use mamba_dna::{MambaDna, tokens};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let device = Device::default();
/// let model = MambaDna::try_init(&MambaDna::config(16, 2), &device)?;
/// let dna = tokens::to_tensor(&[tokens::encode("GATTACA").unwrap()], &device);
/// assert_eq!(model.forward(dna).dims(), [1, 7, 16]);
///
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// model.save_pretrained(folder)?;
/// let model = MambaDna::from_pretrained(folder, &device)?;
/// # Ok(())
/// # }
/// ```
#[derive(Module, Debug)]
pub struct MambaDna {
    /// The language model.
    pub lm: MambaLm,
}

impl MambaDna {
    /// The configuration with the vocabulary of DNA; all else is as in a language model.
    pub fn config(d_model: usize, n_layer: usize) -> MambaLmConfig {
        MambaLmConfig::new(VOCABULARY, d_model, n_layer)
    }

    /// Makes the model of a configuration, which [`config`](Self::config) begins.
    ///
    /// # Errors
    /// [`ConfigError`] if a setting is out of range, or the vocabulary another one.
    pub fn try_init(config: &MambaLmConfig, device: &Device) -> Result<Self, ConfigError> {
        Self { lm: config.try_init(device)? }.checked()
    }

    /// The logits of each next nucleotide, `[batch, length, padded_vocab]`, for tokens `[batch, length]`.
    ///
    /// # Panics
    /// If `batch` or `length` is zero.
    pub fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        self.lm.forward(tokens)
    }

    /// The model of another vocabulary is none of DNA.
    fn checked(self) -> Result<Self, ConfigError> {
        let value = self.lm.vocab_size as f64;
        let fits = (VOCABULARY..=VOCABULARY.next_multiple_of(8)).contains(&self.lm.vocab_size);
        let expected = "12, the tokens of DNA, or 16 with padding";
        if fits { Ok(self) } else { Err(ConfigError::OutOfRange { name: "vocab_size", value, expected }) }
    }

    /// Loads the checkpoint in the folder `path`, as [`MambaLm::from_pretrained`].
    ///
    /// # Errors
    /// As there, also if the vocabulary is another one.
    pub fn from_pretrained(path: impl AsRef<Path>, device: &Device) -> Result<Self, CheckpointError> {
        let folder = path.as_ref();
        let model = Self { lm: MambaLm::from_pretrained(folder, device)? };
        model.checked().map_err(|source| CheckpointError::Config { path: folder.join("config.json"), source })
    }

    /// Writes the model into the folder `path`, as [`MambaLm::save_pretrained`].
    ///
    /// # Errors
    /// As there.
    pub fn save_pretrained(&self, path: impl AsRef<Path>) -> Result<(), CheckpointError> {
        self.lm.save_pretrained(path)
    }

    /// Goes on from `prompt`, which has at least one token; returns the new tokens. Tokens that are no nucleotides end
    /// it, as they never occur in sequences that a model has learnt. `callback` gets every nucleotide and may break the loop.
    ///
    /// # Errors
    /// As [`MambaLm::generate`].
    pub fn generate(
        &self,
        prompt: &[u8],
        config: &GenerationConfig,
        mut callback: impl FnMut(u8) -> ControlFlow<()>,
    ) -> Result<Vec<u8>, GenerationError> {
        let stop = (0..VOCABULARY as u32).filter(|id| !NUCLEOTIDES.contains(&(*id as u8)));
        let config = config.clone().with_stop_tokens(stop.collect());
        let prompts: Prompts = match prompt.is_empty() {
            true => return Err(GenerationError::EmptyPrompt { batch: 1, length: 0 }),
            false => to_tensor(&[prompt], &self.lm.embedding.weight.device()).into(),
        };
        let hear = |last: &[u32]| match last[0] as u8 {
            token if NUCLEOTIDES.contains(&token) => callback(token),
            _ => ControlFlow::Continue(()),
        };
        let mut tokens = self.lm.generate(prompts, &config, hear)?.remove(0);
        if tokens.last().is_some_and(|last| config.stop_tokens.contains(last)) {
            tokens.pop();
        }
        Ok(tokens.into_iter().map(|token| token as u8).collect())
    }
}
