//! Draws one token after the other.

use super::{Draw, Sampling};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::cmp::Ordering;

/// Chooses tokens for one row; rows draw from generators of their own, so that they do not influence each other.
pub(in crate::lm) struct Sampler {
    sampling: Sampling,
    rng: StdRng,
}

impl Sampler {
    pub(in crate::lm) fn new(sampling: Sampling, seed: u64) -> Self {
        Self { sampling, rng: StdRng::seed_from_u64(seed) }
    }

    /// The chosen index. There is at least one logit, and all are finite.
    pub(in crate::lm) fn sample(&mut self, logits: &[f32]) -> u32 {
        match &self.sampling {
            Sampling::Greedy => largest(logits),
            Sampling::Random(draw) => {
                let weighted = candidates(draw, logits);
                let mut left = self.rng.random::<f64>() * weighted.iter().map(|(_, weight)| weight).sum::<f64>();
                let drawn = weighted.iter().position(|(_, weight)| {
                    left -= weight;
                    left < 0.0
                });
                weighted[drawn.unwrap_or(weighted.len() - 1)].0
            }
        }
    }
}

/// The index of the largest score; of equals the first.
fn largest(scores: &[f32]) -> u32 {
    (0..scores.len() as u32).min_by(by_size(scores)).unwrap_or(0)
}

/// Orders indices by their scores, the largest first, of equals the first first.
fn by_size(scores: &[f32]) -> impl Fn(&u32, &u32) -> Ordering {
    |i, j| scores[*j as usize].total_cmp(&scores[*i as usize]).then(i.cmp(j))
}

/// The tokens that are left, each with its weight: proportional to the probability, 1 for the most likely.
fn candidates(draw: &Draw, logits: &[f32]) -> Vec<(u32, f64)> {
    let Draw { temperature, top_k, top_p, min_p } = *draw;
    let mut tokens: Vec<u32> = (0..logits.len() as u32).collect();
    if let Some(top_k) = top_k.filter(|&top_k| top_k < tokens.len()) {
        let (_, last, _) = tokens.select_nth_unstable_by(top_k - 1, by_size(logits));
        let least = logits[*last as usize];
        tokens.retain(|&token| logits[token as usize] >= least);
    }
    if top_p.is_some() {
        tokens.sort_unstable_by(by_size(logits));
    }
    let most = logits[largest(logits) as usize];
    let weight = |token: u32| (f64::from(logits[token as usize] - most) / temperature).exp();
    let mut weighted: Vec<(u32, f64)> = tokens.into_iter().map(|token| (token, weight(token))).collect();
    if let Some(top_p) = top_p {
        weighted.truncate(nucleus(&weighted, top_p));
    }
    if let Some(min_p) = min_p {
        weighted.retain(|&(_, weight)| weight >= min_p);
    }
    weighted
}

