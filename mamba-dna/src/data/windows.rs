//! Windows over a genome, in the memory of one window.

use super::{DataError, Reference};
use crate::tokens::N;

/// A piece of a contig.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The record that it is of.
    pub contig: String,
    /// Its first nucleotide, from 0 on.
    pub start: u64,
    /// Its tokens.
    pub tokens: Vec<u8>,
}

/// Which windows there are.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowsConfig {
    length: usize,
    stride: usize,
    partial: bool,
    max_unknown: f64,
}

impl WindowsConfig {
    /// Windows of `length` nucleotides side by side; what is left at the end of a contig is none.
    pub fn new(length: usize) -> Self {
        Self { length, stride: length, partial: false, max_unknown: 1.0 }
    }

    /// From one window to the next.
    pub fn with_stride(mut self, stride: usize) -> Self {
        self.stride = stride;
        self
    }

    /// What is left at the end of a contig is a shorter window.
    pub fn with_partial(mut self, partial: bool) -> Self {
        self.partial = partial;
        self
    }

    /// Leaves out windows with a larger share of N.
    pub fn with_max_unknown(mut self, max_unknown: f64) -> Self {
        self.max_unknown = max_unknown;
        self
    }
}

/// Goes over a reference window by window: genomes and contigs of any size take the memory of one window.
///
/// ```
/// use mamba_dna::{data::{Reference, Windows, WindowsConfig}, tokens};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let file = folder.path().join("a.fa");
/// std::fs::write(&file, ">chr1\nGATTACA\n")?;
/// let mut windows = Windows::new(Reference::open(&file)?, WindowsConfig::new(3).with_stride(2));
/// while let Some(window) = windows.next_window()? {
///     println!("{} {}: {}", window.contig, window.start, tokens::decode(&window.tokens));
/// }
/// # Ok(())
/// # }
/// ```
pub struct Windows {
    reference: Reference,
    contigs: Vec<(String, u64)>,
    config: WindowsConfig,
    contig: usize,
    start: u64,
}

impl Windows {
    /// Over every contig of `reference`, in its order.
    ///
    /// # Panics
    /// If length or stride is zero.
    pub fn new(reference: Reference, config: WindowsConfig) -> Self {
        let WindowsConfig { length, stride, .. } = config;
        assert!(length > 0 && stride > 0, "Windows: length {length} and stride {stride}, expected at least 1");
        let contigs = reference.contigs().collect();
        Self { reference, contigs, config, contig: 0, start: 0 }
    }

    /// Where the next window is, left out or not: contig, start, end.
    fn next_place(&mut self) -> Option<(String, u64, u64)> {
        let WindowsConfig { length, stride, partial, .. } = self.config;
        loop {
            let (name, whole) = self.contigs.get(self.contig)?;
            let (start, end) = (self.start, self.start + length as u64);
            // What the window before has covered is none of its own.
            let covered = if start == 0 { 0 } else { (start - stride as u64 + length as u64).min(*whole) };
            let is_left = partial && start < *whole && covered < *whole;
            if end <= *whole || is_left {
                self.start += stride as u64;
                return Some((name.clone(), start, end.min(*whole)));
            }
            (self.contig, self.start) = (self.contig + 1, 0);
        }
    }

    /// The next window; none at the end.
    ///
    /// # Errors
    /// As [`Reference::fetch`].
    pub fn next_window(&mut self) -> Result<Option<Window>, DataError> {
        while let Some((contig, start, end)) = self.next_place() {
            let tokens = self.reference.fetch(&contig, start, end)?;
            let unknown = tokens.iter().filter(|&&token| token == N).count();
            if unknown as f64 <= self.config.max_unknown * tokens.len() as f64 {
                return Ok(Some(Window { contig, start, tokens }));
            }
        }
        Ok(None)
    }
}

impl Iterator for Windows {
    type Item = Result<Window, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_window().transpose()
    }
}
