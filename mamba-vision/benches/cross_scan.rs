//! Four directions across an image: read in place, and as VMamba's original code does it, by copies in the order of
//! each direction, a plain scan, and the way back. On the device that `MAMBA_BENCH_DEVICE` names (`flex`, `cuda`,
//! `wgpu`; Burn's default if it is not set), with `MAMBA_BENCH_BATCH` images (4 if it is not set).
//!
//! `cargo bench -p mamba-vision --bench cross_scan`
//!
//! The copies' projections are not counted: both sides get time steps, b and c as their scan reads them. Memory is what
//! is allocated at most during one call, with its gradients; on a GPU what its allocator takes from the device for that.

use burn::tensor::{Device, Distribution, Tensor};
use criterion::{Criterion, criterion_group, criterion_main};
use mamba_core::{SelectiveScanOptions, selective_scan};
use mamba_vision::{Grid, Order, ScanPaths, scan_paths};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Counts bytes.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is the system's; only numbers are kept.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: as of the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as of the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Side of the first stage's image for 224 x 224 pixels.
const SIDE: usize = 56;
/// Inner channels and states of VMamba-T's first stage in the second release (`s1l8`) and in the first.
const SHAPES: [(&str, usize, usize); 2] = [("v05_noz", 96, 1), ("v0", 192, 16)];
const DIRECTIONS: usize = Order::CROSS.len();

fn device() -> Device {
    match std::env::var("MAMBA_BENCH_DEVICE").as_deref() {
        #[cfg(feature = "flex")]
        Ok("flex") => Device::flex(),
        #[cfg(feature = "wgpu")]
        Ok("wgpu") => Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
        #[cfg(feature = "cuda")]
        Ok("cuda") => Device::cuda(0),
        Ok(other) => panic!("MAMBA_BENCH_DEVICE is {other}, which is not compiled in"),
        Err(_) => Device::default(),
    }
}

/// The arguments of the scans.
struct Arguments {
    x: Tensor<3>,
    delta: Tensor<3>,
    a: Tensor<2>,
    b: Tensor<4>,
    c: Tensor<4>,
    options: SelectiveScanOptions,
    paths: ScanPaths,
}

impl Arguments {
    fn new(batch: usize, d_inner: usize, d_state: usize, device: &Device) -> Self {
        let (length, channels) = (SIDE * SIDE, DIRECTIONS * d_inner);
        let a = random::<2>([channels, d_state], device).exp().neg().detach();
        let options = SelectiveScanOptions::new().with_delta_softplus(true);
        Self {
            x: random([batch, length, d_inner], device),
            delta: random([batch, length, channels], device),
            a: if device.is_autodiff() { a.require_grad() } else { a },
            b: random([batch, length, DIRECTIONS, d_state], device),
            c: random([batch, length, DIRECTIONS, d_state], device),
            options: options.with_d(random([channels], device)).with_delta_bias(random([channels], device)),
            paths: scan_paths(&Order::CROSS, Grid::image(SIDE, SIDE), device).expect("the image has places"),
        }
    }

    fn scan(&self, x: Tensor<3>, options: SelectiveScanOptions) -> Tensor<3> {
        selective_scan(x, self.delta.clone(), self.a.clone(), self.b.clone(), self.c.clone(), options).y
    }

    fn in_place(&self) -> Tensor<3> {
        let [batch, _, _] = self.x.dims();
        self.scan(self.x.clone(), self.paths.scan(batch, self.options.clone().with_sum_over_orders(true)))
    }

    fn permuted(&self) -> Tensor<3> {
        let columns = transposed(self.x.clone());
        let copies = vec![self.x.clone(), columns.clone(), self.x.clone().flip([1]), columns.flip([1])];
        let y = self.scan(Tensor::cat(copies, 2), self.options.clone());
        let [rows, columns, rows_back, columns_back] =
            y.chunk(DIRECTIONS, 2).try_into().expect("there are four directions");
        rows + rows_back.flip([1]) + transposed(columns + columns_back.flip([1]))
    }
}

/// Columns as rows.
fn transposed(x: Tensor<3>) -> Tensor<3> {
    let [batch, length, channels] = x.dims();
    x.reshape([batch, SIDE, SIDE, channels]).swap_dims(1, 2).reshape([batch, length, channels])
}

/// A tensor with a gradient where the device has them.
fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    let x = Tensor::<D>::random(shape, Distribution::Normal(0.0, 1.0), device);
    if device.is_autodiff() { x.require_grad() } else { x }
}

fn once(run: &dyn Fn() -> Tensor<3>, device: &Device) {
    let y = run();
    if device.is_autodiff() {
        drop(y.backward());
    }
}

/// Bytes allocated at most during one call, beyond what was before; what a GPU's allocator takes for it.
fn peak(run: &dyn Fn() -> Tensor<3>, device: &Device) -> usize {
    let reserved = || {
        device.sync().expect("the device works");
        device.clone().inner().memory_pool_usage().map(|usage| usage.bytes_reserved as usize)
    };
    device.memory_cleanup();
    let (before, allocated) = (reserved(), NOW.load(Ordering::Relaxed));
    PEAK.store(allocated, Ordering::Relaxed);
    once(run, device);
    match before.zip(reserved()) {
        Some((before, after)) => after - before,
        None => PEAK.load(Ordering::Relaxed) - allocated,
    }
}

fn cross_scan(criterion: &mut Criterion) {
    let batch = std::env::var("MAMBA_BENCH_BATCH").map_or(4, |batch| batch.parse().expect("a number of images"));
    for (release, d_inner, d_state) in SHAPES {
        for (passes, device) in [("forward", device()), ("forward and backward", device().autodiff())] {
            let arguments = Arguments::new(batch, d_inner, d_state, &device);
            let name =
                format!("{release}, batch {batch}, {SIDE} x {SIDE}, d_inner {d_inner}, d_state {d_state}, {passes}");
            let mut group = criterion.benchmark_group(name);
            group.sample_size(10).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(2));
            let in_place = || arguments.in_place();
            let permuted = || arguments.permuted();
            let versions: [(&str, &dyn Fn() -> Tensor<3>); 2] = [("in place", &in_place), ("permuted", &permuted)];
            for (version, run) in versions {
                let mut is_first = true;
                group.bench_function(version, |bencher| {
                    if std::mem::take(&mut is_first) {
                        once(run, &device);
                        println!("{version}: at most {:.1} MB", peak(run, &device) as f64 / 1e6);
                    }
                    // The calls, and the wait for the last.
                    bencher.iter_custom(|n| {
                        let start = Instant::now();
                        for _ in 0..n {
                            once(run, &device);
                        }
                        device.sync().expect("the device works");
                        start.elapsed()
                    });
                });
            }
            group.finish();
        }
    }
}

criterion_group!(benches, cross_scan);
criterion_main!(benches);
