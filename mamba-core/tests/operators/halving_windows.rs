//! The windows around every second place are those that their definition names, on every device, and their gradient is the
//! transpose.

use crate::devices::TestDevice;
use burn::tensor::{DType, Distribution, Tensor};
use mamba_core::halving_windows;

/// Sides of one, odd and even; channels that are multiples of 1, 2 and 4.
const SHAPES: [[usize; 4]; 5] = [[1, 1, 1, 1], [2, 1, 5, 3], [1, 4, 1, 6], [3, 9, 7, 8], [2, 6, 12, 4]];

on_every_device!(halving_windows_are_what_a_convolution_sees);

fn halving_windows_are_what_a_convolution_sees(device: &TestDevice) {
    for shape in SHAPES {
        let [batch, height, width, channels] = shape;
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            if !device.device.supports_dtype(dtype) {
                continue;
            }
            let [rows, columns] = [height.div_ceil(2), width.div_ceil(2)];
            // Whole numbers, so that sums of them are exact.
            let random = |shape: [usize; 4]| {
                let x = Tensor::<4>::random(shape, Distribution::Uniform(-8.0, 8.0), &device.device);
                x.round().cast(dtype)
            };
            let (x, weights) = (random(shape), random([batch, rows, columns, 9 * channels]));
            let leaf = x.clone().autodiff().require_grad();
            let windows = halving_windows(leaf.clone());
            assert_eq!((windows.dims(), windows.dtype()), ([batch, rows, columns, 9 * channels], dtype));
            let gradients = (windows.clone() * weights.clone().autodiff()).cast(DType::F32).sum().backward();
            let grad = leaf.grad(&gradients).expect("it was asked for");

            let numbers = |x: Tensor<4>| x.into_data().iter::<f32>().collect::<Vec<_>>();
            let (x, weights) = (numbers(x), numbers(weights));
            let mut expected = vec![0.0; weights.len()];
            let mut expected_grad = vec![0.0; x.len()];
            for (to, (expected, weight)) in expected.iter_mut().zip(&weights).enumerate() {
                let (channel, place, window) = (to % channels, to / channels % 9, to / channels / 9);
                let (column, row, image) = (window % columns, window / columns % rows, window / columns / rows);
                // Counted from the padding.
                let (row, column) = (2 * row + place / 3, 2 * column + place % 3);
                if (1..=height).contains(&row) && (1..=width).contains(&column) {
                    let from = ((image * height + row - 1) * width + column - 1) * channels + channel;
                    *expected = x[from];
                    expected_grad[from] += weight;
                }
            }
            assert_eq!(numbers(windows.inner()), expected, "{shape:?}, {dtype:?}");
            assert_eq!(numbers(grad), expected_grad, "gradient, {shape:?}, {dtype:?}");
        }
    }
}
