//! CubeCL. A unit owns a few neighbouring channels of a place of a window, and going back of a place of the image.

use super::PLACES;
use super::backend::HalvingWindowsBackend;
use crate::cube::{address_type, empty, grid, vector_size};
use burn::backend::TensorMetadata;
use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::tensor::FloatTensor;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use cubecl::prelude::*;

/// The windows of contiguous `x` `[batch, height, width, channels]`.
#[cube(launch_unchecked, address_type = "dynamic")]
fn gather<F: Float, N: Size>(
    x: &Tensor<Vector<F, N>>,
    // [batch, rows, columns, 9 * channels]
    windows: &mut Tensor<Vector<F, N>>,
    #[comptime] wide: usize,
    #[define(F)] _dtype: ElemType,
) {
    if ABSOLUTE_POS >= windows.len() {
        terminate!();
    }
    let (height, width, threads) = (x.shape(1), x.shape(2), x.shape(3) / wide);
    let (rows, columns) = (windows.shape(1), windows.shape(2));
    let (lane, index) = (ABSOLUTE_POS % threads, ABSOLUTE_POS / threads);
    let (place, index) = (index % PLACES, index / PLACES);
    let (column, index) = (index % columns, index / columns);
    let (row, image) = (index % rows, index / rows);
    // Counted from the padding.
    let (row, column) = (2 * row + place / 3, 2 * column + place % 3);
    let is_inside = row > 0 && row <= height && column > 0 && column <= width;
    let (row, column) = (row.clamp(1, height) - 1, column.clamp(1, width) - 1);
    let value = x[((image * height + row) * width + column) * threads + lane];
    windows[ABSOLUTE_POS] = select(is_inside, value, Vector::new(F::new(0.0)));
}

/// The gradient of the image, from those of the windows that see it: of an even row the middles, of an odd one the first row
/// of one window and the last of another; of columns likewise.
#[cube(launch_unchecked, address_type = "dynamic")]
fn scatter<F: Float, N: Size>(
    // [batch, rows, columns, 9 * channels]
    windows: &Tensor<Vector<F, N>>,
    x: &mut Tensor<Vector<F, N>>,
    #[comptime] wide: usize,
    #[define(F)] _dtype: ElemType,
) {
    if ABSOLUTE_POS >= x.len() {
        terminate!();
    }
    let (height, width, threads) = (x.shape(1), x.shape(2), x.shape(3) / wide);
    let (rows, columns) = (windows.shape(1), windows.shape(2));
    let (lane, index) = (ABSOLUTE_POS % threads, ABSOLUTE_POS / threads);
    let (column, index) = (index % width, index / width);
    let (row, image) = (index % height, index / height);
    let mut sum = Vector::<f32, N>::new(0.0);
    #[unroll]
    for place in 0..PLACES {
        let (down, right) = comptime![(place / 3, place % 3)];
        // Twice the window's row and column, and two.
        let (twice_row, twice_column) = (row + comptime![3 - down], column + comptime![3 - right]);
        let is_seen = twice_row % 2 == 0 && twice_column % 2 == 0 && twice_row >= 2 && twice_column >= 2;
        if is_seen && twice_row / 2 <= rows && twice_column / 2 <= columns {
            let window = (image * rows + twice_row / 2 - 1) * columns + twice_column / 2 - 1;
            sum += Vector::cast_from(windows[(window * PLACES + place) * threads + lane]);
        }
    }
    x[ABSOLUTE_POS] = Vector::cast_from(sum);
}

impl HalvingWindowsBackend for CubeBackend {
    fn halving_windows(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let x = into_contiguous(x);
        let [batch, height, width, channels] = x.shape().dims();
        let windows = empty(&x, [batch, height.div_ceil(2), width.div_ceil(2), PLACES * channels], x.dtype);
        let client = x.client.clone();
        let wide = vector_size(&[&x], channels);
        let (cubes, dim) = grid(&client, windows.shape().num_elements() / wide);
        let dtype = dtype_to_storage_type(x.dtype);
        // SAFETY: every index is below the shapes.
        unsafe {
            gather::launch_unchecked(
                &client,
                cubes,
                dim,
                address_type(&[&x, &windows]),
                wide,
                x.into_tensor_arg(),
                windows.clone().into_tensor_arg(),
                wide,
                dtype,
            );
        }
        windows
    }

    fn halving_windows_grad(grad_y: FloatTensor<Self>, height: usize, width: usize) -> FloatTensor<Self> {
        let grad_y = into_contiguous(grad_y);
        let [batch, _, _, channels] = grad_y.shape().dims();
        let channels = channels / PLACES;
        let grad_x = empty(&grad_y, [batch, height, width, channels], grad_y.dtype);
        let client = grad_y.client.clone();
        let wide = vector_size(&[&grad_y], channels);
        let (cubes, dim) = grid(&client, batch * height * width * channels / wide);
        let dtype = dtype_to_storage_type(grad_y.dtype);
        // SAFETY: as above.
        unsafe {
            scatter::launch_unchecked(
                &client,
                cubes,
                dim,
                address_type(&[&grad_y, &grad_x]),
                wide,
                grad_y.into_tensor_arg(),
                grad_x.clone().into_tensor_arg(),
                wide,
                dtype,
            );
        }
        grad_x
    }
}
