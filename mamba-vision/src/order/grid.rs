//! The places that an order visits.

use super::OrderError;
use std::fmt;

/// The size of an image or a volume; its places are numbered row by row, and slice by slice.
///
/// ```
/// use mamba_vision::Grid;
///
/// assert_eq!(Grid::image(4, 6).length(), 24);
/// assert_eq!(Grid::volume(2, 4, 6).length(), 48);
/// assert_eq!(Grid::sequence(24), Grid::image(1, 24));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Grid {
    /// Slices; 1 for an image.
    pub depth: usize,
    /// Rows of a slice.
    pub height: usize,
    /// Places of a row.
    pub width: usize,
}

impl Grid {
    /// An image.
    pub const fn image(height: usize, width: usize) -> Self {
        Self::volume(1, height, width)
    }

    /// A volume.
    pub const fn volume(depth: usize, height: usize, width: usize) -> Self {
        Self { depth, height, width }
    }

    /// A row of tokens.
    pub const fn sequence(length: usize) -> Self {
        Self::image(1, length)
    }

    /// The image with rows and columns added at its end until both are multiples of `size`, such as LocalMamba scans.
    ///
    /// # Panics
    /// If `size` is 0.
    pub const fn padded_to(self, size: usize) -> Self {
        Self { height: self.height.next_multiple_of(size), width: self.width.next_multiple_of(size), ..self }
    }

    /// Number of places; for a grid that an order accepts.
    pub const fn length(self) -> usize {
        self.depth * self.height * self.width
    }

    /// The place at `[slice, row, column]`.
    pub(super) const fn place(self, [slice, row, column]: [usize; 3]) -> usize {
        (slice * self.height + row) * self.width + column
    }

    pub(super) const fn sizes(self) -> [usize; 3] {
        [self.depth, self.height, self.width]
    }

    /// The same if it has places, and few enough for the tables of the kernels.
    pub(super) fn checked(self) -> Result<Self, OrderError> {
        let length = self.sizes().into_iter().try_fold(1_usize, usize::checked_mul);
        match length {
            Some(0) => Err(OrderError::EmptyGrid(self)),
            Some(length) if length <= MOST_PLACES => Ok(self),
            _ => Err(OrderError::LargeGrid { grid: self, most: MOST_PLACES }),
        }
    }
}

/// Entries of a table are `2 * place + reset` in 32 bits.
const MOST_PLACES: usize = 1 << 30;

impl fmt::Display for Grid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.depth != 1 {
            write!(f, "{} x ", self.depth)?;
        }
        write!(f, "{} x {}", self.height, self.width)
    }
}
