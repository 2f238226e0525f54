//! Why there is no such order.

use super::{Axis, Grid, Order};
use thiserror::Error;

/// Why an [`Order`] gives no path.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OrderError {
    /// The grid has no places.
    #[error("a grid of {0} has no places, expected at least one in every direction")]
    EmptyGrid(Grid),
    /// The grid has more places than a table can number.
    #[error("a grid of {grid} has too many places, expected at most {most}")]
    LargeGrid {
        /// The grid.
        grid: Grid,
        /// The most places.
        most: usize,
    },
    /// A size of the order is zero.
    #[error("the {name} is 0, expected at least 1")]
    Zero {
        /// Which size.
        name: &'static str,
    },
    /// A traverse does not go along every axis.
    #[error("a traverse along {axes:?}, expected each of the three axes once")]
    Axes {
        /// The axes.
        axes: [Axis; 3],
    },
    /// The order is one of images.
    #[error("{order} is an order of images, got a volume of {grid}; expected a depth of 1")]
    Volume {
        /// The order.
        order: Order,
        /// The grid.
        grid: Grid,
    },
    /// A point lies outside of the grid.
    #[error("point {index} is at {at:?}, which is outside of a grid of {grid}")]
    PointOutside {
        /// Which point.
        index: usize,
        /// Its voxel: slice, row, column.
        at: [usize; 3],
        /// The grid.
        grid: Grid,
    },
    /// Paths of one scan differ in length, or there are none.
    #[error(transparent)]
    Table(#[from] mamba_core::OrderError),
}
