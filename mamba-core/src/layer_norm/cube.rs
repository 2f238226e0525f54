//! CubeCL. A group of units owns a token, and a cube a few of them; going back, a group owns many tokens one after the
//! other, for whose share of the gradients of the parameters it writes a row.

use super::backend::LayerNormBackend;
use crate::cube::{address_type, empty, is_software, sum_of_params};
use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::tensor::FloatTensor;
use burn::backend::{DType, TensorMetadata};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use cubecl::calculate_cube_count_elemwise;
use cubecl::client::Client;
use cubecl::ir::features::Plane;
use cubecl::prelude::*;

/// What the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Plan {
    d_model: usize,
    /// Of a group, a power of two.
    units: usize,
    /// Groups of a cube.
    groups: usize,
    /// Whether a group is a plane, and adds up without shared memory.
    in_plane: bool,
    /// Channels of a unit.
    columns: usize,
    /// Whether a unit's channels are unrolled, so that they stay in registers.
    unroll: bool,
}

impl Plan {
    fn new(client: &Client, d_model: usize) -> Self {
        const UNITS: usize = 32;
        let properties = client.properties();
        let most = (properties.hardware.max_units_per_cube as usize).min(256);
        let plane = properties.hardware.plane_size_min as usize;
        let in_plane = properties.features.plane.contains(Plane::Ops)
            && plane == properties.hardware.plane_size_max as usize
            && plane.is_power_of_two()
            && plane <= most
            && !is_software(client);
        let units = if in_plane { plane } else { UNITS.min(1 << most.ilog2()) };
        let columns = d_model.div_ceil(units);
        Self { d_model, units, groups: most / units, in_plane, columns, unroll: !is_software(client) && columns <= 32 }
    }

    fn cube(&self) -> CubeDim {
        CubeDim::new_1d((self.groups * self.units) as u32)
    }
}

/// The mean over the channels of a token of what the units of its group have, for all of them.
#[cube]
fn mean(shared: &mut Shared<[f32]>, value: f32, #[comptime] plan: Plan) -> f32 {
    let width = f32::cast_from(plan.d_model as u32);
    if comptime![plan.in_plane] {
        plane_sum(value) / width
    } else {
        let unit = UNIT_POS as usize;
        // The sum before may still be read.
        sync_cube();
        shared[unit] = value;
        sync_cube();
        let mut half = comptime![plan.units / 2].runtime();
        while half > 0 {
            if unit % plan.units < half {
                shared[unit] += shared[unit + half];
            }
            sync_cube();
            half /= 2;
        }
        shared[unit / plan.units * plan.units] / width
    }
}

/// Room for the sums of a cube.
#[cube]
fn room(#[comptime] plan: Plan) -> Shared<[f32]> {
    Shared::<[f32]>::new_slice(comptime![if plan.in_plane { 1 } else { plan.groups * plan.units }])
}

/// Reads the channels of a unit, those of `x` from `start` on; what is beyond is zero, as is everything if not `active`.
#[cube]
fn read<F: Float>(to: &mut Array<f32>, x: &Tensor<F>, start: usize, active: bool, #[comptime] plan: Plan) {
    let unit = UNIT_POS as usize % plan.units;
    #[unroll(plan.unroll)]
    for i in 0..plan.columns {
        let column = unit + i * plan.units;
        to[i] = f32::new(0.0);
        if active && column < plan.d_model {
            to[i] = f32::cast_from(x[start + column]);
        }
    }
}

/// Turns the channels of a token into their distances from their mean over the standard deviation, which it returns the
/// inverse of. Channels beyond the last become zero.
#[cube]
fn normalize(values: &mut Array<f32>, shared: &mut Shared<[f32]>, epsilon: f32, #[comptime] plan: Plan) -> f32 {
    let unit = UNIT_POS as usize % plan.units;
    let mut sum = f32::new(0.0);
    #[unroll(plan.unroll)]
    for i in 0..plan.columns {
        sum += values[i];
    }
    let centre = mean(shared, sum, plan);
    let mut square = f32::new(0.0);
    #[unroll(plan.unroll)]
    for i in 0..plan.columns {
        if unit + i * plan.units < plan.d_model {
            values[i] -= centre;
        }
        square = fma(values[i], values[i], square);
    }
    let scale = 1.0 / (mean(shared, square, plan) + epsilon).sqrt();
    #[unroll(plan.unroll)]
    for i in 0..plan.columns {
        values[i] *= scale;
    }
    scale
}

#[cube(launch_unchecked, address_type = "dynamic")]
fn kernel<F: Float, G: Float>(
    x: &Tensor<F>,
    gamma: &Tensor<G>,
    beta: &Tensor<G>,
    y: &mut Tensor<F>,
    tokens: usize,
    epsilon: f32,
    #[comptime] plan: Plan,
    #[define(F, G)] _dtypes: [ElemType; 2],
) {
    let unit = UNIT_POS as usize % plan.units;
    let token = CUBE_POS * plan.groups + UNIT_POS as usize / plan.units;
    let active = token < tokens;
    let start = token * plan.d_model;
    let mut shared = room(plan);
    let mut values = Array::<f32>::new(plan.columns);
    read(&mut values, x, start, active, plan);
    normalize(&mut values, &mut shared, epsilon, plan);
    #[unroll(plan.unroll)]
    for i in 0..plan.columns {
        let column = unit + i * plan.units;
        if active && column < plan.d_model {
            let value = fma(values[i], f32::cast_from(gamma[column]), f32::cast_from(beta[column]));
            y[start + column] = F::cast_from(value);
        }
    }
}

