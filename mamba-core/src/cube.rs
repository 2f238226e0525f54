//! What the CubeCL kernels of all operators share.

use crate::selective_scan::Path;
use burn::backend::ops::IntTensorOps;
use burn::backend::{DType, TensorMetadata};
use burn::tensor::{IntDType, Shape};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::reshape;
use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::client::Client;
use cubecl::prelude::*;

/// Where step `t` of a walk reads and writes, and whether the state is kept before it (1) or zeroed (0).
#[derive(CubeType, Clone, Copy)]
pub(crate) struct Step {
    pub place: usize,
    pub keep: f32,
}

#[cube]
impl Step {
    /// Of what a table says.
    pub fn of_entry(entry: i32) -> Step {
        let entry = u32::cast_from(entry);
        Step { place: (entry / 2) as usize, keep: 1.0 - f32::cast_from(entry % 2) }
    }

    /// Step `t` where no table says otherwise.
    pub fn plain(t: usize, length: usize, #[comptime] reverse: bool) -> Step {
        Step { place: token_of(t, length, reverse), keep: f32::new(1.0) }
    }
}

/// The step `t` of the walk of `order` through the tokens of `batch`.
#[cube]
pub(crate) fn step_at(
    steps: &ComptimeOption<&Tensor<i32>>,
    batch: usize,
    order: usize,
    t: usize,
    length: usize,
    #[comptime] reverse: bool,
) -> Step {
    #[comptime]
    match steps {
        ComptimeOption::Some(_) => Step::of_entry(entry_at(steps, batch, order, t, length, reverse)),
        ComptimeOption::None => Step::plain(t, length, reverse),
    }
}

/// What the table says of that step, where there is one.
#[cube]
pub(crate) fn entry_at(
    steps: &ComptimeOption<&Tensor<i32>>,
    batch: usize,
    order: usize,
    t: usize,
    length: usize,
    #[comptime] reverse: bool,
) -> i32 {
    let steps = steps.unwrap();
    let row = (batch % steps.shape(0)) * steps.stride(0) + (order % steps.shape(1)) * steps.stride(1);
    steps[row + token_of(t, length, reverse) * steps.stride(2)]
}

/// The number of step `t`, counted from the other end if the walk is reversed.
#[cube]
fn token_of(t: usize, length: usize, #[comptime] reverse: bool) -> usize {
    if comptime![reverse] { length - 1 - t } else { t }
}

/// How a kernel computes exponentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Math {
    /// By inline PTX: one instruction, good to two units in the last place, where the CUDA library takes eight.
    Ptx,
    /// As the device does.
    Native,
    /// By arithmetic. What software Vulkan offers is coarse, and its error grows along a sequence.
    Soft,
}

impl Math {
    /// For the device of `client`.
    pub(crate) fn of(client: &Client) -> Self {
        // Of all devices only those that CUDA C++ is compiled for have asynchronous copies.
        if client.features().copy_async {
            Self::Ptx
        } else if is_software(client) {
            Self::Soft
        } else {
            Self::Native
        }
    }

    /// What [`exp`] multiplies its argument by: `exp(x) = exp_scaled(x * scale)`.
    pub(crate) const fn exp_scale(self) -> f32 {
        match self {
            Self::Ptx => std::f32::consts::LOG2_E,
            Self::Native | Self::Soft => 1.0,
        }
    }
}

/// Whether the device is a CPU: no GPU has planes as narrow.
pub(crate) fn is_software(client: &Client) -> bool {
    client.properties().hardware.plane_size_max <= 8
}

// ANCHOR: exp_scaled
/// `exp(x)`, given `x` times [`Math::exp_scale`].
#[cube]
pub(crate) fn exp_scaled(x: f32, #[comptime] math: Math) -> f32 {
    match math {
        Math::Ptx => {
            let y: f32;
            gpu_asm!("ex2.approx.ftz.f32 {y}, {x};", y = out(_) y, x = in(_) x, options(pure, nomem));
            y
        }
        Math::Native => x.exp(),
        Math::Soft => soft_exp(x),
    }
}
// ANCHOR_END: exp_scaled

