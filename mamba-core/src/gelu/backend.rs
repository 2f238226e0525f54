//! The extension trait: what a backend with a kernel implements.

use crate::backend::has_kernels;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::tensor::{DType, Tensor};

/// The Gaussian error linear unit.
#[backend_extension(
    Autodiff,
    Fusion: cfg(feature = "fusion"),
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "cube"),
)]
pub trait GeluBackend: Backend {
    /// The unit of every element of `x`, in its dtype.
    #[fusion(meta = meta::forward)]
    fn gelu_forward(x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// The gradient of `x`, in its dtype.
    #[fusion(meta = meta::grad)]
    fn gelu_grad(x: FloatTensor<Self>, grad_y: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// Shapes and dtypes of the outputs, for fusion.
#[cfg(feature = "fusion")]
mod meta {
    use burn::backend::fusion::custom::TensorSpec;

    pub(super) fn forward(x: &TensorSpec) -> TensorSpec {
        x.clone()
    }

    pub(super) fn grad(x: &TensorSpec, _grad_y: &TensorSpec) -> TensorSpec {
        x.clone()
    }
}

/// Whether the kernels take this.
pub(super) fn serves<const D: usize>(x: &Tensor<D>) -> bool {
    matches!(x.dtype(), DType::F32 | DType::F16 | DType::BF16)
        && x.shape().num_elements() > 0
        && has_kernels(&x.device())
}

/// On a device for which [`serves`] is true.
pub(super) fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::gelu_forward(x.into_dispatch()))
}
