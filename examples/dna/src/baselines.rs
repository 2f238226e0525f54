//! Classifiers to compare with.

use burn::module::Module;
use burn::nn::conv::{Conv1d, Conv1dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig1d};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor, TensorData};
use mamba_dna::tokens::{A, T};

/// Two convolutions over the nucleotides, and a hidden layer over what they give at each place.
#[derive(Module, Debug)]
pub struct Cnn {
    convs: Vec<Conv1d>,
    hidden: Linear,
    head: Linear,
}

/// Nucleotides that a convolution sees.
const TAPS: usize = 9;
/// Of the hidden layer.
const HIDDEN: usize = 64;

impl Cnn {
    /// The smallest with at least `parameters`, for sequences of `length`.
    pub fn of_size(parameters: usize, length: usize, classes: usize, device: &Device) -> Self {
        let count = |width: usize| {
            let convs = (4 * width + width * width) * TAPS + 2 * width;
            convs + width * length.div_ceil(4) * HIDDEN + HIDDEN + HIDDEN * classes + classes
        };
        let width = (1..).find(|&width| count(width) >= parameters).expect("widths have no end");
        let conv = |from: usize| Conv1dConfig::new(from, width, TAPS).with_padding(PaddingConfig1d::Same).init(device);
        Self {
            convs: vec![conv(4), conv(width)],
            hidden: LinearConfig::new(width * length.div_ceil(4), HIDDEN).init(device),
            head: LinearConfig::new(HIDDEN, classes).init(device),
        }
    }

    /// The logits `[batch, classes]` for tokens `[batch, length]`.
    pub fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<2> {
        let [batch, length] = tokens.dims();
        // One channel for each nucleotide; what is not known is none of them.
        let nucleotides = Tensor::<1, Int>::arange(i64::from(A)..i64::from(T) + 1, &tokens.device());
        let tokens: Tensor<3, Int> = tokens.unsqueeze_dim(1);
        let mut x =
            tokens.expand([batch, 4, length]).equal(nucleotides.reshape([1, 4, 1]).expand([batch, 4, length])).float();
        for conv in &self.convs {
            x = relu(conv.forward(x));
        }
        // The largest of four places.
        let places = length.div_ceil(4);
        let [_, width, _] = x.dims();
        let x = x.pad((0, 4 * places - length, 0, 0), 0.0);
        let x: Tensor<2> = x.reshape([batch, width, places, 4]).max_dim(3).reshape([batch, width * places]);
        self.head.forward(relu(self.hidden.forward(x)))
    }
}

/// How often every k-mer up to a length occurs in a sequence: what logistic regression sees.
pub fn kmer_counts(sequences: &[&[u8]], longest: u32, device: &Device) -> Tensor<2> {
    let width: usize = (1..=longest).map(|k| 4_usize.pow(k)).sum();
    let mut counts = vec![0.0_f32; sequences.len() * width];
    for (sequence, counts) in sequences.iter().zip(counts.chunks_mut(width)) {
        let mut start = 0;
        for k in 1..=longest {
            for kmer in sequence.windows(k as usize) {
                let index = kmer
                    .iter()
                    .try_fold(0, |index, token| (A..=T).contains(token).then(|| 4 * index + usize::from(token - A)));
                if let Some(index) = index {
                    counts[start + index] += 1.0;
                }
            }
            start += 4_usize.pow(k);
        }
    }
    Tensor::from_data(TensorData::new(counts, [sequences.len(), width]), device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mamba_dna::tokens::{encode, to_tensor};

    #[test]
    fn kmers_are_counted_by_length_and_unknown_nucleotides_are_none() {
        let sequence = encode("ACAN").unwrap();
        let counts = kmer_counts(&[&sequence], 2, &Device::default()).into_data();
        let counts: Vec<f32> = counts.iter().collect();
        assert_eq!(counts.len(), 20);
        assert_eq!(counts[..4], [2.0, 1.0, 0.0, 0.0]);
        assert_eq!((counts[4 + 1], counts[4 + 4], counts.iter().sum::<f32>()), (1.0, 1.0, 5.0));
    }

    #[test]
    fn the_network_has_the_size_that_was_asked_for() {
        let device = Device::default();
        for (size, length) in [(20_000, 60), (470_702, 61)] {
            let cnn = Cnn::of_size(size, length, 3, &device);
            let found = cnn.num_params() as f64 / size as f64;
            assert!((1.0..1.1).contains(&found), "{found}");
            let tokens = to_tensor(&[vec![A; length], vec![T; length]], &device);
            assert_eq!(cnn.forward(tokens).dims(), [2, 3]);
        }
    }
}
