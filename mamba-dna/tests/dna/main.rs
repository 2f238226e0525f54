//! Behaviour of the models of DNA, on the device that `MAMBA_TEST_DEVICE` names.

mod caduceus;
mod checkpoints;
#[path = "../../../mamba-vision/tests/vision/close.rs"]
mod close;
mod data;
#[path = "../../../mamba-blocks/tests/blocks/device.rs"]
mod device;
mod heads;
mod rcps;

use burn::tensor::{Device, Int, Tensor, TensorData};
use close::assert_close;
use device::{device, random, values};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Any tokens, those without a meaning among them.
fn random_tokens(shape: [usize; 2], seed: u64, device: &Device) -> Tensor<2, Int> {
    let mut rng = StdRng::seed_from_u64(seed);
    let tokens: Vec<i32> = (0..shape[0] * shape[1]).map(|_| rng.random_range(0..12)).collect();
    Tensor::from_data(TensorData::new(tokens, shape), device)
}

/// Bit by bit on CPUs; to the rounding of f32 elsewhere.
#[track_caller]
fn assert_same<const D: usize>(what: &str, actual: Tensor<D>, expected: Tensor<D>) {
    let is_cpu = matches!(std::env::var("MAMBA_TEST_DEVICE").as_deref(), Err(_) | Ok("flex" | "ndarray"));
    match is_cpu && cfg!(any(feature = "flex", feature = "ndarray")) {
        true => {
            assert_eq!(actual.dims(), expected.dims(), "shapes of {what}");
            let (actual, expected) = (values(actual), values(expected));
            let differing = actual.iter().zip(&expected).filter(|(x, y)| x != y).count();
            assert_eq!(differing, 0, "{what}: {differing} of {} values differ", actual.len());
        }
        false => assert_close(what, actual, expected, 1e-5),
    }
}
