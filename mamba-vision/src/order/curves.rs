//! The steps of each curve, for a grid that has been checked.

use super::{Axis, Grid, OrderError, Path};

pub(super) fn column(grid: Grid) -> Path {
    let places = (0..grid.width).flat_map(|column| (0..grid.height).map(move |row| grid.place([0, row, column])));
    Path::new(places.collect())
}

pub(super) fn snake(grid: Grid) -> Path {
    traverse(grid, [Axis::Depth, Axis::Height, Axis::Width])
}

/// Window by window, row by row inside; places that would pad the last windows are passed over.
pub(super) fn window(grid: Grid, size: usize) -> Path {
    let corners = |length: usize| (0..length).step_by(size);
    let mut steps = Vec::with_capacity(grid.length());
    for top in corners(grid.height) {
        for left in corners(grid.width) {
            // A sum may overflow where a window is larger than any image.
            let (height, width) = (size.min(grid.height - top), size.min(grid.width - left));
            let rows = (top..top + height).flat_map(|row| (left..left + width).map(move |column| [0, row, column]));
            steps.extend(rows.map(|at| grid.place(at)));
        }
    }
    Path::new(steps)
}

/// The sub-grids of every `step`-th place, one after the other; every second of them column by column.
pub(super) fn atrous(grid: Grid, step: usize) -> Path {
    let mut steps = Vec::with_capacity(grid.length());
    let mut starts = Vec::new();
    for left in 0..step.min(grid.width) {
        for top in 0..step.min(grid.height) {
            starts.push(steps.len());
            let rows = (top..grid.height).step_by(step);
            let columns = (left..grid.width).step_by(step);
            let by_column = (left * (step % 2) + top) % 2 == 1;
            if by_column {
                let places = columns.flat_map(|column| rows.clone().map(move |row| grid.place([0, row, column])));
                steps.extend(places);
            } else {
                let places = rows.flat_map(|row| columns.clone().map(move |column| grid.place([0, row, column])));
                steps.extend(places);
            }
        }
    }
    Path::in_parts(steps, starts)
}

/// Places whose interleaved bits of row and column rise.
pub(super) fn z_order(grid: Grid) -> Path {
    let code = |place: usize| spread(place % grid.width) | spread(place / grid.width) << 1;
    let mut steps: Vec<_> = (0..grid.length()).collect();
    steps.sort_unstable_by_key(|&place| code(place));
    Path::new(steps)
}

/// A zero between any two bits.
fn spread(x: usize) -> u128 {
    (0..usize::BITS).map(|bit| ((x >> bit & 1) as u128) << (2 * bit)).sum()
}

/// Back and forth, so that consecutive places are neighbours: along the last axis, then the second, then the first.
pub(super) fn traverse(grid: Grid, axes: [Axis; 3]) -> Path {
    let [slow, middle, fast] = axes.map(|axis| grid.sizes()[axis as usize]);
    let mut steps = Vec::with_capacity(grid.length());
    let mut is_forth = true;
    for i in 0..slow {
        for j in 0..middle {
            let j = if i % 2 == 0 { j } else { middle - 1 - j };
            for k in 0..fast {
                let k = if is_forth { k } else { fast - 1 - k };
                let mut at = [0; 3];
                for (axis, index) in axes.into_iter().zip([i, j, k]) {
                    at[axis as usize] = index;
                }
                steps.push(grid.place(at));
            }
            is_forth = !is_forth;
        }
    }
    Path::new(steps)
}

/// Points in the order in which [`traverse`] meets their voxels; those of one voxel stay as they are.
pub(super) fn points(points: &[[usize; 3]], grid: Grid, axes: [Axis; 3]) -> Result<Path, OrderError> {
    let sizes = grid.sizes();
    let outside = points.iter().position(|at| at.iter().zip(sizes).any(|(&index, size)| index >= size));
    if let Some(index) = outside {
        return Err(OrderError::PointOutside { index, at: points[index], grid });
    }
    let met = traverse(grid, axes).inverse();
    let mut steps: Vec<_> = (0..points.len()).collect();
    steps.sort_by_key(|&point| met[grid.place(points[point])]);
    Ok(Path::new(steps))
}

/// Every `rate`-th token from the first, then from the second, and so on.
pub(super) fn stride(grid: Grid, rate: usize) -> Path {
    let length = grid.length();
    Path::new((0..rate.min(length)).flat_map(|first| (first..length).step_by(rate)).collect())
}
