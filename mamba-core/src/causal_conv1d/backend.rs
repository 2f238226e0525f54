//! The extension trait: what a backend implements.

use crate::selective_scan::Path;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, ExtensionType, backend_extension};

/// The arguments of the convolution, complete: what the caller left out is zero here.
#[derive(ExtensionType, Clone, Debug)]
#[extension_type(fusion: cfg(feature = "fusion"))]
pub struct ConvInputs<B: Backend> {
    /// `[batch, length, channels]`
    pub x: FloatTensor<B>,
    /// `[channels, width]`, f32
    pub weight: FloatTensor<B>,
    /// `[channels]`, f32
    pub bias: FloatTensor<B>,
    /// `[batch, max(width - 1, 1), channels]`, in the dtype of `x`
    pub initial_state: FloatTensor<B>,
    /// The tokens' order and resets.
    #[extension_type]
    pub path: Path<B>,
}

/// The gradients of the float arguments.
#[derive(ExtensionType, Clone, Debug)]
#[extension_type(fusion: cfg(feature = "fusion"))]
pub struct ConvGrads<B: Backend> {
    pub x: FloatTensor<B>,
    pub weight: FloatTensor<B>,
    pub bias: FloatTensor<B>,
    pub initial_state: FloatTensor<B>,
}

/// The arguments that are not tensors.
#[derive(Clone, Copy, Debug)]
pub struct ConvConfig {
    /// Whether the output goes through a SiLU.
    pub silu: bool,
    /// Whether the path is walked from its end.
    pub reverse: bool,
    /// Whether nothing is before the first token: nobody reads `initial_state` then, which has any values of its shape.
    pub fresh: bool,
    /// Whether the final state has a gradient; the same holds for it.
    pub final_grad: bool,
}

/// The causal convolution of a backend.
#[backend_extension(
    Autodiff,
    Fusion: cfg(feature = "fusion"),
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "cube"),
)]
pub trait CausalConv1dBackend: Backend {
    /// Returns `y` and the final state, shaped as the initial one.
    #[fusion(meta = meta::conv)]
    fn causal_conv1d(
        #[extension_type] inputs: ConvInputs<Self>,
        config: ConvConfig,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// The gradients of the inputs from those of `y` and of the final state.
    #[fusion(meta = meta::backward)]
    fn causal_conv1d_backward(
        #[extension_type] inputs: ConvInputs<Self>,
        grad_y: FloatTensor<Self>,
        grad_final_state: FloatTensor<Self>,
        config: ConvConfig,
    ) -> ConvGrads<Self>;
}

/// Shapes and dtypes of the outputs, for fusion.
#[cfg(feature = "fusion")]
mod meta {
    use super::{ConvConfig, ConvGradsMetadata, ConvInputsMetadata};
    use burn::backend::fusion::custom::TensorSpec;

    pub(super) fn conv(inputs: &ConvInputsMetadata, _config: &ConvConfig) -> (TensorSpec, TensorSpec) {
        (inputs.x.clone(), inputs.initial_state.clone())
    }

    pub(super) fn backward(
        inputs: &ConvInputsMetadata,
        _grad_y: &TensorSpec,
        _grad_final_state: &TensorSpec,
        _config: &ConvConfig,
    ) -> ConvGradsMetadata {
        ConvGradsMetadata {
            x: inputs.x.clone(),
            weight: inputs.weight.clone(),
            bias: inputs.bias.clone(),
            initial_state: inputs.initial_state.clone(),
        }
    }
}
