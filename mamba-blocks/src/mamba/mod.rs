//! The Mamba-1 mixer (Gu & Dao 2023, figure 3 and algorithm 2).

mod config;
mod long_context;
mod window;

pub use config::{DtInit, MambaConfig};
pub use long_context::{LongContext, LongContextConfig, TokenFilterConfig};

use crate::parts::{at_least_f32, project, project_in_halves};
use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::nn::conv::Conv1d;
use burn::tensor::{Bool, DType, Device, Tensor};
use mamba_core::{
    CausalConv1dOptions, Direction, ScanOrder, SelectiveScanOptions, causal_conv1d, columns, linear, selective_scan,
};

/// The Mamba-1 mixer: a gated, selective state space layer over `[batch, length, d_model]`.
///
/// Made by [`MambaConfig`]. `d_inner` is `expand * d_model` unless set otherwise.
#[derive(Module, Debug)]
pub struct Mamba {
    /// From `d_model` to `[x, z]`, `2 * d_inner`.
    pub in_proj: Linear,
    /// The parameters of the causal depthwise convolution over `x`: weight `[d_inner, 1, d_conv]`, bias `[d_inner]`.
    pub conv1d: Conv1d,
    /// From `d_inner` to `[dt, b, c]`, `dt_rank + 2 * d_state`.
    pub x_proj: Linear,
    /// From `dt_rank` to `d_inner`; its bias is added inside the scan.
    pub dt_proj: Linear,
    /// `a = -exp(a_log)`: `[d_inner, d_state]`.
    pub a_log: Param<Tensor<2>>,
    /// The skip connection: `[d_inner]`.
    pub d: Param<Tensor<1>>,
    /// From `d_inner` to `d_model`.
    pub out_proj: Linear,
    /// What the RMS norms of dt, b and c add to the mean square; none if there are no such norms.
    pub inner_norm_epsilon: Option<f64>,
    /// What it does otherwise for long inputs.
    pub long_context: Option<LongContext>,
    /// `a` of an `a_log` that changes no more, as in a decoder, whose step would take as long to compute it as to use it;
    /// none where it is computed.
    #[module(skip)]
    pub kept_rates: Option<Tensor<2>>,
}

/// What a [`Mamba`] mixer remembers of the tokens that it has seen.
#[derive(Clone, Debug)]
pub struct MambaState {
    /// The last `d_conv - 1` inputs of the convolution, newest last: `[batch, d_conv - 1, d_inner]`.
    pub conv: Tensor<3>,
    /// The state of the scan: `[batch, d_inner, d_state]`, f32.
    pub ssm: Tensor<3>,
    /// With [`LongContextConfig::window`], the tokens in the window: `[batch, window, 2 d_inner + d_state]`, f32.
    pub window: Option<Tensor<3>>,
}

impl MambaState {
    /// The tensors, each with its name.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (&'static str, &Tensor<3>)> {
        [("conv", &self.conv), ("ssm", &self.ssm)]
            .into_iter()
            .chain(self.window.iter().map(|window| ("window", window)))
    }

    /// The state of the tensors that `part` makes of these.
    pub(crate) fn map(&self, part: impl Fn(&Tensor<3>) -> Tensor<3>) -> Self {
        Self { conv: part(&self.conv), ssm: part(&self.ssm), window: self.window.as_ref().map(part) }
    }
}

/// The optional arguments of [`Mamba::forward_with`]; they reach the convolution and the scan alike.
///
/// ```
/// use burn::tensor::{Bool, Device, Tensor};
/// use mamba_blocks::{Direction, MambaConfig, MambaOptions};
///
/// let device = Device::default();
/// let mamba = MambaConfig::new(8).init(&device);
/// let x = Tensor::<3>::ones([1, 4, 8], &device);
/// // Two sequences of two tokens in a row, each read from its end. The state after the last token read is returned, too.
/// let starts = Tensor::<2, Bool>::from_data([[false, true, false, true]], &device);
/// let options = MambaOptions::new().with_direction(Direction::Reverse).with_reset(starts);
/// let (y, state) = mamba.forward_with(x.clone(), options);
/// assert_eq!(y.dims(), [1, 4, 8]);
/// // From there, or from zeros, `[batch, d_inner, d_state]`, it goes on.
/// assert_eq!(state.ssm.dims(), mamba.init_state(1, &device).ssm.dims());
/// let _ = mamba.forward_with(x, MambaOptions::new().with_state(state));
/// ```
#[derive(Clone, Debug, Default)]
pub struct MambaOptions {
    state: Option<MambaState>,
    reset: Option<Tensor<2, Bool>>,
    order: Option<ScanOrder>,
    direction: Direction,
}