/// How many of the weights, largest first, sum to at least `top_p` of all.
fn nucleus(weighted: &[(u32, f64)], top_p: f64) -> usize {
    let enough = top_p * weighted.iter().map(|(_, weight)| weight).sum::<f64>();
    let mut sum = 0.0;
    let last = weighted.iter().position(|(_, weight)| {
        sum += weight;
        sum >= enough
    });
    last.map_or(weighted.len(), |last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: usize = 20_000;

    /// How often each index is drawn.
    fn counts(logits: &[f32], draw: Draw) -> Vec<usize> {
        let mut sampler = Sampler::new(Sampling::Random(draw), 1);
        let mut counts = vec![0; logits.len()];
        for _ in 0..DRAWS {
            counts[sampler.sample(logits) as usize] += 1;
        }
        counts
    }

    fn kept(logits: &[f32], draw: Draw) -> Vec<bool> {
        counts(logits, draw).iter().map(|&count| count > 0).collect()
    }

    fn logarithms<const N: usize>(probabilities: [f32; N]) -> [f32; N] {
        probabilities.map(f32::ln)
    }

    #[test]
    fn draws_follow_the_probabilities_at_the_temperature() {
        let probabilities = [0.1, 0.6, 0.3];
        for temperature in [1.0, 0.5, 2.0] {
            let weights = probabilities.map(|p: f32| f64::from(p).powf(1.0 / temperature));
            let counts = counts(&logarithms(probabilities), Draw::new().with_temperature(temperature));
            for (count, weight) in counts.iter().zip(weights) {
                let expected = weight / weights.iter().sum::<f64>();
                assert!((*count as f64 / DRAWS as f64 - expected).abs() < 0.02, "{counts:?} at {temperature}");
            }
        }
    }

    #[test]
    fn top_k_keeps_the_most_likely_and_equals_of_the_last() {
        let logits = logarithms([0.1, 0.2, 0.4, 0.2, 0.1]);
        let kept = |top_k| kept(&logits, Draw::new().with_top_k(Some(top_k)));
        assert_eq!(kept(1), [false, false, true, false, false]);
        assert_eq!(kept(2), [false, true, true, true, false]);
        assert_eq!(kept(3), [false, true, true, true, false]);
        assert_eq!(kept(4), [true; 5]);
        assert_eq!(kept(100), [true; 5]);
    }

    #[test]
    fn top_p_keeps_the_fewest_that_suffice() {
        let logits = logarithms([0.125, 0.5, 0.25, 0.125]);
        let kept = |top_p| kept(&logits, Draw::new().with_top_p(Some(top_p)));
        assert_eq!(kept(0.4), [false, true, false, false]);
        assert_eq!(kept(0.6), [false, true, true, false]);
        assert_eq!(kept(0.8), [true, true, true, false]);
        assert_eq!(kept(1.0), [true; 4]);
    }

    #[test]
    fn min_p_keeps_what_is_near_the_most_likely() {
        let logits = logarithms([0.1, 0.5, 0.3, 0.1]);
        let kept = |min_p| kept(&logits, Draw::new().with_min_p(Some(min_p)));
        assert_eq!(kept(0.0), [true; 4]);
        assert_eq!(kept(0.1), [true; 4]);
        assert_eq!(kept(0.3), [false, true, true, false]);
        assert_eq!(kept(1.0), [false, true, false, false]);
    }

    #[test]
    fn each_cut_sees_what_the_one_before_it_left() {
        // Of all, 0.4 and 0.3 sum to 0.7; of the three most likely, to 0.78.
        let logits = logarithms([0.4, 0.3, 0.2, 0.1]);
        let draw = Draw::new().with_top_p(Some(0.75));
        assert_eq!(kept(&logits, draw.clone()), [true, true, true, false]);
        assert_eq!(kept(&logits, draw.with_top_k(Some(3))), [true, true, false, false]);
        // At temperature 2, 0.3 is 0.87 times as likely as 0.4, and 0.2 is 0.71 times as likely.
        let draw = Draw::new().with_temperature(2.0).with_min_p(Some(0.8));
        assert_eq!(kept(&logits, draw), [true, true, false, false]);
    }

    #[test]
    fn what_is_left_is_that_of_transformers() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/mamba_lm_generation.json");
        let file: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let numbers = |list: &serde_json::Value| -> Vec<f64> {
            list.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
        };
        let logits: Vec<f32> = numbers(&file["logits"]).into_iter().map(|logit| logit as f32).collect();
        for case in file["draws"].as_array().unwrap() {
            let draw = Draw {
                temperature: case["temperature"].as_f64().unwrap_or(1.0),
                top_k: case["top_k"].as_u64().map(|top_k| top_k as usize),
                top_p: case["top_p"].as_f64(),
                min_p: case["min_p"].as_f64(),
            };
            let left = candidates(&draw, &logits);
            let sum: f64 = left.iter().map(|(_, weight)| weight).sum();
            let mut probabilities = vec![0.0; logits.len()];
            left.iter().for_each(|&(token, weight)| probabilities[token as usize] = weight / sum);
            for (found, expected) in probabilities.into_iter().zip(numbers(&case["probabilities"])) {
                assert!((found - expected).abs() < 1e-6 && (found == 0.0) == (expected == 0.0), "{case}: {left:?}");
            }
        }
    }

    #[test]
    fn greedy_takes_the_first_of_the_largest() {
        assert_eq!(Sampler::new(Sampling::Greedy, 0).sample(&[0.0, 2.0, 2.0, -1.0]), 1);
    }

    #[test]
    fn far_apart_logits_stay_finite() {
        let draw = Draw::new().with_temperature(1e-3).with_top_p(Some(0.9));
        assert_eq!(counts(&[3e38, -3e38], draw), [DRAWS, 0]);
    }
}