/// `2^(x y)` by arithmetic, good to 1e-5, with products beyond 120 taken for 120.
///
/// By inline PTX, whose multiplication and addition clamp without another instruction.
#[cube]
pub(crate) fn exp2_by_arithmetic(x: f32, y_over_240: f32) -> f32 {
    // A sum with it is a whole number, which lies in its lowest bits.
    const WHOLE: f32 = 12_582_912.0 - 120.0;
    let share: f32;
    gpu_asm!(
        "fma.rn.sat.f32 {share}, {x}, {y}, 0f3F000000;",
        share = out(_) share,
        x = in(_) x,
        y = in(_) y_over_240,
        options(pure, nomem)
    );
    let n = fma(share, 240.0f32, WHOLE);
    let r = fma(share, 240.0f32, WHOLE - n);
    let exp2_r = fma(r, 0.009_570_101f32, 0.055_917_86f32);
    let exp2_r = fma(r, exp2_r, 0.240_247_44f32);
    let exp2_r = fma(r, exp2_r, 0.693_121_8f32);
    let exp2_r = fma(r, exp2_r, 0.999_999_3f32);
    f32::reinterpret((u32::reinterpret(n) << 23) + u32::reinterpret(exp2_r))
}

/// `exp(x) = 2^n exp(r)` with the nearest whole `n`, and a polynomial for `|r| <= ln(2) / 2`.
#[cube]
fn soft_exp(x: f32) -> f32 {
    // Beyond these it is zero or infinite.
    let x = x.clamp(-104.0, 104.0);
    let n = (x * std::f32::consts::LOG2_E).round().clamp(-127.0, 128.0);
    // ln(2) in two parts, of which the first has so few digits that its product is exact.
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let exp_r = 1.0
        + r * (1.0
            + r * (0.5
                + r * (0.166_666_67
                    + r * (0.041_666_67 + r * (0.008_333_334 + r * (0.001_388_889 + r * 0.000_198_412_7))))));
    exp_r * f32::reinterpret((i32::cast_from(n) + 127) << 23)
}

/// `1 / x` for an `x` that is neither zero nor huge.
#[cube]
fn reciprocal(x: f32, #[comptime] math: Math) -> f32 {
    if comptime![math == Math::Ptx] {
        let y: f32;
        gpu_asm!("rcp.approx.ftz.f32 {y}, {x};", y = out(_) y, x = in(_) x, options(pure, nomem));
        y
    } else {
        1.0 / x
    }
}

/// `1 / (1 + exp(-x))`
#[cube]
pub(crate) fn sigmoid(x: f32, #[comptime] math: Math) -> f32 {
    if comptime![math == Math::Ptx] {
        // The reciprocal of infinity is zero here.
        reciprocal(1.0 + exp_scaled(-x * comptime![math.exp_scale()], math), math)
    } else {
        let e = exp_scaled(-x.abs() * comptime![math.exp_scale()], math);
        let small = e * reciprocal(1.0 + e, math);
        select(x < 0.0, small, 1.0 - small)
    }
}

/// [`sigmoid`] of every lane.
#[cube]
pub(crate) fn sigmoids<N: Size>(x: Vector<f32, N>, #[comptime] lanes: usize, #[comptime] math: Math) -> Vector<f32, N> {
    let mut y = Vector::<f32, N>::new(0.0);
    #[unroll]
    for lane in 0..lanes {
        y.insert(lane, sigmoid(x.extract(lane), math));
    }
    y
}

/// `ln(1 + exp(x)) = max(x, 0) + ln(1 + exp(-|x|))`
///
/// A polynomial for `ln(1 + y) / y` on `0..1`, good to 3e-8, keeps the relative accuracy for small results, which a
/// logarithm near one does not have in every shading language. A `coarse` one is good to 9e-6.
#[cube]
pub(crate) fn softplus(x: f32, #[comptime] coarse: bool, #[comptime] math: Math) -> f32 {
    let y = exp_scaled(-x.abs() * comptime![math.exp_scale()], math);
    let ratio = if comptime![coarse] {
        let ratio = fma(y, -0.023_869_129f32, 0.101_222_23f32);
        let ratio = fma(y, ratio, -0.210_048_65f32);
        let ratio = fma(y, ratio, 0.325_206_67f32);
        let ratio = fma(y, ratio, -0.499_361_4f32);
        fma(y, ratio, 0.999_991_6f32)
    } else {
        let ratio = fma(y, 0.005_232_690_6f32, -0.029_505_229f32);
        let ratio = fma(y, ratio, 0.078_225_94f32);
        let ratio = fma(y, ratio, -0.136_632_46f32);
        let ratio = fma(y, ratio, 0.191_060_07f32);
        let ratio = fma(y, ratio, -0.248_429_83f32);
        let ratio = fma(y, ratio, 0.333_190_97f32);
        let ratio = fma(y, ratio, -0.499_994_93f32);
        fma(y, ratio, 0.999_999_97f32)
    };
    fma(y, ratio, x.max(0.0))
}

