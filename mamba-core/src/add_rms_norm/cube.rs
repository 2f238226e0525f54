//! CubeCL. A cube owns a token; going back it owns a few, for whose share of the gradient of gamma it writes a row.

use super::backend::{AddRmsNormBackend, Residual};
use crate::cube::{address_type, empty, is_software, sum_of_rows};
use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::tensor::FloatTensor;
use burn::backend::{DType, TensorMetadata};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use cubecl::calculate_cube_count_elemwise;
use cubecl::client::Client;
use cubecl::prelude::*;

/// What the kernel is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Plan {
    d_model: usize,
    /// Of a cube, a power of two.
    units: usize,
    /// Channels of a unit.
    columns: usize,
    /// Whether a unit's channels are unrolled, so that they stay in registers.
    unroll: bool,
}

impl Plan {
    fn new(client: &Client, d_model: usize) -> Self {
        let most = (client.properties().hardware.max_units_per_cube as usize).min(256);
        let units = 1 << most.min(d_model.next_power_of_two()).ilog2();
        Self { d_model, units, columns: d_model.div_ceil(units), unroll: !is_software(client) }
    }
}

/// The sum of what the units of a cube have, for all of them.
#[cube]
fn sum_of_cube(shared: &mut Shared<[f32]>, value: f32, #[comptime] plan: Plan) -> f32 {
    let unit = UNIT_POS as usize;
    // The sum before may still be read.
    sync_cube();
    shared[unit] = value;
    sync_cube();
    let mut half = comptime![plan.units / 2].runtime();
    while half > 0 {
        if unit < half {
            shared[unit] += shared[unit + half];
        }
        sync_cube();
        half /= 2;
    }
    shared[0usize]
}

#[cube(launch_unchecked, address_type = "dynamic")]
fn kernel<F: Float, R: Float, G: Float>(
    hidden: &Tensor<F>,
    residual: ComptimeOption<&Tensor<R>>,
    gamma: &Tensor<G>,
    normed: &mut Tensor<F>,
    sum: &mut Tensor<f32>,
    tokens: usize,
    epsilon: f32,
    #[comptime] plan: Plan,
    #[define(F, R, G)] _dtypes: [ElemType; 3],
) {
    // The grid may be larger than the work; a whole cube leaves then.
    if CUBE_POS >= tokens {
        terminate!();
    }
    let unit = UNIT_POS as usize;
    let start = CUBE_POS * plan.d_model;
    let mut values = Array::<f32>::new(plan.columns);
    let mut squares = Shared::<[f32]>::new_slice(plan.units);
    let mut square = f32::new(0.0);
    #[unroll(plan.unroll)]
    for i in 0..plan.columns {
        let column = unit + i * plan.units;
        values[i] = f32::new(0.0);
        if column < plan.d_model {
            let mut value = f32::cast_from(hidden[start + column]);
            #[comptime]
            if let ComptimeOption::Some(residual) = &residual {
                value += f32::cast_from(residual[start + column]);
            }
            values[i] = value;
            sum[start + column] = value;
            square = fma(value, value, square);
        }
    }
    let mean = sum_of_cube(&mut squares, square, plan) / f32::cast_from(plan.d_model as u32);
    let scale = 1.0 / (mean + epsilon).sqrt();
    #[unroll(plan.unroll)]
    for i in 0..plan.columns {
        let column = unit + i * plan.units;
        if column < plan.d_model {
            normed[start + column] = F::cast_from(values[i] * scale * f32::cast_from(gamma[column]));
        }
    }
}

