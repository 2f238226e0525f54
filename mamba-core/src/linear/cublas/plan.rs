//! What cuBLASLt needs to know of a product, worked out once for each kind of product.
//!
//! cuBLASLt counts by columns. A matrix that lies by rows is its transpose lying by columns, so `y^T = W^T x^T` is what
//! it is asked for, and nothing is copied.

use super::matrix::Layout;
use burn::tensor::DType;
use cudarc::cublaslt::result::{self, CublasError};
use cudarc::cublaslt::sys::{
    self, cublasLtMatmulDescAttributes_t as Desc, cublasLtMatmulPreferenceAttributes_t as Pref,
};
use cudarc::driver::sys::CUstream;
use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::c_void;
use std::fmt::{Display, Formatter};
use std::ptr::from_ref;

/// Bytes that a product may use beside its arguments; NVIDIA's advice for Hopper.
pub(super) const WORKSPACE: usize = 32 << 20;

/// Lengths may change with every call, so that plans are forgotten beyond this number.
const MAX_PLANS: usize = 1024;

/// `a b`, plus a bias where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Product {
    pub a: Layout,
    pub b: Layout,
    pub dtype: DType,
    pub bias: bool,
}

impl Product {
    /// Packed, row by row.
    fn output(&self) -> Layout {
        let (rows, cols) = (self.a.rows, self.b.cols);
        Layout { rows, cols, stride: cols, transposed: false }
    }
}

impl Display for Product {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Self { a, b, dtype, bias } = self;
        let bias = if *bias { " with a bias" } else { "" };
        write!(f, "[{}, {}] x [{}, {}] in {dtype:?}{bias}", a.rows, a.cols, b.rows, b.cols)
    }
}

/// Addresses on the device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pointers {
    pub a: u64,
    pub b: u64,
    pub bias: Option<u64>,
    pub output: u64,
    /// [`WORKSPACE`] bytes.
    pub workspace: u64,
}

impl Pointers {
    /// Powers of two that divide the addresses of what is read and written, up to 256.
    fn alignments(&self) -> [u32; 3] {
        [self.a, self.b, self.output].map(|address| 1 << address.trailing_zeros().min(8))
    }
}

/// Enqueues the product on `stream`; the output is packed, row by row.
///
/// # Safety
/// On this thread the CUDA context of the stream is current, and always the same. The pointers are memory of its device
/// that holds what `product` says, and that remains until the stream is done with it.
pub(super) unsafe fn enqueue(product: Product, pointers: Pointers, stream: CUstream) -> Result<(), CublasError> {
    thread_local! {
        static CUBLAS: RefCell<Option<Cublas>> = const { RefCell::new(None) };
    }
    CUBLAS.with_borrow_mut(|cublas| {
        let cublas = match cublas {
            Some(cublas) => cublas,
            None => cublas.insert(Cublas { handle: result::create_handle()?, plans: HashMap::new() }),
        };
        // SAFETY: as the caller promises.
        unsafe { cublas.enqueue(product, pointers, stream) }
    })
}

/// The library on one device, which has one thread. Its handle is never destroyed: at the end CUDA may be gone already.
struct Cublas {
    handle: sys::cublasLtHandle_t,
    plans: HashMap<(Product, [u32; 3]), Plan>,
}

impl Cublas {
    /// # Safety
    /// As of [`enqueue()`].
    unsafe fn enqueue(&mut self, product: Product, pointers: Pointers, stream: CUstream) -> Result<(), CublasError> {
        let key = (product, pointers.alignments());
        if self.plans.len() >= MAX_PLANS && !self.plans.contains_key(&key) {
            self.plans.clear();
        }
        let plan = match self.plans.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Plan::new(self.handle, product, pointers)?),
        };
        let (one, zero) = (1f32, 0f32);
        if let Some(bias) = pointers.bias {
            plan.operation.set(Desc::CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias)?;
        }
        // SAFETY: the descriptors are those of the plan, which lives; the memory is as the caller promises, and the
        // output is written without being read, as the second factor is zero.
        unsafe {
            result::matmul(
                self.handle,
                plan.operation.raw,
                from_ref(&one).cast(),
                from_ref(&zero).cast(),
                pointers.b as *const c_void,
                plan.b.raw,
                pointers.a as *const c_void,
                plan.a.raw,
                pointers.output as *const c_void,
                plan.output.raw,
                pointers.output as *mut c_void,
                plan.output.raw,
                &plan.algorithm,
                pointers.workspace as *mut c_void,
                WORKSPACE,
                stream.cast(),
            )
        }
    }
}

