//! The order in which a kernel visits the tokens.

use super::CpuBackend;
use crate::selective_scan::Path;
use burn::backend::TensorMetadata;
use std::ops::Range;

/// The token of a step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) place: usize,
    /// Whether nothing before this step is remembered.
    pub(crate) reset: bool,
}

/// The path, from one end or the other.
pub(crate) struct Walk {
    /// `[1 or batch, n_orders, length]`, entries `2 * place + reset`; empty if every step is its place.
    table: Vec<u32>,
    batches: usize,
    n_orders: usize,
    length: usize,
    reverse: bool,
}

impl Walk {
    pub(crate) fn new<B: CpuBackend>(path: Path<B>, length: usize, reverse: bool) -> Self {
        match path {
            Path::Straight => Self { table: Vec::new(), batches: 1, n_orders: 1, length, reverse },
            Path::Steps(steps) => {
                let [batches, n_orders, _] = steps.shape().dims();
                let table = B::integers(steps);
                // Places beyond would be those of another batch row.
                assert!(table.iter().all(|entry| (entry / 2) < length as u32), "a step is outside of its sequence");
                Self { table, batches, n_orders, length, reverse }
            }
        }
    }

    /// Whether every step is its place, and none resets.
    pub(crate) fn is_straight(&self) -> bool {
        self.table.is_empty()
    }

    pub(crate) fn n_orders(&self) -> usize {
        self.n_orders
    }

    /// What is visited at `step` of the walk.
    #[inline(always)]
    pub(crate) fn step(&self, batch: usize, order: usize, step: usize) -> Step {
        let step = if self.reverse { self.length - 1 - step } else { step };
        if self.table.is_empty() {
            return Step { place: step, reset: false };
        }
        let row = if self.batches == 1 { order } else { batch * self.n_orders + order };
        let entry = self.table[row * self.length + step];
        Step { place: (entry / 2) as usize, reset: entry % 2 == 1 }
    }

    pub(crate) fn steps(&self, batch: usize, order: usize, steps: Range<usize>) -> impl Iterator<Item = Step> + '_ {
        steps.map(move |step| self.step(batch, order, step))
    }
}
