//! Where tensors lie, for what runs as a recorded graph of launches.

#[cfg(all(feature = "cuda", not(feature = "fusion")))]
use crate::records_graphs;
use burn::tensor::Tensor;
#[cfg(all(feature = "cuda", not(feature = "fusion")))]
use burn_cubecl::{CubeBackend, tensor::CubeTensor};

/// The `width` columns of the last dimension from `start` on. It is [`Tensor::narrow`], but on CUDA devices it is a view
/// wherever vectors stay aligned: to copy the few numbers that a step of decoding selects takes as long as their use.
///
/// # Panics
/// If there are not as many columns.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mamba_core::columns;
///
/// let x = Tensor::<2>::from_floats([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], &Device::default());
/// assert_eq!(columns(x.clone(), 1, 2).into_data(), x.narrow(1, 1, 2).into_data());
/// ```
pub fn columns<const D: usize>(x: Tensor<D>, start: usize, width: usize) -> Tensor<D> {
    #[cfg(all(feature = "cuda", not(feature = "fusion")))]
    if let Some(x) = on_cuda(&x).and_then(|x| view(x, start, width)) {
        return Tensor::from_primitive::<CubeBackend>(x);
    }
    x.narrow(D - 1, start, width)
}

/// A number of the memory that `x` lies in, which no other memory ever has. None where it is not known: on other devices
/// than CUDA's, with `fusion`, and for tensors of autodiff.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mamba_core::memory_id;
///
/// assert_eq!(memory_id(&Tensor::<1>::ones([2], &Device::flex())), None);
/// ```
pub fn memory_id<const D: usize>(x: &Tensor<D>) -> Option<usize> {
    #[cfg(all(feature = "cuda", not(feature = "fusion")))]
    return on_cuda(x).map(|x| x.handle.memory.binding().id().value);
    #[cfg(not(all(feature = "cuda", not(feature = "fusion"))))]
    {
        let _ = x;
        None
    }
}

#[cfg(all(feature = "cuda", not(feature = "fusion")))]
fn on_cuda<const D: usize>(x: &Tensor<D>) -> Option<CubeTensor> {
    let known = records_graphs(&x.device()) && !x.is_autodiff();
    known.then(|| x.clone().try_into_primitive::<CubeBackend>().ok()).flatten()
}

/// The same memory, where the first column is a multiple of what the widest loads take.
#[cfg(all(feature = "cuda", not(feature = "fusion")))]
fn view(mut x: CubeTensor, start: usize, width: usize) -> Option<CubeTensor> {
    const ALIGNMENT: usize = 16;
    let last = x.meta.shape().num_dims() - 1;
    let (before, columns) = (start * x.dtype.size(), x.meta.shape()[last]);
    assert!(start + width <= columns, "columns: {start} to {} of {columns}", start + width);
    if !before.is_multiple_of(ALIGNMENT) || x.meta.strides()[last] != 1 {
        return None;
    }
    let behind = (columns - start - width) * x.dtype.size();
    x.handle = x.handle.offset_start(before as u64).offset_end(behind as u64);
    x.meta.shape[last] = width;
    Some(x)
}