/// The descriptors of a product, and the algorithm that cuBLASLt proposes.
struct Plan {
    operation: Descriptor<sys::cublasLtMatmulDesc_t>,
    a: Descriptor<sys::cublasLtMatrixLayout_t>,
    b: Descriptor<sys::cublasLtMatrixLayout_t>,
    output: Descriptor<sys::cublasLtMatrixLayout_t>,
    algorithm: sys::cublasLtMatmulAlgo_t,
}

impl Plan {
    /// Takes the first proposal: measuring them would give other bits in another run.
    fn new(handle: sys::cublasLtHandle_t, product: Product, pointers: Pointers) -> Result<Self, CublasError> {
        let Product { a, b, dtype, .. } = product;
        let dtype = match dtype {
            DType::F32 => sys::cudaDataType::CUDA_R_32F,
            DType::F16 => sys::cudaDataType::CUDA_R_16F,
            DType::BF16 => sys::cudaDataType::CUDA_R_16BF,
            other => unreachable!("the caller serves no {other:?}"),
        };
        // Plain f32: neither TF32 for f32, nor sums in half precision.
        let compute = sys::cublasComputeType_t::CUBLAS_COMPUTE_32F;
        let operation = Descriptor::operation(compute, sys::cudaDataType::CUDA_R_32F)?;
        operation.set(Desc::CUBLASLT_MATMUL_DESC_TRANSA, &i32::from(b.transposed))?;
        operation.set(Desc::CUBLASLT_MATMUL_DESC_TRANSB, &i32::from(a.transposed))?;
        if let Some(bias) = pointers.bias {
            operation.set(Desc::CUBLASLT_MATMUL_DESC_EPILOGUE, &sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_BIAS)?;
            operation.set(Desc::CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias)?;
        }
        let [align_a, align_b, align_output] = pointers.alignments();
        let preference = Descriptor::preference()?;
        preference.set(Pref::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &WORKSPACE)?;
        // A sum in parts is put together in f32, and not with atomics.
        let reduction = sys::cublasLtReductionScheme_t::CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
        preference.set(Pref::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reduction)?;
        preference.set(Pref::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &align_b)?;
        preference.set(Pref::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &align_a)?;
        preference.set(Pref::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &align_output)?;
        preference.set(Pref::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &align_output)?;

        let [a, b, output] = [a, b, product.output()].map(|layout| Descriptor::layout(dtype, layout));
        let (a, b, output) = (a?, b?, output?);
        // SAFETY: all descriptors live.
        let proposal = unsafe {
            result::get_matmul_algo_heuristic(
                handle,
                operation.raw,
                b.raw,
                a.raw,
                output.raw,
                output.raw,
                preference.raw,
            )?
        };
        Ok(Self { operation, a, b, output, algorithm: proposal.algo })
    }
}

/// A descriptor of cuBLASLt, destroyed when it is dropped.
struct Descriptor<T: Copy> {
    raw: T,
    destroy: unsafe fn(T) -> Result<(), CublasError>,
}

impl<T: Copy> Drop for Descriptor<T> {
    fn drop(&mut self) {
        // SAFETY: created with this descriptor, and not destroyed elsewhere. An error would say that it does not exist.
        let _ = unsafe { (self.destroy)(self.raw) };
    }
}

impl Descriptor<sys::cublasLtMatmulDesc_t> {
    fn operation(compute: sys::cublasComputeType_t, scale: sys::cudaDataType) -> Result<Self, CublasError> {
        Ok(Self { raw: result::create_matmul_desc(compute, scale)?, destroy: result::destroy_matmul_desc })
    }

