//! The backward node. It saves the input.

use super::backend::GeluBackend;
use burn::backend::Autodiff;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;

/// The node of the unit; its parent is `x`.
#[derive(Debug)]
struct GeluBackward;

impl<B: GeluBackend> Backward<B, 1> for GeluBackward {
    /// The input, so that checkpointing may recompute it.
    type State = NodeId;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(ops.state);
        let grad_y = grads.consume::<B>(&ops.node);
        if let [Some(node)] = ops.parents {
            grads.register::<B>(node.id, B::gelu_grad(x, grad_y));
        }
    }
}

impl<B: GeluBackend, C: CheckpointStrategy> GeluBackend for Autodiff<B, C> {
    fn gelu_forward(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let y = B::gelu_forward(x.primitive().clone());
        match GeluBackward.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::UnTracked(prep) => prep.finish(y),
            OpsKind::Tracked(mut prep) => {
                let saved = prep.checkpoint(&x);
                prep.finish(saved, y)
            }
        }
    }

    fn gelu_grad(_x: FloatTensor<Self>, _grad_y: FloatTensor<Self>) -> FloatTensor<Self> {
        panic!("the backward pass of gelu is not differentiable itself");
    }
}
