//! What the units and the cubes of the backward kernel add up.

use super::plan::Plan;
use cubecl::prelude::*;

/// The sum of a unit's channels.
#[cube]
pub(crate) fn sum_of_channels<W: Size>(x: Vector<f32, W>, #[comptime] plan: Plan) -> f32 {
    let mut sum = x.extract(0usize);
    #[unroll]
    for lane in 1..plan.wide {
        sum += x.extract(lane);
    }
    sum
}

/// What the units of a cube add up, in shared memory.
#[derive(CubeType)]
pub(crate) struct Sums<W: Size> {
    /// `[summed, split, lanes]`, over the units of a channel: `<G, b>`
    pub gb: Shared<[Vector<f32, W>]>,
    /// `<G, exp(delta a) h a>`
    pub ga: Shared<[Vector<f32, W>]>,
    /// `<c, h>`
    pub y: Shared<[Vector<f32, W>]>,
    /// `[summed, 2, padded states, lanes + 1]`, over channels: the gradients of b and c
    pub bc: Shared<[f32]>,
}

#[cube]
impl<W: Size> Sums<W> {
    pub fn new(#[comptime] plan: Plan) -> Sums<W> {
        Sums::<W> {
            gb: Shared::new_slice(comptime![plan.summed * plan.units()]),
            ga: Shared::new_slice(comptime![plan.summed * plan.units()]),
            y: Shared::new_slice(comptime![plan.summed * plan.units()]),
            bc: Shared::new_slice(comptime![plan.sums() * (plan.lanes() + 1)]),
        }
    }

    /// The sum `index` over channels, in four strands: one would wait for every addition.
    pub fn over_channels(&self, index: usize, #[comptime] plan: Plan) -> f32 {
        let strands = comptime![plan.lanes().min(4)];
        let row = index * comptime![plan.lanes() + 1];
        let mut sums = Array::<f32>::new(strands);
        #[unroll]
        for strand in 0..strands {
            sums[strand] = self.bc[row + strand];
        }
        #[unroll(plan.unroll)]
        for i in 1..comptime![plan.lanes() / strands] {
            #[unroll]
            for strand in 0..strands {
                sums[strand] += self.bc[row + i * strands + strand];
            }
        }
        let mut sum = sums[0];
        #[unroll]
        for strand in 1..strands {
            sum += sums[strand];
        }
        sum
    }
}

/// The gradients of b and c, of the groups from `first_group` on, from those of the blocks of channels; a thread sums one
/// number of each, in a fixed order.
#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn sum_blocks<F: Float>(
    // [batch, length, groups of a round, blocks, 2, d_state]
    grad_bc: &Tensor<f32>,
    // [batch, length, n_groups, d_state], as the next
    grad_b: &mut Tensor<F>,
    grad_c: &mut Tensor<F>,
    first_group: usize,
    #[define(F)] _dtype: ElemType,
) {
    let groups = grad_bc.shape(2);
    let blocks = grad_bc.shape(3);
    let d_state = grad_bc.shape(5);
    if ABSOLUTE_POS >= grad_b.len() / grad_b.shape(2) * groups {
        terminate!();
    }
    let row = ABSOLUTE_POS / d_state;
    let group = row / groups * grad_b.shape(2) + first_group + row % groups;
    let to = group * d_state + ABSOLUTE_POS % d_state;
    let first = ABSOLUTE_POS / d_state * blocks * 2 * d_state + ABSOLUTE_POS % d_state;
    let mut sum_b = f32::new(0.0);
    let mut sum_c = f32::new(0.0);
    for block in 0..blocks {
        sum_b += grad_bc[first + 2 * block * d_state];
        sum_c += grad_bc[first + (2 * block + 1) * d_state];
    }
    grad_b[to] = F::cast_from(sum_b);
    grad_c[to] = F::cast_from(sum_c);
}

/// What orders side by side give, added up: from `parts` `[tokens, orders, channels]` to `sum` `[tokens, channels]`.
#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn sum_orders<F: Float, N: Size>(
    parts: &Tensor<Vector<f32, N>>,
    sum: &mut Tensor<Vector<F, N>>,
    orders: usize,
    channels: usize,
    #[define(F)] _dtype: ElemType,
) {
    if ABSOLUTE_POS >= sum.len() {
        terminate!();
    }
    let (token, channel) = (ABSOLUTE_POS / channels, ABSOLUTE_POS % channels);
    let first = token * orders * channels + channel;
    let mut total = parts[first];
    for order in 1..orders {
        total += parts[first + order * channels];
    }
    sum[ABSOLUTE_POS] = Vector::cast_from(total);
}
