//! The causal depthwise convolution before the scan (Gu & Dao 2023, section 3.4).
//!
//! For every batch row and channel, with `W` taps and the token `t` visited after `t - 1`:
//!
//! ```text
//! y_t = silu(bias + sum_k weight_k x_(t - (W - 1) + k))      (or without silu)
//! ```
//!
//! Weight `W - 1` multiplies the current token. Before the first token, and across a reset, `x` is zero (or the
//! initial state).

mod autodiff;
mod backend;
mod cpu;
#[cfg(feature = "cube")]
mod cube;
pub mod reference;

use crate::backend::has_kernels;
use crate::order::steps_table;
use crate::selective_scan::Path;
use crate::{Direction, ScanOrder};
use backend::{CausalConv1dBackend, ConvConfig, ConvInputs};
use burn::backend::Dispatch;
use burn::tensor::kind::Basic;
use burn::tensor::{Bool, DType, Device, Tensor};

/// The optional arguments of [`causal_conv1d()`].
#[derive(Clone, Debug, Default)]
pub struct CausalConv1dOptions {
    bias: Option<Tensor<1>>,
    silu: bool,
    initial_state: Option<Tensor<3>>,
    reset: Option<Tensor<3, Bool>>,
    order: Option<ScanOrder>,
    direction: Direction,
}

impl CausalConv1dOptions {
    /// No bias, no activation; zeros before the first token.
    pub fn new() -> Self {
        Self::default()
    }

    /// The bias: `[channels]`.
    pub fn with_bias(mut self, bias: Tensor<1>) -> Self {
        self.bias = Some(bias);
        self
    }

    /// Whether the output goes through a SiLU.
    pub fn with_silu(mut self, silu: bool) -> Self {
        self.silu = silu;
        self
    }

    /// The `width - 1` inputs before the first token, newest last: `[batch, width - 1, channels]`. Differentiable.
    pub fn with_initial_state(mut self, initial_state: Tensor<3>) -> Self {
        self.initial_state = Some(initial_state);
        self
    }

    /// Nothing before a token whose entry is true is seen from it on: `[batch, length]`, by place.
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

    /// From which end the tokens (or the steps of the order) are visited.
    pub fn with_direction(mut self, direction: Direction) -> Self {
        self.direction = direction;
        self
    }
}

/// What [`causal_conv1d()`] returns. Gradients flow through both tensors.
#[derive(Clone, Debug)]
pub struct CausalConv1dOutput {
    /// `[batch, length, channels]`, in the dtype of `x`.
    pub y: Tensor<3>,
    /// The last `width - 1` inputs, newest last, as the next call's initial state: `[batch, width - 1, channels]`.
    pub final_state: Tensor<3>,
}

/// The causal depthwise convolution, forward and differentiable.
///
/// # Shapes
/// - `x`: `[batch, length, channels]`, f32, f16 or bf16; with several orders, block `k` of the channels follows
///   order `k`.
/// - `weight`: `[channels, width]`, any width from 1 on; used in f32.
///
/// # Panics
/// If shapes do not fit together, or if a dimension is zero; the message names the argument.
///
/// ```
/// use burn::tensor::{Device, Distribution, Tensor};
/// use mamba_core::{CausalConv1dOptions, causal_conv1d};
///
/// let device = Device::default();
/// let x = Tensor::<3>::random([2, 10, 8], Distribution::Default, &device);
/// let weight = Tensor::<2>::random([8, 4], Distribution::Default, &device);
///
/// let out = causal_conv1d(x.clone(), weight, CausalConv1dOptions::new().with_silu(true));
/// assert_eq!(out.y.dims(), [2, 10, 8]);
/// // What the next piece of the sequence starts from: the last three inputs.
/// assert_eq!(out.final_state.into_data(), x.narrow(1, 7, 3).into_data());
/// ```
pub fn causal_conv1d(x: Tensor<3>, weight: Tensor<2>, options: CausalConv1dOptions) -> CausalConv1dOutput {
    check(&x, &weight, &options);
    let (device, dtype) = (x.device(), x.dtype());
    if dtype == DType::F64 || !has_kernels(&device) {
        return reference::causal_conv1d(x, weight, options);
    }

    let [batch, _, channels] = x.dims();
    let [_, width] = weight.dims();
    let CausalConv1dOptions { bias, silu, initial_state, reset, order, direction } = options;
    let steps = steps_table(order.as_ref(), reset.as_ref());
    let f32 = DType::F32;
    let bias = match bias {
        Some(bias) => bias.cast(f32),
        None => Tensor::zeros([channels], (&device, f32)),
    };
    // A width of one has no state; the kernels get one row that they do not use.
    let rows = (width - 1).max(1);
    let initial_state = initial_state.filter(|_| width > 1);
    // Zeros that are written nowhere: to write them is a launch of its own.
    let fresh = initial_state.is_none();
    let initial_state = match initial_state {
        Some(state) => state.cast(dtype),
        None => Tensor::empty([batch, rows, channels], (&device, dtype)),
    };
    let inputs = ConvInputs::<Dispatch> {
        x: x.into_dispatch(),
        weight: weight.cast(f32).into_dispatch(),
        bias: bias.into_dispatch(),
        initial_state: initial_state.into_dispatch(),
        path: steps.map_or(Path::Straight, |steps| Path::Steps(steps.into_dispatch())),
    };
    let reverse = direction == Direction::Reverse;
    let config = ConvConfig { silu, reverse, fresh, final_grad: false };
    let (y, final_state) = Dispatch::causal_conv1d(inputs, config);
    let final_state = match width {
        1 => zeros([batch, 0, channels], &device, dtype),
        _ => Tensor::from_dispatch(final_state),
    };
    CausalConv1dOutput { y: Tensor::from_dispatch(y), final_state }
}

