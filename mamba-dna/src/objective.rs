//! What models of DNA are trained for.

use crate::tokens::{MASK, PAD, VOCABULARY, without_unknown};
use burn::config::Config;
use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, Int, Tensor};
use mamba_blocks::parts::at_least_f32;
use rand::{Rng, RngExt};

/// What a model reads, and what it should say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// The tokens to read.
    pub inputs: Vec<u8>,
    /// The token to say at each place; `[PAD]` where nothing counts.
    pub targets: Vec<u8>,
}

/// Masked language modelling (Devlin et al. 2019), as Caduceus is trained: some tokens count, of which most are masked,
/// some replaced by any token of the vocabulary, and the rest left.
///
/// ```
/// use mamba_dna::{objective::Masking, tokens};
/// use rand::{SeedableRng, rngs::StdRng};
///
/// let dna = tokens::encode("GATTACA").unwrap();
/// let example = Masking::new().with_share(0.5).example(&dna, &mut StdRng::seed_from_u64(1));
/// println!("reads {}, says {}", tokens::decode(&example.inputs), tokens::decode(&example.targets));
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct Masking {
    /// Share of the tokens that count.
    #[config(default = 0.15)]
    pub share: f64,
    /// Share of those that are masked.
    #[config(default = 0.8)]
    pub masked: f64,
    /// Share of those that are replaced.
    #[config(default = 0.1)]
    pub replaced: f64,
}

impl Masking {
    /// Draws which tokens count. N is read as `[PAD]` and counts for nothing.
    pub fn example<R: Rng + ?Sized>(&self, tokens: &[u8], rng: &mut R) -> Example {
        let mut inputs = without_unknown(tokens);
        let mut targets = vec![PAD; tokens.len()];
        for (input, target) in inputs.iter_mut().zip(&mut targets) {
            if rng.random::<f64>() >= self.share {
                continue;
            }
            *target = *input;
            let draw = rng.random::<f64>();
            if draw < self.masked {
                *input = MASK;
            } else if draw < self.masked + self.replaced {
                *input = rng.random_range(0..VOCABULARY as u8);
            }
        }
        Example { inputs, targets }
    }
}

/// Each token is to be said by the one before it. N is read as `[PAD]` and counts for nothing.
///
/// ```
/// use mamba_dna::{objective::next_token, tokens};
///
/// let example = next_token(&tokens::encode("GATT").unwrap());
/// assert_eq!((tokens::decode(&example.inputs), tokens::decode(&example.targets)), ("GAT".into(), "ATT".into()));
/// ```
pub fn next_token(tokens: &[u8]) -> Example {
    let mut inputs = without_unknown(tokens);
    let targets = inputs.iter().skip(1).copied().collect();
    inputs.pop();
    Example { inputs, targets }
}

/// Mean negative logarithm of the probability of each target, in nats: `logits` `[batch, length, vocab]`, `targets`
/// `[batch, length]`. `[PAD]` counts for nothing, and the mean over nothing is zero. `weights` `[batch, length]`, if
/// any, are those of the mean, as for repeats that count less.
///
/// # Panics
/// If shapes do not fit.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mamba_dna::{objective::cross_entropy, tokens};
///
/// let device = Device::default();
/// let targets = tokens::to_tensor(&[tokens::encode("GATTACA").unwrap()], &device);
/// // Of logits that know nothing of 16 tokens.
/// let loss = cross_entropy(Tensor::zeros([1, 7, 16], &device), targets, None);
/// assert!((loss.into_scalar::<f32>() - 16_f32.ln()).abs() < 1e-5);
/// ```
pub fn cross_entropy(logits: Tensor<3>, targets: Tensor<2, Int>, weights: Option<Tensor<2>>) -> Tensor<1> {
    let (sum, count) = weighted_sum(logits, targets, weights);
    sum / count.clamp_min(f64::from(f32::MIN_POSITIVE))
}

