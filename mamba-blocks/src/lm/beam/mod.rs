//! Beam search, and beam search in groups that avoid each other (Vijayakumar et al. 2016).

mod group;

use super::sampling::Repetition;
use super::{LmState, MambaLm, Prompts};
use crate::error::GenerationError;
use burn::config::Config;
use burn::module::Module;
use burn::tensor::Tensor;
use group::{Beam, Group};

/// How [`MambaLm::beam_search`] goes on from prompts. Definitions and defaults are those of Hugging Face's `generate`.
#[derive(Config, Debug, PartialEq)]
pub struct BeamConfig {
    /// The largest number of new tokens.
    pub max_new_tokens: usize,
    /// Number of beams for each prompt, over all groups.
    pub num_beams: usize,
    /// Groups into which the beams are divided; each is a beam search of its own.
    #[config(default = 1)]
    pub num_groups: usize,
    /// For a group, the log-probability of a token falls by this for every beam of the groups before it that has just
    /// chosen the token. Counts in the scores.
    #[config(default = 0.0)]
    pub diversity_penalty: f64,
    /// The score of a text is the sum of its log-probabilities over its length to the power of this: above 0 for longer
    /// texts, below for shorter ones.
    #[config(default = 1.0)]
    pub length_penalty: f64,
    /// When to stop before `max_new_tokens`.
    #[config(default = "EarlyStopping::Heuristic")]
    pub early_stopping: EarlyStopping,
    /// Number of texts to return for each prompt.
    #[config(default = 1)]
    pub num_return: usize,
    /// A text ends with any of these tokens.
    #[config(default = "Vec::new()")]
    pub stop_tokens: Vec<u32>,
    /// As [`GenerationConfig::repetition_penalty`](super::GenerationConfig::repetition_penalty), on log-probabilities.
    #[config(default = 1.0)]
    pub repetition_penalty: f64,
}

/// When a group that has as many finished texts as beams stops.
#[derive(Config, Copy, Debug, PartialEq)]
pub enum EarlyStopping {
    /// Once the best beam, scored at its present length, is no better than the worst finished text.
    Heuristic,
    /// At once.
    Full,
    /// Once no beam can become better than the worst finished text, also if a positive length penalty favours length.
    Never,
}

/// A text that [`MambaLm::beam_search`] found.
#[derive(Clone, Debug, PartialEq)]
pub struct BeamOutput {
    /// The new tokens, the stop token included.
    pub tokens: Vec<u32>,
    /// The sum of their log-probabilities over their number to the power of the length penalty.
    pub score: f64,
}

impl BeamConfig {
    fn validate(&self) -> Result<(), GenerationError> {
        let Self { num_beams, num_groups, num_return, .. } = *self;
        let positive = num_beams > 0 && num_groups > 0 && num_return > 0;
        if !(positive && num_beams.is_multiple_of(num_groups) && num_return <= num_beams) {
            return Err(GenerationError::Beams { num_beams, num_groups, num_return });
        }
        let value = self.diversity_penalty;
        if !(value >= 0.0 && value.is_finite()) {
            let expected = "a number of at least 0";
            return Err(GenerationError::BeamPenalty { name: "diversity_penalty", value, expected });
        }
        let value = self.length_penalty;
        match value.is_finite() {
            true => Ok(()),
            false => Err(GenerationError::BeamPenalty { name: "length_penalty", value, expected: "a finite number" }),
        }
    }
}