/// One step of [`causal_conv1d()`] for decoding: `x` is `[batch, channels]`, `state` as its `final_state`.
///
/// Returns `y` `[batch, channels]` and the next state.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mamba_core::causal_conv1d_step;
///
/// let device = Device::default();
/// // The sum of the last four inputs of three channels.
/// let weight = Tensor::<2>::ones([3, 4], &device);
/// let mut state = Tensor::<3>::zeros([1, 3, 3], &device);
/// for expected in [1.0, 2.0, 3.0, 4.0, 4.0] {
///     let x = Tensor::<2>::ones([1, 3], &device);
///     let (y, next) = causal_conv1d_step(x, state, weight.clone(), None, false);
///     assert_eq!(y.max().into_scalar::<f32>(), expected);
///     state = next;
/// }
/// ```
pub fn causal_conv1d_step(
    x: Tensor<2>,
    state: Tensor<3>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    silu: bool,
) -> (Tensor<2>, Tensor<3>) {
    let options = CausalConv1dOptions { bias, silu, initial_state: Some(state), ..Default::default() };
    let CausalConv1dOutput { y, final_state } = causal_conv1d(x.unsqueeze_dim(1), weight, options);
    (y.squeeze_dim(1), final_state)
}

/// Zeros, or a tensor without elements: Burn 0.22's `fusion` runs none of the operations it joins with `zeros` of such.
fn zeros<const D: usize, K: Basic>(shape: [usize; D], device: &Device, dtype: DType) -> Tensor<D, K> {
    if shape.contains(&0) { Tensor::empty(shape, (device, dtype)) } else { Tensor::zeros(shape, (device, dtype)) }
}

fn check(x: &Tensor<3>, weight: &Tensor<2>, options: &CausalConv1dOptions) {
    let [batch, length, channels] = x.dims();
    let [_, width] = weight.dims();
    let n_orders = options.order.as_ref().map_or(1, |order| order.dims()[0]);
    for (name, size) in [("batch", batch), ("length", length), ("channels", channels), ("width", width)] {
        assert!(size > 0, "causal_conv1d: {name} is 0, expected at least 1");
    }
    assert!(
        channels.is_multiple_of(n_orders),
        "causal_conv1d: {channels} channels are not divisible by the {n_orders} orders"
    );
    let shape = |name: &str, actual: &[usize], expected: &[usize]| {
        assert!(actual == expected, "causal_conv1d: `{name}` has shape {actual:?}, expected {expected:?}");
    };
    shape("weight", &weight.dims(), &[channels, width]);
    if let Some(bias) = &options.bias {
        shape("bias", &bias.dims(), &[channels]);
    }
    if let Some(state) = &options.initial_state {
        shape("initial_state", &state.dims(), &[batch, width - 1, channels]);
    }
    if let Some(reset) = &options.reset {
        let [_, rows, _] = reset.dims();
        shape("reset", &reset.dims(), &[batch, if rows == 1 { 1 } else { n_orders }, length]);
    }
    if let Some(order) = &options.order {
        shape("order", &order.dims(), &[n_orders, length]);
    }
}
