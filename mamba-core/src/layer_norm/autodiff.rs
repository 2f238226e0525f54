//! The backward node. It saves the input, from which the statistics of every token are found again.

use super::backend::LayerNormBackend;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, DType, TensorMetadata};

/// The node of the norm; its parents are `x`, `gamma` and `beta`.
#[derive(Debug)]
struct LayerNormBackward;

/// What [`LayerNormBackward`] needs, by nodes, so that checkpointing may recompute it.
#[derive(Clone, Debug)]
struct Saved {
    x: NodeId,
    gamma: NodeId,
    epsilon: f64,
    /// Of the parents.
    dtypes: [DType; 3],
}

impl<B: LayerNormBackend> Backward<B, 3> for LayerNormBackward {
    type State = Saved;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let Saved { x, gamma, epsilon, dtypes } = ops.state;
        let [x, gamma] = [x, gamma].map(|node| checkpointer.retrieve_node_output::<FloatTensor<B>>(node));
        let grad_y = grads.consume::<B>(&ops.node);
        let (x, gamma, beta) = B::layer_norm_grads(x, gamma, grad_y, epsilon);
        for ((node, grad), dtype) in ops.parents.into_iter().zip([x, gamma, beta]).zip(dtypes) {
            if let Some(node) = node {
                let grad = if grad.dtype() == dtype { grad } else { B::float_cast(grad, dtype.into()) };
                grads.register::<B>(node.id, grad);
            }
        }
    }
}

impl<B: LayerNormBackend, C: CheckpointStrategy> LayerNormBackend for Autodiff<B, C> {
    fn layer_norm_forward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let inputs = [&x, &gamma, &beta];
        let [inner_x, inner_gamma, inner_beta] = inputs.map(|input| input.primitive().clone());
        let y = B::layer_norm_forward(inner_x, inner_gamma, inner_beta, epsilon);
        match LayerNormBackward.prepare::<C>(inputs.map(|input| input.node())).compute_bound().stateful() {
            OpsKind::UnTracked(prep) => prep.finish(y),
            OpsKind::Tracked(mut prep) => {
                let saved = Saved {
                    x: prep.checkpoint(&x),
                    gamma: prep.checkpoint(&gamma),
                    epsilon,
                    dtypes: inputs.map(|input| input.dtype()),
                };
                prep.finish(saved, y)
            }
        }
    }

    fn layer_norm_grads(
        _x: FloatTensor<Self>,
        _gamma: FloatTensor<Self>,
        _grad_y: FloatTensor<Self>,
        _epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        panic!("the backward pass of layer_norm is not differentiable itself");
    }
}
