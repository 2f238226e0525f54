//! Time of the selective scan, forward and with its gradients, on the device that `MAMBA_BENCH_DEVICE` names (`flex`,
//! `cuda`, `wgpu`; Burn's default if it is not set).
//!
//! `cargo bench -p mamba-core --bench selective_scan`

use burn::tensor::{DType, Device, Distribution, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mamba_core::{SelectiveScanOptions, selective_scan};
use std::time::{Duration, Instant};

/// `[batch, length, d_inner, d_state]`
const ON_CPU: [[usize; 4]; 4] = [[2, 256, 512, 64], [1, 4096, 512, 16], [1, 65_536, 64, 16], [8, 512, 768, 16]];
const ON_GPU: [[usize; 4]; 7] = [
    [8, 2048, 1536, 16],
    [1, 2048, 1536, 16],
    [8, 8192, 1536, 16],
    [1, 65_536, 1536, 16],
    [2, 2048, 4096, 16],
    [64, 196, 384, 16],
    [8, 512, 1536, 16],
];

struct Inputs {
    u: Tensor<3>,
    delta: Tensor<3>,
    a: Tensor<2>,
    b: Tensor<4>,
    c: Tensor<4>,
    options: SelectiveScanOptions,
    device: Device,
}

impl Inputs {
    fn new([batch, length, d_inner, d_state]: [usize; 4], dtype: DType, device: &Device) -> Self {
        let activation = || leaf(random([batch, length, d_inner], device).cast(dtype));
        let per_token = || leaf(random([batch, length, 1, d_state], device).cast(dtype));
        let per_channel = || leaf(random([d_inner], device));
        let options = SelectiveScanOptions::new()
            .with_d(per_channel())
            .with_delta_bias(per_channel())
            .with_delta_softplus(true)
            .with_z(activation());
        Self {
            u: activation(),
            delta: activation(),
            a: leaf(random([d_inner, d_state], device).exp().neg()),
            b: per_token(),
            c: per_token(),
            options,
            device: device.clone(),
        }
    }

    fn scan(&self) -> Tensor<3> {
        let Self { u, delta, a, b, c, options, .. } = self;
        selective_scan(u.clone(), delta.clone(), a.clone(), b.clone(), c.clone(), options.clone()).y
    }

    /// `n` calls and the wait for the last.
    fn time(&self, n: u64, backward: bool) -> Duration {
        let start = Instant::now();
        for _ in 0..n {
            let y = self.scan();
            if backward {
                drop(y.backward());
            }
        }
        self.device.sync().expect("the device works");
        start.elapsed()
    }
}

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

fn leaf<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if x.is_autodiff() { x.require_grad() } else { x }
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

fn benches(criterion: &mut Criterion) {
    let device = device();
    let on_gpu = std::env::var("MAMBA_BENCH_DEVICE").is_ok_and(|device| device != "flex");
    let shapes = if on_gpu { &ON_GPU[..] } else { &ON_CPU[..] };
    for dtype in [DType::F32, DType::BF16].into_iter().filter(|&dtype| device.supports_dtype(dtype)) {
        for (name, device, passes) in
            [("forward", device.clone(), 1), ("forward and backward", device.clone().autodiff(), 2)]
        {
            let mut group = criterion.benchmark_group(format!("{dtype:?} {name}"));
            group.sample_size(10);
            if on_gpu {
                group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(500));
            }
            for &shape @ [batch, length, d_inner, d_state] in shapes {
                let inputs = Inputs::new(shape, dtype, &device);
                // u, delta, z, b, c and y; going back, all of them again and a gradient of each.
                let moved = dtype.size() * batch * length * (4 * d_inner + 2 * d_state) * (2 * passes - 1);
                let exponentials = batch * length * d_inner * (d_state + 2) * passes;
                let shape = format!("batch {batch}, length {length}, d_inner {d_inner}, d_state {d_state}");
                println!(
                    "{shape}: {:.1} MB moved, {:.1} M exponentials",
                    moved as f64 / 1e6,
                    exponentials as f64 / 1e6
                );
                group.throughput(Throughput::Elements((batch * length) as u64));
                group.bench_function(BenchmarkId::from_parameter(shape), |bencher| {
                    bencher.iter_custom(|n| inputs.time(n, passes == 2));
                });
            }
            group.finish();
        }
    }
}

criterion_group!(selective_scan_group, benches);
criterion_main!(selective_scan_group);
