//! CubeCL. A unit owns a few neighbouring channels of a part of a row, or of some rows, and slides a window of nine places
//! along it: a step reads three of them.

use super::backend::DepthwiseConv3x3Backend;
use crate::cube::{Math, address_type, empty, sigmoids, small_cubes, sum_of_params, vector_size};
use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::tensor::FloatTensor;
use burn::backend::{DType, TensorMetadata};
use burn::tensor::Shape;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::{cast, into_contiguous};
use burn_cubecl::ops::reshape;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

/// Places of the window.
const PLACES: usize = 9;

/// Places of a row along which a unit slides its window.
const COLUMNS: usize = 8;

/// Rows of a piece of an image, whose share in the gradient of the weight a unit adds up.
const ROWS: usize = 4;

/// Where the channels from `channel` on begin at a place of an image.
#[cube]
fn at<F: Float, N: Size>(
    x: &Tensor<Vector<F, N>>,
    image: usize,
    row: usize,
    column: usize,
    channel: usize,
    #[comptime] wide: usize,
) -> usize {
    (((image * x.shape(1) + row) * x.shape(2) + column) * x.shape(3) + channel) / wide
}

/// The channels of a place that is counted from the padding, in which they are zero.
#[cube]
fn read<F: Float, N: Size>(
    x: &Tensor<Vector<F, N>>,
    image: usize,
    row: usize,
    column: usize,
    channel: usize,
    #[comptime] wide: usize,
) -> Vector<f32, N> {
    let (height, width) = (x.shape(1), x.shape(2));
    let is_inside = row > 0 && row <= height && column > 0 && column <= width;
    let (row, column) = (row.clamp(1, height) - 1, column.clamp(1, width) - 1);
    let value = Vector::<f32, N>::cast_from(x[at(x, image, row, column, channel, wide)]);
    select(is_inside, value, Vector::new(0.0))
}

/// The nine places around one, row by row.
#[derive(CubeType)]
struct Window<N: Size> {
    values: Array<Vector<f32, N>>,
}

#[cube]
impl<N: Size> Window<N> {
    /// The window before the place `column` of a row: its last two columns are read.
    fn before<F: Float>(
        x: &Tensor<Vector<F, N>>,
        image: usize,
        row: usize,
        column: usize,
        channel: usize,
        #[comptime] wide: usize,
    ) -> Window<N> {
        let mut values = Array::<Vector<f32, N>>::new(PLACES);
        #[unroll]
        for i in 0..3usize {
            values[3 * i] = Vector::new(0.0);
            values[3 * i + 1] = read(x, image, row + i, column, channel, wide);
            values[3 * i + 2] = read(x, image, row + i, column + 1, channel, wide);
        }
        Window::<N> { values }
    }

    /// One place on: the window is that around `column`.
    fn slide<F: Float>(
        &mut self,
        x: &Tensor<Vector<F, N>>,
        image: usize,
        row: usize,
        column: usize,
        channel: usize,
        #[comptime] wide: usize,
    ) {
        #[unroll]
        for i in 0..3usize {
            self.values[3 * i] = self.values[3 * i + 1];
            self.values[3 * i + 1] = self.values[3 * i + 2];
            self.values[3 * i + 2] = read(x, image, row + i, column + 2, channel, wide);
        }
    }
}

/// What [`convolve`] computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Role {
    /// The convolution.
    Plain,
    /// The same and a SiLU.
    Silu,
    /// The gradient of what goes into the SiLU, given that of what comes out.
    SiluGrad,
    /// The gradient of the input: the convolution with the flipped weight.
    Flipped,
}

/// See [`Role`].
#[cube(launch_unchecked, address_type = "dynamic")]
fn convolve<F: Float, G: Float, N: Size>(
    x: &Tensor<Vector<F, N>>,
    // [channels, 1, 3, 3]
    weight: &Tensor<G>,
    bias: ComptimeOption<&Tensor<G>>,
    grad_y: ComptimeOption<&Tensor<Vector<F, N>>>,
    y: &mut Tensor<Vector<F, N>>,
    #[comptime] role: Role,
    #[comptime] math: Math,
    #[comptime] wide: usize,
    #[define(F, G)] _dtypes: [ElemType; 2],
) {
    let (threads, strips) = (x.shape(3) / wide, x.shape(2).div_ceil(COLUMNS));
    let channel = ABSOLUTE_POS % threads * wide;
    let strip = ABSOLUTE_POS / threads % strips;
    let row = ABSOLUTE_POS / threads / strips % x.shape(1);
    let image = ABSOLUTE_POS / threads / strips / x.shape(1);
    if image >= x.shape(0) {
        terminate!();
    }
    let mut start = Vector::<f32, N>::new(0.0);
    #[comptime]
    if let ComptimeOption::Some(bias) = &bias {
        #[unroll]
        for lane in 0..wide {
            start.insert(lane, f32::cast_from(bias[(channel + lane) * bias.stride(0)]));
        }
    }
    let mut taps = Array::<Vector<f32, N>>::new(PLACES);
    #[unroll]
    for place in 0..PLACES {
        let from = comptime![if role == Role::Flipped { PLACES - 1 - place } else { place }];
        let mut tap = Vector::<f32, N>::new(0.0);
        #[unroll]
        for lane in 0..wide {
            let row = (channel + lane) * weight.stride(0) + comptime![from / 3] * weight.stride(2);
            tap.insert(lane, f32::cast_from(weight[row + comptime![from % 3] * weight.stride(3)]));
        }
        taps[place] = tap;
    }
    let first = strip * COLUMNS;
    let mut window = Window::<N>::before(x, image, row, first, channel, wide);
    for column in first..(first + COLUMNS).min(x.shape(2)) {
        window.slide(x, image, row, column, channel, wide);
        let mut sum = start;
        #[unroll]
        for place in 0..PLACES {
            sum = fma(taps[place], window.values[place], sum);
        }
        let to = at(x, image, row, column, channel, wide);
        if comptime![matches!(role, Role::Silu | Role::SiluGrad)] {
            let gate = sigmoids(sum, wide, math);
            #[comptime]
            match &grad_y {
                ComptimeOption::Some(grad_y) => {
                    let one = Vector::<f32, N>::new(1.0);
                    sum = Vector::cast_from(grad_y[to]) * gate * (one + sum * (one - gate));
                }
                ComptimeOption::None => sum *= gate,
            }
        }
        y[to] = Vector::cast_from(sum);
    }
}

