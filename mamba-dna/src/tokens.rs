//! Caduceus's vocabulary: one token for each nucleotide, and the complement of each (Schiff et al. 2024).
//!
//! | token | id | complement | letters |
//! |---|---|---|---|
//! | `[CLS]`, `[SEP]`, `[BOS]`, `[MASK]`, `[PAD]`, `[RESERVED]`, `[UNK]` | 0 to 6 | itself | |
//! | A | 7 | T | `A a` |
//! | C | 8 | G | `C c` |
//! | G | 9 | C | `G g` |
//! | T | 10 | A | `T t`, and `U u` of RNA |
//! | N, any nucleotide | 11 | itself | `N n`, and the other IUPAC letters for several, `R Y S W K M B D H V` in either case |
//!
//! Everything else is no nucleotide: gaps, amino acids, digits. The original tokenizer makes `[UNK]` of them, and of the
//! IUPAC letters; here the first are refused with their place, and the second are what they say, an unknown nucleotide.
//! Lower case marks repeats in many genomes; tokens do not keep it, [`Reference::lower_case`] tells it.
//!
//! [`Reference::lower_case`]: crate::data::Reference::lower_case

use burn::tensor::{Device, Int, Tensor, TensorData};

/// Start of a sequence for a classifier; Caduceus does not use it.
pub const CLS: u8 = 0;
/// End of a sequence.
pub const SEP: u8 = 1;
/// Start of a sequence.
pub const BOS: u8 = 2;
/// A nucleotide that is to be guessed.
pub const MASK: u8 = 3;
/// No token: not read as a target, and what Caduceus reads in place of N.
pub const PAD: u8 = 4;
/// Without a meaning.
pub const RESERVED: u8 = 5;
/// What the original tokenizer makes of letters that it does not know.
pub const UNK: u8 = 6;
/// Adenine.
pub const A: u8 = 7;
/// Cytosine.
pub const C: u8 = 8;
/// Guanine.
pub const G: u8 = 9;
/// Thymine.
pub const T: u8 = 10;
/// Any nucleotide.
pub const N: u8 = 11;

/// Number of tokens.
pub const VOCABULARY: usize = 12;
/// The four nucleotides.
pub const NUCLEOTIDES: [u8; 4] = [A, C, G, T];

/// What the tokens are called.
const NAMES: [&str; VOCABULARY] =
    ["[CLS]", "[SEP]", "[BOS]", "[MASK]", "[PAD]", "[RESERVED]", "[UNK]", "A", "C", "G", "T", "N"];

/// The token of a letter; none if it is no nucleotide.
///
/// ```
/// use mamba_dna::tokens::{T, token};
///
/// assert_eq!((token(b'u'), token(b'-')), (Some(T), None));
/// ```
pub fn token(letter: u8) -> Option<u8> {
    Some(match letter.to_ascii_uppercase() {
        b'A' => A,
        b'C' => C,
        b'G' => G,
        b'T' | b'U' => T,
        b'N' | b'R' | b'Y' | b'S' | b'W' | b'K' | b'M' | b'B' | b'D' | b'H' | b'V' => N,
        _ => return None,
    })
}

/// The tokens of a sequence.
///
/// # Errors
/// The place of the first letter that is no nucleotide.
pub fn encode(sequence: impl AsRef<[u8]>) -> Result<Vec<u8>, usize> {
    let letters = sequence.as_ref().iter().enumerate();
    letters.map(|(place, &letter)| token(letter).ok_or(place)).collect()
}

/// The letters of tokens, and the names of those that are none.
///
/// ```
/// use mamba_dna::tokens::{MASK, decode, encode};
///
/// assert_eq!(decode(&encode("gattaca").unwrap()), "GATTACA");
/// assert_eq!(decode(&[MASK]), "[MASK]");
/// ```
pub fn decode(tokens: &[u8]) -> String {
    tokens.iter().map(|&token| NAMES.get(usize::from(token)).copied().unwrap_or("[UNK]")).collect()
}

/// The token of the nucleotide on the other strand.
///
/// ```
/// use mamba_dna::tokens::{A, N, T, complement};
///
/// assert_eq!([complement(A), complement(T), complement(N)], [T, A, N]);
/// ```
pub const fn complement(token: u8) -> u8 {
    match token {
        A..=T => A + T - token,
        _ => token,
    }
}

/// The other strand, read in its own direction.
pub fn reverse_complement(tokens: &[u8]) -> Vec<u8> {
    tokens.iter().rev().map(|&token| complement(token)).collect()
}

/// With `[PAD]` in place of N, as Caduceus has read sequences in training.
///
/// ```
/// use mamba_dna::tokens::{A, N, PAD, without_unknown};
///
/// assert_eq!(without_unknown(&[A, N]), [A, PAD]);
/// ```
pub fn without_unknown(tokens: &[u8]) -> Vec<u8> {
    tokens.iter().map(|&token| if token == N { PAD } else { token }).collect()
}

/// The complement of every token of a vocabulary with padding.
///
/// ```
/// use mamba_dna::tokens::{A, T, complement_map};
///
/// assert_eq!(complement_map(16)[usize::from(A)], usize::from(T));
/// ```
pub fn complement_map(vocabulary: usize) -> Vec<usize> {
    (0..vocabulary).map(|id| u8::try_from(id).map_or(id, |id| complement(id).into())).collect()
}

/// Rows of one length as a tensor `[batch, length]`.
///
/// # Panics
/// If there are none, or their lengths differ.
pub fn to_tensor<R: AsRef<[u8]>>(rows: &[R], device: &Device) -> Tensor<2, Int> {
    let length = rows.first().map_or(0, |row| row.as_ref().len());
    assert!(length > 0, "tokens: there are {} rows of {length} tokens, expected at least one of each", rows.len());
    let mut ids = Vec::with_capacity(rows.len() * length);
    for row in rows {
        let row = row.as_ref();
        assert!(row.len() == length, "tokens: a row has {} tokens, expected {length} as the first", row.len());
        ids.extend(row.iter().copied().map(i32::from));
    }
    Tensor::from_data(TensorData::new(ids, [rows.len(), length]), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_of_either_case_rna_and_iupac_have_tokens_and_gaps_do_not() {
        assert_eq!(encode("ACGTNacgtn"), Ok(vec![7, 8, 9, 10, 11, 7, 8, 9, 10, 11]));
        assert_eq!(encode("uU"), Ok(vec![T, T]));
        assert_eq!(encode("RYSWKMBDHVryswkmbdhv"), Ok(vec![N; 20]));
        for (text, place) in [("AC-G", 2), ("E", 0), ("ACGT ", 4), ("AC1", 2), ("\u{e9}", 0)] {
            assert_eq!(encode(text), Err(place));
        }
        assert_eq!(decode(&[A, C, G, T, N, MASK, 99]), "ACGTN[MASK][UNK]");
    }

    #[test]
    fn the_other_strand_of_the_other_strand_is_the_first() {
        let tokens = encode("AACGTTN").unwrap();
        assert_eq!(decode(&reverse_complement(&tokens)), "NAACGTT");
        assert_eq!(reverse_complement(&reverse_complement(&tokens)), tokens);
        assert_eq!(complement_map(16), [0, 1, 2, 3, 4, 5, 6, 10, 9, 8, 7, 11, 12, 13, 14, 15]);
    }
}
