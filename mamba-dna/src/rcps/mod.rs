//! Layers that commute with the reverse complement, by parameter sharing (Zhou et al. 2022; Schiff et al. 2024,
//! section 3.2).
//!
//! DNA is read in two directions: the other strand is the sequence from its end, each nucleotide replaced by its
//! complement. The stream here has `2 * d_model` channels. The first half is what the strand at hand is seen as, the
//! second half what the other strand is seen as, turned round in length and in channels. Turning the whole stream round,
//! [`flip`], is then to exchange the strands, and every layer `f` of this module has `f(flip(x)) = flip(f(x))`.
//!
//! | layer | what it is |
//! |---|---|
//! | [`RcpsEmbedding`] | both strands' embeddings |
//! | [`RcpsWrapper`] | any [`Mixer`](crate::Mixer), on both strands |
//! | [`RcpsNorm`] | the sum with the residual stream, and its norm, in either of two orders |
//! | [`RcpsLmHead`] | logits, those of complements exchanged |

mod embedding;
mod head;
mod norm;
mod wrapper;

pub use embedding::{RcpsEmbedding, RcpsEmbeddingConfig};
pub use head::{RcpsLmHead, RcpsLmHeadConfig};
pub use norm::{NormOrder, RcpsNorm, RcpsNormConfig};
pub use wrapper::RcpsWrapper;

pub(crate) use embedding::embed;
pub(crate) use head::logits;
pub(crate) use norm::add_norm;

use crate::tokens::complement_map;
use burn::tensor::{Device, Int, Tensor, TensorData};

/// The reverse complement of features: `[batch, length, channels]`, turned round in length and in channels.
pub fn flip(x: Tensor<3>) -> Tensor<3> {
    x.flip([1, 2])
}

/// The reverse complement of [tokens](crate::tokens), `[batch, length]`.
pub fn reverse_complement(tokens: Tensor<2, Int>) -> Tensor<2, Int> {
    let [batch, length] = tokens.dims();
    // Padding of the vocabulary is its own complement, up to the largest token there can be.
    let map = complements(1 << 8, &tokens.device());
    map.select(0, tokens.flip([1]).reshape([batch * length])).reshape([batch, length])
}

/// The complement of every token.
pub(crate) fn complements(vocabulary: usize, device: &Device) -> Tensor<1, Int> {
    let map: Vec<_> = complement_map(vocabulary).into_iter().map(|id| id as i32).collect();
    Tensor::from_data(TensorData::new(map, [vocabulary]), device)
}

/// The stream as the models compute with it: both strands as rows of one batch, `[2 * batch, length, d_model]`, each in
/// its own direction. The other strand of row `i` is row `2 * batch - 1 - i`, so that turning everything round, rows too,
/// is [`flip`], and in memory one pass from the end.
pub(crate) fn stack(x: Tensor<3>) -> Tensor<3> {
    let [_, _, channels] = x.dims();
    assert!(channels.is_multiple_of(2), "rcps: there are {channels} channels, expected an even number");
    let (strand, other) = (x.clone().narrow(2, 0, channels / 2), x.narrow(2, channels / 2, channels / 2));
    Tensor::cat(vec![strand, turn(other)], 0)
}

/// What [`stack`] was made of.
pub(crate) fn unstack(rows: Tensor<3>) -> Tensor<3> {
    let (strand, other) = strands(rows);
    Tensor::cat(vec![strand, turn(other)], 2)
}

/// The rows of the strand at hand, and those of the other one, from the last.
pub(crate) fn strands<const D: usize>(rows: Tensor<D>) -> (Tensor<D>, Tensor<D>) {
    let half = rows.dims()[0] / 2;
    (rows.clone().narrow(0, 0, half), rows.narrow(0, half, half))
}

/// [`flip`] of a [`stack`].
pub(crate) fn turn(rows: Tensor<3>) -> Tensor<3> {
    rows.flip([0, 1, 2])
}
