//! Text generation: the prompt in one scan, then one step for each token.

use super::sampling::Sampler;
use super::{LmState, MambaLm, Sampling};
use crate::error::GenerationError;
use burn::config::Config;
use burn::module::Module;
use burn::tensor::{DType, Int, Tensor, TensorData};
use std::ops::ControlFlow;

/// Tokens of the prompt that are read at once: memory does not grow with the prompt.
const PREFILL: usize = 2048;

/// How [`MambaLm::generate`] goes on from a prompt.
#[derive(Config, Debug, PartialEq)]
pub struct GenerationConfig {
    /// The largest number of new tokens.
    pub max_new_tokens: usize,
    /// How the next token is chosen.
    #[config(default = "Sampling::Greedy")]
    pub sampling: Sampling,
    /// Row `r` of the prompt draws from a generator seeded with `seed + r`.
    #[config(default = 0)]
    pub seed: u64,
    /// A row ends with this token.
    pub stop_token: Option<u32>,
}

impl MambaLm {
    /// Goes on from each row of `prompt`, `[batch, length]`; returns the new tokens of each row.
    ///
    /// After every step, `callback` gets one token for each row, a row that has ended its stop token again; it may
    /// break the loop. A row's tokens include its stop token. Padding of the vocabulary is never chosen. On an
    /// autodiff device nothing is tracked.
    ///
    /// # Errors
    /// [`GenerationError`] if the prompt is empty or a token not in the vocabulary, if a setting is out of range, or if
    /// the model's logits are not finite. Nothing is generated then, except for the last.
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use mamba_blocks::{GenerationConfig, MambaLmConfig, Sampling};
    /// use std::ops::ControlFlow;
    ///
    /// let device = Device::default();
    /// let model = MambaLmConfig::new(256, 32, 2).init(&device);
    /// let prompt = Tensor::from_ints([[72, 101, 108, 108, 111]], &device);
    /// let sampling = Sampling::TopKTopP { temperature: 0.8, top_k: Some(40), top_p: Some(0.95) };
    /// let config = GenerationConfig::new(10).with_sampling(sampling).with_seed(1);
    /// let tokens = model.generate(prompt, &config, |_| ControlFlow::Continue(()))?;
    /// assert_eq!(tokens[0].len(), 10);
    /// # Ok::<(), mamba_blocks::GenerationError>(())
    /// ```
    pub fn generate(
        &self,
        prompt: Tensor<2, Int>,
        config: &GenerationConfig,
        mut callback: impl FnMut(&[u32]) -> ControlFlow<()>,
    ) -> Result<Vec<Vec<u32>>, GenerationError> {
        self.check(&prompt, config)?;
        let model = self.valid();
        let [batch, _] = prompt.dims();
        let mut rows: Vec<Row> = (0..batch as u64)
            .map(|row| Row::new(Sampler::new(config.sampling.clone(), config.seed.wrapping_add(row))))
            .collect();

        let (mut logits, mut state) = model.prefill(prompt.inner());
        for step in 0..config.max_new_tokens {
            let next = self.choose(logits, &mut rows, config.stop_token)?;
            let ended = rows.iter().all(|row| row.ended);
            if callback(&next).is_break() || ended || step + 1 == config.max_new_tokens {
                break;
            }
            let device = model.embedding.weight.device();
            let data = TensorData::new(next.iter().map(|&token| i64::from(token)).collect(), [batch]);
            (logits, state) = model.step(Tensor::from_data(data, &device), state);
        }
        Ok(rows.into_iter().map(|row| row.tokens).collect())
    }

    /// The logits after the last token of a prompt `[batch, length]`, `[batch, padded_vocab]`, and the state there.
    ///
    /// The prompt is read in pieces, so that memory does not grow with it.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn prefill(&self, prompt: Tensor<2, Int>) -> (Tensor<2>, LmState) {
        let mut pieces = prompt.split(PREFILL, 1).into_iter();
        let first = pieces.next().expect("the prompt was found not to be empty");
        let (hidden, state) =
            pieces.fold(self.hidden(first, None), |(_, state), piece| self.hidden(piece, Some(state)));
        let [_, length, _] = hidden.dims();
        (self.head(hidden.narrow(1, length - 1, 1)).squeeze_dim(1), state)
    }

    /// The next token of every row.
    fn choose(&self, logits: Tensor<2>, rows: &mut [Row], stop: Option<u32>) -> Result<Vec<u32>, GenerationError> {
        let logits: Vec<f32> = logits.narrow(1, 0, self.vocab_size).cast(DType::F32).into_data().iter().collect();
        let mut next = Vec::with_capacity(rows.len());
        for (index, (row, logits)) in rows.iter_mut().zip(logits.chunks(self.vocab_size)).enumerate() {
            match stop {
                Some(stop) if row.ended => next.push(stop),
                _ => {
                    let error = GenerationError::NotFinite { row: index, tokens: row.tokens.len() };
                    let token = row.sampler.sample(logits).ok_or(error)?;
                    row.tokens.push(token);
                    row.ended = stop == Some(token);
                    next.push(token);
                }
            }
        }
        Ok(next)
    }

    fn check(&self, prompt: &Tensor<2, Int>, config: &GenerationConfig) -> Result<(), GenerationError> {
        let [batch, length] = prompt.dims();
        let vocab_size = self.vocab_size;
        let known = |token: i64| (0..vocab_size as i64).contains(&token);
        if batch == 0 || length == 0 {
            return Err(GenerationError::EmptyPrompt { batch, length });
        }
        config.sampling.validate()?;
        if let Some(token) = config.stop_token.filter(|&token| !known(token.into())) {
            return Err(GenerationError::StopToken { token, vocab_size });
        }
        match prompt.to_data().iter::<i64>().enumerate().find(|&(_, token)| !known(token)) {
            Some((at, token)) => {
                Err(GenerationError::PromptToken { row: at / length, position: at % length, token, vocab_size })
            }
            None => Ok(()),
        }
    }
}

/// What becomes of one row of the prompt.
struct Row {
    sampler: Sampler,
    tokens: Vec<u32>,
    ended: bool,
}

impl Row {
    fn new(sampler: Sampler) -> Self {
        Self { sampler, tokens: Vec::new(), ended: false }
    }
}
