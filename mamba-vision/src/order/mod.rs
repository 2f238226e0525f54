//! The orders in which a scan visits the places of an image.
//!
//! Everything around a scan is done token by token, so an order needs no permuted copy of the image: the operators read
//! place `steps[t]` at step `t` and write back to it. [`Order`] names an order, [`Order::path`] lists its steps, and
//! [`scan_paths`] puts several of them on a device as one table for one launch, once for each shape.
//!
//! | order | source |
//! |---|---|
//! | [`Order::row`], [`Order::column`], [`Order::CROSS`] | VMamba, Liu et al. 2024 |
//! | [`Order::window`] | LocalMamba, Huang et al. 2024 |
//! | [`Order::atrous`] | EfficientVMamba, Pei et al. 2024 |
//! | [`Order::stride`] | SR-Mamba of MambaMIL, Yang et al. 2024 |
//! | [`Order::traverse`], [`Order::TRAVERSES`], [`serialise`] | Point Cloud Mamba, Zhang et al. 2024 |
//! | [`Order::snake`], [`Order::hilbert`], [`Order::z_order`] | the curves of these names |
//! | [`Path::shuffled`] | Stochastic Layer-Wise Shuffle, Huang et al. 2024 |

mod cache;
mod curves;
mod error;
mod grid;
mod hilbert;
mod padded;
mod path;
mod paths;

pub(crate) use cache::padded_scan_paths;
pub use cache::scan_paths;
pub use error::OrderError;
pub use grid::Grid;
pub(crate) use padded::ClassPlace;
pub use path::Path;
pub use paths::ScanPaths;

use serde::{Deserialize, Serialize};
use std::fmt;

/// An axis of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Axis {
    /// From slice to slice.
    Depth,
    /// From row to row.
    Height,
    /// From column to column.
    Width,
}

/// An order in which the places of any grid are visited, each once.
///
/// ```
/// use mamba_vision::{Grid, Order};
///
/// let path = Order::column().path(Grid::image(2, 3))?;
/// assert_eq!(path.steps(), [0, 3, 1, 4, 2, 5]);
/// assert_eq!(path.inverse(), [0, 2, 4, 1, 3, 5]);
/// # Ok::<(), mamba_vision::OrderError>(())
/// ```
///
/// ```
/// use mamba_vision::{Axis, Grid, Order};
///
/// let places = |order: Order| order.path(Grid::image(2, 4)).map(|path| path.steps().to_vec());
/// assert_eq!(places(Order::row())?, [0, 1, 2, 3, 4, 5, 6, 7]);
/// assert_eq!(places(Order::column())?, [0, 4, 1, 5, 2, 6, 3, 7]);
/// assert_eq!(places(Order::snake())?, [0, 1, 2, 3, 7, 6, 5, 4]);
/// assert_eq!(places(Order::z_order())?, [0, 1, 4, 5, 2, 3, 6, 7]);
/// assert_eq!(places(Order::hilbert())?.len(), 8);
/// assert_eq!(places(Order::window(2))?, [0, 1, 4, 5, 2, 3, 6, 7]);
/// assert_eq!(places(Order::stride(2))?, [0, 2, 4, 6, 1, 3, 5, 7]);
/// assert_eq!(places(Order::row().from_the_end())?, [7, 6, 5, 4, 3, 2, 1, 0]);
/// // Four sub-grids of two places, each a sequence of its own.
/// assert_eq!(Order::atrous(2).path(Grid::image(2, 4))?.starts().len(), 4);
/// // Through a volume, along the columns first.
/// let volume = Order::traverse([Axis::Depth, Axis::Height, Axis::Width]).path(Grid::volume(2, 2, 2))?;
/// assert_eq!(volume.steps(), [0, 1, 3, 2, 6, 7, 5, 4]);
/// # Ok::<(), mamba_vision::OrderError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Order {
    curve: Curve,
    reversed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Curve {
    Row,
    Column,
    Snake,
    Hilbert,
    ZOrder,
    Window { size: usize },
    Atrous { step: usize },
    Stride { rate: usize },
    Traverse { axes: [Axis; 3] },
}

impl Order {
    /// VMamba's four: rows, columns, and both from the end.
    pub const CROSS: [Self; 4] =
        [Self::row(), Self::column(), Self::row().from_the_end(), Self::column().from_the_end()];

    /// Point Cloud Mamba's six consistent traverses, one for each order of the axes.
    pub const TRAVERSES: [Self; 6] = {
        use Axis::{Depth, Height, Width};
        [
            Self::traverse([Depth, Height, Width]),
            Self::traverse([Depth, Width, Height]),
            Self::traverse([Height, Depth, Width]),
            Self::traverse([Height, Width, Depth]),
            Self::traverse([Width, Depth, Height]),
            Self::traverse([Width, Height, Depth]),
        ]
    };

    const fn new(curve: Curve) -> Self {
        Self { curve, reversed: false }
    }

    /// Row by row, each from left to right; slice by slice in a volume.
    pub const fn row() -> Self {
        Self::new(Curve::Row)
    }

    /// Column by column, each from top to bottom.
    pub const fn column() -> Self {
        Self::new(Curve::Column)
    }

    /// Row by row, back and forth.
    pub const fn snake() -> Self {
        Self::new(Curve::Snake)
    }

