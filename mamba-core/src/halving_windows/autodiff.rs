//! The backward node. It saves nothing but a size.

use super::backend::HalvingWindowsBackend;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, TensorMetadata};

/// The node of the windows; its parent is `x`.
#[derive(Debug)]
struct WindowsBackward;

impl<B: HalvingWindowsBackend> Backward<B, 1> for WindowsBackward {
    /// Height and width of `x`.
    type State = [usize; 2];

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let [height, width] = ops.state;
        let grad_y = grads.consume::<B>(&ops.node);
        if let [Some(node)] = ops.parents {
            grads.register::<B>(node.id, B::halving_windows_grad(grad_y, height, width));
        }
    }
}

impl<B: HalvingWindowsBackend, C: CheckpointStrategy> HalvingWindowsBackend for Autodiff<B, C> {
    fn halving_windows(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let [_, height, width, _] = x.shape().dims();
        let y = B::halving_windows(x.primitive().clone());
        match WindowsBackward.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::UnTracked(prep) => prep.finish(y),
            OpsKind::Tracked(prep) => prep.finish([height, width], y),
        }
    }

    fn halving_windows_grad(_grad_y: FloatTensor<Self>, _height: usize, _width: usize) -> FloatTensor<Self> {
        panic!("the backward pass of halving_windows is not differentiable itself");
    }
}
