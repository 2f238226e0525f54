//! The extension trait: what a backend with a kernel implements.

use super::DepthwiseConv3x3Options;
use crate::backend::has_kernels;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::tensor::{DType, Tensor};

/// The depthwise convolution of 3 x 3.
#[backend_extension(
    Autodiff,
    Fusion: cfg(feature = "fusion"),
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "cube"),
)]
pub trait DepthwiseConv3x3Backend: Backend {
    /// The convolution of `x`, in its dtype.
    #[fusion(meta = meta::forward)]
    fn depthwise_conv3x3_forward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        silu: bool,
    ) -> FloatTensor<Self>;

    /// The gradients of `x`, in its dtype, and of the weight and the bias, in f32.
    #[fusion(meta = meta::grads)]
    fn depthwise_conv3x3_grads(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        grad_y: FloatTensor<Self>,
        silu: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

/// Shapes and dtypes of the outputs, for fusion.
#[cfg(feature = "fusion")]
mod meta {
    use burn::backend::DType;
    use burn::backend::fusion::custom::TensorSpec;

    pub(super) fn forward(x: &TensorSpec, _weight: &TensorSpec, _bias: &TensorSpec, _silu: &bool) -> TensorSpec {
        x.clone()
    }

    pub(super) fn grads(
        x: &TensorSpec,
        weight: &TensorSpec,
        _bias: &TensorSpec,
        _grad_y: &TensorSpec,
        _silu: &bool,
    ) -> (TensorSpec, TensorSpec, TensorSpec) {
        let [channels, ..] = weight.shape.dims::<4>();
        let of_weight = TensorSpec::new(weight.shape.clone(), DType::F32);
        (x.clone(), of_weight, TensorSpec::new([channels].into(), DType::F32))
    }
}

/// Whether the kernels take these.
pub(super) fn serves(x: &Tensor<4>, weight: &Tensor<4>, bias: Option<&Tensor<1>>) -> bool {
    let known = |dtype| matches!(dtype, DType::F32 | DType::F16 | DType::BF16);
    let dtypes = [Some(x.dtype()), Some(weight.dtype()), bias.map(|bias| bias.dtype())];
    dtypes.into_iter().flatten().all(known) && has_kernels(&x.device())
}

/// On a device for which [`serves`] is true.
pub(super) fn depthwise_conv3x3(x: Tensor<4>, weight: Tensor<4>, options: DepthwiseConv3x3Options) -> Tensor<4> {
    let [channels, ..] = weight.dims();
    let DepthwiseConv3x3Options { bias, silu } = options;
    let bias = bias.unwrap_or_else(|| Tensor::zeros([channels], (&x.device(), weight.dtype())));
    let [x, weight, bias] = [x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch()];
    Tensor::from_dispatch(Dispatch::depthwise_conv3x3_forward(x, weight, bias, silu))
}
