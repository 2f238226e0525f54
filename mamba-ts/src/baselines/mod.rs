//! What every claim is measured against: two rules without parameters and two linear models.

mod ar_net;
mod d_linear;
mod naive;

pub use ar_net::{ArNet, ArNetConfig};
pub use d_linear::{DLinear, DLinearConfig};
pub use naive::{LastValue, LastValueConfig, SeasonalNaive, SeasonalNaiveConfig};

use burn::tensor::Tensor;

/// Look-back and horizon one after the other.
pub(crate) fn joined(look_back: Tensor<3>, horizon: Tensor<3>) -> Tensor<3> {
    Tensor::cat(vec![look_back, horizon], 1)
}

/// Checks the length of a look-back, `[batch, look_back, variates]`.
pub(crate) fn check_look_back(name: &str, values: &Tensor<3>, expected: usize) {
    let [batch, look_back, variates] = values.dims();
    assert!(
        batch > 0 && look_back == expected && variates > 0,
        "{name}: the values have shape {:?}, expected [batch, {expected}, variates] with none of them 0",
        values.dims()
    );
}
