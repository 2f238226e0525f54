//! How much likelier one allele is than another.

use crate::caduceus::CaduceusMaskedLm;
use crate::mamba_dna::MambaDna;
use crate::mixer::Mixer;
use crate::tokens::{A, C, G, MASK, NUCLEOTIDES, T, to_tensor, without_unknown};
use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, Device, Tensor};
use std::collections::BTreeMap;
use std::ops::Range;

/// Two alleles of a place, and what is around it; all as [tokens](crate::tokens).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VariantWindow {
    /// What comes before the place.
    pub before: Vec<u8>,
    /// What is there in the reference: one nucleotide or more.
    pub reference: Vec<u8>,
    /// What is there otherwise: one nucleotide or more.
    pub alternate: Vec<u8>,
    /// What comes behind the place.
    pub after: Vec<u8>,
}

/// A model that tells how likely an allele is.
pub trait AlleleModel {
    /// What the model has to read for the allele in `window`.
    fn input(&self, window: &[u8], allele: Range<usize>) -> Vec<u8>;

    /// The tokens of `window` whose log-likelihoods make up that of the allele.
    fn counted(&self, window: &[u8], allele: Range<usize>) -> Range<usize>;

    /// The logarithms of the probabilities of [`NUCLEOTIDES`] at each place, `[batch, length, 4]`, for inputs of one
    /// length.
    fn log_probabilities(&self, inputs: &[Vec<u8>], device: &Device) -> Tensor<3>;
}

/// The logarithm of how much likelier the alternate allele of each window is than the reference: below zero where the
/// model would not have expected it. Windows are read `batch` at a time.
///
/// A masked model reads the window with the allele masked, and its score is that of the nucleotides there. A causal one
/// reads the window as it is, and all nucleotides from the allele on count. Nucleotides that are not known are
/// read as `[PAD]`, as in training, and count for nothing.
///
/// # Panics
/// If `batch` is zero, or an allele is empty.
///
/// ```
/// use burn::tensor::Device;
/// use mamba_dna::{CaduceusConfig, VariantWindow, tokens, variant_scores};
///
/// let device = Device::default();
/// let model = CaduceusConfig::new(16, 2).try_init_masked_lm(&device)?;
/// let dna = |letters| tokens::encode(letters).unwrap();
/// // C in place of the first T of GATTACA.
/// let window = VariantWindow { before: dna("GA"), reference: dna("T"), alternate: dna("C"), after: dna("TACA") };
/// let scores = variant_scores(&model, &[window], 8, &device);
/// assert!(scores[0].is_finite());
/// # Ok::<(), mamba_blocks::ConfigError>(())
/// ```
pub fn variant_scores<M: AlleleModel>(model: &M, windows: &[VariantWindow], batch: usize, device: &Device) -> Vec<f64> {
    // Many alleles of one place have one input.
    let mut inputs: BTreeMap<(usize, Vec<u8>), Vec<Sum>> = BTreeMap::new();
    for (index, window) in windows.iter().enumerate() {
        for (allele, sign) in [(&window.reference, -1.0), (&window.alternate, 1.0)] {
            assert!(!allele.is_empty(), "variant_scores: an allele is empty, expected at least one nucleotide");
            let tokens = [window.before.as_slice(), allele, &window.after].concat();
            let place = window.before.len()..window.before.len() + allele.len();
            let input = model.input(&tokens, place.clone());
            let counted = model.counted(&tokens, place);
            inputs.entry((input.len(), input)).or_default().push(Sum { index, sign, tokens, counted });
        }
    }
    let mut scores = vec![0.0; windows.len()];
    let inputs: Vec<_> = inputs.into_iter().collect();
    for same_length in inputs.chunk_by(|left, right| left.0.0 == right.0.0) {
        for part in same_length.chunks(batch) {
            let rows: Vec<_> = part.iter().map(|((_, input), _)| input.clone()).collect();
            let data = model.log_probabilities(&rows, device).cast(DType::F32).into_data();
            let values = data.as_slice::<f32>().expect("the probabilities are f32");
            for ((row, sums), values) in part.iter().zip(values.chunks(4 * rows[0].len())) {
                debug_assert_eq!(values.len(), 4 * row.0);
                for sum in sums {
                    scores[sum.index] += sum.sign * sum.of(values);
                }
            }
        }
    }
    scores
}

/// A part of a score.
struct Sum {
    index: usize,
    sign: f64,
    tokens: Vec<u8>,
    counted: Range<usize>,
}

impl Sum {
    fn of(&self, log_probabilities: &[f32]) -> f64 {
        let places = self.counted.clone().zip(&self.tokens[self.counted.clone()]);
        let known = places.filter(|(_, token)| matches!(**token, A..=T));
        known.map(|(place, token)| f64::from(log_probabilities[4 * place + usize::from(token - A)])).sum()
    }
}

/// Of the four nucleotides among the tokens, `[batch, length, 4]`.
fn among_nucleotides(logits: Tensor<3>) -> Tensor<3> {
    const { assert!(NUCLEOTIDES[1] == C && NUCLEOTIDES[2] == G && T - A == 3) };
    log_softmax(logits.narrow(2, A.into(), 4).cast(DType::F32), 2)
}

impl<M: Mixer> AlleleModel for CaduceusMaskedLm<M> {
    fn input(&self, window: &[u8], allele: Range<usize>) -> Vec<u8> {
        let mut input = without_unknown(window);
        input[allele].fill(MASK);
        input
    }

    fn counted(&self, _window: &[u8], allele: Range<usize>) -> Range<usize> {
        allele
    }

    fn log_probabilities(&self, inputs: &[Vec<u8>], device: &Device) -> Tensor<3> {
        among_nucleotides(self.forward(to_tensor(inputs, device)))
    }
}

impl AlleleModel for MambaDna {
    fn input(&self, window: &[u8], _allele: Range<usize>) -> Vec<u8> {
        without_unknown(window)
    }

    fn counted(&self, window: &[u8], allele: Range<usize>) -> Range<usize> {
        // Nothing is said of the first.
        allele.start.max(1)..window.len()
    }

    fn log_probabilities(&self, inputs: &[Vec<u8>], device: &Device) -> Tensor<3> {
        let of_next = among_nucleotides(self.forward(to_tensor(inputs, device)));
        let [batch, length, _] = of_next.dims();
        // What is said at a place is of the next one.
        let first = Tensor::zeros([batch, 1, 4], (&of_next.device(), DType::F32));
        match length {
            1 => first,
            _ => Tensor::cat(vec![first, of_next.narrow(1, 0, length - 1)], 1),
        }
    }
}
