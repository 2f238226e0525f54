//! One token from a state, as in decoding. What a step takes is the reading and writing of states: units lie along them, so
//! that a cube's are side by side.

#![allow(clippy::collapsible_if, reason = "branches of the generated kernel and branches of its generation")]

use super::place::within;
use crate::cube::{Math, address_type, empty, exp_scaled, rows, sigmoid, softplus, vector_size};
use crate::selective_scan::backend::{Gate, Path, ScanConfig, ScanInputs};
use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::{DType, TensorMetadata};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;

/// What the kernel is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Plan {
    /// Neighbouring states that are read together, and how many of these a channel has.
    vector: usize,
    vectors: usize,
    /// Units of a channel, and channels of a cube.
    parts: usize,
    channels: usize,
    delta_softplus: bool,
    /// Whether the states before the token are zeros.
    fresh: bool,
    math: Math,
}

impl Plan {
    fn units(&self) -> usize {
        self.parts * self.channels
    }
}

/// Whether this scan is one token that nobody asks gradients of.
pub(super) fn is_step(inputs: &ScanInputs<CubeBackend>, config: ScanConfig) -> bool {
    let [_, length, d_inner] = inputs.delta.shape().dims();
    let plain = matches!(inputs.path, Path::Straight) && config.summed == 1 && inputs.u.shape()[2] == d_inner;
    length == 1 && plain && !config.save
}

/// The output and the state after the token. A state that nobody else holds is overwritten.
pub(super) fn step(inputs: ScanInputs<CubeBackend>, config: ScanConfig) -> (CubeTensor, CubeTensor) {
    const UNITS: usize = 128;
    let ScanInputs { u, delta, a, b, c, d, delta_bias, initial_state, gate, path: _ } = inputs;
    let [batch, length, d_inner] = delta.shape().dims();
    let [_, d_state] = a.shape().dims();
    let [u, delta, b, c] = [u, delta, b, c].map(rows);
    let [a, d, delta_bias, initial_state] = [a, d, delta_bias, initial_state].map(into_contiguous);
    let z = match gate {
        Gate::None => None,
        Gate::Silu(z) => Some(rows(z)),
    };
    let client = u.client.clone();
    let y = empty(&u, [batch, length, d_inner], u.dtype);
    let (from, state) = match initial_state.can_mut() {
        true => (None, initial_state),
        false => {
            let state = empty(&u, [batch, d_inner, d_state], DType::F32);
            (Some(initial_state).filter(|_| !config.fresh), state)
        }
    };
    let vector = vector_size(&[&a, &b, &c, &state, from.as_ref().unwrap_or(&state)], d_state);
    let most = (client.properties().hardware.max_units_per_cube as usize).min(UNITS);
    let parts = (d_state / vector).min(most);
    let plan = Plan {
        vector,
        vectors: d_state / vector,
        parts,
        channels: most / parts,
        delta_softplus: config.delta_softplus,
        fresh: config.fresh,
        math: Math::of(&client),
    };
    let dim = CubeDim::new_1d(plan.units() as u32);
    let cubes = batch * d_inner.div_ceil(plan.channels);
    let tensors = [&u, &delta, &b, &c, &y, &state, z.as_ref().unwrap_or(&y)];
    // SAFETY: every index is below the shapes, which the caller checked.
    unsafe {
        kernel::launch_unchecked(
            &client,
            calculate_cube_count_elemwise(&client, cubes * plan.units(), dim),
            dim,
            address_type(&tensors),
            vector,
            u.clone().into_tensor_arg(),
            delta.into_tensor_arg(),
            a.into_tensor_arg(),
            b.into_tensor_arg(),
            c.into_tensor_arg(),
            d.into_tensor_arg(),
            delta_bias.into_tensor_arg(),
            z.map(|z| z.into_tensor_arg()).into(),
            from.map(|from| from.into_tensor_arg()).into(),
            state.clone().into_tensor_arg(),
            y.clone().into_tensor_arg(),
            plan,
            dtype_to_storage_type(u.dtype),
        );
    }
    (y, state)
}

#[cube(launch_unchecked, address_type = "dynamic")]
fn kernel<F: Float, S: Size>(
    u: &Tensor<F>,
    delta: &Tensor<F>,
    a: &Tensor<Vector<f32, S>>,
    b: &Tensor<Vector<F, S>>,
    c: &Tensor<Vector<F, S>>,
    d: &Tensor<f32>,
    delta_bias: &Tensor<f32>,
    z: ComptimeOption<&Tensor<F>>,
    // The states before the token, where they are not those that are overwritten.
    from: ComptimeOption<&Tensor<Vector<f32, S>>>,
    state: &mut Tensor<Vector<f32, S>>,
    y: &mut Tensor<F>,
    #[comptime] plan: Plan,
    #[define(F)] _dtype: ElemType,
) {
    let d_inner = delta.shape(2);
    let blocks = d_inner.div_ceil(plan.channels);
    let batch = CUBE_POS / blocks;
    // The grid may be larger than the work; a whole cube leaves then.
    if batch >= delta.shape(0) {
        terminate!();
    }
    let part = UNIT_POS as usize % plan.parts;
    let own = CUBE_POS % blocks * plan.channels + UNIT_POS as usize / plan.parts;
    // Units beyond the channels compute on the last and write nothing.
    let active = own < d_inner;
    let channel = own.min(d_inner - 1);

    let mut size = f32::cast_from(delta[batch * delta.stride(0) + channel]) + delta_bias[channel];
    if comptime![plan.delta_softplus] {
        size = softplus(size, false, plan.math);
    }
    let input = f32::cast_from(u[batch * u.stride(0) + channel]);
    let group = channel / (d_inner / b.shape(2));
    let b_start = (batch * b.stride(0) + group * b.stride(2)) / plan.vector;
    let c_start = (batch * c.stride(0) + group * c.stride(2)) / plan.vector;
    let states = (batch * d_inner + channel) * plan.vectors;
    let mut sum = f32::new(0.0);
    #[unroll]
    for i in 0..comptime![plan.vectors.div_ceil(plan.parts)] {
        let n = part + i * plan.parts;
        if within(n, plan.vectors, plan.parts) {
            let mut h = Vector::<f32, S>::cast_from(b[b_start + n]) * Vector::new(size * input);
            if comptime![!plan.fresh] {
                let before = #[comptime]
                match &from {
                    ComptimeOption::Some(from) => from[states + n],
                    ComptimeOption::None => state[states + n],
                };
                let mut kept = a[channel * plan.vectors + n] * Vector::new(size * comptime![plan.math.exp_scale()]);
                #[unroll]
                for k in 0..plan.vector {
                    kept.insert(k, exp_scaled(kept.extract(k), plan.math));
                }
                h = fma(kept, before, h);
            }
            if active {
                state[states + n] = h;
            }
            let read = h * Vector::cast_from(c[c_start + n]);
            #[unroll]
            for k in 0..plan.vector {
                sum += read.extract(k);
            }
        }
    }

    let mut sums = Shared::<[f32]>::new_slice(plan.units());
    sums[UNIT_POS as usize] = sum;
    sync_cube();
    if part == 0 && active {
        let mut output = d[channel] * input;
        #[unroll]
        for other in 0..plan.parts {
            output += sums[UNIT_POS as usize + other];
        }
        #[comptime]
        if let ComptimeOption::Some(z) = &z {
            let z = f32::cast_from(z[batch * z.stride(0) + channel]);
            output *= z * sigmoid(z, plan.math);
        }
        y[batch * d_inner + channel] = F::cast_from(output);
    }
}