    /// Hilbert's curve, generalised to rectangles: from neighbour to neighbour, but for at most one diagonal step where
    /// sides are odd.
    pub const fn hilbert() -> Self {
        Self::new(Curve::Hilbert)
    }

    /// Morton's curve: by the interleaved bits of row and column. In sides that are no powers of two it passes over the
    /// places outside.
    pub const fn z_order() -> Self {
        Self::new(Curve::ZOrder)
    }

    /// Window by window, and row by row inside of each.
    ///
    /// Windows at the end of an image whose sides are no multiples of `size` are smaller. The published models pad the
    /// image instead, and their states decay over the padding: for them, scan an image of [`Grid::padded_to`].
    pub const fn window(size: usize) -> Self {
        Self::new(Curve::Window { size })
    }

    /// The sub-grids of every `step`-th row and column, each a sequence of its own ([`Path::starts`]). Those that begin
    /// in the same column follow each other, and every second is visited column by column.
    pub const fn atrous(step: usize) -> Self {
        Self::new(Curve::Atrous { step })
    }

    /// Every `rate`-th token, from the first on, then from the second on, and so on.
    ///
    /// SR-Mamba pads the sequence to a multiple of `rate`; see [`window`](Self::window) for what that changes.
    pub const fn stride(rate: usize) -> Self {
        Self::new(Curve::Stride { rate })
    }

    /// From neighbour to neighbour through a volume: back and forth along the last of `axes`, then along the second,
    /// then along the first.
    pub const fn traverse(axes: [Axis; 3]) -> Self {
        Self::new(Curve::Traverse { axes })
    }

    /// The same from the last place to the first.
    pub const fn from_the_end(self) -> Self {
        Self { reversed: !self.reversed, ..self }
    }

    /// `grid`, or for windows the grid padded to whole ones.
    fn padded(self, grid: Grid) -> Grid {
        match self.curve {
            Curve::Window { size } if size > 0 => grid.padded_to(size),
            _ => grid,
        }
    }

    /// Its steps through `grid`.
    ///
    /// # Errors
    /// [`OrderError`] if the grid has no places or too many, is a volume where the order is one of images, or if a size
    /// of the order is zero.
    pub fn path(self, grid: Grid) -> Result<Path, OrderError> {
        let grid = grid.checked()?;
        let is_flat = !matches!(self.curve, Curve::Row | Curve::Stride { .. } | Curve::Traverse { .. });
        if is_flat && grid.depth > 1 {
            return Err(OrderError::Volume { order: self, grid });
        }
        let path = match self.curve {
            Curve::Row => Path::new((0..grid.length()).collect()),
            Curve::Column => curves::column(grid),
            Curve::Snake => curves::snake(grid),
            Curve::Hilbert => hilbert::hilbert(grid),
            Curve::ZOrder => curves::z_order(grid),
            Curve::Window { size } => curves::window(grid, positive("size of the window", size)?),
            Curve::Atrous { step } => curves::atrous(grid, positive("step between rows and columns", step)?),
            Curve::Stride { rate } => curves::stride(grid, positive("rate", rate)?),
            Curve::Traverse { axes } => curves::traverse(grid, all_three(axes)?),
        };
        Ok(if self.reversed { path.reversed() } else { path })
    }
}

/// The points of a cloud in the order in which the [traverse](Order::traverse) along `axes` meets their voxels (slice,
/// row, column) in `grid`; points of the same voxel stay in their order. The path is one through the points.
///
/// # Errors
/// [`OrderError`] as of [`Order::path`], or if a point lies outside.
///
/// ```
/// use mamba_vision::{Axis, Grid, serialise};
///
/// // The second point's voxel comes first.
/// let points = [[1, 1, 1], [0, 0, 1], [0, 1, 0]];
/// let path = serialise(&points, Grid::volume(2, 2, 2), [Axis::Depth, Axis::Height, Axis::Width])?;
/// assert_eq!(path.steps()[0], 1);
/// # Ok::<(), mamba_vision::OrderError>(())
/// ```
pub fn serialise(points: &[[usize; 3]], grid: Grid, axes: [Axis; 3]) -> Result<Path, OrderError> {
    curves::points(points, grid.checked()?, all_three(axes)?)
}

fn positive(name: &'static str, size: usize) -> Result<usize, OrderError> {
    if size == 0 { Err(OrderError::Zero { name }) } else { Ok(size) }
}

fn all_three(axes: [Axis; 3]) -> Result<[Axis; 3], OrderError> {
    let is_there = |axis| axes.contains(&axis);
    match [Axis::Depth, Axis::Height, Axis::Width].into_iter().all(is_there) {
        true => Ok(axes),
        false => Err(OrderError::Axes { axes }),
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.curve {
            Curve::Row => write!(f, "row")?,
            Curve::Column => write!(f, "column")?,
            Curve::Snake => write!(f, "snake")?,
            Curve::Hilbert => write!(f, "hilbert")?,
            Curve::ZOrder => write!(f, "z-order")?,
            Curve::Window { size } => write!(f, "window-{size}")?,
            Curve::Atrous { step } => write!(f, "atrous-{step}")?,
            Curve::Stride { rate } => write!(f, "stride-{rate}")?,
            Curve::Traverse { axes: [i, j, k] } => write!(f, "traverse-{i:?}-{j:?}-{k:?}")?,
        }
        if self.reversed { write!(f, "-from-the-end") } else { Ok(()) }
    }
}
