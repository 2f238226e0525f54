//! Sequences, intervals and references: how they are read, and how embeddings are written.
//!
//! Files are read as they come: packed with gzip or not, in either case, with the line ends of Windows. What is no
//! nucleotide is refused with its place; see [`tokens`](crate::tokens) for what is one.

mod bed;
mod embeddings;
mod error;
mod index;
mod input;
mod reference;
mod sequences;
mod shuffle;
mod windows;

pub use bed::{Interval, read_bed};
pub use embeddings::EmbeddingsWriter;
pub use error::DataError;
pub use input::Input;
pub use reference::Reference;
pub use sequences::{Record, SequenceReader};
pub use shuffle::shuffle_pairs;
pub use windows::{Window, Windows, WindowsConfig};

use crate::tokens::reverse_complement;
use rand::{Rng, RngExt};

/// Every second sequence, at random, as its other strand: what a model without symmetry is trained on.
///
/// ```
/// use mamba_dna::{data::augment, tokens};
/// use rand::{SeedableRng, rngs::StdRng};
///
/// let dna = tokens::encode("GATTACA").unwrap();
/// let varied = tokens::decode(&augment(dna, &mut StdRng::seed_from_u64(1)));
/// assert!(["GATTACA", "TGTAATC"].contains(&varied.as_str()));
/// ```
pub fn augment<R: Rng + ?Sized>(tokens: Vec<u8>, rng: &mut R) -> Vec<u8> {
    if rng.random() { reverse_complement(&tokens) } else { tokens }
}
