//! The extension trait: what a backend with matrix products of its own implements.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, ExtensionType, backend_extension};
use burn::tensor::{Shape, Tensor};

/// What is added to every row of the product.
#[derive(ExtensionType, Clone, Debug)]
#[extension_type(fusion: cfg(feature = "fusion"))]
pub enum Bias<B: Backend> {
    /// Nothing.
    None,
    /// `[d_out]`, in the dtype of the product.
    Row(FloatTensor<B>),
}

/// The products of a linear layer.
#[backend_extension(Autodiff, Fusion: cfg(feature = "fusion"), Cube: cfg(feature = "cube"))]
pub trait LinearBackend: Backend {
    /// `x W + b`: `[.., d_out]`.
    #[fusion(dtype = x, shape = with_last(x, weight[1]))]
    fn linear_forward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        #[extension_type] bias: Bias<Self>,
    ) -> FloatTensor<Self>;

    /// `dy W^T`: `[.., d_in]`.
    #[fusion(dtype = grad_y, shape = with_last(grad_y, weight[0]))]
    fn linear_grad_x(grad_y: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self>;

    /// `x^T dy`, summed over all rows: `[d_in, d_out]`.
    #[fusion(dtype = x, shape = last_two(x, grad_y))]
    fn linear_grad_weight(x: FloatTensor<Self>, grad_y: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// The product on a device whose backend has the trait.
pub(super) fn linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    let bias = bias.map_or(Bias::None, |bias| Bias::Row(bias.into_dispatch()));
    Tensor::from_dispatch(Dispatch::linear_forward(x.into_dispatch(), weight.into_dispatch(), bias))
}

/// The shape of `x` with another last dimension.
pub(super) fn with_last(x: &Shape, last: usize) -> Shape {
    let mut shape = x.clone();
    let rank = shape.num_dims();
    shape[rank - 1] = last;
    shape
}

/// The last dimensions of two tensors, as a matrix.
pub(super) fn last_two(x: &Shape, y: &Shape) -> Shape {
    Shape::new([x[x.num_dims() - 1], y[y.num_dims() - 1]])
}
