//! Text as bytes: the split into training and validation, and the batches.

use std::path::{Path, PathBuf};

use burn::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::error::Error;
use crate::fingerprint::fingerprint;
use crate::tokens::Tokens;

/// One class for each byte value.
pub const VOCABULARY: usize = 256;

/// Tokens of a batch and the token that follows each, both `[batch, length]`.
pub type Batch = (Tensor<2, Int>, Tensor<2, Int>);

/// The tiny-shakespeare text that ships with the program.
pub fn shipped_text() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/tiny-shakespeare.txt")
}

/// Reads a text that must not be empty.
pub fn read_text(path: &Path) -> Result<Vec<u8>, Error> {
    let bytes = std::fs::read(path).map_err(Error::read(path))?;
    match bytes.is_empty() {
        true => Err(Error::EmptyText { path: path.to_path_buf() }),
        false => Ok(bytes),
    }
}

/// A text: the first 90 per cent to train on, the rest to validate. Tokens are bytes, or numbers from a tokenizer.
pub struct Corpus<T = u8> {
    text: Vec<T>,
    split: usize,
    /// Tells this text, and its tokens, from every other one.
    pub fingerprint: u64,
}

impl Corpus {
    /// Reads the text; each part must give at least one sequence of `length` bytes and its next byte.
    pub fn read(path: &Path, length: usize) -> Result<Self, Error> {
        let text = read_text(path)?;
        let split = text.len() - text.len() / 10;
        Self { split, fingerprint: fingerprint(&text), text }.check(path, length, "bytes")
    }
}

impl Corpus<u32> {
    /// Reads the text as `tokens`; each part is encoded by itself, and must give at least one sequence of `length` tokens
    /// and its next token.
    pub fn read_as(path: &Path, tokens: &Tokens, length: usize) -> Result<Self, Error> {
        let bytes = read_text(path)?;
        let split = bytes.len() - bytes.len() / 10;
        let (mut text, validation) = match tokens {
            Tokens::Bytes => (to_ids(&bytes[..split]), to_ids(&bytes[split..])),
            Tokens::File { .. } => {
                let utf8 = |reason| Error::NotUtf8 { path: path.to_path_buf(), reason };
                let text = std::str::from_utf8(&bytes).map_err(utf8)?;
                let (training, validation) = text.split_at(text.floor_char_boundary(split));
                (tokens.encode(training)?, tokens.encode(validation)?)
            }
        };
        let split = text.len();
        text.extend(validation);
        let ids: Vec<u8> = text.iter().flat_map(|id| id.to_le_bytes()).collect();
        Self { split, fingerprint: fingerprint(&ids), text }.check(path, length, "tokens")
    }
}

fn to_ids(bytes: &[u8]) -> Vec<u32> {
    bytes.iter().map(|&byte| byte.into()).collect()
}

impl<T: Copy + Into<u32>> Corpus<T> {
    fn check(self, path: &Path, length: usize, unit: &'static str) -> Result<Self, Error> {
        let needed = length.saturating_add(1);
        for (part, found) in [("training part", self.training().len()), ("validation part", self.validation().len())] {
            if found < needed {
                return Err(Error::ShortText { path: path.to_path_buf(), part, found, needed, unit });
            }
        }
        Ok(self)
    }

    pub fn training(&self) -> &[T] {
        &self.text[..self.split]
    }

    pub fn validation(&self) -> &[T] {
        &self.text[self.split..]
    }

    /// The batch of training step `step`: random crops that depend on `seed` and `step` alone.
    pub fn batch(&self, seed: u64, step: usize, [batch, length]: [usize; 2], device: &Device) -> Batch {
        let crops = crops(seed, step, batch, self.split - length);
        let gather = |shift: usize| {
            let tokens = crops.iter().flat_map(|&at| &self.text[at + shift..at + shift + length]);
            let tokens = tokens.map(|&token| token.into() as i32).collect();
            Tensor::from_data(TensorData::new(tokens, [batch, length]), device)
        };
        (gather(0), gather(1))
    }
}

/// Where the crops of one step start, each below `end`.
fn crops(seed: u64, step: usize, count: usize, end: usize) -> Vec<usize> {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&(step as u64).to_le_bytes());
    let mut rng = StdRng::from_seed(key);
    (0..count).map(|_| rng.random_range(0..end)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corpus(text: &[u8], length: usize) -> Result<Corpus, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text");
        std::fs::write(&path, text).unwrap();
        Corpus::read(&path, length)
    }

    #[test]
    fn last_tenth_is_for_validation() {
        let text: Vec<u8> = (0..100).collect();
        let corpus = corpus(&text, 4).unwrap();
        assert_eq!(corpus.training(), &text[..90]);
        assert_eq!(corpus.validation(), &text[90..]);
    }

    #[test]
    fn shortest_text_that_is_enough() {
        assert!(corpus(&[7; 50], 4).is_ok());
        assert!(matches!(corpus(&[7; 49], 4), Err(Error::ShortText { part: "validation part", found: 4, .. })));
        assert!(matches!(corpus(&[], 4), Err(Error::EmptyText { .. })));
    }

    #[test]
    fn targets_are_the_next_bytes_of_the_training_part() {
        let text: Vec<u8> = (0..200).collect();
        let corpus = corpus(&text, 16).unwrap();
        let (inputs, targets) = corpus.batch(1, 2, [8, 16], &Device::default());
        assert_eq!(inputs.dims(), [8, 16]);
        let (inputs, targets) = (inputs.into_data(), targets.into_data());
        let pairs: Vec<(i64, i64)> = inputs.iter::<i64>().zip(targets.iter::<i64>()).collect();
        assert!(pairs.iter().all(|(input, target)| input + 1 == *target && *target < 180));
    }

    #[test]
    fn crops_depend_on_seed_and_step_alone() {
        assert_eq!(crops(1, 5, 8, 1000), crops(1, 5, 8, 1000));
        assert_ne!(crops(1, 5, 8, 1000), crops(1, 6, 8, 1000));
        assert_ne!(crops(1, 5, 8, 1000), crops(2, 5, 8, 1000));
    }

    #[test]
    fn crops_cover_every_start() {
        let mut seen = crops(0, 0, 400, 4);
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, [0, 1, 2, 3]);
    }
}
