//! From logits to a token.

use crate::error::GenerationError;
use burn::config::Config;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// How the next token is chosen.
#[derive(Config, Debug, PartialEq)]
pub enum Sampling {
    /// The most likely token; the first of several.
    Greedy,
    /// A draw from the softmax of `logits / temperature`, cut to its most likely tokens.
    TopKTopP {
        /// Below 1 sharpens the distribution, above 1 flattens it.
        temperature: f64,
        /// Keeps this many tokens; none keeps all.
        top_k: Option<usize>,
        /// Then keeps the fewest tokens whose probabilities sum to at least this (nucleus sampling, Holtzman et al.
        /// 2020); none keeps all.
        top_p: Option<f64>,
    },
}

impl Sampling {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`GenerationError`], which names the setting at fault.
    pub fn validate(&self) -> Result<(), GenerationError> {
        let Self::TopKTopP { temperature, top_k, top_p } = *self else {
            return Ok(());
        };
        if !(temperature > 0.0 && temperature.is_finite()) {
            return Err(GenerationError::Temperature(temperature));
        }
        if top_k == Some(0) {
            return Err(GenerationError::TopK);
        }
        match top_p {
            Some(p) if !(p > 0.0 && p <= 1.0) => Err(GenerationError::TopP(p)),
            _ => Ok(()),
        }
    }
}

/// Chooses tokens for one row; rows draw from generators of their own, so that they do not influence each other.
pub(super) struct Sampler {
    sampling: Sampling,
    rng: StdRng,
}

impl Sampler {
    pub(super) fn new(sampling: Sampling, seed: u64) -> Self {
        Self { sampling, rng: StdRng::seed_from_u64(seed) }
    }

    /// The chosen index; none if a logit is no finite number. There is at least one logit.
    pub(super) fn sample(&mut self, logits: &[f32]) -> Option<u32> {
        if !logits.iter().all(|logit| logit.is_finite()) {
            return None;
        }
        let Sampling::TopKTopP { temperature, top_k, top_p } = self.sampling else {
            return (0..logits.len())
                .reduce(|best, i| if logits[i] > logits[best] { i } else { best })
                .map(|i| i as u32);
        };
        // Of equal logits the first is kept.
        let by_logit = |&i: &u32, &j: &u32| logits[j as usize].total_cmp(&logits[i as usize]).then(i.cmp(&j));
        let mut tokens: Vec<u32> = (0..logits.len() as u32).collect();
        if let Some(top_k) = top_k.filter(|&top_k| top_k < tokens.len()) {
            tokens.select_nth_unstable_by(top_k, by_logit);
            tokens.truncate(top_k);
        }
        if top_p.is_some() {
            tokens.sort_unstable_by(by_logit);
        }
        let max = tokens.iter().map(|&i| logits[i as usize]).fold(f32::NEG_INFINITY, f32::max);
        let weight = |&i: &u32| (f64::from(logits[i as usize] - max) / temperature).exp();
        let mut weights: Vec<f64> = tokens.iter().map(weight).collect();
        if let Some(top_p) = top_p {
            weights.truncate(nucleus(&weights, top_p));
        }

        let mut left = self.rng.random::<f64>() * weights.iter().sum::<f64>();
        let drawn = weights.iter().position(|weight| {
            left -= weight;
            left < 0.0
        });
        Some(tokens[drawn.unwrap_or(weights.len() - 1)])
    }
}

/// How many of the weights, largest first, sum to at least `top_p` of all.
fn nucleus(weights: &[f64], top_p: f64) -> usize {
    let enough = top_p * weights.iter().sum::<f64>();
    let mut sum = 0.0;
    let last = weights.iter().position(|weight| {
        sum += weight;
        sum >= enough
    });
    last.map_or(weights.len(), |last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often each index is drawn.
    fn counts(logits: &[f32], temperature: f64, top_k: Option<usize>, top_p: Option<f64>) -> Vec<usize> {
        let mut sampler = Sampler::new(Sampling::TopKTopP { temperature, top_k, top_p }, 1);
        let mut counts = vec![0; logits.len()];
        for _ in 0..20_000 {
            counts[sampler.sample(logits).unwrap() as usize] += 1;
        }
        counts
    }

    fn logarithms<const N: usize>(probabilities: [f32; N]) -> [f32; N] {
        probabilities.map(f32::ln)
    }

    #[test]
    fn draws_follow_the_probabilities_at_the_temperature() {
        let probabilities = [0.1, 0.6, 0.3];
        for temperature in [1.0, 0.5, 2.0] {
            let weights = probabilities.map(|p: f32| f64::from(p).powf(1.0 / temperature));
            let counts = counts(&logarithms(probabilities), temperature, None, None);
            for (count, weight) in counts.iter().zip(weights) {
                let expected = weight / weights.iter().sum::<f64>();
                assert!((*count as f64 / 20_000.0 - expected).abs() < 0.02, "{counts:?} at {temperature}");
            }
        }
    }

    #[test]
    fn top_k_keeps_the_most_likely_and_of_equals_the_first() {
        let logits = logarithms([0.1, 0.2, 0.4, 0.2, 0.1]);
        let kept = |top_k| counts(&logits, 1.0, Some(top_k), None).iter().map(|&count| count > 0).collect::<Vec<_>>();
        assert_eq!(kept(1), [false, false, true, false, false]);
        assert_eq!(kept(2), [false, true, true, false, false]);
        assert_eq!(kept(4), [true, true, true, true, false]);
        assert_eq!(kept(100), [true; 5]);
    }

    #[test]
    fn top_p_keeps_the_fewest_that_suffice() {
        let logits = logarithms([0.125, 0.5, 0.25, 0.125]);
        let kept = |top_p| counts(&logits, 1.0, None, Some(top_p)).iter().map(|&count| count > 0).collect::<Vec<_>>();
        assert_eq!(kept(0.4), [false, true, false, false]);
        assert_eq!(kept(0.6), [false, true, true, false]);
        assert_eq!(kept(0.8), [true, true, true, false]);
        assert_eq!(kept(1.0), [true; 4]);
    }

    #[test]
    fn greedy_takes_the_first_of_the_largest() {
        let mut sampler = Sampler::new(Sampling::Greedy, 0);
        assert_eq!(sampler.sample(&[0.0, 2.0, 2.0, -1.0]), Some(1));
        assert_eq!(sampler.sample(&[0.0, f32::NAN]), None);
    }

    #[test]
    fn far_apart_logits_stay_finite() {
        assert_eq!(counts(&[3e38, -3e38], 1e-3, None, Some(0.9)), [20_000, 0]);
    }
}
