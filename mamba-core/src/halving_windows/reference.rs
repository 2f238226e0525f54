//! The same by nine slices.

use super::PLACES;
use burn::tensor::Tensor;
use std::array::from_fn;

/// As [`halving_windows()`](super::halving_windows()).
pub fn halving_windows(x: Tensor<4>) -> Tensor<4> {
    let [batch, height, width, channels] = x.dims();
    let [rows, columns] = [height.div_ceil(2), width.div_ceil(2)];
    // `pad` would make zeros on the host where gradients are tracked (burn-autodiff 0.22.1).
    let padded = Tensor::zeros([batch, 2 * rows + 2, 2 * columns + 2, channels], (&x.device(), x.dtype()));
    let x = padded.slice_assign([0..batch, 1..1 + height, 1..1 + width, 0..channels], x);
    // [batch, rows + 1, row in square, columns + 1, column in square, channels]
    let squares = x.reshape([batch, rows + 1, 2, columns + 1, 2, channels]);
    let seen: [_; PLACES] = from_fn(|place| {
        let [down, right] = [place / 3, place % 3];
        let rows = squares.clone().narrow(1, down / 2, rows).narrow(2, down % 2, 1);
        rows.narrow(3, right / 2, columns).narrow(4, right % 2, 1).squeeze_dims(&[2, 4])
    });
    Tensor::cat(seen.to_vec(), 3)
}
