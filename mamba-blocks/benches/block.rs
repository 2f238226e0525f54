//! One residual block: forward, and forward with backward.
//!
//! `cargo bench -p mamba-blocks --bench block`

use burn::tensor::{Device, Distribution, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mamba_blocks::{MambaBlock, MambaBlockConfig, MambaConfig};
use std::time::Duration;

struct Case {
    block: MambaBlock,
    x: Tensor<3>,
    device: Device,
}

impl Case {
    fn new(shape: [usize; 3], d_state: usize, device: &Device) -> Self {
        let mixer = MambaConfig::new(shape[2]).with_d_state(d_state);
        let block = MambaBlockConfig::new(mixer).init(device);
        Self { block, x: Tensor::random(shape, Distribution::Normal(0.0, 1.0), device), device: device.clone() }
    }

    fn forward(&self) {
        let (hidden, residual) = self.block.forward(self.x.clone(), None);
        let _output = hidden + residual;
        self.device.sync().expect("the device works");
    }

    /// Gradients of the parameters and of the input.
    fn forward_backward(&self) {
        let (hidden, residual) = self.block.forward(self.x.clone().require_grad(), None);
        let _gradients = (hidden + residual).sum().backward();
        self.device.sync().expect("the device works");
    }
}

/// Batch 2, length 256, d_model 256, d_state 64.
fn block(c: &mut Criterion) {
    let device = Device::default();
    let mut group = c.benchmark_group("block");
    let case = Case::new([2, 256, 256], 64, &device);
    group.bench_function("forward", |b| b.iter(|| case.forward()));
    let case = Case::new([2, 256, 256], 64, &device.autodiff());
    group.bench_function("forward_backward", |b| b.iter(|| case.forward_backward()));
    group.finish();
}

/// The time for each token does not grow with the length: the same block at batch 1.
fn length(c: &mut Criterion) {
    let device = Device::default();
    let mut group = c.benchmark_group("length");
    group.sample_size(10).measurement_time(Duration::from_secs(10));
    for length in [4096, 65536] {
        group.throughput(Throughput::Elements(length as u64));
        let case = Case::new([1, length, 256], 64, &device);
        group.bench_function(BenchmarkId::new("forward", length), |b| b.iter(|| case.forward()));
        let case = Case::new([1, length, 256], 64, &device.clone().autodiff());
        group.bench_function(BenchmarkId::new("forward_backward", length), |b| b.iter(|| case.forward_backward()));
    }
    group.finish();
}

/// Freed memory stays with the process: taken from the system again and again, page by page, the large tensors of long
/// sequences would measure the system. Only glibc needs telling.
fn keep_memory(_: &mut Criterion) {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: settings of the allocator, made before other threads exist.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, -1);
    }
}

criterion_group!(benches, keep_memory, block, length);
criterion_main!(benches);
