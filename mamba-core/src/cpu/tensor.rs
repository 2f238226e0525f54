//! Tensors of the CPU backends as slices.

use burn::backend::Backend;
use burn::backend::tensor::{FloatTensor, IntTensor};
#[cfg(feature = "flex")]
use burn::backend::{Flex, flex::FlexTensor};
#[cfg(feature = "ndarray")]
use burn::backend::{NdArray, TensorMetadata, ndarray::NdArrayTensor};
use burn::tensor::{Element, TensorData};
use half::slice::HalfFloatSliceExt;
use half::vec::HalfBitsVecExt;
use half::{bf16, f16};

/// An element type of activations.
pub(crate) trait Float: Element {
    /// `n` zeros, from memory that the system has cleared.
    fn zeros(n: usize) -> Vec<Self>;
    /// Slices of one length.
    fn read(from: &[Self], to: &mut [f32]);
    /// Slices of one length.
    fn write(from: &[f32], to: &mut [Self]);
    /// Rounds every value.
    fn round(values: Vec<f32>) -> Vec<Self>;
    /// The elements of a contiguous tensor.
    #[cfg(feature = "flex")]
    fn of_flex(tensor: &FlexTensor) -> &[Self];
    /// The elements of a contiguous tensor.
    #[cfg(feature = "ndarray")]
    fn of_ndarray(tensor: &NdArrayTensor) -> &[Self];
}

impl Float for f32 {
    fn zeros(n: usize) -> Vec<Self> {
        vec![0.0; n]
    }

    #[inline(always)]
    fn read(from: &[Self], to: &mut [f32]) {
        to.copy_from_slice(from);
    }

    #[inline(always)]
    fn write(from: &[f32], to: &mut [Self]) {
        to.copy_from_slice(from);
    }

    fn round(values: Vec<f32>) -> Vec<Self> {
        values
    }

    #[cfg(feature = "flex")]
    fn of_flex(tensor: &FlexTensor) -> &[Self] {
        tensor.as_slice().expect("the tensor was made contiguous")
    }

    #[cfg(feature = "ndarray")]
    fn of_ndarray(tensor: &NdArrayTensor) -> &[Self] {
        match tensor {
            NdArrayTensor::F32(values) => values.view().to_slice().expect("the tensor was made contiguous"),
            other => panic!("expected a tensor of f32, got {:?}", other.dtype()),
        }
    }
}

macro_rules! half_float {
    ($E:ty) => {
        impl Float for $E {
            fn zeros(n: usize) -> Vec<Self> {
                vec![0u16; n].reinterpret_into()
            }

            #[inline(always)]
            fn read(from: &[Self], to: &mut [f32]) {
                from.convert_to_f32_slice(to);
            }

            #[inline(always)]
            fn write(from: &[f32], to: &mut [Self]) {
                to.convert_from_f32_slice(from);
            }

            fn round(values: Vec<f32>) -> Vec<Self> {
                let mut rounded = Self::zeros(values.len());
                rounded.convert_from_f32_slice(&values);
                rounded
            }

            #[cfg(feature = "flex")]
            fn of_flex(tensor: &FlexTensor) -> &[Self] {
                tensor.as_slice().expect("the tensor was made contiguous")
            }

            #[cfg(feature = "ndarray")]
            fn of_ndarray(tensor: &NdArrayTensor) -> &[Self] {
                panic!("NdArray has no {:?}, got {:?}", <$E>::dtype(), tensor.dtype())
            }
        }
    };
}

half_float!(f16);
half_float!(bf16);

/// A backend whose tensors are in the memory of this process.
pub(crate) trait CpuBackend: Backend {
    /// Whether the elements are side by side, row by row.
    fn is_contiguous(tensor: &FloatTensor<Self>) -> bool;
    /// The same tensor with its elements side by side, row by row; copied only if they are not.
    fn contiguous(tensor: FloatTensor<Self>) -> FloatTensor<Self>;
    /// The elements of a contiguous tensor.
    fn elements<E: Float>(tensor: &FloatTensor<Self>) -> &[E];
    /// The elements of a tensor of f32, row by row; its own memory if nobody else holds it and the backend can give it away.
    fn into_elements(tensor: FloatTensor<Self>) -> Vec<f32> {
        Self::elements(&Self::contiguous(tensor)).to_vec()
    }
    /// The elements of an integer tensor, row by row.
    fn integers(tensor: IntTensor<Self>) -> Vec<u32>;
}

#[cfg(feature = "flex")]
impl CpuBackend for Flex {
    fn is_contiguous(tensor: &FlexTensor) -> bool {
        tensor.is_contiguous()
    }

    fn contiguous(tensor: FlexTensor) -> FlexTensor {
        if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() }
    }

    fn elements<E: Float>(tensor: &FlexTensor) -> &[E] {
        E::of_flex(tensor)
    }

    fn into_elements(tensor: FlexTensor) -> Vec<f32> {
        tensor.into_data().try_into_vec().expect("the tensor is one of f32")
    }

    fn integers(tensor: FlexTensor) -> Vec<u32> {
        tensor.into_data().iter::<u32>().collect()
    }
}

#[cfg(feature = "ndarray")]
impl CpuBackend for NdArray {
    fn is_contiguous(tensor: &NdArrayTensor) -> bool {
        match tensor {
            NdArrayTensor::F32(values) => values.view().is_standard_layout(),
            _ => true,
        }
    }

    fn contiguous(tensor: NdArrayTensor) -> NdArrayTensor {
        match &tensor {
            NdArrayTensor::F32(values) if !Self::is_contiguous(&tensor) => {
                let shape = tensor.shape();
                let values: Vec<f32> = values.view().iter().copied().collect();
                NdArrayTensor::from_data(TensorData::new(values, shape))
            }
            _ => tensor,
        }
    }

    fn elements<E: Float>(tensor: &NdArrayTensor) -> &[E] {
        E::of_ndarray(tensor)
    }

    fn integers(tensor: NdArrayTensor) -> Vec<u32> {
        match &tensor {
            NdArrayTensor::I64(values) => values.view().iter().map(|&value| value as u32).collect(),
            NdArrayTensor::I32(values) => values.view().iter().map(|&value| value as u32).collect(),
            other => panic!("expected a tensor of integers, got {:?}", other.dtype()),
        }
    }
}

/// A tensor of these elements.
pub(crate) fn tensor<B: CpuBackend, E: Float, const D: usize>(
    values: Vec<E>,
    shape: [usize; D],
    device: &B::Device,
) -> FloatTensor<B> {
    B::float_from_data(TensorData::new(values, shape), device)
}