/// With `x'` the normalised channels and `s` the inverse of their deviation,
/// `dx = s (gamma dy - mean(gamma dy) - x' mean(gamma dy x'))`.
#[cube(launch_unchecked, address_type = "dynamic")]
fn kernel_backward<F: Float, G: Float>(
    x: &Tensor<F>,
    gamma: &Tensor<G>,
    grad_y: &Tensor<F>,
    grad_x: &mut Tensor<F>,
    // [rows, 2, d_model]: the shares of the groups in those of gamma and beta.
    grad_params: &mut Tensor<f32>,
    tokens: usize,
    epsilon: f32,
    #[comptime] plan: Plan,
    #[define(F, G)] _dtypes: [ElemType; 2],
) {
    let rows = grad_params.shape(0);
    // The grid may be larger than the work; a whole cube leaves then.
    if CUBE_POS * plan.groups >= rows {
        terminate!();
    }
    let unit = UNIT_POS as usize % plan.units;
    let row = CUBE_POS * plan.groups + UNIT_POS as usize / plan.units;
    let mut shared = room(plan);
    let mut gammas = Array::<f32>::new(plan.columns);
    read(&mut gammas, gamma, 0, true, plan);
    let mut of_gamma = Array::<f32>::new(plan.columns);
    let mut of_beta = Array::<f32>::new(plan.columns);
    #[unroll(plan.unroll)]
    for i in 0..plan.columns {
        of_gamma[i] = f32::new(0.0);
        of_beta[i] = f32::new(0.0);
    }
    let mut values = Array::<f32>::new(plan.columns);
    let mut grads = Array::<f32>::new(plan.columns);
    // All groups of a cube go on until its last token: they wait for each other.
    for round in 0..tokens.div_ceil(rows) {
        let token = round * rows + row;
        let active = token < tokens;
        let start = token * plan.d_model;
        read(&mut values, x, start, active, plan);
        read(&mut grads, grad_y, start, active, plan);
        let scale = normalize(&mut values, &mut shared, epsilon, plan);
        let mut sum = f32::new(0.0);
        let mut along = f32::new(0.0);
        #[unroll(plan.unroll)]
        for i in 0..plan.columns {
            of_gamma[i] = fma(grads[i], values[i], of_gamma[i]);
            of_beta[i] += grads[i];
            grads[i] *= gammas[i];
            sum += grads[i];
            along = fma(grads[i], values[i], along);
        }
        let sum = mean(&mut shared, sum, plan);
        let along = mean(&mut shared, along, plan);
        #[unroll(plan.unroll)]
        for i in 0..plan.columns {
            let column = unit + i * plan.units;
            if active && column < plan.d_model {
                grad_x[start + column] = F::cast_from(scale * (grads[i] - sum - values[i] * along));
            }
        }
    }
    let share = row * comptime![2 * plan.d_model];
    #[unroll(plan.unroll)]
    for i in 0..plan.columns {
        let column = unit + i * plan.units;
        if row < rows && column < plan.d_model {
            grad_params[share + column] = of_gamma[i];
            grad_params[share + plan.d_model + column] = of_beta[i];
        }
    }
}

impl LayerNormBackend for CubeBackend {
    fn layer_norm_forward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let [tokens, d_model] = x.shape().dims();
        let client = x.client.clone();
        let [x, gamma, beta] = [x, gamma, beta].map(into_contiguous);
        let y = empty(&x, [tokens, d_model], x.dtype);
        let plan = Plan::new(&client, d_model);
        let dtypes = [x.dtype, gamma.dtype];
        // SAFETY: every index is below the shapes, which the caller checked.
        unsafe {
            kernel::launch_unchecked(
                &client,
                calculate_cube_count_elemwise(&client, tokens * plan.units, plan.cube()),
                plan.cube(),
                address_type(&[&x]),
                x.into_tensor_arg(),
                gamma.into_tensor_arg(),
                beta.into_tensor_arg(),
                y.clone().into_tensor_arg(),
                tokens,
                epsilon as f32,
                plan,
                dtypes.map(dtype_to_storage_type),
            );
        }
        y
    }

    fn layer_norm_grads(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        grad_y: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        const ROWS: usize = 4096;
        let [tokens, d_model] = x.shape().dims();
        let client = x.client.clone();
        let [x, gamma, grad_y] = [x, gamma, grad_y].map(into_contiguous);
        let grad_x = empty(&x, [tokens, d_model], x.dtype);
        let rows = tokens.min(ROWS);
        let grad_params = empty(&x, [rows, 2, d_model], DType::F32);
        let plan = Plan::new(&client, d_model);
        let dtypes = [x.dtype, gamma.dtype];
        // SAFETY: every index is below the shapes, which the forward pass checked.
        unsafe {
            kernel_backward::launch_unchecked(
                &client,
                calculate_cube_count_elemwise(&client, rows * plan.units, plan.cube()),
                plan.cube(),
                address_type(&[&x, &grad_params]),
                x.into_tensor_arg(),
                gamma.into_tensor_arg(),
                grad_y.into_tensor_arg(),
                grad_x.clone().into_tensor_arg(),
                grad_params.clone().into_tensor_arg(),
                tokens,
                epsilon as f32,
                plan,
                dtypes.map(dtype_to_storage_type),
            );
        }
        let (_, gamma, beta) = sum_of_params(grad_params, 0);
        (grad_x, gamma, beta.expect("there is a row for it"))
    }
}
