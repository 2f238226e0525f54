//! What the operators share: which devices have kernels, and how a node gets a second output.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, DispatchDevice, TensorMetadata};
use burn::tensor::{DType, Device, Shape};
use std::sync::{Arc, Mutex, MutexGuard};

/// Storage buffers that the largest of our kernels binds, the metadata of CubeCL included.
#[cfg(feature = "cube")]
const KERNEL_BINDINGS: u32 = 19;

/// Whether `device` runs our kernels; the others run the references.
pub(crate) fn has_kernels(device: &Device) -> bool {
    match device.clone().inner().as_dispatch() {
        #[cfg(feature = "flex")]
        DispatchDevice::Flex(_) => true,
        #[cfg(feature = "ndarray")]
        DispatchDevice::NdArray(_) => true,
        #[cfg(feature = "cube")]
        DispatchDevice::Cube(device) => device.client().properties().hardware.max_bindings >= KERNEL_BINDINGS,
        #[allow(unreachable_patterns, reason = "reachable as soon as another backend is compiled in")]
        _ => false,
    }
}

/// Whether `device` runs the kernels for CPUs.
pub(crate) fn is_cpu(device: &Device) -> bool {
    match device.clone().inner().as_dispatch() {
        #[cfg(feature = "flex")]
        DispatchDevice::Flex(_) => true,
        #[cfg(feature = "ndarray")]
        DispatchDevice::NdArray(_) => true,
        #[allow(unreachable_patterns, reason = "reachable as soon as another backend is compiled in")]
        _ => false,
    }
}

/// Runs `work`, on CPUs on one of the threads that the kernels share.
///
/// What is made of many small kernels, as a step of decoding is, takes a tenth longer from any other thread: it goes to
/// sleep while a kernel runs, and is woken after it.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mamba_core::among_workers;
///
/// let device = Device::default();
/// let x = Tensor::<1>::ones([4], &device);
/// assert_eq!(among_workers(&device, || x.sum().into_scalar::<f32>()), 4.0);
/// ```
pub fn among_workers<R: Send>(device: &Device, work: impl FnOnce() -> R + Send) -> R {
    #[cfg(any(feature = "flex", feature = "ndarray"))]
    if is_cpu(device) {
        return rayon::scope(|_| work());
    }
    let _ = device;
    work()
}

/// Whether `device` can record launches once and replay them together, as [`burn::tensor::capture`] does.
///
/// Those are CUDA's devices, without `fusion`: there it is not certain that a tensor is written in its own memory.
///
/// ```
/// use burn::tensor::Device;
/// use mamba_core::records_graphs;
///
/// assert!(!records_graphs(&Device::flex()), "a CPU launches nothing");
/// ```
pub fn records_graphs(device: &Device) -> bool {
    match device.clone().inner().as_dispatch() {
        #[cfg(all(feature = "cuda", not(feature = "fusion")))]
        DispatchDevice::Cube(burn_cubecl::CubeDevice::Cuda(_)) => true,
        _ => false,
    }
}

/// The second output of a node whose first is `y`.
///
/// Burn's autodiff nodes have one output. The final state gets a node of its own behind that of `y`: it runs first in
/// the backward pass and leaves its gradient here for the node of `y`, which computes both.
#[derive(Debug)]
pub(crate) struct FinalStateGrad<B: Backend>(Arc<Mutex<Option<FloatTensor<B>>>>);

impl<B: Backend> Default for FinalStateGrad<B> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(None)))
    }
}

impl<B: Backend> Clone for FinalStateGrad<B> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<B: Backend> FinalStateGrad<B> {
    fn slot(&self) -> MutexGuard<'_, Option<FloatTensor<B>>> {
        self.0.lock().expect("no holder of this lock panics")
    }

    /// The gradient that was left here, if any.
    pub(crate) fn take(&self) -> Option<FloatTensor<B>> {
        self.slot().take()
    }

    /// That, or zeros like the state.
    pub(crate) fn take_or_zeros(&self, state: &FloatTensor<B>) -> FloatTensor<B> {
        self.take().unwrap_or_else(|| zeros_like::<B>(state))
    }

    /// Makes `final_state` a node behind `y`.
    pub(crate) fn attach<C: CheckpointStrategy>(
        self,
        y: &FloatTensor<Autodiff<B, C>>,
        final_state: FloatTensor<B>,
    ) -> FloatTensor<Autodiff<B, C>> {
        let zeros = YLike { shape: y.shape(), device: y.device(), dtype: y.dtype() };
        match FinalStateBackward.prepare::<C>([y.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((self, zeros), final_state),
            OpsKind::UnTracked(prep) => prep.finish(final_state),
        }
    }
}

#[derive(Debug)]
struct FinalStateBackward;

/// What zeros in place of `y`'s gradient look like.
#[derive(Clone, Debug)]
struct YLike<D> {
    shape: Shape,
    device: D,
    dtype: DType,
}

impl<B: Backend> Backward<B, 1> for FinalStateBackward {
    type State = (FinalStateGrad<B>, YLike<B::Device>);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let (slot, like) = ops.state;
        *slot.slot() = Some(grads.consume::<B>(&ops.node));
        // The node of `y` runs only with a gradient, which the loss may not give it.
        if let [Some(y)] = ops.parents {
            grads.register::<B>(y.id, B::float_zeros(like.shape, &like.device, like.dtype.into()));
        }
    }
}

/// Zeros of the shape, dtype and device of `x`.
pub(crate) fn zeros_like<B: Backend>(x: &FloatTensor<B>) -> FloatTensor<B> {
    B::float_zeros(x.shape(), &x.device(), x.dtype().into())
}
