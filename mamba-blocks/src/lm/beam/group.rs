//! The beams of one group.

use super::{BeamConfig, BeamOutput, EarlyStopping};
use crate::lm::sampling::Repetition;

/// A text that may go on.
#[derive(Clone)]
pub(super) struct Beam {
    /// Its row of the logits and the state.
    pub(super) row: usize,
    /// The sum of the log-probabilities.
    pub(super) score: f64,
    pub(super) tokens: Vec<u32>,
    pub(super) repetition: Repetition,
}

impl Beam {
    fn with(&self, token: u32, score: f64) -> Self {
        let mut next = Self { score, ..self.clone() };
        next.tokens.push(token);
        next.repetition.see(token);
        next
    }
}

/// A beam search of its own.
#[derive(Clone)]
pub(super) struct Group {
    size: usize,
    /// The best first; none once the search is done.
    running: Vec<Beam>,
    /// The best first, at most `size`.
    finished: Vec<BeamOutput>,
}

/// A beam with one more token.
struct Candidate {
    score: f64,
    beam: usize,
    token: u32,
}

impl Group {
    pub(super) fn new(size: usize, start: Beam) -> Self {
        Self { size, running: vec![start], finished: Vec::new() }
    }

    pub(super) fn is_done(&self) -> bool {
        self.running.is_empty()
    }

    pub(super) fn beams(&self) -> impl Iterator<Item = &Beam> {
        self.running.iter()
    }

    pub(super) fn running(&mut self) -> impl Iterator<Item = &mut Beam> {
        self.running.iter_mut()
    }

    pub(super) fn finished(self) -> Vec<BeamOutput> {
        self.finished
    }

    /// One token more. `log_probs` are those of all rows, `chosen` the tokens that groups before this one have just
    /// chosen, to which it adds its own.
    pub(super) fn advance(&mut self, log_probs: &[Vec<f32>], chosen: &mut Vec<u32>, config: &BeamConfig) {
        let length = self.running.first().map_or(0, |beam| beam.tokens.len()) + 1;
        let full_length = length == config.max_new_tokens;
        let mut next = Vec::new();
        let mut going_on = 0;
        for (rank, candidate) in self.candidates(log_probs, chosen, config).into_iter().enumerate() {
            let Candidate { score, beam, token } = candidate;
            let stop = config.stop_tokens.contains(&token);
            // A text that ends must be among the best; those below are there to go on in its place.
            if (stop || full_length) && rank < self.size {
                let tokens = self.running[beam].with(token, score).tokens;
                let score = score / (length as f64).powf(config.length_penalty);
                self.finished.push(BeamOutput { tokens, score });
            }
            if !stop && going_on < self.size {
                going_on += 1;
                chosen.push(token);
                if !full_length {
                    next.push(self.running[beam].with(token, score));
                }
            }
        }
        self.finished.sort_by(|x, y| y.score.total_cmp(&x.score));
        self.finished.truncate(self.size);
        self.running = next;
        if !self.may_improve(length, config) {
            self.running.clear();
        }
    }

    /// The best first: as many as leave enough to go on with if every stop token is among them.
    fn candidates(&self, log_probs: &[Vec<f32>], chosen: &[u32], config: &BeamConfig) -> Vec<Candidate> {
        let mut all = Vec::new();
        for (index, beam) in self.running.iter().enumerate() {
            let mut scores = log_probs[beam.row].clone();
            chosen.iter().for_each(|&token| scores[token as usize] -= config.diversity_penalty as f32);
            beam.repetition.apply(&mut scores);
            let candidate = |(token, score)| Candidate { score: beam.score + f64::from(score), beam: index, token };
            all.extend((0..).zip(scores).map(candidate));
        }
        let better =
            |x: &Candidate, y: &Candidate| y.score.total_cmp(&x.score).then((x.beam, x.token).cmp(&(y.beam, y.token)));
        let count = self.size.saturating_mul(config.stop_tokens.len().max(1) + 1);
        if count < all.len() {
            all.select_nth_unstable_by(count, better);
            all.truncate(count);
        }
        all.sort_unstable_by(better);
        all
    }

    /// Whether it is worth to go on after `length` tokens.
    fn may_improve(&self, length: usize, config: &BeamConfig) -> bool {
        let (Some(best), Some(worst)) = (self.running.first(), self.finished.last()) else { return true };
        if self.finished.len() < self.size {
            return true;
        }
        let length = match config.early_stopping {
            EarlyStopping::Full => return false,
            EarlyStopping::Never if config.length_penalty > 0.0 => config.max_new_tokens,
            _ => length,
        };
        best.score / (length as f64).powf(config.length_penalty) > worst.score
    }
}
