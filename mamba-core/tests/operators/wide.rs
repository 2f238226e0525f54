//! Tensors of more elements than 32 bits can number: the last row of a batch, which lies beyond them, comes out as it
//! does alone.

use burn::tensor::{DType, Device, Distribution, Tensor};
use mamba_core::{CausalConv1dOptions, SelectiveScanOptions, causal_conv1d, selective_scan};

/// Of 2^29 elements each: the last starts at 2^32.
const ROWS: usize = 9;
const LENGTH: usize = 1 << 19;
const CHANNELS: usize = 1 << 10;
const STATES: usize = 16;

fn device() -> Device {
    Device::cuda(0).autodiff()
}

fn row(channels: usize, low: f64, high: f64) -> Tensor<3> {
    Tensor::random([1, LENGTH, channels], Distribution::Uniform(low, high), (&device(), DType::BF16))
}

fn last(rows: Tensor<3>) -> Tensor<3> {
    let index = rows.dims()[0] - 1;
    rows.narrow(0, index, 1).cast(DType::F32)
}

/// Up to the rounding of bf16: how many spans of tokens run side by side depends on the batch.
fn assert_same(name: &str, actual: Tensor<3>, expected: Tensor<3>) {
    let largest = |x: Tensor<3>| x.abs().max().into_scalar::<f32>();
    let (scale, difference) = (largest(expected.clone()), largest(actual - expected));
    println!("{name}: {difference:e} of {scale:e}");
    assert!(scale > 0.0 && difference <= scale / 128.0, "{name}: {difference} of {scale}");
}

/// Runs `forward` on random rows, `(channels, low, high)`, alone and behind others; compares outputs and gradients.
fn check<const N: usize>(rows: [(&str, usize, f64, f64); N], forward: impl Fn([Tensor<3>; N]) -> Tensor<3>) {
    let alone = rows.map(|(_, channels, low, high)| row(channels, low, high));
    let behind_others = |row: &Tensor<3>| {
        let others = Tensor::full([ROWS - 1, LENGTH, row.dims()[2]], 0.0625, (&device(), DType::BF16));
        let rows = Tensor::cat(vec![others, row.clone()], 0);
        assert_same("the input itself", last(rows.clone()).inner(), row.clone().cast(DType::F32).inner());
        rows
    };
    let results = |inputs: [Tensor<3>; N]| {
        let inputs = inputs.map(|x| x.detach().require_grad());
        let y = forward(inputs.clone());
        let grads = y.backward();
        let of = inputs.map(|x| last(x.grad(&grads).expect("a gradient of every input")));
        (last(y.inner()), of)
    };
    let expected = results(alone.clone());
    let actual = results(alone.each_ref().map(behind_others));
    assert_same("y", actual.0, expected.0);
    for ((actual, expected), (name, ..)) in actual.1.into_iter().zip(expected.1).zip(rows) {
        assert_same(&format!("the gradient of {name}"), actual, expected);
    }
}

// Ignored: few cards have that memory, and a smaller tensor has addresses of 32 bits. On one that has it:
// `cargo nextest run --release -p mamba-core --no-default-features --features cuda -j 1 --run-ignored only wide`
#[test]
#[ignore = "takes most of a card's 140 GB, and less would stay within 32 bits: run by hand, as above"]
fn a_scan_goes_on_beyond_32_bits() {
    let rates = Tensor::<1>::from_floats(std::array::from_fn::<_, STATES, _>(|n| -1.0 - n as f32), &device());
    let a = rates.unsqueeze::<2>().repeat_dim(0, CHANNELS);
    let bc = STATES;
    let rows = [("u", CHANNELS, -1.0, 1.0), ("delta", CHANNELS, 1e-3, 0.1), ("b", bc, -1.0, 1.0), ("c", bc, -1.0, 1.0)];
    check(rows, |[u, delta, b, c]| {
        let [b, c] = [b, c].map(|x| x.unsqueeze_dim::<4>(2));
        selective_scan(u, delta, a.clone(), b, c, SelectiveScanOptions::new()).y
    });
}

// Ignored: few cards have that memory, and a smaller tensor has addresses of 32 bits. On one that has it:
// `cargo nextest run --release -p mamba-core --no-default-features --features cuda -j 1 --run-ignored only wide`
#[test]
#[ignore = "takes most of a card's 140 GB, and less would stay within 32 bits: run by hand, as above"]
fn a_convolution_goes_on_beyond_32_bits() {
    let weight = Tensor::random([CHANNELS, 4], Distribution::Uniform(-1.0, 1.0), &device());
    check([("x", CHANNELS, -1.0, 1.0)], |[x]| {
        causal_conv1d(x, weight.clone(), CausalConv1dOptions::new().with_silu(true)).y
    });
}
