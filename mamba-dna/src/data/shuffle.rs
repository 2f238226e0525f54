//! Sequences without meaning, to compare with.

use crate::tokens::VOCABULARY;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

/// The nucleotides of a sequence in another order that has every pair of neighbours as often, and the same first and last
/// nucleotide: any such order, each as likely as every other (Altschul & Erickson 1985).
///
/// # Panics
/// If a token is none of the [vocabulary](crate::tokens).
///
/// ```
/// use mamba_dna::data::shuffle_pairs;
/// use mamba_dna::tokens::{A, C, G, T};
///
/// let shuffled = shuffle_pairs(&[A, C, G, A, T, A, C, C, T], &mut rand::rng());
/// assert_eq!((shuffled.len(), shuffled[0], shuffled[8]), (9, A, T));
/// ```
pub fn shuffle_pairs<R: Rng + ?Sized>(tokens: &[u8], rng: &mut R) -> Vec<u8> {
    let (Some(&first), Some(&last)) = (tokens.first(), tokens.last()) else { return Vec::new() };
    let mut next: [Vec<u8>; VOCABULARY] = Default::default();
    for pair in tokens.windows(2) {
        next[usize::from(pair[0])].push(pair[1]);
    }
    // Of each token, the step that is taken last: together they lead to the end from everywhere.
    let is_start = |token: usize| token != usize::from(last) && !next[token].is_empty();
    let starts: Vec<_> = (0..VOCABULARY).filter(|&token| is_start(token)).collect();
    let final_steps = loop {
        let mut steps = [None; VOCABULARY];
        starts.iter().for_each(|&token| steps[token] = Some(rng.random_range(0..next[token].len())));
        let arrives = |&start: &usize| {
            let mut token = start;
            for _ in 0..VOCABULARY {
                token = steps[token].map_or(token, |step| usize::from(next[token][step]));
            }
            token == usize::from(last)
        };
        if starts.iter().all(arrives) {
            break steps;
        }
    };
    for (steps, final_step) in next.iter_mut().zip(final_steps) {
        let kept = final_step.map(|step| steps.swap_remove(step));
        steps.shuffle(rng);
        // They are taken from the end.
        if let Some(token) = kept {
            steps.insert(0, token);
        }
    }
    let mut shuffled = vec![first];
    while let Some(token) = next[usize::from(shuffled[shuffled.len() - 1])].pop() {
        shuffled.push(token);
    }
    shuffled
}
