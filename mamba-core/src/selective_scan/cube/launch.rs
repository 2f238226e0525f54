//! The launches of both passes.

use super::backward::scan_backward;
use super::forward::scan;
use super::plan::{Plan, Spans, rounds};
use super::prepared::{Prepared, Sizes, segment};
use super::step::{is_step, step};
use super::sums::sum_blocks;
use crate::cube::{empty, grid, rows, sum_of_params};
use crate::selective_scan::backend::{Gate, NOTHING_SAVED, ScanConfig, ScanGrads, ScanInputs, SelectiveScanBackend};
use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::tensor::FloatTensor;
use burn::backend::{DType, TensorMetadata};
use burn::tensor::Shape;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::reshape;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;

impl SelectiveScanBackend for CubeBackend {
    fn selective_scan(
        inputs: ScanInputs<Self>,
        config: ScanConfig,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        if is_step(&inputs, config) {
            let (y, state) = step(inputs, config);
            let nothing = empty(&y, NOTHING_SAVED, DType::F32);
            return (y, state, nothing);
        }
        let p = Prepared::new(inputs);
        let Sizes { batch, length, d_inner, d_state, n_orders, .. } = p.sizes;
        let dtype = dtype_to_storage_type(p.u.dtype);
        let client = p.u.client.clone();
        let hardware = &client.properties().hardware;
        let summed = config.summed > 1;
        let rounds = rounds(&client, batch * d_inner, d_state, config.summed);
        let plan = Plan::forward(&client, batch * d_inner / rounds, d_state, p.vectors(&[]), config);
        let segment = segment(&p.sizes);
        let blocks = d_inner / segment * segment.div_ceil(plan.channels);
        let spans = Spans::new(hardware, batch * blocks / rounds * plan.units(), length, config.chunk);
        let y = p.tokens(rounds, summed);
        let plan = Plan { fresh: config.fresh && spans.count == 1, near: p.are_near(&[&y]), ..plan };
        let final_state = empty(&p.u, [batch, d_inner, d_state], DType::F32);
        let saved = config.save.then(|| empty(&p.u, config.saved_shape([batch, length, d_inner], d_state), DType::F32));
        let address = p.address(&[&y, saved.as_ref().unwrap_or(&y)]);
        let dim = CubeDim::new_1d(plan.units() as u32);
        let cubes = |blocks| calculate_cube_count_elemwise(&client, batch * spans.count * blocks * plan.units(), dim);

        let entries = if spans.count == 1 {
            reshape(p.initial_state.clone(), Shape::new([batch, 1, d_inner, d_state]))
        } else {
            p.across_spans(&p.b, None, p.initial_state.clone(), config.fresh, spans, plan)
        };
        for round in 0..rounds {
            // SAFETY: every index is below the shapes, which the caller checked, and orders are permutations.
            unsafe {
                scan::launch_unchecked(
                    &client,
                    cubes(blocks / rounds),
                    dim,
                    address,
                    plan.vector,
                    plan.wide,
                    plan.quad,
                    p.u.clone().into_tensor_arg(),
                    p.delta.clone().into_tensor_arg(),
                    p.a.clone().into_tensor_arg(),
                    p.b.clone().into_tensor_arg(),
                    p.c.clone().into_tensor_arg(),
                    p.d.clone().into_tensor_arg(),
                    p.delta_bias.clone().into_tensor_arg(),
                    entries.clone().into_tensor_arg(),
                    p.z.clone().map(|z| z.into_tensor_arg()).into(),
                    p.steps.clone().map(|steps| steps.into_tensor_arg()).into(),
                    y.clone().into_tensor_arg(),
                    final_state.clone().into_tensor_arg(),
                    saved.clone().map(|saved| saved.into_tensor_arg()).into(),
                    n_orders,
                    segment,
                    spans.length,
                    round,
                    rounds,
                    summed,
                    plan,
                    dtype,
                    dtype_to_storage_type(y.dtype),
                );
            }
        }
        let saved = saved.unwrap_or_else(|| empty(&y, NOTHING_SAVED, DType::F32));
        let y = p.sum_of_round(y, d_inner / config.summed);
        (y, final_state, saved)
    }

