//! The selective scan of Mamba-1 (Gu & Dao 2023, section 3.2 and algorithm 2).
//!
//! For every batch row and channel `e`, with `N` states and the token `t` visited after `t - 1`:
//!
//! ```text
//! delta'_t = softplus(delta_t + delta_bias)            (or without softplus)
//! h_t      = exp(delta'_t a) h_(t-1) + delta'_t u_t b_t      h: N numbers
//! y_t      = (<c_t, h_t> + d u_t) silu(z_t)            (or without the gate)
//! ```
//!
//! The whole is one operator: the states never reach memory, except one for every chunk of tokens, from which the
//! backward pass recomputes the others.

mod autodiff;
mod backend;
mod cpu;
#[cfg(feature = "cube")]
mod cube;
pub mod reference;

use crate::backend::{has_kernels, is_cpu};
use crate::order::steps_table;
use crate::{Direction, ScanOrder};
pub(crate) use backend::Path;
use backend::{Gate, ScanConfig, ScanInputs, SelectiveScanBackend};
use burn::backend::Dispatch;
use burn::tensor::{Bool, DType, Device, Tensor};

/// The optional arguments of [`selective_scan()`].
#[derive(Clone, Debug, Default)]
pub struct SelectiveScanOptions {
    d: Option<Tensor<1>>,
    z: Option<Tensor<3>>,
    delta_bias: Option<Tensor<1>>,
    delta_softplus: bool,
    initial_state: Option<Tensor<3>>,
    reset: Option<Tensor<3, Bool>>,
    order: Option<ScanOrder>,
    direction: Direction,
    sum_over_orders: bool,
    max_state_norm: Option<f64>,
}

impl SelectiveScanOptions {
    /// No skip, no gate, no bias, no softplus; from a zero state through the tokens in their order.
    pub fn new() -> Self {
        Self::default()
    }

    /// The skip connection `d`: `[d_inner]`.
    pub fn with_d(mut self, d: Tensor<1>) -> Self {
        self.d = Some(d);
        self
    }

    /// The gate `z`: `[batch, length, d_inner]`; the output is multiplied by `silu(z)`.
    pub fn with_z(mut self, z: Tensor<3>) -> Self {
        self.z = Some(z);
        self
    }

    /// The bias of delta, added in f32: `[d_inner]`.
    pub fn with_delta_bias(mut self, delta_bias: Tensor<1>) -> Self {
        self.delta_bias = Some(delta_bias);
        self
    }

    /// Whether delta goes through a softplus.
    pub fn with_delta_softplus(mut self, delta_softplus: bool) -> Self {
        self.delta_softplus = delta_softplus;
        self
    }

    /// The state before the first token: `[batch, d_inner, d_state]`. It is differentiable.
    pub fn with_initial_state(mut self, initial_state: Tensor<3>) -> Self {
        self.initial_state = Some(initial_state);
        self
    }

    /// The state is zeroed before every token whose entry is true: `[batch, length]`, by place (packed sequences).
    pub fn with_reset(mut self, reset: Tensor<2, Bool>) -> Self {
        self.reset = Some(reset.unsqueeze_dim(1));
        self
    }

    /// As [`with_reset`](Self::with_reset), with resets of its own for every order: `[batch, n_orders, length]`.
    pub fn with_reset_per_order(mut self, reset: Tensor<3, Bool>) -> Self {
        self.reset = Some(reset);
        self
    }

    /// The order or orders in which the tokens are visited.
    pub fn with_order(mut self, order: ScanOrder) -> Self {
        self.order = Some(order);
        self
    }

    /// Whether the outputs of all orders are added up, gate and skip included: `y` has `d_inner / n_orders` channels
    /// then, and neither it nor its gradient ever exists for every order.
    pub fn with_sum_over_orders(mut self, sum_over_orders: bool) -> Self {
        self.sum_over_orders = sum_over_orders;
        self
    }

    /// From which end the tokens (or the steps of the order) are visited.
    pub fn with_direction(mut self, direction: Direction) -> Self {
        self.direction = direction;
        self
    }

