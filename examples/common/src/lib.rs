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

/// Asks it to keep that memory for good: after ten milliseconds, its default, most of it would be cleared by the system again,
/// which costs a fifth of a training. `MIMALLOC_PURGE_DELAY` says otherwise.
fn keep_memory() {
    use libmimalloc_sys::{mi_option_get, mi_option_set};
    /// `mi_option_purge_delay`, which the crate does not name: milliseconds, by default ten, or never if negative.
    const PURGE_DELAY: i32 = 15;
    // SAFETY: options are plain numbers, and no other thread runs yet.
    unsafe {
        if mi_option_get(PURGE_DELAY) == 10 {
            mi_option_set(PURGE_DELAY, -1);
        }
    }
}