#[cube(launch_unchecked, address_type = "dynamic")]
fn kernel_backward<F: Float, G: Float>(
    sum: &Tensor<f32>,
    gamma: &Tensor<G>,
    grad_normed: &Tensor<F>,
    grad_sum: &Tensor<f32>,
    // That of what was added.
    grad: &mut Tensor<f32>,
    // [cubes, d_model]: the shares of the cubes in that of gamma.
    grad_gamma: &mut Tensor<f32>,
    tokens: usize,
    epsilon: f32,
    #[comptime] plan: Plan,
    #[define(F, G)] _dtypes: [ElemType; 2],
) {
    let cubes = grad_gamma.shape(0);
    if CUBE_POS >= cubes {
        terminate!();
    }
    let unit = UNIT_POS as usize;
    let width = f32::cast_from(plan.d_model as u32);
    let mut gammas = Array::<f32>::new(plan.columns);
    let mut shares = Array::<f32>::new(plan.columns);
    #[unroll(plan.unroll)]
    for i in 0..plan.columns {
        let column = unit + i * plan.units;
        gammas[i] = f32::new(0.0);
        shares[i] = f32::new(0.0);
        if column < plan.d_model {
            gammas[i] = f32::cast_from(gamma[column]);
        }
    }
    let mut shared = Shared::<[f32]>::new_slice(plan.units);
    let mut values = Array::<f32>::new(plan.columns);
    let mut grads = Array::<f32>::new(plan.columns);
    for token in range_stepped(CUBE_POS, tokens, cubes) {
        let start = token * plan.d_model;
        let mut square = f32::new(0.0);
        let mut product = f32::new(0.0);
        #[unroll(plan.unroll)]
        for i in 0..plan.columns {
            let column = unit + i * plan.units;
            values[i] = f32::new(0.0);
            grads[i] = f32::new(0.0);
            if column < plan.d_model {
                values[i] = sum[start + column];
                grads[i] = f32::cast_from(grad_normed[start + column]);
            }
            square = fma(values[i], values[i], square);
            product = fma(values[i], grads[i] * gammas[i], product);
        }
        let mean = sum_of_cube(&mut shared, square, plan) / width;
        let scale = 1.0 / (mean + epsilon).sqrt();
        let along = sum_of_cube(&mut shared, product, plan) / width * scale * scale;
        #[unroll(plan.unroll)]
        for i in 0..plan.columns {
            let column = unit + i * plan.units;
            if column < plan.d_model {
                let change = (grads[i] * gammas[i] - values[i] * along) * scale;
                grad[start + column] = grad_sum[start + column] + change;
            }
            shares[i] = fma(grads[i], values[i] * scale, shares[i]);
        }
    }
    #[unroll(plan.unroll)]
    for i in 0..plan.columns {
        let column = unit + i * plan.units;
        if column < plan.d_model {
            grad_gamma[CUBE_POS * plan.d_model + column] = shares[i];
        }
    }
}

impl AddRmsNormBackend for CubeBackend {
    fn add_rms_norm(
        hidden: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        residual: Residual<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [batch, length, d_model] = hidden.shape().dims();
        let client = hidden.client.clone();
        let hidden = into_contiguous(hidden);
        let gamma = into_contiguous(gamma);
        let residual = match residual {
            Residual::None => None,
            Residual::Stream(residual) => Some(into_contiguous(residual)),
        };
        let normed = empty(&hidden, [batch, length, d_model], hidden.dtype);
        let sum = empty(&hidden, [batch, length, d_model], DType::F32);
        let plan = Plan::new(&client, d_model);
        let dtypes = [hidden.dtype, residual.as_ref().map_or(DType::F32, |residual| residual.dtype), gamma.dtype];
        let dim = CubeDim::new_1d(plan.units as u32);
        // SAFETY: every index is below the shapes, which the caller checked.
        unsafe {
            kernel::launch_unchecked(
                &client,
                calculate_cube_count_elemwise(&client, batch * length * plan.units, dim),
                dim,
                address_type(&[&hidden, &sum]),
                hidden.into_tensor_arg(),
                residual.map(|residual| residual.into_tensor_arg()).into(),
                gamma.into_tensor_arg(),
                normed.clone().into_tensor_arg(),
                sum.clone().into_tensor_arg(),
                batch * length,
                epsilon as f32,
                plan,
                dtypes.map(dtype_to_storage_type),
            );
        }
        (normed, sum)
    }

    fn add_rms_norm_backward(
        sum: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        grad_normed: FloatTensor<Self>,
        grad_sum: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        const CUBES: usize = 1024;
        let [batch, length, d_model] = sum.shape().dims();
        let client = sum.client.clone();
        let [sum, gamma, grad_normed, grad_sum] = [sum, gamma, grad_normed, grad_sum].map(into_contiguous);
        let grad = empty(&sum, [batch, length, d_model], DType::F32);
        let cubes = (batch * length).min(CUBES);
        let shares = empty(&sum, [cubes, d_model], DType::F32);
        let plan = Plan::new(&client, d_model);
        let dtypes = [grad_normed.dtype, gamma.dtype];
        let dim = CubeDim::new_1d(plan.units as u32);
        // SAFETY: every index is below the shapes, which the forward pass checked.
        unsafe {
            kernel_backward::launch_unchecked(
                &client,
                calculate_cube_count_elemwise(&client, cubes * plan.units, dim),
                dim,
                address_type(&[&sum]),
                sum.into_tensor_arg(),
                gamma.into_tensor_arg(),
                grad_normed.into_tensor_arg(),
                grad_sum.into_tensor_arg(),
                grad.clone().into_tensor_arg(),
                shares.clone().into_tensor_arg(),
                batch * length,
                epsilon as f32,
                plan,
                dtypes.map(dtype_to_storage_type),
            );
        }
        (grad, sum_of_rows(shares))
    }
}
