//! The inputs as the kernels read them, and what several launches need of them.

use super::plan::{Plan, Spans, Vectors};
use super::span::{pass_on, span_edge};
use super::sums::sum_orders;
use crate::cube::{address_type, empty, grid, rows, steps_i32, vector_size};
use crate::selective_scan::backend::{Gate, ScanInputs};
use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::{DType, TensorMetadata};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::{cast, into_contiguous};
use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;

/// The inputs as the kernels read them.
pub(super) struct Prepared {
    pub(super) u: CubeTensor,
    pub(super) delta: CubeTensor,
    pub(super) a: CubeTensor,
    pub(super) b: CubeTensor,
    pub(super) c: CubeTensor,
    pub(super) d: CubeTensor,
    pub(super) delta_bias: CubeTensor,
    pub(super) initial_state: CubeTensor,
    pub(super) z: Option<CubeTensor>,
    pub(super) steps: Option<CubeTensor>,
    pub(super) sizes: Sizes,
}

#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub(super) batch: usize,
    pub(super) length: usize,
    pub(super) d_inner: usize,
    pub(super) d_state: usize,
    pub(super) n_groups: usize,
    pub(super) n_orders: usize,
}

impl Prepared {
    pub(super) fn new(inputs: ScanInputs<CubeBackend>) -> Self {
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
    pub(super) fn tokens(&self, rounds: usize, summed: bool) -> CubeTensor {
        let Sizes { batch, length, d_inner, .. } = self.sizes;
        let dtype = if summed { DType::F32 } else { self.u.dtype };
        empty(&self.u, [batch, length, d_inner / rounds], dtype)
    }

    /// The sum over the orders of a round, each with its own of the channels, of which `channels` are left.
    pub(super) fn sum_of_round(&self, parts: CubeTensor, channels: usize) -> CubeTensor {
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
    pub(super) fn across_spans(
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
    pub(super) fn address(&self, more: &[&CubeTensor]) -> AddressType {
        let inputs = [&self.u, &self.delta, &self.b, &self.c].into_iter().chain(&self.z);
        address_type(&inputs.chain(more.iter().copied()).collect::<Vec<_>>())
    }

    /// Whether an input's tokens, and those of `more`, are less than 2^32 elements behind the first of their sequence.
    pub(super) fn are_near(&self, more: &[&CubeTensor]) -> bool {
        let inputs = [&self.u, &self.delta, &self.b, &self.c].into_iter().chain(&self.z);
        let last = |tensor: &CubeTensor| (self.sizes.length - 1) * tensor.meta.strides()[1];
        inputs.chain(more.iter().copied()).all(|tensor| u32::try_from(last(tensor)).is_ok())
    }

    /// What can be read together, of `more` as well.
    pub(super) fn vectors(&self, more: &[&CubeTensor]) -> Vectors {
        let by_channels: Vec<_> =
            [&self.u, &self.delta].into_iter().chain(&self.z).chain(more.iter().copied()).collect();
        Vectors {
            channels: vector_size(&by_channels, segment(&self.sizes)),
            states: vector_size(&[&self.b, &self.c], self.sizes.d_state),
            bf16: self.u.dtype == DType::BF16,
        }
    }
}

/// Neighbouring channels that share their group and their order.
pub(super) fn segment(sizes: &Sizes) -> usize {
    greatest_common_divisor(sizes.d_inner / sizes.n_groups, sizes.d_inner / sizes.n_orders)
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}