    /// The largest norm that the state of a channel may have after a token, a positive number: what is larger is scaled
    /// down to it before `y` is read (state normalisation; Chen et al. 2024, "Stuffed Mamba", arXiv:2410.07145v1):
    ///
    /// ```text
    /// h_t <- h_t min(1, max_state_norm / |h_t|)
    /// ```
    ///
    /// The recurrence is no longer linear, so that no kernel runs it: every device goes through
    /// [`mod@reference`], token by token.
    pub fn with_max_state_norm(mut self, max_state_norm: f64) -> Self {
        self.max_state_norm = Some(max_state_norm);
        self
    }
}

/// What [`selective_scan()`] returns. Gradients flow through both tensors.
#[derive(Clone, Debug)]
pub struct SelectiveScanOutput {
    /// `[batch, length, d_inner]`, in the dtype of `u`; `d_inner / n_orders` channels if orders are summed.
    pub y: Tensor<3>,
    /// The state after the last step: `[batch, d_inner, d_state]`, f32.
    pub final_state: Tensor<3>,
}

/// The selective scan, forward and differentiable.
///
/// # Shapes
/// - `u`, `delta`: `[batch, length, d_inner]`, f32, f16 or bf16 (one dtype for `u`, `delta`, `b`, `c` and `z`).
///   With several orders, `u` may have `d_inner / n_orders` channels, which every order reads.
/// - `a`: `[d_inner, d_state]`, negative, used in f32.
/// - `b`, `c`: `[batch, length, n_groups, d_state]`; channel `e` uses group `e / (d_inner / n_groups)`.
///
/// The arithmetic is in f32, and so is the state. Gradients exist for every float argument, and results do not change
/// from run to run.
///
/// # Panics
/// If shapes or dtypes do not fit together, or if a dimension is zero; the message names the argument. Burn panics if
/// tensors are on different devices.
///
/// ```
/// use burn::tensor::{Device, Distribution, Tensor};
/// use mamba_core::{SelectiveScanOptions, selective_scan};
///
/// let device = Device::flex();
/// let [batch, length, d_inner, d_state] = [2, 10, 8, 4];
/// let random = |shape: [usize; 3]| Tensor::<3>::random(shape, Distribution::Default, &device);
/// let u = random([batch, length, d_inner]);
/// let delta = random([batch, length, d_inner]);
/// let a = -random([1, d_inner, d_state]).squeeze_dim(0);
/// let b = random([batch, length, d_state]).unsqueeze_dim(2);
/// let c = random([batch, length, d_state]).unsqueeze_dim(2);
///
/// let out = selective_scan(u, delta, a, b, c, SelectiveScanOptions::new().with_delta_softplus(true));
/// assert_eq!(out.y.dims(), [batch, length, d_inner]);
/// assert_eq!(out.final_state.dims(), [batch, d_inner, d_state]);
/// ```
pub fn selective_scan(
    u: Tensor<3>,
    delta: Tensor<3>,
    a: Tensor<2>,
    b: Tensor<4>,
    c: Tensor<4>,
    options: SelectiveScanOptions,
) -> SelectiveScanOutput {
    check(&u, &delta, &a, &b, &c, &options);
    let device = u.device();
    if u.dtype() == DType::F64 || !has_kernels(&device) || options.max_state_norm.is_some() {
        return reference::selective_scan(u, delta, a, b, c, options);
    }

    let [batch, length, d_inner] = delta.dims();
    let [_, d_state] = a.dims();
    let SelectiveScanOptions {
        d,
        z,
        delta_bias,
        delta_softplus,
        initial_state,
        reset,
        order,
        direction,
        sum_over_orders,
        max_state_norm: _,
    } = options;
    let n_orders = order.as_ref().map_or(1, |order| order.dims()[0]);
    let steps = steps_table(order.as_ref(), reset.as_ref());
    let f32 = DType::F32;
    let per_channel = |x: Option<Tensor<1>>| match x {
        Some(x) => x.cast(f32),
        None => Tensor::zeros([d_inner], (&device, f32)),
    };
    // Zeros that are written nowhere: to write them is a launch of its own.
    let fresh = initial_state.is_none();
    let shape = [batch, d_inner, d_state];
    let initial_state = match initial_state {
        Some(state) => state.cast(f32),
        None => Tensor::empty(shape, (&device, f32)),
    };
    let inputs = ScanInputs::<Dispatch> {
        u: u.into_dispatch(),
        delta: delta.into_dispatch(),
        a: a.cast(f32).into_dispatch(),
        b: b.into_dispatch(),
        c: c.into_dispatch(),
        d: per_channel(d).into_dispatch(),
        delta_bias: per_channel(delta_bias).into_dispatch(),
        initial_state: initial_state.into_dispatch(),
        gate: z.map_or(Gate::None, |z| Gate::Silu(z.into_dispatch())),
        path: steps.map_or(Path::Straight, |steps| Path::Steps(steps.into_dispatch())),
    };
    let config = ScanConfig {
        fresh,
        delta_softplus,
        reverse: direction == Direction::Reverse,
        summed: if sum_over_orders { n_orders } else { 1 },
        chunk: chunk_length(&device, length, if sum_over_orders { 2 * d_state } else { d_state }),
        save: false,
        final_grad: false,
    };
    let (y, final_state, _) = Dispatch::selective_scan(inputs, config);
    SelectiveScanOutput { y: Tensor::from_dispatch(y), final_state: Tensor::from_dispatch(final_state) }
}

