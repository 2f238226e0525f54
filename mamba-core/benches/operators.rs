//! Time of the operators, forward and with their gradients, on the device that `MAMBA_BENCH_DEVICE` names (`flex`,
//! `cuda`, `wgpu`; Burn's default if it is not set).
//!
//! `cargo bench -p mamba-core --bench operators`
//!
//! `MAMBA_BENCH_LENGTHS=2048,1048576` measures the forward scan on batches of 8 sequences of these lengths as well, which
//! tells whether a token costs the same in all of them. The longest of these takes 103 GB in bf16 and twice that in f32: a
//! device without room for it reports nothing, and what is printed then (some 0.03 ms) is not the time of a scan.
//!
//! Memory comes from mimalloc, as in the example programs. From the system's allocator, which gives pages back and has them
//! cleared again, both passes over 4096 tokens take half as long again on a CPU.
//!
//! Every shape is printed with the bytes that must at least be moved and the exponentials that must be evaluated: time
//! over bytes, against the bandwidth of a copy on the same device, is the fraction of the roofline that is achieved.

use burn::tensor::{DType, Device, Distribution, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mamba_core::{CausalConv1dOptions, SelectiveScanOptions, causal_conv1d, selective_scan};
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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

const FORWARD: &str = "forward";
const BOTH: &str = "forward and backward";

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

fn on_gpu() -> bool {
    std::env::var("MAMBA_BENCH_DEVICE").is_ok_and(|device| device != "flex")
}

/// Through Vulkan, samples after a kernel was compiled can take several times as long as later ones.
fn warm_up() -> Duration {
    let by_wgpu = std::env::var("MAMBA_BENCH_DEVICE").is_ok_and(|device| device == "wgpu");
    Duration::from_millis(if by_wgpu { 1500 } else { 200 })
}

/// Shapes of the lengths in `MAMBA_BENCH_LENGTHS`.
fn of_lengths() -> Vec<[usize; 4]> {
    let lengths = std::env::var("MAMBA_BENCH_LENGTHS").unwrap_or_default();
    let lengths = lengths.split(',').filter(|length| !length.is_empty());
    lengths.map(|length| [8, length.parse().expect("lengths with commas between them"), 1536, 16]).collect()
}

/// A tensor with a gradient where the device has them.
fn random<const D: usize>(shape: [usize; D], dtype: DType, device: &Device) -> Tensor<D> {
    let x = Tensor::<D>::random(shape, Distribution::Normal(0.0, 1.0), (device, dtype));
    if device.is_autodiff() { x.require_grad() } else { x }
}

/// The least work of one call.
struct Floor {
    bytes: usize,
    exponentials: usize,
}

/// A forward pass over random arguments.
type Run = Box<dyn Fn() -> Tensor<3>>;

/// An operator on one shape.
struct Case {
    floor: Floor,
    run: fn([usize; 4], DType, &Device) -> Run,
}

fn scan([batch, length, d_inner, d_state]: [usize; 4], dtype: DType) -> Case {
    // u, delta, z, y, b and c; a softplus and a gate.
    let floor = Floor {
        bytes: dtype.size() * batch * length * (4 * d_inner + 2 * d_state),
        exponentials: batch * length * d_inner * (d_state + 2),
    };
    Case { floor, run: run_scan }
}

fn run_scan([batch, length, d_inner, d_state]: [usize; 4], dtype: DType, device: &Device) -> Run {
    let [u, delta, z] = [(); 3].map(|()| random([batch, length, d_inner], dtype, device));
    let [b, c] = [(); 2].map(|()| random([batch, length, 1, d_state], dtype, device));
    let [d, bias] = [(); 2].map(|()| random([d_inner], DType::F32, device));
    let a = Tensor::<2>::random([d_inner, d_state], Distribution::Normal(0.0, 1.0), device).exp().neg();
    let a = if device.is_autodiff() { a.detach().require_grad() } else { a };
    let options = SelectiveScanOptions::new().with_d(d).with_delta_bias(bias).with_delta_softplus(true).with_z(z);
    Box::new(move || selective_scan(u.clone(), delta.clone(), a.clone(), b.clone(), c.clone(), options.clone()).y)
}

/// Width 4 with bias and SiLU.
fn conv([batch, length, channels, _]: [usize; 4], dtype: DType) -> Case {
    let values = batch * length * channels;
    Case { floor: Floor { bytes: 2 * dtype.size() * values, exponentials: values }, run: run_conv }
}

fn run_conv([batch, length, channels, _]: [usize; 4], dtype: DType, device: &Device) -> Run {
    let x = random([batch, length, channels], dtype, device);
    let weight = random([channels, 4], DType::F32, device);
    let options = CausalConv1dOptions::new().with_bias(random([channels], DType::F32, device)).with_silu(true);
    Box::new(move || causal_conv1d(x.clone(), weight.clone(), options.clone()).y)
}

/// What going back begins with, and what implementations that take a gradient do not spend: a gradient of ones.
fn ones([batch, length, channels, _]: [usize; 4], dtype: DType) -> Case {
    Case { floor: Floor { bytes: dtype.size() * batch * length * channels, exponentials: 0 }, run: run_ones }
}

fn run_ones([batch, length, channels, _]: [usize; 4], dtype: DType, device: &Device) -> Run {
    let device = device.clone();
    Box::new(move || Tensor::ones([batch, length, channels], (&device, dtype)))
}

fn once(run: &Run, backward: bool) {
    let y = run();
    if backward {
        drop(y.backward());
    }
}

type MakeCase = fn([usize; 4], DType) -> Case;

fn measure(criterion: &mut Criterion, operator: &str, case: MakeCase, passes: &[&str], shapes: &[[usize; 4]]) {
    let device = device();
    for dtype in [DType::F32, DType::BF16].into_iter().filter(|&dtype| device.supports_dtype(dtype)) {
        for &passes in passes {
            let backward = passes == BOTH;
            let device = if backward { device.clone().autodiff() } else { device.clone() };
            let mut group = criterion.benchmark_group(format!("{operator}, {dtype:?}, {passes}"));
            group.sample_size(10);
            if on_gpu() {
                group.warm_up_time(warm_up()).measurement_time(Duration::from_millis(500));
            }
            for &shape @ [batch, length, d_inner, d_state] in shapes {
                let Case { floor: Floor { bytes, exponentials }, run } = case(shape, dtype);
                // Going back: all of it again, and a gradient of each.
                let (bytes, exponentials) =
                    if backward { (3 * bytes, 2 * exponentials) } else { (bytes, exponentials) };
                let name = format!("batch {batch}, length {length}, d_inner {d_inner}, d_state {d_state}");
                println!("{name}: {:.1} MB, {:.1} M exponentials", bytes as f64 / 1e6, exponentials as f64 / 1e6);
                group.throughput(Throughput::Bytes(bytes as u64));
                let mut made = None;
                group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
                    let run = made.get_or_insert_with(|| {
                        let run = run(shape, dtype, &device);
                        // Compiled before the first measurement, which would else take few calls for slow ones.
                        once(&run, backward);
                        device.sync().expect("the device works");
                        run
                    });
                    // The calls, and the wait for the last.
                    bencher.iter_custom(|n| {
                        let start = Instant::now();
                        for _ in 0..n {
                            once(run, backward);
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

fn operators(criterion: &mut Criterion) {
    let shapes = if on_gpu() { &ON_GPU[..] } else { &ON_CPU[..] };
    measure(criterion, "selective_scan", scan, &[FORWARD, BOTH], shapes);
    measure(criterion, "causal_conv1d", conv, &[FORWARD, BOTH], shapes);
    measure(criterion, "ones", ones, &[FORWARD], shapes);
    measure(criterion, "selective_scan of a length", scan, &[FORWARD], &of_lengths());
}

criterion_group!(benches, operators);
criterion_main!(benches);
