//! Documents packed into rows of one length, so that a batch has little padding.

use super::{LmOptions, MambaLm};
use crate::error::PackError;
use crate::parts::at_least_f32;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use std::ops::Range;

/// Documents one after another in rows of one length; padding only where no document fits any more.
///
/// Convolution and scan are reset at the first token of each, so that logits and gradients are those of the documents
/// alone ([`MambaLm::forward_packed`]).
///
/// ```
/// use burn::tensor::Device;
/// use mamba_blocks::{MambaLmConfig, Packed};
///
/// let device = Device::default().autodiff();
/// let model = MambaLmConfig::new(16, 8, 1).init(&device);
/// let packed = Packed::new(&[vec![1, 2, 3], vec![4, 5, 6, 7, 8], vec![9, 10]], 6, &device)?;
/// assert_eq!(packed.tokens.dims(), [2, 6]);
/// let gradients = packed.loss(model.forward_packed(&packed)).backward();
/// # Ok::<(), mamba_blocks::PackError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Packed {
    /// `[rows, length]`; 0 in the padding.
    pub tokens: Tensor<2, Int>,
    /// Whether a document, or the padding, starts at a token: `[rows, length]`.
    pub reset: Tensor<2, Bool>,
    /// The position of each token in its document, or in the padding: `[rows, length]`.
    pub positions: Tensor<2, Int>,
    /// The token after each in its document, 0 where there is none: `[rows, length]`.
    pub targets: Tensor<2, Int>,
    /// Whether there is a token after it in its document: `[rows, length]`.
    pub has_target: Tensor<2, Bool>,
    /// Row and tokens of each document.
    places: Vec<(usize, Range<usize>)>,
    /// How many tokens have one after them.
    num_targets: usize,
}

impl Packed {
    /// Packs documents into rows of `length` tokens: each into the first row that has room for it.
    ///
    /// # Errors
    /// [`PackError`] if there is no document, or if one is empty or longer than a row.
    pub fn new<D: AsRef<[u32]>>(documents: &[D], length: usize, device: &Device) -> Result<Self, PackError> {
        let lengths: Vec<_> = documents.iter().map(|document| document.as_ref().len()).collect();
        let places = places(&lengths, length)?;
        let rows = 1 + places.iter().map(|(row, _)| *row).max().unwrap_or(0);

        let mut ends = vec![0; rows];
        let cells = rows * length;
        let (mut tokens, mut targets, mut positions) = (vec![0_i64; cells], vec![0_i64; cells], vec![0_i64; cells]);
        let (mut reset, mut has_target) = (vec![false; cells], vec![false; cells]);
        for ((row, range), document) in places.iter().zip(documents) {
            ends[*row] = range.end;
            let start = row * length + range.start;
            reset[start] = true;
            for (at, &token) in document.as_ref().iter().enumerate() {
                (tokens[start + at], positions[start + at]) = (token.into(), at as i64);
                if at > 0 {
                    (targets[start + at - 1], has_target[start + at - 1]) = (token.into(), true);
                }
            }
        }
        for (row, end) in ends.into_iter().enumerate().filter(|(_, end)| *end < length) {
            reset[row * length + end] = true;
            (end..length).for_each(|at| positions[row * length + at] = (at - end) as i64);
        }

        let shape = [rows, length];
        let ints = |values| Tensor::<2, Int>::from_data(TensorData::new(values, shape), device);
        let bools = |values| Tensor::<2, Bool>::from_data(TensorData::new(values, shape), device);
        Ok(Self {
            tokens: ints(tokens),
            reset: bools(reset),
            positions: ints(positions),
            targets: ints(targets),
            has_target: bools(has_target),
            num_targets: lengths.iter().map(|length| length - 1).sum(),
            places,
        })
    }

    /// Row and tokens of each document, in the order in which they were given.
    pub fn places(&self) -> &[(usize, Range<usize>)] {
        &self.places
    }

    /// What `x`, `[rows, length, width]`, has for one document: `[1, its length, width]`.
    ///
    /// # Panics
    /// If there is no such document.
    pub fn document(&self, x: Tensor<3>, index: usize) -> Tensor<3> {
        let (row, range) = &self.places[index];
        x.narrow(0, *row, 1).narrow(1, range.start, range.len())
    }

    /// The mean cross entropy, in nats, of `logits` `[rows, length, classes]` over all tokens that have one after them in
    /// their document; 0 if none has.
    pub fn loss(&self, logits: Tensor<3>) -> Tensor<1> {
        let chosen =
            log_softmax(at_least_f32(logits), 2).gather(2, self.targets.clone().unsqueeze_dim(2)).squeeze_dim::<2>(2);
        let nothing = self.has_target.clone().bool_not();
        chosen.mask_fill(nothing, 0.0).sum().div_scalar(-(self.num_targets.max(1) as f64))
    }
}

impl MambaLm {
    /// The logits of each next token, `[rows, length, padded_vocab]`; a document sees itself only.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn forward_packed(&self, packed: &Packed) -> Tensor<3> {
        self.forward_with(packed.tokens.clone(), LmOptions::new().with_reset(packed.reset.clone())).0
    }
}

/// Row and tokens of documents of the given lengths.
fn places(lengths: &[usize], row_length: usize) -> Result<Vec<(usize, Range<usize>)>, PackError> {
    if lengths.is_empty() {
        return Err(PackError::NoDocuments);
    }
    let mut ends: Vec<usize> = Vec::new();
    let place = |(document, &length): (usize, &usize)| {
        if length == 0 || length > row_length {
            return Err(PackError::Length { document, length, row_length });
        }
        let row = ends.iter().position(|end| row_length - end >= length).unwrap_or_else(|| {
            ends.push(0);
            ends.len() - 1
        });
        let start = ends[row];
        ends[row] += length;
        Ok((row, start..start + length))
    };
    lengths.iter().enumerate().map(place).collect()
}
