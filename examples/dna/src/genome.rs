//! A genome to train on: any size, read window by window.

use std::path::{Path, PathBuf};

use mamba_dna::data::{Reference, Window};
use mamba_dna::tokens::N;
use rand::{Rng, RngExt};

use crate::error::Error;

/// Share of every contig, at its end, that is for validation.
const HELD_OUT: f64 = 0.1;
/// Windows with more unknown nucleotides than this are drawn again.
const MOST_UNKNOWN: f64 = 0.1;
/// So often at most.
const DRAWS: usize = 1000;

/// The genome that ships with the program.
pub fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/NC_008253.fna.gz")
}

/// The parts of a genome, by contig.
pub struct Genome {
    reference: Reference,
    /// Contig, and where its two parts begin and end.
    training: Vec<(String, u64, u64)>,
    held_out: Vec<(String, u64, u64)>,
}

impl Genome {
    /// The genome in a FASTA file, for windows of `length`.
    pub fn open(path: &Path, length: usize) -> Result<Self, Error> {
        let reference = Reference::open(path)?;
        let (mut training, mut held_out) = (Vec::new(), Vec::new());
        for (contig, whole) in reference.contigs() {
            let cut = whole - (whole as f64 * HELD_OUT) as u64;
            training.push((contig.clone(), 0, cut));
            held_out.push((contig, cut, whole));
        }
        for (part, contigs) in [("training", &mut training), ("validation", &mut held_out)] {
            contigs.retain(|(_, start, end)| end - start >= length as u64);
            if contigs.is_empty() {
                return Err(Error::ShortGenome { path: path.to_path_buf(), part, needed: length });
            }
        }
        Ok(Self { reference, training, held_out })
    }

    /// Nucleotides to train on and for validation.
    pub fn sizes(&self) -> [u64; 2] {
        [&self.training, &self.held_out].map(|part| part.iter().map(|(_, start, end)| end - start).sum())
    }

    /// A window of the training part, anywhere.
    pub fn draw<R: Rng + ?Sized>(&mut self, length: usize, rng: &mut R) -> Result<Window, Error> {
        let places: u64 = self.training.iter().map(|(_, start, end)| end - start + 1 - length as u64).sum();
        let mut window = self.training_window(length, rng.random_range(0..places))?;
        for _ in 1..DRAWS {
            let unknown = window.tokens.iter().filter(|&&token| token == N).count();
            if unknown as f64 <= MOST_UNKNOWN * length as f64 {
                break;
            }
            window = self.training_window(length, rng.random_range(0..places))?;
        }
        Ok(window)
    }

    /// The window at one of all places in the training part.
    fn training_window(&mut self, length: usize, mut place: u64) -> Result<Window, Error> {
        let length = length as u64;
        let found = self.training.iter().find_map(|(contig, start, end)| {
            let here = end - start + 1 - length;
            let window = (place < here).then(|| (contig.clone(), start + place));
            place = place.saturating_sub(here);
            window
        });
        let (contig, start) = found.expect("the place is one of all");
        let tokens = self.reference.fetch(&contig, start, start + length)?;
        Ok(Window { contig, start, tokens })
    }

    /// How much each nucleotide of a window counts: `repeats` for those in lower case, one for others.
    pub fn weights(&mut self, window: &Window, repeats: f32) -> Result<Vec<f32>, Error> {
        let Window { contig, start, tokens } = window;
        let is_lower = self.reference.lower_case(contig, *start, start + tokens.len() as u64)?;
        Ok(is_lower.into_iter().map(|is_lower| if is_lower { repeats } else { 1.0 }).collect())
    }

    /// Calls `each` with the pieces of a part in their order, each of `length`; the end of a contig is left out.
    pub fn each(
        &mut self,
        held_out: bool,
        length: usize,
        mut each: impl FnMut(Vec<u8>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let part = if held_out { &self.held_out } else { &self.training };
        for (contig, start, end) in part {
            for start in (*start..=end - length as u64).step_by(length) {
                each(self.reference.fetch(contig, start, start + length as u64)?)?;
            }
        }
        Ok(())
    }
}