    fn set<V: Copy>(&self, attribute: Desc, value: &V) -> Result<(), CublasError> {
        // SAFETY: the descriptor lives, and the library copies as many bytes as it is told; it refuses a wrong number.
        unsafe { result::set_matmul_desc_attribute(self.raw, attribute, from_ref(value).cast(), size_of::<V>()) }
    }
}

impl Descriptor<sys::cublasLtMatmulPreference_t> {
    fn preference() -> Result<Self, CublasError> {
        Ok(Self { raw: result::create_matmul_pref()?, destroy: result::destroy_matmul_pref })
    }

    fn set<V: Copy>(&self, attribute: Pref, value: &V) -> Result<(), CublasError> {
        // SAFETY: the descriptor lives, and the library copies as many bytes as it is told; it refuses a wrong number.
        unsafe { result::set_matmul_pref_attribute(self.raw, attribute, from_ref(value).cast(), size_of::<V>()) }
    }
}

impl Descriptor<sys::cublasLtMatrixLayout_t> {
    /// The memory as it lies, by columns; whether it is to be transposed is said of the operation.
    fn layout(dtype: sys::cudaDataType, layout: Layout) -> Result<Self, CublasError> {
        let [rows, cols] = layout.by_columns();
        let raw = result::create_matrix_layout(dtype, rows as u64, cols as u64, layout.stride as i64)?;
        Ok(Self { raw, destroy: result::destroy_matrix_layout })
    }
}

#[cfg(test)]
mod tests {
    use super::{Layout, Product};
    use burn::tensor::DType;

    /// What cuBLAS computes of column-major memory: `op(A) op(B)`, where `op` transposes or does not.
    fn by_columns(a: (&[f64], Layout, bool), b: (&[f64], Layout, bool), output: Layout) -> Vec<f64> {
        let [m, n] = output.by_columns();
        let size = |layout: Layout, transpose: bool| {
            let [rows, cols] = layout.by_columns();
            assert!(layout.stride >= rows, "the leading dimension is at least the number of rows");
            if transpose { [cols, rows] } else { [rows, cols] }
        };
        let [rows, k] = size(a.1, a.2);
        assert_eq!(([rows, k], [k, n]), ([m, k], size(b.1, b.2)));
        let at = |(values, layout, transpose): (&[f64], Layout, bool), i: usize, j: usize| {
            if transpose { values[i * layout.stride + j] } else { values[j * layout.stride + i] }
        };
        let mut values = vec![0.0; n * output.stride];
        for j in 0..n {
            for i in 0..m {
                values[j * output.stride + i] = (0..k).map(|k| at(a, i, k) * at(b, k, j)).sum();
            }
        }
        values
    }

    #[test]
    fn the_descriptors_of_a_product_by_columns_are_that_by_rows() {
        let values: Vec<_> = (0..200).map(|i| ((i * 37) % 101) as f64).collect();
        let (m, k, n) = (3, 4, 5);
        for (strides_a, strides_b) in [([4, 1], [5, 1]), ([9, 1], [1, 7]), ([1, 8], [6, 1]), ([1, 3], [1, 4])] {
            let layout = |shape: [usize; 2], strides: [usize; 2]| Layout::of(&shape, &strides).expect("a matrix");
            let (a, b) = (layout([m, k], strides_a), layout([k, n], strides_b));
            let product = Product { a, b, dtype: DType::F32, bias: false };
            let actual = by_columns((&values, b, b.transposed), (&values, a, a.transposed), product.output());
            let at = |strides: [usize; 2], i: usize, j: usize| values[i * strides[0] + j * strides[1]];
            let entry = |i, j| (0..k).map(|k| at(strides_a, i, k) * at(strides_b, k, j)).sum::<f64>();
            let expected: Vec<_> = (0..m * n).map(|i| entry(i / n, i % n)).collect();
            assert_eq!(actual, expected, "{strides_a:?} {strides_b:?}");
        }
    }

    #[test]
    fn a_product_is_named_by_its_shapes_and_dtype() {
        let layout = |rows, cols| Layout { rows, cols, stride: cols, transposed: false };
        let product = Product { a: layout(2, 3), b: layout(3, 4), dtype: DType::BF16, bias: true };
        assert_eq!(product.to_string(), "[2, 3] x [3, 4] in BF16 with a bias");
    }
}
