//! Two-dimensional selective scans and vision models for Burn.
//!
//! | module | source | what it is |
//! |---|---|---|
//! | [`order`] | see there | the orders in which a scan visits an image, as tables that the operators read |
//!
//! The models follow; see the changelog.

pub mod order;

pub use order::{Axis, Grid, Order, OrderError, Path, ScanPaths, scan_paths, serialise};
