//! The product with a weight matrix, the projections around a scan.
//!
//! ```text
//! y = x W + b
//! ```
//!
//! It is Burn's own [`linear`](burn::tensor::module::linear) but in three cases. On CUDA devices the product and its gradients
//! run through NVIDIA's cuBLASLt, if the library can be loaded. On CPUs the product of a few
//! rows, as in decoding, has a kernel that takes as long as reading the weight does; and many rows are multiplied in parts,
//! one thread each.

#[cfg(feature = "cuda")]
mod autodiff;
#[cfg(feature = "cuda")]
mod backend;
mod cpu;
#[cfg(feature = "cuda")]
mod cublas;

use burn::tensor::{Device, Tensor};

/// `x W + b`, forward and differentiable.
///
/// Through cuBLASLt, `f32` is computed in `f32` (not in TF32), and `f16` and `bf16` are summed in `f32`. The gradients
/// are `dx = dy W^T`, `dW = x^T dy` and `db`, the sum of `dy`, each in the dtype of what it is the gradient of.
///
/// # Shapes
/// - `x`: `[.., d_in]`, as `[batch, length, d_in]`; rows may lie apart, as in a slice of the last dimension.
/// - `weight`: `[d_in, d_out]`; it may be transposed or a slice.
/// - `bias`: `[d_out]`.
/// - Returns `[.., d_out]`, in the dtype of `x`.
///
/// # Panics
/// If shapes do not fit together; the message names the argument. Where cuBLASLt refuses a product, reading its result
/// fails with an error of CubeCL that names the product.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mamba_core::{linear, linear::by_cublas};
///
/// let device = Device::default();
/// let x = Tensor::<3>::ones([2, 10, 4], &device);
/// let y = linear(x, Tensor::ones([4, 6], &device), Some(Tensor::ones([6], &device)));
/// assert_eq!((y.dims(), y.max().into_scalar::<f32>()), ([2, 10, 6], 5.0));
/// println!("through cuBLASLt: {}", by_cublas(&device));
/// ```
pub fn linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    check(&x, &weight, bias.as_ref());
    #[cfg(feature = "cuda")]
    if cublas::serves(&x, &weight, bias.as_ref()) {
        return backend::linear(x, weight, bias);
    }
    #[cfg(any(feature = "flex", feature = "ndarray"))]
    if let Some(y) = cpu::linear(&x, &weight) {
        return match bias {
            Some(bias) => y + bias.unsqueeze(),
            None => y,
        };
    }
    burn::tensor::module::linear(x, weight, bias)
}

/// `x weight^T`, as [`linear()`] of the transposed weight: the head of a model that shares its embedding.
///
/// On CPUs, general products copy a factor that is transposed; for a few rows there is a kernel that does not.
///
/// # Shapes
/// - `x`: `[.., d_in]`; `weight`: `[d_out, d_in]`. Returns `[.., d_out]`.
///
/// # Panics
/// If shapes do not fit together; the message names the argument.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mamba_core::linear_transposed;
///
/// let device = Device::default();
/// let embedding = Tensor::<2>::ones([50, 8], &device);
/// // The logits of one token.
/// assert_eq!(linear_transposed(Tensor::<3>::ones([1, 1, 8], &device), embedding).dims(), [1, 1, 50]);
/// ```
pub fn linear_transposed<const D: usize>(x: Tensor<D>, weight: Tensor<2>) -> Tensor<D> {
    check(&x, &weight.clone().transpose(), None);
    #[cfg(any(feature = "flex", feature = "ndarray"))]
    if let Some(y) = cpu::linear_transposed(&x, &weight) {
        return y;
    }
    linear(x, weight.transpose(), None)
}

/// Whether [`linear()`] runs through cuBLASLt on `device`, in the dtypes that it is for.
///
/// Only on CUDA devices, and not where the library is missing or older than CUDA 12.1.
pub fn by_cublas(device: &Device) -> bool {
    #[cfg(feature = "cuda")]
    {
        cublas::is_at(device)
    }
    #[cfg(not(feature = "cuda"))]
    {
        let _ = device;
        false
    }
}

fn check<const D: usize>(x: &Tensor<D>, weight: &Tensor<2>, bias: Option<&Tensor<1>>) {
    let [d_in, d_out] = weight.dims();
    assert!(
        x.dims()[D - 1] == d_in,
        "linear: `x` has shape {:?}, expected {d_in} in the last dimension as in `weight` {:?}",
        x.dims(),
        weight.dims()
    );
    if let Some(bias) = bias {
        assert!(bias.dims() == [d_out], "linear: `bias` has shape {:?}, expected {:?}", bias.dims(), [d_out]);
    }
}
