//! The extension trait: what a backend with a kernel implements.

use crate::backend::has_kernels;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::tensor::{DType, Tensor};

/// Layer normalisation.
#[backend_extension(
    Autodiff,
    Fusion: cfg(feature = "fusion"),
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "cube"),
)]
pub trait LayerNormBackend: Backend {
    /// The norm of `x`, `[tokens, d_model]`, in its dtype.
    #[fusion(meta = meta::layer_norm)]
    fn layer_norm_forward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self>;

    /// The gradients of `x`, in its dtype, and of `gamma` and `beta`, in f32.
    #[fusion(meta = meta::layer_norm_backward)]
    fn layer_norm_grads(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        grad_y: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

/// Shapes and dtypes of the outputs, for fusion.
#[cfg(feature = "fusion")]
mod meta {
    use burn::backend::DType;
    use burn::backend::fusion::custom::TensorSpec;

    pub(super) fn layer_norm(x: &TensorSpec, _gamma: &TensorSpec, _beta: &TensorSpec, _epsilon: &f64) -> TensorSpec {
        x.clone()
    }

    pub(super) fn layer_norm_backward(
        x: &TensorSpec,
        gamma: &TensorSpec,
        _grad_y: &TensorSpec,
        _epsilon: &f64,
    ) -> (TensorSpec, TensorSpec, TensorSpec) {
        let parameter = TensorSpec::new(gamma.shape.clone(), DType::F32);
        (x.clone(), parameter.clone(), parameter)
    }
}

/// Whether the kernels take these.
pub(super) fn serves<const D: usize>(x: &Tensor<D>, gamma: &Tensor<1>, beta: &Tensor<1>) -> bool {
    let known = |dtype| matches!(dtype, DType::F32 | DType::F16 | DType::BF16);
    [x.dtype(), gamma.dtype()].into_iter().all(known)
        && beta.dtype() == gamma.dtype()
        && x.shape().num_elements() > 0
        && has_kernels(&x.device())
}

/// On a device for which [`serves`] is true.
pub(super) fn layer_norm<const D: usize>(x: Tensor<D>, gamma: Tensor<1>, beta: Tensor<1>, epsilon: f64) -> Tensor<D> {
    let shape = x.shape();
    let [d_model] = gamma.dims();
    let tokens = x.reshape([shape.num_elements() / d_model, d_model]);
    let y = Dispatch::layer_norm_forward(tokens.into_dispatch(), gamma.into_dispatch(), beta.into_dispatch(), epsilon);
    Tensor::<2>::from_dispatch(y).reshape(shape)
}
