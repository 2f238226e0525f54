//! Text generation: the prompts in one scan, then one step for each token.

use super::sampling::{Repetition, Sampler};
use super::state::Parked;
use super::{Decoder, LmState, MambaLm, Prompts, Sampling};
use crate::error::GenerationError;
use burn::config::Config;
use burn::module::Module;
use burn::tensor::{DType, Int, Tensor, TensorData};
use std::ops::ControlFlow;

/// How [`MambaLm::generate`] goes on from prompts.
#[derive(Config, Debug, PartialEq)]
pub struct GenerationConfig {
    /// The largest number of new tokens of a row.
    pub max_new_tokens: usize,
    /// How the next token is chosen.
    #[config(default = "Sampling::Greedy")]
    pub sampling: Sampling,
    /// Row `r` of the prompts draws from a generator seeded with `seed + r`.
    #[config(default = 0)]
    pub seed: u64,
    /// A row ends with any of these tokens.
    #[config(default = "Vec::new()")]
    pub stop_tokens: Vec<u32>,
    /// Before all else, the logits of tokens that are in the prompt or were generated are divided by this if positive,
    /// else multiplied by it (Keskar et al. 2019); 1 leaves them as they are.
    #[config(default = 1.0)]
    pub repetition_penalty: f64,
}

impl GenerationConfig {
    /// Checks every setting, for `model`.
    ///
    /// # Errors
    /// [`GenerationError`], which names the first setting at fault.
    pub fn validate(&self, model: &MambaLm) -> Result<(), GenerationError> {
        model.check_settings(&self.stop_tokens, self.repetition_penalty)?;
        self.sampling.validate()
    }
}

/// What [`MambaLm::generate_with_state`] returns.
#[derive(Clone, Debug)]
pub struct Generated {
    /// The new tokens of each row, its stop token included.
    pub tokens: Vec<Vec<u32>>,
    /// The state of each row after the prompt and all new tokens **but the last**, which goes before whatever the next
    /// prompt says.
    pub state: LmState,
}

impl MambaLm {
    /// Goes on from each row of `prompts`; returns the new tokens of each.
    ///
    /// Prompts are a tensor `[batch, length]`, or [`Prompts`] of any lengths. A row's tokens do not depend on the other
    /// rows. They include its stop token; a row that has ended is no more work. Padding of the vocabulary is never
    /// chosen. On an autodiff device nothing is tracked.
    ///
    /// After every step, `callback` gets one token for each row, a row that has ended its last token again; it may
    /// break the loop.
    ///
    /// # Errors
    /// [`GenerationError`] if a prompt is empty or a token not in the vocabulary, if a setting is out of range, or if
    /// the model's logits are not finite. Nothing is generated then, except for the last.
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use mamba_blocks::{Draw, GenerationConfig, MambaLmConfig, Prompts, Sampling};
    /// use std::ops::ControlFlow;
    ///
    /// let model = MambaLmConfig::new(256, 32, 2).init(&Device::default());
    /// let prompts = Prompts::new(["Hello", "Good evening"].map(|text| text.bytes().map(u32::from).collect::<Vec<_>>()));
    /// let draw = Draw::new().with_temperature(0.8).with_top_k(Some(40)).with_top_p(Some(0.95));
    /// let config = GenerationConfig::new(10).with_sampling(Sampling::Random(draw)).with_seed(1);
    /// let tokens = model.generate(prompts, &config, |_| ControlFlow::Continue(()))?;
    /// assert_eq!(tokens[1].len(), 10);
    /// # Ok::<(), mamba_blocks::GenerationError>(())
    /// ```
    pub fn generate(
        &self,
        prompts: impl Into<Prompts>,
        config: &GenerationConfig,
        callback: impl FnMut(&[u32]) -> ControlFlow<()>,
    ) -> Result<Vec<Vec<u32>>, GenerationError> {
        Ok(self.generate_with_state(prompts, None, config, callback)?.tokens)
    }

    /// As [`generate`](Self::generate), from `state`, which has seen what came before the prompts; returns the state as
    /// well. A conversation of any length takes the memory of one state.
    ///
    /// # Errors
    /// As [`generate`](Self::generate), or if the state is not one of this model for this number of prompts.
    ///
    /// ```
    /// # use burn::tensor::Device;
    /// # use mamba_blocks::{GenerationConfig, MambaLmConfig, Prompts};
    /// # use std::ops::ControlFlow;
    /// # let model = MambaLmConfig::new(256, 32, 2).init(&Device::default());
    /// # let config = GenerationConfig::new(10);
    /// # let say = |_: &[u32]| ControlFlow::Continue(());
    /// let first = model.generate_with_state(Prompts::new([[1, 2, 3]]), None, &config, say)?;
    /// let last = *first.tokens[0].last().expect("ten tokens");
    /// let next = Prompts::new([[last, 4, 5]]);
    /// let second = model.generate_with_state(next, Some(first.state), &config, say)?;
    /// # Ok::<(), mamba_blocks::GenerationError>(())
    /// ```
    pub fn generate_with_state(
        &self,
        prompts: impl Into<Prompts>,
        state: Option<LmState>,
        config: &GenerationConfig,
        callback: impl FnMut(&[u32]) -> ControlFlow<()>,
    ) -> Result<Generated, GenerationError> {
        let prompts = prompts.into();
        config.validate(self)?;
        let read = self.valid().read(&prompts, state.map(LmState::inner))?;
        self.generate_after(&prompts, read, config, callback)
    }

