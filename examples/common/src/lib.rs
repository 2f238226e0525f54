//! What the example programs share.

pub mod cli;
pub mod device;
pub mod files;
pub mod panics;
pub mod plot;
pub mod progress;

/// Tensors come and go with every operation. An allocator that keeps their memory, where the system's gives it back, saves a
/// tenth of a training on the CPU.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
