//! Outputs of which every order has a share.

use crate::cpu::{Disjoint, Float, Row};

/// An output that is written or, where several orders share its channels, added up in f32.
pub(super) enum Total<E> {
    Written(Vec<E>),
    Added(Vec<f32>),
}

impl<E: Float> Total<E> {
    /// `n` zeros.
    pub(super) fn new(n: usize, added: bool) -> Self {
        if added { Self::Added(f32::zeros(n)) } else { Self::Written(E::zeros(n)) }
    }

    pub(super) fn places(&mut self) -> Places<'_, E> {
        match self {
            Self::Written(values) => Places::Written(Disjoint::new(values)),
            Self::Added(values) => Places::Added(Disjoint::new(values)),
        }
    }

    pub(super) fn finish(self) -> Vec<E> {
        match self {
            Self::Written(values) => values,
            Self::Added(values) => E::round(values),
        }
    }
}

/// Where tasks put their rows of a [`Total`].
pub(super) enum Places<'a, E> {
    Written(Disjoint<'a, E>),
    Added(Disjoint<'a, f32>),
}

impl<E: Float> Places<'_, E> {
    /// Asks for the place `at` ahead of its use.
    #[inline(always)]
    pub(super) fn prefetch(&self, at: usize) {
        match self {
            Self::Written(values) => values.prefetch(at),
            Self::Added(values) => values.prefetch(at),
        }
    }

    /// Puts the first `width` values of `row` into the places from `start` on.
    ///
    /// # Safety
    /// No other task has these places at the same time.
    #[inline(always)]
    pub(super) unsafe fn put(&self, row: &Row, start: usize, width: usize) {
        // SAFETY: as of the caller.
        unsafe {
            match self {
                Self::Written(values) => row.write(values.get(start, width)),
                Self::Added(values) => add(values.get(start, width), &row.0),
            }
        }
    }
}

/// Adds as many values as `to` has.
#[inline(always)]
pub(super) fn add(to: &mut [f32], from: &[f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += from;
    }
}
