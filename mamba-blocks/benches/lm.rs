//! A language model of mamba-130m's shape with random weights: prefill, a training step without optimiser, decoding. On
//! the device that `MAMBA_BENCH_DEVICE` names (`flex`, `cuda`, `wgpu`; Burn's default if it is not set).
//!
//! `cargo bench -p mamba-blocks --bench lm`
//!
//! On a GPU in bf16, 8 x 2048 tokens; on a CPU in f32, 512 tokens, the head for the last one alone.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, Distribution, Int, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mamba_blocks::{MambaLm, MambaLmConfig};
use std::time::{Duration, Instant};

const VOCABULARY: usize = 50_277;

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

fn model(dtype: DType, device: &Device) -> MambaLm {
    MambaLmConfig::new(VOCABULARY, 768, 24).init(device).map(&mut Cast(dtype))
}

fn tokens(batch: usize, length: usize, device: &Device) -> Tensor<2, Int> {
    Tensor::random([batch, length], Distribution::Uniform(0.0, VOCABULARY as f64), device)
}

/// Times `calls` of `run` and the wait for the last.
fn bench(
    criterion: &mut Criterion,
    names: (&str, DType, &str),
    shape: String,
    tokens: usize,
    device: &Device,
    mut run: impl FnMut(),
) {
    let (what, dtype, pass) = names;
    let mut group = criterion.benchmark_group(format!("{what}, {dtype:?}, {pass}"));
    group.sample_size(10).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(2));
    group.throughput(Throughput::Elements(tokens as u64));
    group.bench_function(BenchmarkId::from_parameter(shape), |bencher| {
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

fn language_model(criterion: &mut Criterion) {
    let device = device();
    let on_gpu = std::env::var("MAMBA_BENCH_DEVICE").is_ok_and(|device| device != "flex");
    let dtype = if on_gpu { DType::BF16 } else { DType::F32 };
    let name = "language model 130M";

    // Decoding: the floor is one reading of the weights, wherever in a text.
    let lm = model(dtype, &device);
    println!("{} MB of weights", lm.num_params() * dtype.size() / 1_000_000);
    for (batch, position) in if on_gpu { vec![(1, 1), (1, 65_536), (64, 1)] } else { vec![(1, 1), (1, 4096)] } {
        let token = tokens(batch, 1, &device).squeeze_dim::<1>(1);
        let (_, state) = lm.prefill(tokens(batch, position, &device));
        let mut decoder = lm.decoder(&state);
        let shape = format!("batch {batch}, after {position}");
        bench(criterion, (name, dtype, "decode"), shape, batch, &device, || {
            drop(decoder.step(token.clone()));
        });
    }

    let [batch, length] = if on_gpu { [8, 2048] } else { [1, 512] };
    let shape = || format!("batch {batch}, length {length}");
    let prompt = tokens(batch, length, &device);
    bench(criterion, (name, dtype, "forward"), shape(), batch * length, &device, || {
        if on_gpu {
            drop(lm.forward(prompt.clone()));
        } else {
            drop(lm.prefill(prompt.clone()));
        }
    });
    drop(lm);

    if on_gpu {
        let device = device.autodiff();
        let lm = model(dtype, &device);
        let prompt = tokens(batch, length, &device);
        bench(criterion, (name, dtype, "forward and backward"), shape(), batch * length, &device, || {
            drop(lm.forward(prompt.clone()).cast(DType::F32).sum().backward());
        });
    }
}

criterion_group!(benches, language_model);
criterion_main!(benches);
