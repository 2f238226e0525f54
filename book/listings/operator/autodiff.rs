//! The backward node.

use super::backend::LinearRecurrenceBackend;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend};

// ANCHOR: node
#[derive(Debug)]
struct LinearRecurrenceBackward;

/// What the backward pass needs: `decay` by its node, so that checkpointing may recompute it, and the states.
#[derive(Clone, Debug)]
struct Saved<B: Backend> {
    decay: NodeId,
    h: FloatTensor<B>,
}

impl<B: LinearRecurrenceBackend> Backward<B, 2> for LinearRecurrenceBackward {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let Saved { decay, h } = ops.state;
        let decay = checkpointer.retrieve_node_output::<FloatTensor<B>>(decay);
        let grad_h = grads.consume::<B>(&ops.node);
        let (grad_decay, grad_x) = B::linear_recurrence_backward(decay, h, grad_h);
        for (parent, grad) in ops.parents.into_iter().zip([grad_decay, grad_x]) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, grad);
            }
        }
    }
}
// ANCHOR_END: node

// ANCHOR: decorator
impl<B: LinearRecurrenceBackend, C: CheckpointStrategy> LinearRecurrenceBackend for Autodiff<B, C> {
    fn linear_recurrence(decay: FloatTensor<Self>, x: FloatTensor<Self>) -> FloatTensor<Self> {
        let h = B::linear_recurrence(decay.primitive().clone(), x.primitive().clone());
        match LinearRecurrenceBackward.prepare::<C>([decay.node(), x.node()]).compute_bound().stateful() {
            OpsKind::UnTracked(prep) => prep.finish(h),
            OpsKind::Tracked(mut prep) => {
                let saved = Saved { decay: prep.checkpoint(&decay), h: h.clone() };
                prep.finish(saved, h)
            }
        }
    }

    fn linear_recurrence_backward(
        _decay: FloatTensor<Self>,
        _h: FloatTensor<Self>,
        _grad_h: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        panic!("the backward pass of linear_recurrence is not differentiable itself");
    }
}
// ANCHOR_END: decorator
