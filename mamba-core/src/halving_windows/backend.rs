//! The extension trait: what a backend with a kernel implements.

use crate::backend::has_kernels;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::tensor::{DType, Tensor};

/// The windows around every second place.
#[backend_extension(
    Autodiff,
    Fusion: cfg(feature = "fusion"),
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "cube"),
)]
pub trait HalvingWindowsBackend: Backend {
    /// The windows of `x`, in its dtype.
    #[fusion(meta = meta::windows)]
    fn halving_windows(x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// The gradient of an `x` of this height and width, in the dtype of that of its windows.
    #[fusion(meta = meta::grad)]
    fn halving_windows_grad(grad_y: FloatTensor<Self>, height: usize, width: usize) -> FloatTensor<Self>;
}

/// Shapes and dtypes of the outputs, for fusion.
#[cfg(feature = "fusion")]
mod meta {
    use super::super::PLACES;
    use burn::backend::fusion::custom::TensorSpec;

    pub(super) fn windows(x: &TensorSpec) -> TensorSpec {
        let [batch, height, width, channels] = x.shape.dims::<4>();
        TensorSpec::new([batch, height.div_ceil(2), width.div_ceil(2), PLACES * channels].into(), x.dtype)
    }

    pub(super) fn grad(grad_y: &TensorSpec, height: &usize, width: &usize) -> TensorSpec {
        let [batch, _, _, channels] = grad_y.shape.dims::<4>();
        TensorSpec::new([batch, *height, *width, channels / PLACES].into(), grad_y.dtype)
    }
}

/// Whether the kernels take this.
pub(super) fn serves(x: &Tensor<4>) -> bool {
    matches!(x.dtype(), DType::F32 | DType::F16 | DType::BF16) && has_kernels(&x.device())
}

/// On a device for which [`serves`] is true.
pub(super) fn halving_windows(x: Tensor<4>) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::halving_windows(x.into_dispatch()))
}