impl MambaOptions {
    /// Through the tokens in their order, from an empty state.
    pub fn new() -> Self {
        Self::default()
    }

    /// Goes on from `state`. Gradients flow through it.
    pub fn with_state(mut self, state: MambaState) -> Self {
        self.state = Some(state);
        self
    }

    /// Nothing before a token whose entry is true is seen from it on: `[batch, length]` (packed sequences).
    pub fn with_reset(mut self, reset: Tensor<2, Bool>) -> Self {
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

    /// The same for each of the two operators.
    fn split(self) -> (CausalConv1dOptions, SelectiveScanOptions) {
        let mut conv = CausalConv1dOptions::new().with_direction(self.direction);
        let mut scan = SelectiveScanOptions::new().with_direction(self.direction);
        if let Some(state) = self.state {
            conv = conv.with_initial_state(state.conv);
            scan = scan.with_initial_state(state.ssm);
        }
        if let Some(reset) = self.reset {
            conv = conv.with_reset(reset.clone());
            scan = scan.with_reset(reset);
        }
        if let Some(order) = self.order {
            conv = conv.with_order(order.clone());
            scan = scan.with_order(order);
        }
        (conv, scan)
    }
}

/// What the scan of a [`Mamba`] mixer gets of the tokens.
struct ScanInputs {
    x: Tensor<3>,
    /// Before its bias and softplus.
    delta: Tensor<3>,
    b: Tensor<4>,
    c: Tensor<4>,
    conv_state: Tensor<3>,
}

impl Mamba {
    /// Mixes `[batch, length, d_model]` into the same shape; a token sees itself and those before it.
    ///
    /// # Panics
    /// If the input's last dimension is not `d_model`, or a dimension is zero.
    pub fn forward(&self, input: Tensor<3>) -> Tensor<3> {
        self.forward_with(input, MambaOptions::new()).0
    }

    /// As [`forward`](Self::forward), from `state`; returns the state after the last token.
    ///
    /// A sequence in pieces, each with the state of the piece before it, gives what the whole does.
    pub fn forward_with_state(&self, input: Tensor<3>, state: MambaState) -> (Tensor<3>, MambaState) {
        self.forward_with(input, MambaOptions::new().with_state(state))
    }

    /// One token, `[batch, d_model]`: [`forward_with_state`](Self::forward_with_state) of length one.
    pub fn step(&self, input: Tensor<2>, state: MambaState) -> (Tensor<2>, MambaState) {
        let (output, state) = self.forward_with_state(input.unsqueeze_dim(1), state);
        (output.squeeze_dim(1), state)
    }

    /// The state before the first token of `batch` sequences.
    pub fn init_state(&self, batch: usize, device: &Device) -> MambaState {
        let [d_inner, d_state] = self.a_log.dims();
        let [_, _, d_conv] = self.conv1d.weight.dims();
        let zeros = |length: usize, width: usize| Tensor::zeros([batch, length, width], (device, DType::F32));
        MambaState {
            conv: Tensor::zeros([batch, d_conv - 1, d_inner], (device, self.conv1d.weight.dtype())),
            ssm: zeros(d_inner, d_state),
            window: self.window().map(|window| zeros(window, 2 * d_inner + d_state)),
        }
    }

    /// As [`forward`](Self::forward), with options; returns the state after the last token as well.
    ///
    /// # Panics
    /// As [`forward`](Self::forward), or if an option does not fit the input.
    pub fn forward_with(&self, input: Tensor<3>, options: MambaOptions) -> (Tensor<3>, MambaState) {
        self.check(&input);
        let (x, z) = project_in_halves(&self.in_proj, input);
        let (y, state) = self.between_projections(x, z, options);
        (project(&self.out_proj, y), state)
    }

