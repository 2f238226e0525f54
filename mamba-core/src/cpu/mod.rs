//! What the CPU kernels share: vectors, tensors as slices, the walk through the tokens, and the split of the work.

#![cfg(any(feature = "flex", feature = "ndarray"))]

mod channels;
mod lanes;
mod tensor;
mod walk;

pub(crate) use channels::{Channels, each};
pub(crate) use lanes::{Kernel, Lanes, array, exp, exp2, sigmoid, softplus, sums, vectorised};
pub(crate) use tensor::{CpuBackend, Float, tensor};
pub(crate) use walk::{Step, Walk};

use std::marker::PhantomData;
use std::ops::Range;

/// Channels that are computed side by side: a cache line of f32.
pub(crate) const LANES: usize = 16;

/// Parts that the work is split into if it can be. A constant, so that sums do not depend on the number of threads.
pub(crate) const PARTS: usize = 32;

/// Work below which a part of its own does not pay, in values touched.
const SMALL_PART: usize = 1 << 13;

/// Work below which a thread of its own does not pay.
const SMALL: usize = 1 << 14;

/// One value for every channel of a block.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Row(pub(crate) [f32; LANES]);

impl Row {
    pub(crate) const ZERO: Self = Self([0.0; LANES]);

    /// All values of all rows.
    pub(crate) fn values(rows: &[Self]) -> &[f32] {
        // SAFETY: a row is `LANES` numbers and nothing else.
        unsafe { std::slice::from_raw_parts(rows.as_ptr().cast(), rows.len() * LANES) }
    }

    /// All values of all rows.
    pub(crate) fn values_mut(rows: &mut [Self]) -> &mut [f32] {
        // SAFETY: a row is `LANES` numbers and nothing else.
        unsafe { std::slice::from_raw_parts_mut(rows.as_mut_ptr().cast(), rows.len() * LANES) }
    }

    /// Reads as many channels as `from` has; the others are zero.
    #[inline(always)]
    pub(crate) fn read<E: Float>(from: &[E]) -> Self {
        let mut row = Self::ZERO;
        row.copy_from(from);
        row
    }

    #[inline(always)]
    pub(crate) fn copy_from<E: Float>(&mut self, from: &[E]) {
        match <&[E; LANES]>::try_from(from) {
            Ok(from) => E::read(from, &mut self.0),
            Err(_) => self.read_some(from),
        }
    }

    /// Writes as many channels as `to` has.
    #[inline(always)]
    pub(crate) fn write<E: Float>(&self, to: &mut [E]) {
        match <&mut [E; LANES]>::try_from(&mut *to) {
            Ok(to) => E::write(&self.0, to),
            Err(_) => self.write_some(to),
        }
    }

    // Apart, or the compiler would merge the copies of known and of unknown length.
    #[inline(never)]
    fn read_some<E: Float>(&mut self, from: &[E]) {
        *self = Self::ZERO;
        E::read(from, &mut self.0[..from.len()]);
    }

    #[inline(never)]
    fn write_some<E: Float>(&self, to: &mut [E]) {
        E::write(&self.0[..to.len()], to);
    }
}

/// Asks for `slice[at]` ahead of its use, where the processor has an instruction for it.
#[inline(always)]
pub(crate) fn prefetch<T>(slice: &[T], at: usize) {
    prefetch_at(slice.as_ptr().wrapping_add(at));
}

#[inline(always)]
fn prefetch_at<T>(place: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: the instruction reads nothing that the program sees, and no address is invalid for it.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// Side of the squares that become columns at once.
const SQUARE: usize = 4;

/// Copies `[channels, rows.len()]` into one row for every column.
pub(crate) fn read_columns(from: &[f32], rows: &mut [Row]) {
    let n = rows.len();
    if from.len() == n * LANES && n.is_multiple_of(SQUARE) {
        for (four, from) in from.chunks_exact(n * SQUARE).enumerate() {
            for (at, rows) in rows.chunks_exact_mut(SQUARE).enumerate() {
                let square: [[f32; SQUARE]; SQUARE] = array(|lane| array(|i| from[lane * n + at * SQUARE + i]));
                for (i, row) in rows.iter_mut().enumerate() {
                    row.0[four * SQUARE..(four + 1) * SQUARE]
                        .copy_from_slice(&array::<_, SQUARE>(|lane| square[lane][i]));
                }
            }
        }
        return;
    }
    rows.fill(Row::ZERO);
    for (lane, from) in from.chunks_exact(n).enumerate() {
        for (row, &value) in rows.iter_mut().zip(from) {
            row.0[lane] = value;
        }
    }
}

/// The inverse of [`read_columns`].
pub(crate) fn write_columns(rows: &[Row], to: &mut [f32]) {
    let n = rows.len();
    if to.len() == n * LANES && n.is_multiple_of(SQUARE) {
        for (four, to) in to.chunks_exact_mut(n * SQUARE).enumerate() {
            for (at, rows) in rows.chunks_exact(SQUARE).enumerate() {
                let square: [[f32; SQUARE]; SQUARE] = array(|i| array(|lane| rows[i].0[four * SQUARE + lane]));
                for lane in 0..SQUARE {
                    to[lane * n + at * SQUARE..][..SQUARE].copy_from_slice(&array::<_, SQUARE>(|i| square[i][lane]));
                }
            }
        }
        return;
    }
    for (lane, to) in to.chunks_exact_mut(n).enumerate() {
        for (value, row) in to.iter_mut().zip(rows) {
            *value = row.0[lane];
        }
    }
}

/// At most [`LANES`] neighbouring channels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    pub(crate) start: usize,
    pub(crate) width: usize,
}