/// An uninitialised contiguous tensor beside `like`.
pub(crate) fn empty<const D: usize>(like: &CubeTensor, shape: [usize; D], dtype: DType) -> CubeTensor {
    let shape = Shape::from(shape);
    let handle = like.client.empty(shape.num_elements() * dtype.size());
    CubeTensor::new_contiguous(like.client.clone(), like.device.clone(), shape, handle, dtype)
}

/// `tensor` with neighbours of the last dimension side by side; other strides may be anything.
pub(crate) fn rows(tensor: CubeTensor) -> CubeTensor {
    match tensor.meta.strides().last() {
        Some(1) => tensor,
        _ => into_contiguous(tensor),
    }
}

/// The widest address that any of the tensors needs.
pub(crate) fn address_type(tensors: &[&CubeTensor]) -> AddressType {
    tensors.iter().map(|tensor| tensor.required_address_type()).max().unwrap_or_default()
}

/// Cubes of one unit for every element.
pub(crate) fn grid(client: &Client, elements: usize) -> (CubeCount, CubeDim) {
    let cube_dim = CubeDim::new(client, elements);
    (calculate_cube_count_elemwise(client, elements, cube_dim), cube_dim)
}

/// The same in cubes of at most 128 units: of kernels with many registers, more of these fit a processor.
pub(crate) fn small_cubes(client: &Client, elements: usize) -> (CubeCount, CubeDim) {
    let cube_dim = CubeDim::new_1d(client.properties().hardware.max_units_per_cube.min(128));
    (calculate_cube_count_elemwise(client, elements, cube_dim), cube_dim)
}

/// The table of steps as the kernels read it; Burn's default integer may be wider.
pub(crate) fn steps_i32(path: Path<CubeBackend>) -> Option<CubeTensor> {
    match path {
        Path::Straight => None,
        Path::Steps(steps) => Some(CubeBackend::int_cast(steps, IntDType::I32)),
    }
}

/// How [`sum_params`] shares its work: neighbours of a cube, and units that share a sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SumPlan {
    pub lanes: usize,
    pub strands: usize,
}

/// What chunks add to the gradients of parameters: `[rows, columns + 1 or columns + 2, channels]`, the sums of which go to
/// `matrix` `[channels, columns]`, unless there are no columns, and to one or two vectors `[channels]`. The order of the
/// additions is fixed.
#[cube(launch_unchecked, address_type = "dynamic")]
fn sum_params(
    partial: &Tensor<f32>,
    matrix: &mut Tensor<f32>,
    vector: &mut Tensor<f32>,
    mut second: ComptimeOption<&mut Tensor<f32>>,
    columns: usize,
    #[comptime] plan: SumPlan,
) {
    let channels = partial.shape(2);
    let row = partial.shape(1) * channels;
    let lane = UNIT_POS as usize % plan.lanes;
    let strand = UNIT_POS as usize / plan.lanes;
    let position = CUBE_POS * plan.lanes + lane;
    let mut sums = Shared::<[f32]>::new_slice(comptime![plan.lanes * plan.strands]);
    let mut sum = f32::new(0.0);
    if position < row {
        for i in range_stepped(strand, partial.shape(0), plan.strands) {
            sum += partial[i * row + position];
        }
    }
    sums[UNIT_POS as usize] = sum;
    sync_cube();
    if strand == 0 && position < row {
        for other in 1..plan.strands {
            sum += sums[other * plan.lanes + lane];
        }
        let channel = position % channels;
        let column = position / channels;
        if column < columns {
            matrix[channel * columns + column] = sum;
        } else if column == columns {
            vector[channel] = sum;
        } else {
            #[comptime]
            if let ComptimeOption::Some(second) = second.as_mut() {
                second[channel] = sum;
            }
        }
    }
}