    /// What lies between the projections in and out: convolution, selection and scan. Mixers that share projections are
    /// made of it.
    ///
    /// `x` and the gate `z` are `[batch, length, d_inner]`; returns the same shape, and the state after the last token.
    ///
    /// # Panics
    /// If shapes do not fit.
    pub fn between_projections(&self, x: Tensor<3>, z: Tensor<3>, options: MambaOptions) -> (Tensor<3>, MambaState) {
        if self.window().is_some() {
            return self.in_window(x, z, options);
        }
        let (conv, mut scan) = options.split();
        let (ScanInputs { x, delta, b, c, conv_state }, a) = self.long_scan_inputs(x, conv);
        if let Some(norm) = self.long_context.as_ref().and_then(|long| long.max_state_norm) {
            scan = scan.with_max_state_norm(norm);
        }
        if let Some(bias) = &self.dt_proj.bias {
            scan = scan.with_delta_bias(bias.val());
        }
        let scan = selective_scan(x, delta, a, b, c, scan.with_delta_softplus(true).with_d(self.d.val()).with_z(z));

        (scan.y, MambaState { conv: conv_state, ssm: scan.final_state, window: None })
    }

    /// What the scan gets, `a` as well, with what is otherwise for long inputs.
    fn long_scan_inputs(&self, x: Tensor<3>, conv: CausalConv1dOptions) -> (ScanInputs, Tensor<2>) {
        let inputs = self.scan_inputs(x, conv);
        let a = self.rates();
        let Some(long) = &self.long_context else { return (inputs, a) };
        let ScanInputs { delta, b, .. } = inputs;
        let (delta, b) = (long.filtered(self, delta), long.inserted(b));
        (ScanInputs { delta, b, ..inputs }, long.rates(a))
    }

    /// `a`, in no less than f32.
    pub(crate) fn rates(&self) -> Tensor<2> {
        self.kept_rates.clone().unwrap_or_else(|| at_least_f32(self.a_log.val()).exp().neg())
    }

    /// The length of the window, if there is one.
    pub(crate) fn window(&self) -> Option<usize> {
        self.long_context.as_ref().and_then(|long| long.window)
    }

    /// All between the projection in and the scan.
    fn scan_inputs(&self, x: Tensor<3>, mut conv: CausalConv1dOptions) -> ScanInputs {
        let [_, d_state] = self.a_log.dims();
        let [dt_rank, _] = self.dt_proj.weight.dims();
        conv = conv.with_silu(true);
        if let Some(bias) = &self.conv1d.bias {
            conv = conv.with_bias(bias.val());
        }
        let conv = causal_conv1d(x, self.conv1d.weight.val().squeeze_dim(1), conv);
        let x = conv.y;

        let dt_b_c = project(&self.x_proj, x.clone());
        let dt = self.inner_norm(columns(dt_b_c.clone(), 0, dt_rank));
        // One group: every channel reads the same b and c.
        let b_c = dt_b_c.unsqueeze_dim::<4>(2);
        let b = self.inner_norm(columns(b_c.clone(), dt_rank, d_state));
        let c = self.inner_norm(columns(b_c, dt_rank + d_state, d_state));
        // The bias of dt_proj is added inside the scan, in f32.
        let delta = linear(dt, self.dt_proj.weight.val(), None);
        ScanInputs { x, delta, b, c, conv_state: conv.final_state }
    }

    /// The token filter's thresholds from samples, `[samples, L, d_model]`.
    pub(crate) fn token_filter(&self, config: &TokenFilterConfig, samples: Tensor<3>) -> Tensor<1> {
        let (x, _) = project_in_halves(&self.in_proj, samples);
        let ScanInputs { delta, .. } = self.scan_inputs(x, CausalConv1dOptions::new());
        config.thresholds(self.time_steps(delta), self.rates())
    }

    /// The RMS norm without weights that FalconMamba puts on dt (before `dt_proj`), b and c.
    fn inner_norm<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let Some(epsilon) = self.inner_norm_epsilon else { return x };
        let wide = at_least_f32(x.clone());
        let mean_square = wide.clone().square().mean_dim(D - 1);
        (wide / mean_square.add_scalar(epsilon).sqrt()).cast(x.dtype())
    }

    fn check(&self, input: &Tensor<3>) {
        let [batch, length, d_model] = input.dims();
        let [expected, _] = self.in_proj.weight.dims();
        assert!(
            batch > 0 && length > 0 && d_model == expected,
            "Mamba: the input has shape {:?}, expected [batch, length, {expected}] with neither batch nor length 0",
            input.dims()
        );
    }
}