    fn selective_scan_backward(
        inputs: ScanInputs<Self>,
        saved_states: FloatTensor<Self>,
        grad_y: FloatTensor<Self>,
        grad_final_state: FloatTensor<Self>,
        config: ScanConfig,
    ) -> ScanGrads<Self> {
        let p = Prepared::new(inputs);
        let Sizes { batch, length, d_inner, d_state, n_groups, n_orders, .. } = p.sizes;
        let io = p.u.dtype;
        let dtype = dtype_to_storage_type(io);
        let client = p.u.client.clone();
        let u_channels = p.u.shape()[2];
        let grad_y = rows(grad_y);
        let grad_final_state = into_contiguous(grad_final_state);
        let saved_states = into_contiguous(saved_states);
        let hardware = &client.properties().hardware;
        let summed = d_inner > u_channels;
        let rounds = rounds(&client, batch * d_inner, d_state, d_inner / u_channels);
        let plan = Plan::backward(&client, batch * d_inner / rounds, d_state, p.vectors(&[&grad_y]), config);
        let segment = segment(&p.sizes);
        let blocks = d_inner / segment * segment.div_ceil(plan.channels);
        let spans = Spans::new(hardware, batch * blocks / rounds * plan.units(), length, config.chunk);

        let grad_u = p.tokens(rounds, summed);
        let grad_delta = p.tokens(1, false);
        let grad_z = p.z.as_ref().map(|_| p.tokens(1, false));
        // Groups of one round each are summed after their round.
        let groups = if n_groups.is_multiple_of(rounds) { n_groups / rounds } else { n_groups };
        let grad_bc = empty(&p.u, [batch, length, groups, blocks / n_groups, 2, d_state], DType::F32);
        let [grad_b, grad_c] = [(); 2].map(|()| empty(&p.u, [batch, length, n_groups, d_state], io));
        let grad_params = empty(&p.u, [batch * spans.count, d_state + 2, d_inner], DType::F32);
        let grad_initial_state = empty(&p.u, [batch, d_inner, d_state], DType::F32);
        let fresh = !config.final_grad;
        let near = p.are_near(&[&grad_y, &grad_delta, &grad_bc]);
        let plan = Plan { fresh: fresh && spans.count == 1, near, ..plan };
        let address = p.address(&[&grad_y, &grad_u, &grad_bc, &grad_params, &saved_states]);
        let dim = CubeDim::new_1d(plan.units() as u32);
        let cubes = |blocks| calculate_cube_count_elemwise(&client, batch * spans.count * blocks * plan.units(), dim);

        let carries = if spans.count == 1 {
            reshape(grad_final_state, Shape::new([batch, 1, d_inner, d_state]))
        } else {
            p.across_spans(&p.c, Some(&grad_y), grad_final_state, fresh, spans, plan)
        };
        for round in 0..rounds {
            // SAFETY: as above.
            unsafe {
                scan_backward::launch_unchecked(
                    &client,
                    cubes(blocks / rounds),
                    dim,
                    address,
                    plan.vector,
                    plan.wide,
                    plan.quad,
                    p.u.clone().into_tensor_arg(),
                    p.delta.clone().into_tensor_arg(),
                    p.a.clone().into_tensor_arg(),
                    p.b.clone().into_tensor_arg(),
                    p.c.clone().into_tensor_arg(),
                    p.d.clone().into_tensor_arg(),
                    p.delta_bias.clone().into_tensor_arg(),
                    saved_states.clone().into_tensor_arg(),
                    carries.clone().into_tensor_arg(),
                    grad_y.clone().into_tensor_arg(),
                    p.z.clone().map(|z| z.into_tensor_arg()).into(),
                    p.steps.clone().map(|steps| steps.into_tensor_arg()).into(),
                    grad_u.clone().into_tensor_arg(),
                    grad_delta.clone().into_tensor_arg(),
                    grad_z.clone().map(|z| z.into_tensor_arg()).into(),
                    grad_bc.clone().into_tensor_arg(),
                    grad_params.clone().into_tensor_arg(),
                    grad_initial_state.clone().into_tensor_arg(),
                    n_orders,
                    segment,
                    spans.length,
                    round,
                    rounds,
                    summed,
                    plan,
                    dtype,
                    dtype_to_storage_type(grad_u.dtype),
                );
            }
            // What cubes could not sum themselves.
            if groups < n_groups || round == rounds - 1 {
                let (cubes, dim) = grid(&client, batch * length * groups * d_state);
                // SAFETY: every index is below the shapes.
                unsafe {
                    sum_blocks::launch_unchecked(
                        &client,
                        cubes,
                        dim,
                        address,
                        grad_bc.clone().into_tensor_arg(),
                        grad_b.clone().into_tensor_arg(),
                        grad_c.clone().into_tensor_arg(),
                        if groups < n_groups { round * groups } else { 0 },
                        dtype,
                    );
                }
            }
        }

        // The sums below get their room.
        drop((saved_states, grad_y, grad_bc));
        // What spans could not sum themselves.
        let (grad_a, grad_d, grad_bias) = sum_of_params(grad_params, d_state);
        let grad_bias = grad_bias.expect("there is a column for the bias");
        ScanGrads {
            u: p.sum_of_round(grad_u, u_channels),
            delta: grad_delta,
            a: grad_a,
            b: grad_b,
            c: grad_c,
            d: grad_d,
            delta_bias: grad_bias,
            initial_state: grad_initial_state,
            gate: grad_z.map_or(Gate::None, Gate::Silu),
        }
    }
}