/// The shares of pieces of images, some rows each, in the gradients of the weight and the bias.
#[cube(launch_unchecked, address_type = "dynamic")]
fn weight_grads<F: Float, N: Size>(
    x: &Tensor<Vector<F, N>>,
    grad_y: &Tensor<Vector<F, N>>,
    // [batch * pieces, 10, channels]
    shares: &mut Tensor<Vector<f32, N>>,
    pieces: usize,
    #[comptime] wide: usize,
    #[define(F)] _dtype: ElemType,
) {
    let threads = x.shape(3) / wide;
    let channel = ABSOLUTE_POS % threads * wide;
    let piece = ABSOLUTE_POS / threads % pieces;
    let image = ABSOLUTE_POS / threads / pieces;
    if image >= x.shape(0) {
        terminate!();
    }
    let mut sums = Array::<Vector<f32, N>>::new(comptime![PLACES + 1]);
    #[unroll]
    for place in 0..comptime![PLACES + 1] {
        sums[place] = Vector::new(0.0);
    }
    let first = piece * ROWS;
    for row in first..(first + ROWS).min(x.shape(1)) {
        let mut window = Window::<N>::before(x, image, row, 0, channel, wide);
        for column in 0..x.shape(2) {
            window.slide(x, image, row, column, channel, wide);
            let grad = Vector::<f32, N>::cast_from(grad_y[at(x, image, row, column, channel, wide)]);
            #[unroll]
            for place in 0..PLACES {
                sums[place] = fma(grad, window.values[place], sums[place]);
            }
            sums[PLACES] += grad;
        }
    }
    let share = (image * pieces + piece) * comptime![PLACES + 1];
    #[unroll]
    for place in 0..comptime![PLACES + 1] {
        shares[(share + place) * threads + channel / wide] = sums[place];
    }
}

/// What `role` makes of contiguous `x`, and `grad_y`.
fn convolution(
    x: CubeTensor,
    weight: CubeTensor,
    bias: Option<CubeTensor>,
    grad_y: Option<CubeTensor>,
    role: Role,
) -> CubeTensor {
    let shape @ [_, _, _, channels] = x.shape().dims();
    let client = x.client.clone();
    let y = empty(&x, shape, x.dtype);
    let dtypes = [x.dtype, weight.dtype].map(dtype_to_storage_type);
    let read: Vec<_> = std::iter::once(&x).chain(&grad_y).collect();
    let wide = vector_size(&read, channels);
    let [batch, height, width, _] = shape;
    let (cubes, dim) = small_cubes(&client, batch * height * width.div_ceil(COLUMNS) * channels / wide);
    // SAFETY: every index is below the shapes, which the caller checked.
    unsafe {
        convolve::launch_unchecked(
            &client,
            cubes,
            dim,
            address_type(&[&x]),
            wide,
            x.into_tensor_arg(),
            weight.into_tensor_arg(),
            bias.map(|bias| bias.into_tensor_arg()).into(),
            grad_y.map(|grad_y| grad_y.into_tensor_arg()).into(),
            y.clone().into_tensor_arg(),
            role,
            Math::of(&client),
            wide,
            dtypes,
        );
    }
    y
}

impl DepthwiseConv3x3Backend for CubeBackend {
    fn depthwise_conv3x3_forward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        silu: bool,
    ) -> FloatTensor<Self> {
        // One type for both parameters.
        let bias = cast(bias, weight.dtype);
        convolution(into_contiguous(x), weight, Some(bias), None, if silu { Role::Silu } else { Role::Plain })
    }

    fn depthwise_conv3x3_grads(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        grad_y: FloatTensor<Self>,
        silu: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [batch, height, _, channels] = x.shape().dims();
        let client = x.client.clone();
        let [x, mut grad_y] = [x, grad_y].map(into_contiguous);
        if silu {
            let bias = cast(bias, weight.dtype);
            grad_y = convolution(x.clone(), weight.clone(), Some(bias), Some(grad_y), Role::SiluGrad);
        }
        let dtype = dtype_to_storage_type(x.dtype);
        let wide = vector_size(&[&x, &grad_y], channels);
        let pieces = height.div_ceil(ROWS);
        let shares = empty(&x, [batch * pieces, PLACES + 1, channels], DType::F32);
        let (cubes, dim) = small_cubes(&client, batch * pieces * channels / wide);
        // SAFETY: every index is below the shapes, which the forward pass checked.
        unsafe {
            weight_grads::launch_unchecked(
                &client,
                cubes,
                dim,
                address_type(&[&x, &shares]),
                wide,
                x.into_tensor_arg(),
                grad_y.clone().into_tensor_arg(),
                shares.clone().into_tensor_arg(),
                pieces,
                wide,
                dtype,
            );
        }
        let (of_weight, of_bias, _) = sum_of_params(shares, PLACES);
        let of_weight = reshape(of_weight, Shape::new([channels, 1, 3, 3]));
        (convolution(grad_y, weight, None, None, Role::Flipped), of_weight, of_bias)
    }
}