/// Tokens between two saved states: at least as many as states, so that what is saved stays within one f32 activation of
/// all orders. Where orders add up, activations are smaller, and twice as many tokens keep half as much.
///
/// A CPU keeps the states of a chunk near and goes through more tokens at a time; a GPU does less again the shorter they
/// are.
fn chunk_length(device: &Device, length: usize, least: usize) -> usize {
    let shortest = if is_cpu(device) { 64 } else { 16 };
    least.next_multiple_of(16).max(shortest).min(length.next_multiple_of(16))
}

fn check(
    u: &Tensor<3>,
    delta: &Tensor<3>,
    a: &Tensor<2>,
    b: &Tensor<4>,
    c: &Tensor<4>,
    options: &SelectiveScanOptions,
) {
    let [batch, length, d_inner] = delta.dims();
    let [_, d_state] = a.dims();
    let [_, _, n_groups, _] = b.dims();
    let n_orders = options.order.as_ref().map_or(1, |order| order.dims()[0]);
    for (name, size) in
        [("batch", batch), ("length", length), ("d_inner", d_inner), ("d_state", d_state), ("n_groups", n_groups)]
    {
        assert!(size > 0, "selective_scan: {name} is 0, expected at least 1");
    }
    assert!(
        d_inner.is_multiple_of(n_groups),
        "selective_scan: d_inner {d_inner} is not divisible by the {n_groups} groups of `b`"
    );
    assert!(
        d_inner.is_multiple_of(n_orders),
        "selective_scan: d_inner {d_inner} is not divisible by the {n_orders} orders"
    );
    let shape = |name: &str, actual: &[usize], expected: &[usize]| {
        assert!(actual == expected, "selective_scan: `{name}` has shape {actual:?}, expected {expected:?}");
    };
    if u.dims() != [batch, length, d_inner / n_orders] {
        shape("u", &u.dims(), &[batch, length, d_inner]);
    }
    shape("a", &a.dims(), &[d_inner, d_state]);
    shape("b", &b.dims(), &[batch, length, n_groups, d_state]);
    shape("c", &c.dims(), &[batch, length, n_groups, d_state]);
    if let Some(d) = &options.d {
        shape("d", &d.dims(), &[d_inner]);
    }
    if let Some(bias) = &options.delta_bias {
        shape("delta_bias", &bias.dims(), &[d_inner]);
    }
    if let Some(z) = &options.z {
        shape("z", &z.dims(), &[batch, length, d_inner]);
    }
    if let Some(state) = &options.initial_state {
        shape("initial_state", &state.dims(), &[batch, d_inner, d_state]);
    }
    if let Some(reset) = &options.reset {
        let [_, rows, _] = reset.dims();
        shape("reset", &reset.dims(), &[batch, if rows == 1 { 1 } else { n_orders }, length]);
    }
    if let Some(order) = &options.order {
        shape("order", &order.dims(), &[n_orders, length]);
    }
    if let Some(norm) = options.max_state_norm {
        assert!(norm > 0.0, "selective_scan: `max_state_norm` is {norm}, expected a positive number");
    }
    let mut same_dtype = vec![("delta", delta.dtype()), ("b", b.dtype()), ("c", c.dtype())];
    same_dtype.extend(options.z.as_ref().map(|z| ("z", z.dtype())));
    for (name, dtype) in same_dtype {
        assert!(dtype == u.dtype(), "selective_scan: `{name}` is {dtype:?}, expected {:?} as `u`", u.dtype());
    }
}
