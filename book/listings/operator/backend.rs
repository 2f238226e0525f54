//! The extension trait: what a backend implements.

// ANCHOR: backend
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};

/// A backend with a kernel for the recurrence.
#[backend_extension(Autodiff, Flex: cfg(feature = "flex"))]
pub trait LinearRecurrenceBackend: Backend {
    /// The states.
    fn linear_recurrence(decay: FloatTensor<Self>, x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// The gradients of `decay` and `x`, from the states and their gradients.
    fn linear_recurrence_backward(
        decay: FloatTensor<Self>,
        h: FloatTensor<Self>,
        grad_h: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}
// ANCHOR_END: backend
