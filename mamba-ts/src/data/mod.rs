//! Series, and how they are read, put right, cut, scaled and put on a device.
//!
//! A [`Series`] is evenly spaced in time; what is missing in it is NaN. [`Series::read`] makes one of anybody's
//! file, [`Split`] cuts it as the literature does, [`StandardScaler`] scales it and [`Windows`] makes batches of it.

mod csv;
mod dates;
mod error;
mod grid;
#[cfg(feature = "parquet")]
mod parquet;
mod scaler;
mod series;
mod split;
mod table;
mod time;
mod windows;

pub use error::{DataError, Repair};
pub use scaler::StandardScaler;
pub use series::{Calendar, Series};
pub use split::{Parts, Split};
pub use table::{Loaded, ReadOptions};
pub use time::{Frequency, FrequencyError};
pub(crate) use windows::filled;
pub use windows::{Batch, Input, Windows};