impl MambaLm {
    /// Looks for the most likely texts after each prompt, from `state` or from the start; returns the best
    /// `num_return` of each, best first.
    ///
    /// There are fewer if the beams find fewer, none if `max_new_tokens` is 0. Prompts are as in
    /// [`generate`](Self::generate); all beams of all prompts take a step together.
    ///
    /// # Errors
    /// As [`generate_with_state`](Self::generate_with_state).
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use mamba_blocks::{BeamConfig, MambaLmConfig, Prompts};
    ///
    /// let model = MambaLmConfig::new(256, 32, 2).init(&Device::default());
    /// let config = BeamConfig::new(10, 4).with_num_return(2).with_stop_tokens(vec![10]);
    /// let texts = model.beam_search(Prompts::new([[72, 105]]), None, &config)?;
    /// assert!(texts[0][0].score >= texts[0][1].score);
    /// # Ok::<(), mamba_blocks::GenerationError>(())
    /// ```
    pub fn beam_search(
        &self,
        prompts: impl Into<Prompts>,
        state: Option<LmState>,
        config: &BeamConfig,
    ) -> Result<Vec<Vec<BeamOutput>>, GenerationError> {
        let prompts = prompts.into();
        config.validate()?;
        self.check_settings(&config.stop_tokens, config.repetition_penalty)?;
        let model = self.valid();
        let (mut logits, mut state) = model.read(&prompts, state.map(LmState::inner))?;
        let mut searches: Vec<Vec<Group>> =
            (0..).zip(&prompts.rows).map(|(at, row)| self.groups(config, at, row)).collect();
        for _ in 0..config.max_new_tokens {
            let log_probs = self.log_probs(&logits, &searches)?;
            searches.iter_mut().for_each(|groups| advance(groups, &log_probs, config));
            let mut beams: Vec<&mut Beam> = searches.iter_mut().flatten().flat_map(Group::running).collect();
            if beams.is_empty() {
                break;
            }
            let parents: Vec<usize> = beams.iter().map(|beam| beam.row).collect();
            beams.iter_mut().enumerate().for_each(|(row, beam)| beam.row = row);
            let next = model.tokens(beams.iter().filter_map(|beam| beam.tokens.last().copied()));
            (logits, state) = model.step(next, state.select(&parents));
        }
        Ok(searches.into_iter().map(|groups| best(groups, config.num_return)).collect())
    }

    /// Before the first step, every group has one beam: the prompt.
    fn groups(&self, config: &BeamConfig, row: usize, prompt: &[i64]) -> Vec<Group> {
        let repetition = Repetition::new(config.repetition_penalty, self.vocab_size, prompt);
        let start = Beam { row, score: 0.0, tokens: Vec::new(), repetition };
        vec![Group::new(config.num_beams / config.num_groups, start); config.num_groups]
    }

    /// The log-probabilities of each row.
    fn log_probs(&self, logits: &Tensor<2>, searches: &[Vec<Group>]) -> Result<Vec<Vec<f32>>, GenerationError> {
        let scores = self.scores(logits);
        let rows: Vec<Vec<f32>> = scores.chunks(self.vocab_size).map(log_softmax).collect();
        for (row, groups) in searches.iter().enumerate() {
            let mut beams = groups.iter().flat_map(Group::beams);
            if let Some(beam) = beams.find(|beam| !rows[beam.row].iter().all(|score| score.is_finite())) {
                return Err(GenerationError::NotFinite { row, tokens: beam.tokens.len() });
            }
        }
        Ok(rows)
    }
}

/// One step of the groups of one prompt, in their order.
fn advance(groups: &mut [Group], log_probs: &[Vec<f32>], config: &BeamConfig) {
    let mut chosen = Vec::new();
    for group in groups.iter_mut().filter(|group| !group.is_done()) {
        group.advance(log_probs, &mut chosen, config);
    }
}

fn best(groups: Vec<Group>, count: usize) -> Vec<BeamOutput> {
    let mut texts: Vec<BeamOutput> = groups.into_iter().flat_map(Group::finished).collect();
    texts.sort_by(|x, y| y.score.total_cmp(&x.score));
    texts.truncate(count);
    texts
}

fn log_softmax(logits: &[f32]) -> Vec<f32> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - max).exp()).sum();
    logits.iter().map(|&logit| (f64::from(logit - max) - sum.ln()) as f32).collect()
}
