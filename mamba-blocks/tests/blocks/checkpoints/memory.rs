//! What loading allocates on its own thread, seen by the allocator.

use super::folder;
use crate::device;
use burn::module::Module;
use burn::tensor::DType;
use mamba_blocks::{LoadOptions, MambaLm, MambaLmConfig};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Watched;

thread_local! {
    static NOW: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.get() + layout.size() as isize;
        NOW.set(now);
        PEAK.set(PEAK.get().max(now));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.set(NOW.get() - layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static WATCHED: Watched = Watched;

/// The result of `run`, and the most bytes that it held at a time.
pub fn peak_of<R>(run: impl FnOnce() -> R) -> (R, usize) {
    let before = NOW.get();
    PEAK.set(before);
    let result = run();
    (result, (PEAK.get() - before) as usize)
}

#[test]
fn loading_takes_little_more_than_the_weights() {
    let device = device();
    let saved = tempfile::tempdir().unwrap();
    let config = MambaLmConfig::new(512, 128, 6).with_tie_embeddings(false);
    config.init(&device).save_pretrained(saved.path()).unwrap();
    for dtype in [DType::F32, DType::BF16] {
        if !device.supports_dtype(dtype) {
            continue;
        }
        let options = LoadOptions::new().with_dtype(dtype);
        let (model, peak) = peak_of(|| MambaLm::from_pretrained_with(saved.path(), options, &device).unwrap());
        let ratio = peak as f64 / (model.num_params() * dtype.size()) as f64;
        println!("{dtype:?}: {ratio:.3} times the weights");
        assert!(ratio <= 1.3, "{dtype:?}: {ratio}");
    }
}

#[test]
fn a_configuration_is_read_without_the_weights() {
    let (config, peak) = peak_of(|| MambaLmConfig::from_pretrained(folder("wide")).unwrap());
    assert_eq!(config.d_model, 256);
    assert!(peak < 100_000, "{peak} bytes");
}