    /// As [`generate_with_state`](Self::generate_with_state), after prompts that [`read`](Self::read) has read: with the
    /// logits and the state that it returned.
    ///
    /// # Errors
    /// As [`generate_with_state`](Self::generate_with_state).
    ///
    /// # Panics
    /// If the logits are not `[batch, padded_vocab]`.
    pub fn generate_after(
        &self,
        prompts: &Prompts,
        (mut logits, state): (Tensor<2>, LmState),
        config: &GenerationConfig,
        mut callback: impl FnMut(&[u32]) -> ControlFlow<()>,
    ) -> Result<Generated, GenerationError> {
        config.validate(self)?;
        prompts.check(self.vocab_size)?;
        state.check(self, prompts.batch())?;
        let (actual, expected) = (logits.dims(), [prompts.batch(), self.embedding.weight.dims()[0]]);
        assert!(actual == expected, "MambaLm: `logits` has shape {actual:?}, expected {expected:?}");
        let model = self.valid();
        let mut state = state.inner();
        let mut rows: Vec<Row> = (0..).zip(&prompts.rows).map(|(at, row)| Row::new(config, self, at, row)).collect();
        let mut active: Vec<usize> = (0..rows.len()).collect();
        let mut parked = Parked::default();
        // For the active rows, from `state` on.
        let mut decoder: Option<Decoder> = None;
        loop {
            if config.max_new_tokens > 0 {
                self.choose(&logits, &active, &mut rows)?;
            }
            let stopped = config.max_new_tokens == 0 || callback(&last_tokens(&rows)).is_break();
            let ended = |row: usize| stopped || rows[row].ended(config);
            if active.iter().any(|&row| ended(row)) {
                state = decoder.take().map_or(state, |decoder| decoder.state());
                match parked.park(&mut active, ended, logits, state) {
                    Some(left) => state = left,
                    None => break,
                }
            }
            let next = active.iter().filter_map(|&row| rows[row].tokens.last().copied());
            logits = decoder.get_or_insert_with(|| model.decoder(&state)).step(model.tokens(next));
        }
        let (_, state) = parked.gather();
        Ok(Generated { tokens: rows.into_iter().map(|row| row.tokens).collect(), state })
    }

    /// Chooses the next token of the active rows, which are those of `logits`.
    fn choose(&self, logits: &Tensor<2>, active: &[usize], rows: &mut [Row]) -> Result<(), GenerationError> {
        let mut logits = self.scores(logits);
        for (&index, logits) in active.iter().zip(logits.chunks_mut(self.vocab_size)) {
            let row = &mut rows[index];
            if !logits.iter().all(|logit| logit.is_finite()) {
                return Err(GenerationError::NotFinite { row: index, tokens: row.tokens.len() });
            }
            row.repetition.apply(logits);
            let token = row.sampler.sample(logits);
            row.repetition.see(token);
            row.tokens.push(token);
        }
        Ok(())
    }

    /// The logits of each row, without padding of the vocabulary.
    pub(super) fn scores(&self, logits: &Tensor<2>) -> Vec<f32> {
        let logits = logits.clone().narrow(1, 0, self.vocab_size).cast(DType::F32);
        logits.into_data().try_into_vec().expect("the logits are f32")
    }

    /// `[batch]`, on the model's device.
    pub(super) fn tokens(&self, tokens: impl Iterator<Item = u32>) -> Tensor<1, Int> {
        let tokens: Vec<i64> = tokens.map(i64::from).collect();
        let batch = tokens.len();
        Tensor::from_data(TensorData::new(tokens, [batch]), &self.embedding.weight.device())
    }

    pub(super) fn check_settings(&self, stop_tokens: &[u32], penalty: f64) -> Result<(), GenerationError> {
        let vocab_size = self.vocab_size;
        match stop_tokens.iter().find(|&&token| token as usize >= vocab_size) {
            Some(&token) => Err(GenerationError::StopToken { token, vocab_size }),
            None => Repetition::validate(penalty),
        }
    }
}

/// What becomes of one row of the prompts.
struct Row {
    sampler: Sampler,
    repetition: Repetition,
    tokens: Vec<u32>,
}

impl Row {
    fn new(config: &GenerationConfig, model: &MambaLm, index: u64, prompt: &[i64]) -> Self {
        Self {
            sampler: Sampler::new(config.sampling.clone(), config.seed.wrapping_add(index)),
            repetition: Repetition::new(config.repetition_penalty, model.vocab_size, prompt),
            tokens: Vec::new(),
        }
    }

    fn ended(&self, config: &GenerationConfig) -> bool {
        let stop = self.tokens.last().is_some_and(|last| config.stop_tokens.contains(last));
        stop || self.tokens.len() >= config.max_new_tokens
    }
}

/// One for each row; every row has one.
fn last_tokens(rows: &[Row]) -> Vec<u32> {
    rows.iter().filter_map(|row| row.tokens.last().copied()).collect()
}
