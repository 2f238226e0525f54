//! VMamba-T (second release) and Vim-T with random weights on images of 224 x 224: inference, and a training step without
//! optimiser. On the device that `MAMBA_BENCH_DEVICE` names (`flex`, `cuda`, `wgpu`; Burn's default if it is not set),
//! with `MAMBA_BENCH_BATCH` images (on a GPU 128, on a CPU 1, if it is not set).
//!
//! `cargo bench -p mamba-vision --bench backbones`
//!
//! On a GPU in bf16, on a CPU in f32. No block is left out.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, Distribution, Tensor};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mamba_vision::{VMambaConfig, VimConfig};
use std::time::{Duration, Instant};

const SIDE: usize = 224;

struct Cast(DType);

impl ModuleMapper for Cast {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|value| {
            let tracked = value.is_autodiff();
            let value = if tracked { value.inner() } else { value }.cast(self.0);
            if tracked { value.autodiff().require_grad() } else { value }
        })
    }
}

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

/// Inference, and a training step where the device tracks gradients.
fn bench<M: Module>(
    criterion: &mut Criterion,
    name: &str,
    init: impl Fn(&Device) -> M,
    forward: impl Fn(&M, Tensor<4>) -> Tensor<2>,
) {
    let on_gpu = std::env::var("MAMBA_BENCH_DEVICE").is_ok_and(|device| device != "flex");
    let (dtype, batch) = if on_gpu { (DType::BF16, 128) } else { (DType::F32, 1) };
    let batch = std::env::var("MAMBA_BENCH_BATCH").map_or(batch, |batch| batch.parse().expect("a number of images"));
    for (pass, device) in [("inference", device()), ("training", device().autodiff())] {
        let model = init(&device).map(&mut Cast(dtype));
        let images = Tensor::<4>::random([batch, 3, SIDE, SIDE], Distribution::Normal(0.0, 1.0), &device).cast(dtype);
        let run = || {
            let logits = forward(&model, images.clone());
            if device.is_autodiff() {
                drop(logits.cast(DType::F32).sum().backward());
            }
        };
        // Compiled and tuned before the first measurement.
        (0..3).for_each(|_| run());
        device.sync().expect("the device works");
        let mut group = criterion.benchmark_group(format!("{name}, {dtype:?}, batch {batch}"));
        group.sample_size(10).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(2));
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(pass, |bencher| {
            // The calls, and the wait for the last.
            bencher.iter_custom(|calls| {
                let start = Instant::now();
                for _ in 0..calls {
                    run();
                }
                device.sync().expect("the device works");
                start.elapsed()
            });
        });
        group.finish();
    }
}

fn backbones(criterion: &mut Criterion) {
    bench(
        criterion,
        "VMamba-T",
        |device| VMambaConfig::tiny().with_drop_path(0.0).init(device),
        |model, images| model.forward(images),
    );
    bench(
        criterion,
        "Vim-T",
        |device| VimConfig::tiny().with_drop_path(0.0).init(device),
        |model, images| model.forward(images),
    );
}

criterion_group!(benches, backbones);
criterion_main!(benches);
