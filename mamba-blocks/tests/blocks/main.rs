//! Behaviour of the layers and the language model, on the device that `MAMBA_TEST_DEVICE` names.

mod beams;
mod checkpoints;
mod companion;
mod configs;
mod decoder;
mod device;
mod exactness;
mod generation;
mod golden;
mod initialisation;
#[cfg(any(feature = "wgpu", feature = "cuda", feature = "rocm"))]
mod launches;
mod long_context;
mod lora;
mod precision;
mod prompts;
mod states;
mod training;
mod transformers;
mod weight_decay;

use burn::tensor::{Device, Distribution, Int, Tensor};
use device::{device, random, values};

fn random_tokens(shape: [usize; 2], vocab_size: usize, device: &Device) -> Tensor<2, Int> {
    Tensor::<2>::random(shape, Distribution::Uniform(0.0, vocab_size as f64), device).int()
}

/// Norm of the difference over the norm of `expected`.
#[track_caller]
fn assert_close<const D: usize>(what: &str, actual: Tensor<D>, expected: Tensor<D>, tolerance: f64) {
    assert_eq!(actual.dims(), expected.dims(), "shapes of {what}");
    let (actual, expected) = (values(actual), values(expected));
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    let difference = norm(&mut actual.iter().zip(&expected).map(|(x, y)| x - y));
    let error = difference / norm(&mut expected.into_iter());
    assert!(error <= tolerance, "{what}: relative error {error:e}, expected at most {tolerance:e}");
}
