//! Puts tensors and kernels together.

use super::backward::scan_backward;
use super::forward::scan;
use super::plan::{Plan, Spans, Vectors, rounds};
use super::span::{pass_on, span_edge};
use super::step::{is_step, step};
use super::sums::{sum_blocks, sum_orders};
use crate::cube::{address_type, empty, grid, rows, steps_i32, sum_of_params, vector_size};
use crate::selective_scan::backend::{Gate, NOTHING_SAVED, ScanConfig, ScanGrads, ScanInputs, SelectiveScanBackend};
use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::tensor::FloatTensor;
use burn::backend::{DType, TensorMetadata};
use burn::tensor::Shape;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::{cast, into_contiguous};
use burn_cubecl::ops::reshape;
use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;

/// The inputs as the kernels read them.
struct Prepared {
    u: CubeTensor,
    delta: CubeTensor,
    a: CubeTensor,
    b: CubeTensor,
    c: CubeTensor,
    d: CubeTensor,
    delta_bias: CubeTensor,
    initial_state: CubeTensor,
    z: Option<CubeTensor>,
    steps: Option<CubeTensor>,
    sizes: Sizes,
}

#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    length: usize,
    d_inner: usize,
    d_state: usize,
    n_groups: usize,
    n_orders: usize,
}

impl Prepared {
    fn new(inputs: ScanInputs<CubeBackend>) -> Self {
        let ScanInputs { u, delta, a, b, c, d, delta_bias, initial_state, gate, path } = inputs;
        let [batch, length, d_inner] = delta.shape().dims();
        let [_, _, n_groups, d_state] = b.shape().dims();
        let steps = steps_i32(path);
        let n_orders = steps.as_ref().map_or(1, |steps| steps.shape()[1]).max(d_inner / u.shape()[2]);
        Self {
            u: rows(u),
            delta: rows(delta),
            a: into_contiguous(a),
            b: rows(b),
            c: rows(c),
            d: into_contiguous(d),
            delta_bias: into_contiguous(delta_bias),
            initial_state: into_contiguous(initial_state),
            z: match gate {
                Gate::None => None,
                Gate::Silu(z) => Some(rows(z)),
            },
            steps,
            sizes: Sizes { batch, length, d_inner, d_state, n_groups, n_orders },
        }
    }
}

impl Prepared {
    /// Room for all tokens of the channels of a round, in f32 where orders are `summed`.
    fn tokens(&self, rounds: usize, summed: bool) -> CubeTensor {
        let Sizes { batch, length, d_inner, .. } = self.sizes;
        let dtype = if summed { DType::F32 } else { self.u.dtype };
        empty(&self.u, [batch, length, d_inner / rounds], dtype)
    }

    /// The sum over the orders of a round, each with its own of the channels, of which `channels` are left.
    fn sum_of_round(&self, parts: CubeTensor, channels: usize) -> CubeTensor {
        let [batch, length, side_by_side] = parts.shape().dims();
        if side_by_side == channels {
            return cast(parts, self.u.dtype);
        }
        let sum = empty(&parts, [batch, length, channels], self.u.dtype);
        let client = parts.client.clone();
        let wide = vector_size(&[&parts], channels);
        let (cubes, dim) = grid(&client, batch * length * channels / wide);
        // SAFETY: every index is below the shapes.
        unsafe {
            sum_orders::launch_unchecked(
                &client,
                cubes,
                dim,
                address_type(&[&parts]),
                wide,
                parts.into_tensor_arg(),
                sum.clone().into_tensor_arg(),
                side_by_side / channels,
                channels / wide,
                dtype_to_storage_type(sum.dtype),
            );
        }
        sum
    }

