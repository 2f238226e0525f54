//! What the scan keeps for the backward pass, and how its memory grows with the length. On the CPU, where it can be
//! counted; one test, so that nothing else allocates meanwhile.

#![cfg(feature = "flex")]

use burn::tensor::{Device, Distribution, Tensor};
use mamba_core::{SelectiveScanOptions, selective_scan};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The system's allocator, and how many bytes are in use now and were at most.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the calls go to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        MOST.fetch_max(NOW.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const BATCH: usize = 2;
const CHANNELS: usize = 64;

/// Bytes in use after the forward pass beyond its inputs, and at most until the end of the backward pass.
fn bytes(length: usize, d_state: usize) -> (usize, usize) {
    let device = Device::flex().autodiff();
    let random = |shape: [usize; 3]| Tensor::<3>::random(shape, Distribution::Default, &device).require_grad();
    let [u, delta, z] = [(); 3].map(|()| random([BATCH, length, CHANNELS]));
    let [b, c] = [(); 2].map(|()| random([BATCH, length, d_state]));
    let a = -random([1, CHANNELS, d_state]).squeeze_dim::<2>(0);
    let options = SelectiveScanOptions::new().with_z(z.clone()).with_delta_softplus(true);

    let before = NOW.load(Relaxed);
    MOST.store(before, Relaxed);
    let y =
        selective_scan(u.clone(), delta.clone(), a, b.clone().unsqueeze_dim(2), c.clone().unsqueeze_dim(2), options).y;
    let kept = NOW.load(Relaxed) - before;
    drop(y.backward());
    (kept, MOST.load(Relaxed) - before)
}

#[test]
fn the_saved_states_are_smaller_than_inputs_and_outputs_and_all_memory_is_linear_in_the_length() {
    bytes(64, 16);
    for d_state in [1, 16, 64] {
        let [(kept, most), (kept_of_four, most_of_four)] = [2048, 8192].map(|length| bytes(length, d_state));
        let inputs_and_outputs = 4 * BATCH * 2048 * (4 * CHANNELS + 2 * d_state);
        // The output itself is not something kept for the backward pass.
        let saved = kept - 4 * BATCH * 2048 * CHANNELS;
        println!(
            "{d_state} states: {saved} bytes saved beside {inputs_and_outputs}; at most {most} for 2048 tokens, \
             {most_of_four} for 8192"
        );
        assert!(inputs_and_outputs + saved <= inputs_and_outputs * 3 / 2);
        assert!(kept_of_four <= 4 * kept + (1 << 16));
        assert!(most_of_four <= 4 * most + (1 << 16));
    }
}
