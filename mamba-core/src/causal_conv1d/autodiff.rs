//! The backward node. It saves the inputs; the convolution before the activation is recomputed.

use super::backend::{CausalConv1dBackend, ConvConfig, ConvGrads, ConvInputs};
use crate::backend::FinalStateGrad;
use crate::selective_scan::Path;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend};

/// The node of `y`; that of the final state hangs on it.
#[derive(Debug)]
struct ConvBackward;

/// What [`ConvBackward`] needs: the inputs by their nodes, so that checkpointing may recompute them.
#[derive(Clone, Debug)]
struct Saved<B: Backend> {
    nodes: [NodeId; 4],
    path: Path<B>,
    grad_final_state: FinalStateGrad<B>,
    config: ConvConfig,
}

impl<B: CausalConv1dBackend> Backward<B, 4> for ConvBackward {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Self::State, 4>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let Saved { nodes, path, grad_final_state, config } = ops.state;
        let [x, weight, bias, initial_state] =
            nodes.map(|node| checkpointer.retrieve_node_output::<FloatTensor<B>>(node));
        let grad_y = grads.consume::<B>(&ops.node);
        let grad_final_state = grad_final_state.take();
        let config = ConvConfig { final_grad: grad_final_state.is_some(), ..config };
        let grad_final_state = grad_final_state.unwrap_or_else(|| initial_state.clone());
        let inputs = ConvInputs { x, weight, bias, initial_state, path };

        let ConvGrads { x, weight, bias, initial_state } =
            B::causal_conv1d_backward(inputs, grad_y, grad_final_state, config);
        for (node, grad) in ops.parents.into_iter().zip([x, weight, bias, initial_state]) {
            if let Some(node) = node {
                grads.register::<B>(node.id, grad);
            }
        }
    }
}

impl<B: CausalConv1dBackend, C: CheckpointStrategy> CausalConv1dBackend for Autodiff<B, C> {
    fn causal_conv1d(inputs: ConvInputs<Self>, config: ConvConfig) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let ConvInputs { x, weight, bias, initial_state, path } = inputs;
        let path = path.into_inner();
        let floats = [&x, &weight, &bias, &initial_state];
        let [p0, p1, p2, p3] = floats.map(|x| x.primitive().clone());
        let inner = ConvInputs::<B> { x: p0, weight: p1, bias: p2, initial_state: p3, path: path.clone() };
        let (y, final_state) = B::causal_conv1d(inner, config);
        match ConvBackward.prepare::<C>(floats.map(|x| x.node())).compute_bound().stateful() {
            OpsKind::UnTracked(prep) => (prep.finish(y), FloatTensor::<Self>::new(final_state)),
            OpsKind::Tracked(mut prep) => {
                let grad_final_state = FinalStateGrad::default();
                let saved = Saved {
                    nodes: floats.map(|x| prep.checkpoint(x)),
                    path,
                    grad_final_state: grad_final_state.clone(),
                    config,
                };
                let y = prep.finish(saved, y);
                let final_state = grad_final_state.attach::<C>(&y, final_state);
                (y, final_state)
            }
        }
    }

    fn causal_conv1d_backward(
        _inputs: ConvInputs<Self>,
        _grad_y: FloatTensor<Self>,
        _grad_final_state: FloatTensor<Self>,
        _config: ConvConfig,
    ) -> ConvGrads<Self> {
        panic!("the backward pass of causal_conv1d is not differentiable itself");
    }
}