/// The sum of which [`cross_entropy`] is the mean, and the sum of the weights.
///
/// # Panics
/// If shapes do not fit.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mamba_dna::{objective::weighted_sum, tokens};
///
/// let device = Device::default();
/// let targets = tokens::to_tensor(&[tokens::encode("GATTACA").unwrap()], &device);
/// // Repeats count half.
/// let (_sum, weight) = weighted_sum(Tensor::zeros([1, 7, 16], &device), targets, Some(Tensor::full([1, 7], 0.5, &device)));
/// assert_eq!(weight.into_scalar::<f32>(), 3.5);
/// ```
pub fn weighted_sum(logits: Tensor<3>, targets: Tensor<2, Int>, weights: Option<Tensor<2>>) -> (Tensor<1>, Tensor<1>) {
    let counts = targets.clone().not_equal_elem(i64::from(PAD)).float().cast(DType::F32);
    let weights = match weights {
        Some(weights) => weights * counts,
        None => counts,
    };
    let log_probabilities = log_softmax(at_least_f32(logits), 2);
    let said: Tensor<2> = log_probabilities.gather(2, targets.unsqueeze_dim(2)).squeeze_dim(2);
    ((said * weights.clone()).sum().neg(), weights.sum())
}

/// Weights of classes in inverse proportion to how often they occur among `labels`, with a mean of one over the labels:
/// for [`CrossEntropyLossConfig`](burn::nn::loss::CrossEntropyLossConfig). A class that does not occur gets one.
///
/// ```
/// use mamba_dna::objective::class_weights;
///
/// // Three of the first class, one of the second.
/// assert_eq!(class_weights(&[0, 0, 1, 0], 2), [4.0 / 6.0, 2.0]);
/// ```
pub fn class_weights(labels: &[usize], classes: usize) -> Vec<f32> {
    let mut counts = vec![0; classes];
    labels.iter().for_each(|&label| counts[label] += 1);
    let occurring = counts.iter().filter(|count| **count > 0).count();
    let weight = |&count: &usize| match count {
        0 => 1.0,
        _ => labels.len() as f32 / (occurring * count) as f32,
    };
    counts.iter().map(weight).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::{A, C, N, T};
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    #[test]
    fn shares_of_masking_are_those_of_the_configuration() {
        let tokens = vec![C; 200_000];
        let Example { inputs, targets } = Masking::new().example(&tokens, &mut StdRng::seed_from_u64(1));
        let share = |count: usize, of: usize| count as f64 / of as f64;
        let counted: Vec<_> = inputs.iter().zip(&targets).filter(|(_, target)| **target != PAD).collect();
        assert!((share(counted.len(), tokens.len()) - 0.15).abs() < 0.003);
        let masked = counted.iter().filter(|(input, _)| **input == MASK).count();
        let left = counted.iter().filter(|(input, _)| **input == C).count();
        // One in twelve of those that are replaced becomes itself, and one the mask.
        assert!((share(masked, counted.len()) - (0.8 + 0.1 / 12.0)).abs() < 0.01);
        assert!((share(left, counted.len()) - (0.1 + 0.1 / 12.0)).abs() < 0.01);
        assert!(counted.iter().all(|(_, target)| **target == C));
        let others = inputs.iter().zip(&targets).filter(|(_, target)| **target == PAD);
        assert!(others.into_iter().all(|(input, _)| *input == C));
    }

    #[test]
    fn unknown_nucleotides_are_read_as_padding_and_count_for_nothing() {
        let example = Masking::new().with_share(1.0).with_masked(0.0).with_replaced(0.0);
        let Example { inputs, targets } = example.example(&[A, N, T], &mut StdRng::seed_from_u64(1));
        assert_eq!((inputs, targets), (vec![A, PAD, T], vec![A, PAD, T]));
        let Example { inputs, targets } = next_token(&[A, N, T, C]);
        assert_eq!((inputs, targets), (vec![A, PAD, T], vec![PAD, T, C]));
        assert_eq!(next_token(&[]), Example { inputs: vec![], targets: vec![] });
    }

    #[test]
    fn rare_classes_weigh_more() {
        assert_eq!(class_weights(&[0, 0, 0, 1], 3), [2.0 / 3.0, 2.0, 1.0]);
    }
}
