//! Speed of matrix products on the device that `MAMBA_BENCH_DEVICE` names (`flex`, `cuda`, `wgpu`; Burn's default if it
//! is not set), by Burn's own `matmul` and by `linear`, which differ on CUDA and for few rows on CPUs.
//!
//! `MAMBA_BENCH_DEVICE=cuda cargo bench -p mamba-core --bench linear --no-default-features --features cuda,autotune`
//!
//! Beside what criterion prints, every product gets a line with the TFLOP/s of its median time and its relative error.

use burn::tensor::{DType, Device, Distribution, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mamba_core::linear;
use mamba_core::linear::by_cublas;
use std::time::{Duration, Instant};

/// `[rows, d_in, d_out]`: the projections and the head of a model of 130 M parameters at 8 x 2048 tokens, and a square.
const ON_GPU: [[usize; 3]; 6] = [
    [16_384, 768, 3072],
    [16_384, 1536, 80],
    [16_384, 48, 1536],
    [16_384, 1536, 768],
    [16_384, 768, 50_280],
    [8192, 8192, 8192],
];
const ON_CPU: [[usize; 3]; 4] = [[512, 768, 3072], [512, 1536, 80], [512, 48, 1536], [512, 1536, 768]];

/// A few tokens, as in decoding; on CPUs `linear` has a kernel for up to eight.
const FEW_ROWS: [[usize; 3]; 6] =
    [[1, 768, 3072], [8, 768, 3072], [9, 768, 3072], [1, 768, 50_280], [8, 768, 50_280], [9, 768, 50_280]];

type Route = (&'static str, fn(Tensor<2>, Tensor<2>) -> Tensor<2>);
const ROUTES: [Route; 2] = [("matmul", Tensor::matmul), ("linear", |x, weight| linear(x, weight, None))];

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

/// Of the sums of `y`'s columns, which are the product of `x`'s: what is far above the type's precision is a wrong product.
fn relative_error(x: &Tensor<2>, weight: &Tensor<2>, y: Tensor<2>) -> f32 {
    let x = x.clone().cast(DType::F32).sum_dim(0).transpose();
    let expected = (x * weight.clone().cast(DType::F32)).sum_dim(0);
    let difference = y.cast(DType::F32).sum_dim(0) - expected.clone();
    (difference.square().sum() / expected.square().sum()).sqrt().into_scalar()
}

fn products(criterion: &mut Criterion) {
    let device = device();
    let on_gpu = std::env::var("MAMBA_BENCH_DEVICE").is_ok_and(|device| device != "flex");
    let shapes = if on_gpu { &ON_GPU[..] } else { &ON_CPU[..] };
    println!("linear runs through {}", if by_cublas(&device) { "cuBLASLt" } else { "Burn's matmul" });
    for dtype in [DType::BF16, DType::F32].into_iter().filter(|&dtype| device.supports_dtype(dtype)) {
        for (route, product) in ROUTES {
            let mut group = criterion.benchmark_group(format!("{route}, {dtype:?}"));
            group.sample_size(10);
            if on_gpu {
                group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(500));
            }
            for &[rows, d_in, d_out] in shapes.iter().chain(&FEW_ROWS) {
                let random =
                    |shape: [usize; 2]| Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), &device).cast(dtype);
                let (x, weight) = (random([rows, d_in]), random([d_in, d_out]));
                let flop = 2 * rows * d_in * d_out;
                let shape = format!("[{rows} x {d_in}] x [{d_in} x {d_out}]");
                let (mut seconds, mut error) = (Vec::new(), None);
                group.throughput(Throughput::Elements(flop as u64));
                group.bench_function(BenchmarkId::from_parameter(&shape), |bencher| {
                    error.get_or_insert_with(|| relative_error(&x, &weight, product(x.clone(), weight.clone())));
                    // The calls, and the wait for the last.
                    bencher.iter_custom(|n| {
                        let start = Instant::now();
                        for _ in 0..n {
                            drop(product(x.clone(), weight.clone()));
                        }
                        device.sync().expect("the device works");
                        let elapsed = start.elapsed();
                        seconds.push(elapsed.as_secs_f64() / n as f64);
                        elapsed
                    });
                });
                // The last ten are criterion's samples, those before its warm-up.
                let mut samples = seconds.split_off(seconds.len().saturating_sub(10));
                samples.sort_by(f64::total_cmp);
                if let (Some(median), Some(error)) = (samples.get(samples.len() / 2), error) {
                    let (tera, micros) = (flop as f64 / median / 1e12, median * 1e6);
                    println!("{route}, {dtype:?}, {shape}: {tera:.2} TFLOP/s, {micros:.1} us, error {error:.1e}\n");
                }
            }
            group.finish();
        }
    }
}

criterion_group!(benches, products);
criterion_main!(benches);
