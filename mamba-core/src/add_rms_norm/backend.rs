//! The extension trait: what a backend with a kernel implements.

use super::AddRmsNormOutput;
use crate::backend::has_kernels;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, ExtensionType, backend_extension};
use burn::tensor::{DType, Tensor};

// ANCHOR: backend
/// What is added before the norm.
#[derive(ExtensionType, Clone, Debug)]
#[extension_type(fusion: cfg(feature = "fusion"))]
pub enum Residual<B: Backend> {
    /// Nothing.
    None,
    /// `[batch, length, d_model]`
    Stream(FloatTensor<B>),
}

/// The residual stream and its norm.
#[backend_extension(
    Autodiff,
    Fusion: cfg(feature = "fusion"),
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "cube"),
)]
pub trait AddRmsNormBackend: Backend {
    /// Returns the norm of the sum, in the dtype of `hidden`, and the sum, in f32.
    #[fusion(meta = meta::add_rms_norm)]
    fn add_rms_norm(
        hidden: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        #[extension_type] residual: Residual<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// The gradients of the sum, in f32, and of `gamma`, in f32, from those of both outputs.
    #[fusion(meta = meta::add_rms_norm_backward)]
    fn add_rms_norm_backward(
        sum: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        grad_normed: FloatTensor<Self>,
        grad_sum: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}
// ANCHOR_END: backend

// ANCHOR: meta
/// Shapes and dtypes of the outputs, for fusion.
#[cfg(feature = "fusion")]
mod meta {
    use super::ResidualMetadata;
    use burn::backend::DType;
    use burn::backend::fusion::custom::TensorSpec;

    pub(super) fn add_rms_norm(
        hidden: &TensorSpec,
        _gamma: &TensorSpec,
        _residual: &ResidualMetadata,
        _epsilon: &f64,
    ) -> (TensorSpec, TensorSpec) {
        (hidden.clone(), TensorSpec::new(hidden.shape.clone(), DType::F32))
    }

    pub(super) fn add_rms_norm_backward(
        sum: &TensorSpec,
        gamma: &TensorSpec,
        _grad_normed: &TensorSpec,
        _grad_sum: &TensorSpec,
        _epsilon: &f64,
    ) -> (TensorSpec, TensorSpec) {
        (sum.clone(), TensorSpec::new(gamma.shape.clone(), DType::F32))
    }
}
// ANCHOR_END: meta

/// Whether the kernels take these.
pub(super) fn serves(hidden: &Tensor<3>, residual: Option<&Tensor<3>>, gamma: &Tensor<1>) -> bool {
    let dtypes = [Some(hidden.dtype()), residual.map(|residual| residual.dtype()), Some(gamma.dtype())];
    let known = |dtype| matches!(dtype, DType::F32 | DType::F16 | DType::BF16);
    dtypes.into_iter().flatten().all(known) && has_kernels(&hidden.device())
}

/// On a device for which [`serves`] is true.
pub(super) fn add_rms_norm(
    hidden: Tensor<3>,
    residual: Option<Tensor<3>>,
    gamma: Tensor<1>,
    epsilon: f64,
) -> AddRmsNormOutput {
    let residual = residual.map_or(Residual::None, |residual| Residual::Stream(residual.into_dispatch()));
    let (normed, sum) = Dispatch::add_rms_norm(hidden.into_dispatch(), gamma.into_dispatch(), residual, epsilon);
    AddRmsNormOutput { normed: Tensor::from_dispatch(normed), sum: Tensor::from_dispatch(sum) }
}
