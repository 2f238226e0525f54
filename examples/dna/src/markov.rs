//! What nucleotides alone say of the next one: a Markov model, to compare with.

use mamba_dna::tokens::{A, T};

/// Counts of each nucleotide behind every context of `order` nucleotides.
pub struct Markov {
    order: u32,
    counts: Vec<[u64; 4]>,
}

impl Markov {
    pub fn new(order: u32) -> Self {
        Self { order, counts: vec![[1; 4]; 4_usize.pow(order)] }
    }

    /// Learns from a sequence. What is not known ends a context.
    pub fn learn(&mut self, tokens: &[u8]) {
        let mut counts = std::mem::take(&mut self.counts);
        self.walk(tokens, |context, next| counts[context][next] += 1);
        self.counts = counts;
    }

    /// The negative logarithms of the probabilities of the nucleotides behind a full context, in bits: their sum and
    /// number.
    pub fn bits(&self, tokens: &[u8]) -> (f64, u64) {
        let (mut bits, mut number) = (0.0, 0);
        self.walk(tokens, |context, next| {
            let counts = self.counts[context];
            bits -= (counts[next] as f64 / counts.iter().sum::<u64>() as f64).log2();
            number += 1;
        });
        (bits, number)
    }

    fn walk(&self, tokens: &[u8], mut each: impl FnMut(usize, usize)) {
        let contexts = 4_usize.pow(self.order);
        let (mut context, mut known) = (0, 0);
        for &token in tokens {
            if !(A..=T).contains(&token) {
                known = 0;
                continue;
            }
            let next = usize::from(token - A);
            if known >= self.order {
                each(context, next);
            }
            context = (4 * context + next) % contexts;
            known += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mamba_dna::tokens::encode;

    #[test]
    fn a_periodic_sequence_is_learnt_and_unknown_nucleotides_end_contexts() {
        let mut markov = Markov::new(2);
        let tokens = encode("ACGT".repeat(1000)).unwrap();
        markov.learn(&tokens);
        let (bits, number) = markov.bits(&tokens);
        assert_eq!(number, 3998);
        assert!(bits / 3998.0 < 0.01, "{bits}");
        // Three contexts have ended.
        assert_eq!(markov.bits(&encode("ACGNTACNA").unwrap()).1, 2);
        assert_eq!(Markov::new(5).bits(&encode("ACGTAC").unwrap()), (2.0, 1));
    }
}
