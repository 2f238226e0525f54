//! What the example programs share.

pub mod cli;
pub mod device;
pub mod files;
pub mod panics;
pub mod plot;
pub mod progress;
