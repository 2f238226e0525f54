//! CubeCL. A cube owns a token.

use super::backend::{AddRmsNormBackend, Residual};
use crate::cube::{address_type, empty, is_software};
use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::tensor::FloatTensor;
use burn::backend::{DType, TensorMetadata};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use cubecl::calculate_cube_count_elemwise;
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
    squares[unit] = square;
    sync_cube();
    let mut half = comptime![plan.units / 2].runtime();
    while half > 0 {
        if unit < half {
            squares[unit] += squares[unit + half];
        }
        sync_cube();
        half /= 2;
    }
    let mean = squares[0usize] / f32::cast_from(plan.d_model as u32);
    let scale = 1.0 / (mean + epsilon).sqrt();
    #[unroll(plan.unroll)]
    for i in 0..plan.columns {
        let column = unit + i * plan.units;
        if column < plan.d_model {
            normed[start + column] = F::cast_from(values[i] * scale * f32::cast_from(gamma[column]));
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
        let hardware = &client.properties().hardware;
        let most = (hardware.max_units_per_cube as usize).min(256);
        let units = 1 << most.min(d_model.next_power_of_two()).ilog2();
        let plan = Plan { d_model, units, columns: d_model.div_ceil(units), unroll: !is_software(&client) };
        let dtypes = [hidden.dtype, residual.as_ref().map_or(DType::F32, |residual| residual.dtype), gamma.dtype];
        let dim = CubeDim::new_1d(units as u32);
        // SAFETY: every index is below the shapes, which the caller checked.
        unsafe {
            kernel::launch_unchecked(
                &client,
                calculate_cube_count_elemwise(&client, batch * length * units, dim),
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
}
