//! The same, made of three [causal convolutions](crate::causal_conv1d()) along rows.

use super::DepthwiseConv3x3Options;
use crate::{CausalConv1dOptions, causal_conv1d};
use burn::tensor::Tensor;
use burn::tensor::activation::silu;

/// As [`depthwise_conv3x3()`](super::depthwise_conv3x3()).
pub fn depthwise_conv3x3(x: Tensor<4>, weight: Tensor<4>, options: DepthwiseConv3x3Options) -> Tensor<4> {
    let [batch, height, width, channels] = x.dims();
    let [rows, columns] = [height + 2, width + 1];
    // With a zero behind every row, the image is one sequence: what a row sees of the one before is that zero. `pad`
    // would make them on the host where gradients are tracked (burn-autodiff 0.22.1).
    let padded = Tensor::zeros([batch, rows, columns, channels], (&x.device(), x.dtype()));
    let x = padded.slice_assign([0..batch, 1..1 + height, 0..width, 0..channels], x);
    let x = x.reshape([batch, rows * columns, channels]);
    let along_rows = |row: usize, options| {
        let weight = weight.clone().narrow(2, row, 1).reshape([channels, 3]);
        let y = causal_conv1d(x.clone(), weight, options).y.reshape([batch, rows, columns, channels]);
        // The place before is the middle.
        y.slice([0..batch, row..row + height, 1..columns, 0..channels])
    };
    let plain = CausalConv1dOptions::new;
    let middle = options.bias.map_or_else(plain, |bias| plain().with_bias(bias));
    let y = along_rows(0, plain()) + along_rows(1, middle) + along_rows(2, plain());
    if options.silu { silu(y) } else { y }
}
