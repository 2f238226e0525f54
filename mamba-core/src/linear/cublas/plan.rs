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

/// The library on one device, which has one thread. It is left to the end of the process, when CUDA may be gone already.
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

        let output = Layout { rows: a.rows, cols: b.cols, stride: b.cols, transposed: false };
        let [a, b, output] = [a, b, output].map(|layout| Descriptor::layout(dtype, layout));
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
        let Layout { rows, cols, stride, transposed } = layout;
        let (rows, cols) = if transposed { (rows, cols) } else { (cols, rows) };
        let raw = result::create_matrix_layout(dtype, rows as u64, cols as u64, stride as i64)?;
        Ok(Self { raw, destroy: result::destroy_matrix_layout })
    }
}
