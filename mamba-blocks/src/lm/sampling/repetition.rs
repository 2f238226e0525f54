//! The repetition penalty (Keskar et al. 2019, section 4.1).

use crate::error::GenerationError;

/// Makes tokens that were there before less likely: their scores are divided by the penalty if positive, else
/// multiplied by it.
#[derive(Clone)]
pub(in crate::lm) struct Repetition {
    penalty: f32,
    /// One entry for each token; empty if the penalty is none.
    seen: Vec<bool>,
}

impl Repetition {
    pub(in crate::lm) fn validate(penalty: f64) -> Result<(), GenerationError> {
        match penalty > 0.0 && penalty.is_finite() {
            true => Ok(()),
            false => Err(GenerationError::RepetitionPenalty(penalty)),
        }
    }

    /// The tokens of `prompt` were there before; they are in the vocabulary.
    pub(in crate::lm) fn new(penalty: f64, vocab_size: usize, prompt: &[i64]) -> Self {
        let size = if penalty == 1.0 { 0 } else { vocab_size };
        let mut this = Self { penalty: penalty as f32, seen: vec![false; size] };
        prompt.iter().for_each(|&token| this.see(token as u32));
        this
    }

    pub(in crate::lm) fn see(&mut self, token: u32) {
        if let Some(seen) = self.seen.get_mut(token as usize) {
            *seen = true;
        }
    }

    /// Finite scores stay finite.
    pub(in crate::lm) fn apply(&self, scores: &mut [f32]) {
        for (score, _) in scores.iter_mut().zip(&self.seen).filter(|(_, seen)| **seen) {
            let penalised = if *score < 0.0 { *score * self.penalty } else { *score / self.penalty };
            *score = penalised.clamp(f32::MIN, f32::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_of_seen_tokens_move_down() {
        let mut repetition = Repetition::new(2.0, 4, &[0, 3]);
        repetition.see(1);
        let mut scores = [1.0, -1.0, 5.0, 0.0];
        repetition.apply(&mut scores);
        assert_eq!(scores, [0.5, -2.0, 5.0, 0.0]);
        repetition.apply(&mut scores);
        assert_eq!(scores, [0.25, -4.0, 5.0, 0.0]);
    }

    #[test]
    fn a_penalty_of_one_is_none() {
        let mut scores = [1.0, -1.0];
        Repetition::new(1.0, 2, &[0, 1]).apply(&mut scores);
        assert_eq!(scores, [1.0, -1.0]);
    }

    #[test]
    fn scores_stay_finite() {
        let mut scores = [f32::MIN, f32::MAX];
        Repetition::new(1e30, 2, &[0, 1]).apply(&mut scores);
        assert!(scores.iter().all(|score| score.is_finite()));
        Repetition::new(1e-30, 2, &[0, 1]).apply(&mut scores);
        assert!(scores.iter().all(|score| score.is_finite()));
    }
}