/// Some blocks of one batch row, all of one order and one group.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) batch: usize,
    pub(crate) order: usize,
    pub(crate) group: usize,
    channels: Range<usize>,
}

impl Part {
    pub(crate) fn len(&self) -> usize {
        self.channels.len().div_ceil(LANES)
    }

    pub(crate) fn blocks(&self) -> impl Iterator<Item = Block> + use<> {
        let end = self.channels.end;
        self.channels.clone().step_by(LANES).map(move |start| Block { start, width: LANES.min(end - start) })
    }

    /// The block that follows `block`, which may be the first again.
    pub(crate) fn after(&self, block: Block) -> Block {
        let next = block.start + LANES;
        let start = if next < self.channels.end { next } else { self.channels.start };
        Block { start, width: LANES.min(self.channels.end - start) }
    }
}

/// All parts, which touch `work` values. They come order by order, then batch row by batch row and in the order of the
/// channels; with `together` the parts of all orders that have the same channels within their order are neighbours.
pub(crate) fn parts(
    [batch, channels]: [usize; 2],
    n_orders: usize,
    n_groups: usize,
    together: bool,
    work: usize,
) -> Vec<Part> {
    let (per_order, per_group) = (channels / n_orders, channels / n_groups);
    // Where groups begin in any order: all orders are cut alike.
    let mut cuts: Vec<usize> = (0..n_groups).map(|g| g * per_group % per_order).chain([0, per_order]).collect();
    cuts.sort_unstable();
    cuts.dedup();
    let worth = work.div_ceil(SMALL_PART).min(PARTS);
    let wanted = if together { worth * n_orders } else { worth };
    let wanted = wanted.div_ceil(batch * n_orders * (cuts.len() - 1));
    let mut parts = Vec::new();
    for order in 0..n_orders {
        for batch in 0..batch {
            for cut in cuts.windows(2) {
                let blocks = (cut[1] - cut[0]).div_ceil(LANES);
                let size = blocks.div_ceil(wanted) * LANES;
                for start in (cut[0]..cut[1]).step_by(size) {
                    let channels = order * per_order + start..order * per_order + cut[1].min(start + size);
                    parts.push(Part { batch, order, group: channels.start / per_group, channels });
                }
            }
        }
    }
    if together {
        // Stable: neighbours come order by order.
        parts.sort_by_key(|part| (part.batch, part.channels.start % per_order));
    }
    parts
}

/// How many of `n` pieces a task takes at least for a thread to pay, if all of them touch `work` values.
pub(crate) fn pieces_per_task(n: usize, work: usize) -> usize {
    (n * SMALL).div_ceil(work.max(1)).clamp(1, n)
}

/// How many neighbouring parts a task takes, a multiple of `together`, if all of them touch `work` values.
pub(crate) fn parts_per_task(parts: &[Part], together: usize, work: usize) -> usize {
    // Threads that work on neighbouring cache lines of the same tokens wait for memory more often.
    const BLOCKS: usize = 4;
    let n = parts.len() / together;
    let near = BLOCKS.div_ceil(parts[0].len()).min(n.div_ceil(rayon::current_num_threads()));
    near.max(pieces_per_task(n, work)) * together
}

/// A slice that many tasks write to, every one in places of its own.
pub(crate) struct Disjoint<'a, T> {
    start: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: the slice is only reached through `get`, whose callers write to places of their own; `prefetch` reaches nothing.
unsafe impl<T: Send> Sync for Disjoint<'_, T> {}

impl<'a, T> Disjoint<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// Asks for the value at `at` ahead of its use.
    #[inline(always)]
    pub(crate) fn prefetch(&self, at: usize) {
        prefetch_at(self.start.wrapping_add(at));
    }

    /// The `len` values from `start` on.
    ///
    /// # Safety
    /// No other slice that overlaps with this one is alive.
    #[inline(always)]
    #[allow(clippy::mut_from_ref, reason = "the purpose of this type")]
    pub(crate) unsafe fn get(&self, start: usize, len: usize) -> &mut [T] {
        assert!(start <= self.len && len <= self.len - start);
        // SAFETY: inside the slice, which lives as long as `self`, and nobody else's as the caller promises.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_every_channel_once_and_straddle_no_boundary() {
        let shapes = [(1, 1, 1, 1), (2, 48, 2, 1), (3, 48, 1, 2), (1, 96, 4, 6), (2, 2048, 1, 1), (100, 40, 2, 2)];
        for ((batch, channels, n_orders, n_groups), together) in
            shapes.into_iter().flat_map(|shape| [false, true].map(|together| (shape, together)))
        {
            let parts = parts([batch, channels], n_orders, n_groups, together, usize::MAX);
            if together {
                for same in parts.chunks(n_orders) {
                    assert!(same.iter().map(|part| part.order).eq(0..n_orders));
                    let place = |part: &Part| (part.batch, part.channels.start % (channels / n_orders), part.len());
                    assert!(same.iter().all(|part| place(part) == place(&same[0])));
                }
            } else {
                assert!(parts.is_sorted_by_key(|part| (part.order, part.batch, part.channels.start)));
            }
            let mut seen = vec![false; batch * channels];
            for part in &parts {
                for Block { start, width } in part.blocks() {
                    for channel in start..start + width {
                        assert!(!std::mem::replace(&mut seen[part.batch * channels + channel], true));
                        assert_eq!(part.order, channel / (channels / n_orders));
                        assert_eq!(part.group, channel / (channels / n_groups));
                    }
                }
            }
            assert!(seen.into_iter().all(|seen| seen));
        }
    }
}
