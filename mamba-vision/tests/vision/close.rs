//! Comparison of tensors, which the tests of several crates share.

use crate::device::values;
use burn::tensor::Tensor;

/// Norm of the difference over the norm of `expected`; the difference itself where all of it is zero.
#[track_caller]
pub fn assert_close<const D: usize>(what: &str, actual: Tensor<D>, expected: Tensor<D>, tolerance: f64) {
    assert_eq!(actual.dims(), expected.dims(), "shapes of {what}");
    let (actual, expected) = (values(actual), values(expected));
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    let difference = norm(&mut actual.iter().zip(&expected).map(|(x, y)| x - y));
    let expected = norm(&mut expected.into_iter());
    let error = if expected == 0.0 { difference } else { difference / expected };
    println!("{what}: relative error {error:e}");
    assert!(error <= tolerance, "{what}: relative error {error:e}, expected at most {tolerance:e}");
}
