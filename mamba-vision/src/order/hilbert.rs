//! Hilbert's curve for rectangles of any sides.

use super::{Grid, Path};

/// Row and column.
type Vector = [isize; 2];

/// A curve through all places of an image whose steps go to neighbours, but for at most one that is diagonal.
///
/// The halving of Hilbert's square for rectangles: long ones are cut in two, others in three, by an even length where
/// there is one, so that every piece ends beside the start of the next (after Červený's generalised Hilbert curve).
pub(super) fn hilbert(grid: Grid) -> Path {
    let (height, width) = (grid.height as isize, grid.width as isize);
    let mut steps = Vec::with_capacity(grid.length());
    let mut visit = |[row, column]: Vector| steps.push(grid.place([0, row as usize, column as usize]));
    match width >= height {
        true => fill([0, 0], [0, width], [height, 0], &mut visit),
        false => fill([0, 0], [height, 0], [0, width], &mut visit),
    }
    Path::new(steps)
}

/// From `at` to the other end of `along`, through the rectangle that `along` and `across` span.
fn fill(at: Vector, along: Vector, across: Vector, visit: &mut impl FnMut(Vector)) {
    let (length, breadth) = (size(along), size(across));
    let (forward, aside) = (along.map(isize::signum), across.map(isize::signum));
    if breadth == 1 {
        return (0..length).for_each(|step| visit(plus(at, scaled(forward, step))));
    }
    if length == 1 {
        return (0..breadth).for_each(|step| visit(plus(at, scaled(aside, step))));
    }
    if 2 * length > 3 * breadth {
        let half = scaled(forward, even_half(length));
        fill(at, half, across, visit);
        fill(plus(at, half), minus(along, half), across, visit);
    } else {
        let half = scaled(aside, even_half(breadth));
        let front = scaled(forward, length / 2);
        fill(at, half, front, visit);
        fill(plus(at, half), along, minus(across, half), visit);
        let last = plus(at, plus(minus(along, forward), minus(half, aside)));
        fill(last, scaled(half, -1), minus(front, along), visit);
    }
}

/// A half that is even, unless there is nothing to choose.
fn even_half(length: isize) -> isize {
    let half = length / 2;
    if half % 2 == 1 && length > 2 { half + 1 } else { half }
}

fn size([row, column]: Vector) -> isize {
    (row + column).abs()
}

fn plus(x: Vector, y: Vector) -> Vector {
    [x[0] + y[0], x[1] + y[1]]
}

fn minus(x: Vector, y: Vector) -> Vector {
    [x[0] - y[0], x[1] - y[1]]
}

fn scaled(x: Vector, factor: isize) -> Vector {
    x.map(|x| x * factor)
}
