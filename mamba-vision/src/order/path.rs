//! One way through all tokens.

use rand::Rng;
use rand::seq::SliceRandom;

/// The places that a scan visits, first to last, each once, and at which steps it starts anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    steps: Vec<usize>,
    starts: Vec<usize>,
}

impl Path {
    /// `steps` is a permutation.
    pub(super) fn new(steps: Vec<usize>) -> Self {
        Self { steps, starts: Vec::new() }
    }

    /// `starts` are the steps, in order, at which a part begins that knows nothing of those before it.
    pub(super) fn in_parts(steps: Vec<usize>, starts: Vec<usize>) -> Self {
        Self { steps, starts }
    }

    /// All places of `0..length` in a random order (Stochastic Layer-Wise Shuffle, Huang et al. 2024).
    ///
    /// ```
    /// use rand::{SeedableRng, rngs::StdRng};
    ///
    /// let path = mamba_vision::Path::shuffled(6, &mut StdRng::seed_from_u64(1));
    /// let mut places = path.steps().to_vec();
    /// places.sort();
    /// assert_eq!(places, [0, 1, 2, 3, 4, 5]);
    /// ```
    pub fn shuffled<R: Rng + ?Sized>(length: usize, rng: &mut R) -> Self {
        let mut steps: Vec<_> = (0..length).collect();
        steps.shuffle(rng);
        Self::new(steps)
    }

    /// The place visited at each step.
    pub fn steps(&self) -> &[usize] {
        &self.steps
    }

    /// The steps before which the state is zeroed; none if all places are one sequence.
    pub fn starts(&self) -> &[usize] {
        &self.starts
    }

    /// The step at which each place is visited.
    pub fn inverse(&self) -> Vec<usize> {
        let mut inverse = vec![0; self.steps.len()];
        for (step, &place) in self.steps.iter().enumerate() {
            inverse[place] = step;
        }
        inverse
    }

    /// With the places that are not among its own, up to `length`, behind them.
    pub(super) fn extended(mut self, length: usize) -> Self {
        self.steps.extend(self.steps.len()..length);
        self
    }

    /// The same places from last to first; every part stays one.
    pub fn reversed(mut self) -> Self {
        self.steps.reverse();
        // The end of a part is where it starts when read backwards.
        if !self.starts.is_empty() {
            let length = self.steps.len();
            let ends = self.starts.iter().skip(1).copied().chain([length]);
            self.starts = ends.map(|end| length - end).collect();
            self.starts.reverse();
        }
        self
    }
}
