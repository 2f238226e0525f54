//! One forward pass of Caduceus-PS over windows up to 1,048,576 nucleotides: memory is linear in the length. On the device
//! that `MAMBA_BENCH_DEVICE` names (`flex`, `cuda`, `wgpu`; Burn's default if it is not set).
//!
//! `cargo bench -p mamba-dna --bench window`
//!
//! `MAMBA_BENCH_SHAPE=256x16` is the shape of the published models for 131,072 nucleotides; 32x2 (`d_model` and
//! `n_layer`) if it is not set. `MAMBA_BENCH_LENGTHS=131072,262144` takes other windows. Memory is the most that the
//! process has resident during the pass, where the system tells it; that of a device is not in it.

#[allow(unused_imports, reason = "its tests are not of a bench")]
#[path = "../../examples/language/src/memory.rs"]
mod memory;

use burn::tensor::{Device, Distribution, Int, Tensor};
use mamba_dna::CaduceusConfig;
use mamba_dna::tokens::{A, T};
use std::time::Instant;

const LENGTHS: &str = "262144,524288,1048576";
const SHAPE: &str = "32x2";

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

/// The numbers in a variable of the environment, or in `default`.
fn numbers(name: &str, default: &str, between: char) -> Vec<usize> {
    let text = std::env::var(name).unwrap_or_else(|_| default.to_string());
    let number = |part: &str| part.parse().unwrap_or_else(|_| panic!("{name} is {text}, expected as {default}"));
    text.split(between).map(number).collect()
}

fn main() {
    let device = device();
    let [d_model, n_layer] = numbers("MAMBA_BENCH_SHAPE", SHAPE, 'x')[..] else {
        panic!("MAMBA_BENCH_SHAPE: expected two numbers, as {SHAPE}");
    };
    let config = CaduceusConfig::new(d_model, n_layer);
    let model = config.try_init_masked_lm(&device).expect("the shape is one of a model");
    println!("Caduceus-PS, d_model {d_model}, n_layer {n_layer}, {} parameters", config.num_params());
    println!("| nucleotides | seconds | nucleotides/s | peak memory | bytes/nucleotide |\n|---|---|---|---|---|");
    for length in numbers("MAMBA_BENCH_LENGTHS", LENGTHS, ',') {
        let nucleotides = Distribution::Uniform(f64::from(A), f64::from(T) + 1.0);
        let tokens = Tensor::<2, Int>::random([1, length], nucleotides, &device);
        // Not the first call of a device, which compiles.
        drop(model.forward(tokens.clone().narrow(1, 0, length.min(4096))));
        device.sync().expect("the device works");
        memory::forget_peak();
        let started = Instant::now();
        drop(model.forward(tokens));
        device.sync().expect("the device works");
        let seconds = started.elapsed().as_secs_f64();
        let (peak, share) = match memory::peak() {
            Some(bytes) => (memory::bytes(bytes), format!("{}", bytes / length as u64)),
            None => ("unknown".into(), "unknown".into()),
        };
        println!("| {length} | {seconds:.2} | {:.0} | {peak} | {share} |", length as f64 / seconds);
    }
}
