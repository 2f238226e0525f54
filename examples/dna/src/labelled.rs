//! Sequences with classes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mamba_dna::data::Input;
use mamba_dna::tokens::token;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::error::Error;

/// The splice junctions that ship with the program.
pub fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/splice.dat")
}

/// Sequences of one length, each with its class.
#[derive(Clone, Debug)]
pub struct Labelled {
    pub sequences: Vec<Vec<u8>>,
    pub labels: Vec<usize>,
    /// The names of the classes, in alphabetical order.
    pub classes: Vec<String>,
}

impl Labelled {
    /// Reads a table: in every line a sequence and the name of its class, with a tab or a comma between them; there may
    /// be commas between nucleotides, too. Lines that begin with `@` or `#` are passed over.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let (mut sequences, mut names) = (Vec::<Vec<u8>>::new(), Vec::new());
        Input::open(path)?.lines("table of sequences", |line, text| {
            let text = text.trim();
            if text.is_empty() || text.starts_with(['@', '#']) {
                return Ok(());
            }
            let refuse = |reason: String| Error::Line { path: path.to_path_buf(), line, reason };
            let (sequence, name) = text.rsplit_once(['\t', ',']).ok_or_else(|| {
                refuse("no class, expected a sequence and a class with a tab or a comma between them".into())
            })?;
            let letters = sequence.bytes().filter(|letter| !matches!(letter, b',' | b' '));
            let mut tokens = Vec::new();
            for (place, letter) in letters.enumerate() {
                let letter_of =
                    || format!("letter {:?} at position {} is no nucleotide", char::from(letter), place + 1);
                tokens.push(token(letter).ok_or_else(|| refuse(letter_of()))?);
            }
            let expected = sequences.first().map_or(tokens.len(), Vec::len);
            if tokens.is_empty() || tokens.len() != expected {
                let (found, expected) = (tokens.len(), expected.max(1));
                return Err(refuse(format!("{found} nucleotides, expected {expected} as in the first sequence")));
            }
            sequences.push(tokens);
            names.push(name.trim().to_string());
            Ok(())
        })?;
        let mut classes = names.clone();
        classes.sort();
        classes.dedup();
        if classes.len() < 2 {
            let reason = format!("{} classes among {} sequences, expected at least 2", classes.len(), names.len());
            return Err(Error::Table { path: path.to_path_buf(), reason });
        }
        let number: BTreeMap<_, _> = classes.iter().cloned().zip(0..).collect();
        Ok(Self { sequences, labels: names.iter().map(|name| number[name]).collect(), classes })
    }

    /// Gives the classes the numbers that they have in `names`.
    pub fn rename(&mut self, names: Vec<String>, path: &Path) -> Result<(), Error> {
        let number = |class: &String| names.iter().position(|name| name == class);
        let numbers: Vec<_> = self.classes.iter().map(number).collect();
        if let Some(class) = numbers.iter().position(Option::is_none) {
            let reason = format!("class `{}`, expected those of the model: {}", self.classes[class], names.join(", "));
            return Err(Error::Table { path: path.to_path_buf(), reason });
        }
        self.labels.iter_mut().for_each(|label| *label = numbers[*label].unwrap_or_default());
        self.classes = names;
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Nucleotides of each sequence.
    pub fn length(&self) -> usize {
        self.sequences[0].len()
    }

    /// The sequences of `indices`, with their classes.
    pub fn select(&self, indices: &[usize]) -> (Vec<&[u8]>, Vec<usize>) {
        indices.iter().map(|&index| (self.sequences[index].as_slice(), self.labels[index])).unzip()
    }

    /// Which sequences are in which of `folds`, at random: every fold has its share of every class, and sequences that
    /// are the same, on either strand, are in one fold.
    pub fn folds(&self, folds: usize, seed: u64) -> Vec<Vec<usize>> {
        let mut groups: BTreeMap<(usize, Vec<u8>), Vec<usize>> = BTreeMap::new();
        for (index, sequence) in self.sequences.iter().enumerate() {
            let other = mamba_dna::tokens::reverse_complement(sequence);
            let one = sequence.clone().min(other);
            groups.entry((self.labels[index], one)).or_default().push(index);
        }
        let mut rng = StdRng::seed_from_u64(seed);
        let mut result = vec![Vec::new(); folds];
        for class in 0..self.classes.len() {
            let mut of_class: Vec<_> =
                groups.iter().filter(|(key, _)| key.0 == class).map(|(_, group)| group).collect();
            of_class.shuffle(&mut rng);
            for (place, group) in of_class.into_iter().enumerate() {
                result[place % folds].extend(group);
            }
        }
        result.iter_mut().for_each(|fold| fold.sort_unstable());
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_junctions_are_those_of_the_publication() {
        let data = Labelled::read(&shipped()).unwrap();
        assert_eq!((data.len(), data.length()), (3190, 60));
        assert_eq!(data.classes, ["EI", "IE", "N"]);
        let of = |class| data.labels.iter().filter(|label| **label == class).count();
        assert_eq!([of(0), of(1), of(2)], [767, 768, 1655]);
    }

    #[test]
    fn folds_share_out_classes_and_keep_the_same_sequences_together() {
        let data = Labelled::read(&shipped()).unwrap();
        let folds = data.folds(5, 1);
        let mut all: Vec<_> = folds.concat();
        all.sort_unstable();
        assert_eq!(all, (0..data.len()).collect::<Vec<_>>());
        for fold in &folds {
            let junctions = fold.iter().filter(|index| data.labels[**index] == 0).count();
            assert!((145..162).contains(&junctions), "{junctions}");
        }
        let fold_of = |index: usize| folds.iter().position(|fold| fold.contains(&index));
        let same = (0..data.len()).flat_map(|i| (0..i).map(move |j| (i, j)));
        let same = same.filter(|&(i, j)| data.labels[i] == data.labels[j] && data.sequences[i] == data.sequences[j]);
        let same: Vec<_> = same.collect();
        assert!(!same.is_empty() && same.into_iter().all(|(i, j)| fold_of(i) == fold_of(j)));
    }
}