    /// What reaches each span from those before it or, given `grad_y`, from those behind: `[batch, n_spans, d_inner,
    /// d_state]`. `outer` comes from outside, or is zero if it is `fresh`.
    fn across_spans(
        &self,
        bc: &CubeTensor,
        grad_y: Option<&CubeTensor>,
        outer: CubeTensor,
        fresh: bool,
        spans: Spans,
        plan: Plan,
    ) -> CubeTensor {
        let Sizes { batch, d_inner, d_state, n_orders, .. } = self.sizes;
        let client = self.u.client.clone();
        let edges = empty(&self.u, [batch, spans.count, d_inner, d_state], DType::F32);
        let sums = empty(&self.u, [batch, spans.count, d_inner, 2], DType::F32);
        let of_grad = grad_y.is_some();
        let z = self.z.as_ref().filter(|_| of_grad);
        let address = self.address(&[&edges, grad_y.unwrap_or(&edges)]);
        let segment = segment(&self.sizes);
        let cubes = batch * spans.count * (d_inner / segment) * segment.div_ceil(plan.channels);
        let dim = CubeDim::new_1d(plan.units() as u32);
        // SAFETY: every index is below the shapes, which the caller checked, and orders are permutations.
        unsafe {
            span_edge::launch_unchecked(
                &client,
                calculate_cube_count_elemwise(&client, cubes * plan.units(), dim),
                dim,
                address,
                plan.vector,
                plan.wide,
                plan.quad,
                self.u.clone().into_tensor_arg(),
                self.delta.clone().into_tensor_arg(),
                self.a.clone().into_tensor_arg(),
                bc.clone().into_tensor_arg(),
                self.delta_bias.clone().into_tensor_arg(),
                grad_y.map(|grad_y| grad_y.clone().into_tensor_arg()).into(),
                z.map(|z| z.clone().into_tensor_arg()).into(),
                self.steps.clone().map(|steps| steps.into_tensor_arg()).into(),
                edges.clone().into_tensor_arg(),
                sums.clone().into_tensor_arg(),
                n_orders,
                segment,
                spans.length,
                plan,
                dtype_to_storage_type(self.u.dtype),
            );
        }
        // Small cubes, so that most processors get some.
        let dim = CubeDim::new_1d(64);
        let cubes = calculate_cube_count_elemwise(&client, batch * d_inner * d_state, dim);
        // SAFETY: as above.
        unsafe {
            pass_on::launch_unchecked(
                &client,
                cubes,
                dim,
                address,
                self.a.clone().into_tensor_arg(),
                sums.into_tensor_arg(),
                outer.into_tensor_arg(),
                edges.clone().into_tensor_arg(),
                plan.math,
                of_grad,
                fresh,
            );
        }
        edges
    }

    /// The widest address that an input needs or one of `more`.
    fn address(&self, more: &[&CubeTensor]) -> AddressType {
        let inputs = [&self.u, &self.delta, &self.b, &self.c].into_iter().chain(&self.z);
        address_type(&inputs.chain(more.iter().copied()).collect::<Vec<_>>())
    }

    /// Whether an input's tokens, and those of `more`, are less than 2^32 elements behind the first of their sequence.
    fn are_near(&self, more: &[&CubeTensor]) -> bool {
        let inputs = [&self.u, &self.delta, &self.b, &self.c].into_iter().chain(&self.z);
        let last = |tensor: &CubeTensor| (self.sizes.length - 1) * tensor.meta.strides()[1];
        inputs.chain(more.iter().copied()).all(|tensor| u32::try_from(last(tensor)).is_ok())
    }

    /// What can be read together, of `more` as well.
    fn vectors(&self, more: &[&CubeTensor]) -> Vectors {
        let by_channels: Vec<_> =
            [&self.u, &self.delta].into_iter().chain(&self.z).chain(more.iter().copied()).collect();
        Vectors {
            channels: vector_size(&by_channels, segment(&self.sizes)),
            states: vector_size(&[&self.b, &self.c], self.sizes.d_state),
            bf16: self.u.dtype == DType::BF16,
        }
    }
}

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

/// Neighbouring channels that share their group and their order.
fn segment(sizes: &Sizes) -> usize {
    greatest_common_divisor(sizes.d_inner / sizes.n_groups, sizes.d_inner / sizes.n_orders)
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}
