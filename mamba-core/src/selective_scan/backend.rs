//! The extension trait: what a backend implements.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, ExtensionType, backend_extension};

/// The arguments of the scan, complete: what the caller left out is zero here.
#[derive(ExtensionType, Clone, Debug)]
#[extension_type(fusion: cfg(feature = "fusion"))]
pub struct ScanInputs<B: Backend> {
    /// `[batch, length, d_inner or d_inner / n_orders]`
    pub u: FloatTensor<B>,
    /// `[batch, length, d_inner]`
    pub delta: FloatTensor<B>,
    /// `[d_inner, d_state]`, f32
    pub a: FloatTensor<B>,
    /// `[batch, length, n_groups, d_state]`
    pub b: FloatTensor<B>,
    /// `[batch, length, n_groups, d_state]`
    pub c: FloatTensor<B>,
    /// `[d_inner]`, f32
    pub d: FloatTensor<B>,
    /// `[d_inner]`, f32
    pub delta_bias: FloatTensor<B>,
    /// `[batch, d_inner, d_state]`, f32
    pub initial_state: FloatTensor<B>,
    /// The output gate.
    #[extension_type]
    pub gate: Gate<B>,
    /// The tokens' order and resets.
    #[extension_type]
    pub path: Path<B>,
}

/// The output gate.
#[derive(ExtensionType, Clone, Debug)]
#[extension_type(fusion: cfg(feature = "fusion"))]
pub enum Gate<B: Backend> {
    /// The output is not gated.
    None,
    /// `silu(z)`, `z`: `[batch, length, d_inner]`
    Silu(FloatTensor<B>),
}

/// The order in which tokens are visited.
#[derive(ExtensionType, Clone, Debug)]
#[extension_type(fusion: cfg(feature = "fusion"))]
pub enum Path<B: Backend> {
    /// In their own order, without resets.
    Straight,
    /// `[1 or batch, 1 or n_orders, length]`, entries `2 * place + reset`.
    Steps(IntTensor<B>),
}

impl<B: Backend, C: CheckpointStrategy> Path<Autodiff<B, C>> {
    /// The same for the backend inside autodiff.
    pub(crate) fn into_inner(self) -> Path<B> {
        match self {
            Path::Straight => Path::Straight,
            Path::Steps(steps) => Path::Steps(steps),
        }
    }
}

/// The gradients of the float arguments.
#[derive(ExtensionType, Clone, Debug)]
#[extension_type(fusion: cfg(feature = "fusion"))]
pub struct ScanGrads<B: Backend> {
    pub u: FloatTensor<B>,
    pub delta: FloatTensor<B>,
    pub a: FloatTensor<B>,
    pub b: FloatTensor<B>,
    pub c: FloatTensor<B>,
    pub d: FloatTensor<B>,
    pub delta_bias: FloatTensor<B>,
    pub initial_state: FloatTensor<B>,
    #[extension_type]
    pub gate: Gate<B>,
}

/// The arguments that are not tensors.
#[derive(Clone, Copy, Debug)]
pub struct ScanConfig {
    /// Whether all states start as zeros: nobody reads `initial_state` then, which has any values of its shape.
    pub fresh: bool,
    /// Whether delta goes through a softplus.
    pub delta_softplus: bool,
    /// Whether the path is walked from its end.
    pub reverse: bool,
    /// Orders whose outputs are added up: `n_orders`, or 1 if every order has its own.
    pub summed: usize,
    /// Tokens between two saved states.
    pub chunk: usize,
    /// Whether states are saved for the backward pass.
    pub save: bool,
    /// Going back: whether the final state has a gradient. Nobody reads `grad_final_state` otherwise, which has any values of
    /// its shape.
    pub final_grad: bool,
}

impl ScanConfig {
    /// The shape of the states before every chunk. A backend may keep them in another order of dimensions.
    pub(crate) fn saved_shape(&self, [batch, length, d_inner]: [usize; 3], d_state: usize) -> [usize; 4] {
        if self.save { [batch, length.div_ceil(self.chunk), d_inner, d_state] } else { NOTHING_SAVED }
    }
}

/// The shape of what stands for the saved states where none are wanted.
pub(crate) const NOTHING_SAVED: [usize; 4] = [1; 4];

/// The selective scan of a backend.
#[backend_extension(
    Autodiff,
    Fusion: cfg(feature = "fusion"),
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "cube"),
)]
pub trait SelectiveScanBackend: Backend {
    /// Returns `y`, `[batch, length, d_inner / summed]`, the final state, and what the backward pass takes as
    /// `saved_states`: the states before every chunk, in an order of the backend's own.
    #[fusion(meta = meta::scan)]
    fn selective_scan(
        #[extension_type] inputs: ScanInputs<Self>,
        config: ScanConfig,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// The gradients of the inputs from those of `y` and of the final state.
    #[fusion(meta = meta::backward)]
    fn selective_scan_backward(
        #[extension_type] inputs: ScanInputs<Self>,
        saved_states: FloatTensor<Self>,
        grad_y: FloatTensor<Self>,
        grad_final_state: FloatTensor<Self>,
        config: ScanConfig,
    ) -> ScanGrads<Self>;
}

/// Shapes and dtypes of the outputs, for fusion.
#[cfg(feature = "fusion")]
mod meta {
    use super::{GateMetadata, ScanConfig, ScanGradsMetadata, ScanInputsMetadata};
    use burn::backend::fusion::custom::TensorSpec;

    pub(super) fn scan(inputs: &ScanInputsMetadata, config: &ScanConfig) -> (TensorSpec, TensorSpec, TensorSpec) {
        let state = inputs.initial_state.clone();
        let [batch, d_inner, d_state] = state.shape.dims();
        let [_, length, _] = inputs.delta.shape.dims();
        let saved = config.saved_shape([batch, length, d_inner], d_state);
        let y = TensorSpec::new([batch, length, d_inner / config.summed].into(), inputs.delta.dtype);
        (y, state.clone(), TensorSpec::new(saved.into(), state.dtype))
    }

    pub(super) fn backward(
        inputs: &ScanInputsMetadata,
        _saved_states: &TensorSpec,
        _grad_y: &TensorSpec,
        _grad_final_state: &TensorSpec,
        _config: &ScanConfig,
    ) -> ScanGradsMetadata {
        ScanGradsMetadata {
            u: inputs.u.clone(),
            delta: inputs.delta.clone(),
            a: inputs.a.clone(),
            b: inputs.b.clone(),
            c: inputs.c.clone(),
            d: inputs.d.clone(),
            delta_bias: inputs.delta_bias.clone(),
            initial_state: inputs.initial_state.clone(),
            gate: match &inputs.gate {
                GateMetadata::None => GateMetadata::None,
                GateMetadata::Silu(z) => GateMetadata::Silu(z.clone()),
            },
        }
    }
}
