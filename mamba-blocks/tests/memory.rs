//! Memory does not grow with the number of generated tokens. In a program of its own, which counts what it allocates.
#![cfg(feature = "flex")]

use burn::tensor::Device;
use mamba_blocks::{Draw, GenerationConfig, MambaLmConfig, Prompts, Sampling};
use std::alloc::{GlobalAlloc, Layout, System};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn thousands_of_tokens_take_the_memory_of_a_few() {
    const TOKENS: usize = 6000;
    let model = MambaLmConfig::new(64, 16, 2).with_d_state(4).init(&Device::flex());
    let sampling = Sampling::Random(Draw::new().with_top_p(Some(0.9)));
    let config = GenerationConfig::new(TOKENS).with_sampling(sampling).with_repetition_penalty(1.1);
    let mut live = Vec::with_capacity(TOKENS);
    let prompts = Prompts::new([vec![1, 2, 3], vec![4]]);
    let rows = model.generate(prompts, &config, |_| {
        live.push(LIVE.load(Relaxed));
        ControlFlow::Continue(())
    });
    assert_eq!(rows.unwrap()[1].len(), TOKENS);
    // The tokens themselves, in vectors that double.
    let tokens = 2 * 2 * TOKENS * size_of::<u32>();
    let most = |range: std::ops::Range<usize>| *live[range].iter().max().unwrap();
    let (early, late) = (most(100..600), most(TOKENS - 500..TOKENS));
    assert!(late <= early + tokens, "{early} bytes after 600 tokens, {late} after {TOKENS}");
}