/// The sums of `pieces` of neighbouring rows of `partial` `[rows, width]`, each by a unit.
#[cube(launch_unchecked, address_type = "dynamic")]
fn sum_pieces(partial: &Tensor<f32>, sums: &mut Tensor<f32>, rows: usize, pieces: usize) {
    if ABSOLUTE_POS >= sums.len() {
        terminate!();
    }
    let width = sums.len() / pieces;
    let of_piece = rows.div_ceil(pieces);
    let first = ABSOLUTE_POS / width * of_piece;
    let mut sum = f32::new(0.0);
    for row in first..(first + of_piece).min(rows) {
        sum += partial[row * width + ABSOLUTE_POS % width];
    }
    sums[ABSOLUTE_POS] = sum;
}

/// Fewer rows with the same sums: about the root of their number, if there are many.
fn fewer_rows(partial: CubeTensor) -> CubeTensor {
    const MANY: usize = 512;
    let [rows, width, channels] = partial.shape().dims();
    if rows <= MANY {
        return partial;
    }
    let pieces = rows.isqrt();
    let sums = empty(&partial, [pieces, width, channels], DType::F32);
    let client = partial.client.clone();
    let (cubes, dim) = small_cubes(&client, pieces * width * channels);
    // SAFETY: every index is below the shapes.
    unsafe {
        sum_pieces::launch_unchecked(
            &client,
            cubes,
            dim,
            address_type(&[&partial]),
            partial.into_tensor_arg(),
            sums.clone().into_tensor_arg(),
            rows,
            pieces,
        );
    }
    sums
}

/// The sums of `partial` `[rows, columns + 1 or columns + 2, channels]` over the rows: those of the first columns
/// `[channels, columns]`, of the next, and of the last.
pub(crate) fn sum_of_params(partial: CubeTensor, columns: usize) -> (CubeTensor, CubeTensor, Option<CubeTensor>) {
    let partial = fewer_rows(partial);
    let [_, width, channels] = partial.shape().dims();
    let client = partial.client.clone();
    let matrix = empty(&partial, [channels, columns.max(1)], DType::F32);
    let vector = empty(&partial, [channels], DType::F32);
    let second = (width == columns + 2).then(|| empty(&partial, [channels], DType::F32));
    let lanes = 32;
    let strands = (client.properties().hardware.max_units_per_cube as usize / lanes).clamp(1, 8);
    let dim = CubeDim::new_1d((lanes * strands) as u32);
    // SAFETY: every index is below the shapes.
    unsafe {
        sum_params::launch_unchecked(
            &client,
            calculate_cube_count_elemwise(&client, (width * channels).div_ceil(lanes) * lanes * strands, dim),
            dim,
            address_type(&[&partial]),
            partial.into_tensor_arg(),
            matrix.clone().into_tensor_arg(),
            vector.clone().into_tensor_arg(),
            second.clone().map(|second| second.into_tensor_arg()).into(),
            columns,
            SumPlan { lanes, strands },
        );
    }
    (matrix, vector, second)
}

/// The sums of `partial` `[rows, channels]` over the rows: `[channels]`.
pub(crate) fn sum_of_rows(partial: CubeTensor) -> CubeTensor {
    let [rows, channels] = partial.shape().dims();
    let (_, sums, _) = sum_of_params(reshape(partial, Shape::new([rows, 1, channels])), 0);
    sums
}

/// How many neighbours of the last dimension, at most four and a divisor of `channels`, can be read together from each
/// tensor.
pub(crate) fn vector_size(tensors: &[&CubeTensor], channels: usize) -> usize {
    let fits = |tensor: &CubeTensor, n: usize| {
        let start = tensor.handle.offset_start.unwrap_or(0) as usize / tensor.dtype.size();
        let (_, rows) = tensor.meta.strides().split_last().expect("a tensor of channels has a dimension");
        start.is_multiple_of(n) && rows.iter().all(|stride| stride.is_multiple_of(n))
    };
    let sizes = [4, 2].into_iter();
    sizes.filter(|&n| channels.is_multiple_of(n)).find(|&n| tensors.iter().all(|x| fits(x, n))).unwrap_or(1)
}
