//! The backward node. It saves the inputs; what goes into a SiLU is convolved again.

use super::backend::DepthwiseConv3x3Backend;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, DType, TensorMetadata};

/// The node of the convolution; its parents are `x`, the weight and the bias.
#[derive(Debug)]
struct ConvBackward;

/// What [`ConvBackward`] needs, by nodes, so that checkpointing may recompute it.
#[derive(Clone, Debug)]
struct Saved {
    x: NodeId,
    weight: NodeId,
    bias: NodeId,
    silu: bool,
    /// Of the parents.
    dtypes: [DType; 3],
}

impl<B: DepthwiseConv3x3Backend> Backward<B, 3> for ConvBackward {
    type State = Saved;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let Saved { x, weight, bias, silu, dtypes } = ops.state;
        let [x, weight, bias] = [x, weight, bias].map(|node| checkpointer.retrieve_node_output::<FloatTensor<B>>(node));
        let grad_y = grads.consume::<B>(&ops.node);
        let (x, weight, bias) = B::depthwise_conv3x3_grads(x, weight, bias, grad_y, silu);
        for ((node, grad), dtype) in ops.parents.into_iter().zip([x, weight, bias]).zip(dtypes) {
            if let Some(node) = node {
                let grad = if grad.dtype() == dtype { grad } else { B::float_cast(grad, dtype.into()) };
                grads.register::<B>(node.id, grad);
            }
        }
    }
}

impl<B: DepthwiseConv3x3Backend, C: CheckpointStrategy> DepthwiseConv3x3Backend for Autodiff<B, C> {
    fn depthwise_conv3x3_forward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        silu: bool,
    ) -> FloatTensor<Self> {
        let inputs = [&x, &weight, &bias];
        let [inner_x, inner_weight, inner_bias] = inputs.map(|input| input.primitive().clone());
        let y = B::depthwise_conv3x3_forward(inner_x, inner_weight, inner_bias, silu);
        match ConvBackward.prepare::<C>(inputs.map(|input| input.node())).compute_bound().stateful() {
            OpsKind::UnTracked(prep) => prep.finish(y),
            OpsKind::Tracked(mut prep) => {
                let saved = Saved {
                    x: prep.checkpoint(&x),
                    weight: prep.checkpoint(&weight),
                    bias: prep.checkpoint(&bias),
                    silu,
                    dtypes: inputs.map(|input| input.dtype()),
                };
                prep.finish(saved, y)
            }
        }
    }

    fn depthwise_conv3x3_grads(
        _x: FloatTensor<Self>,
        _weight: FloatTensor<Self>,
        _bias: FloatTensor<Self>,
        _grad_y: FloatTensor<Self>,
        _silu: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        panic!("the backward pass of depthwise_conv3x3 is not differentiable itself");
    }
}
