//! Behaviour of the layers and the language model, on the default device of the features that are on.

mod configs;
mod exactness;
mod generation;
mod golden;
mod initialisation;
mod precision;
mod weight_decay;

use burn::tensor::{Device, Distribution, Int, Tensor};

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

fn random_tokens(shape: [usize; 2], vocab_size: usize, device: &Device) -> Tensor<2, Int> {
    Tensor::<2>::random(shape, Distribution::Uniform(0.0, vocab_size as f64), device).int()
}

fn values<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().iter::<f64>().collect()
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
