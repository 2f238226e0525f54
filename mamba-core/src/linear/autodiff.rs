//! The backward node. It saves `x` only for the gradient of the weight, and the weight only for that of `x`.

use super::backend::{Bias, LinearBackend, with_last};
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, TensorMetadata};
use burn::tensor::Shape;

/// The node of `y`; its parents are `x`, the weight and, if `N` is 3, the bias.
#[derive(Debug)]
struct LinearBackward;

/// What [`LinearBackward`] needs, by nodes, so that checkpointing may recompute it.
#[derive(Clone, Debug)]
struct Saved {
    x: Option<NodeId>,
    weight: Option<NodeId>,
}

impl<B: LinearBackend, const N: usize> Backward<B, N> for LinearBackward {
    type State = Saved;

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let grad_y = grads.consume::<B>(&ops.node);
        let Saved { x, weight } = ops.state;
        let [x, weight] =
            [x, weight].map(|node| node.map(|node| checkpointer.retrieve_node_output::<FloatTensor<B>>(node)));
        let mut parents = ops.parents.into_iter();
        let mut parent = || parents.next().flatten();

        if let Some(node) = parent() {
            let weight = weight.expect("saved, because `x` is tracked");
            grads.register::<B>(node.id, B::linear_grad_x(grad_y.clone(), weight));
        }
        if let Some(node) = parent() {
            let x = x.expect("saved, because the weight is tracked");
            grads.register::<B>(node.id, B::linear_grad_weight(x, grad_y.clone()));
        }
        if let Some(node) = parent() {
            grads.register::<B>(node.id, sum_of_rows::<B>(grad_y));
        }
    }
}

/// The sum over all rows, as a product with ones: a reduction of Burn's may be autotuned, and another choice another
/// rounding.
fn sum_of_rows<B: LinearBackend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let [.., width] = x.shape()[..] else { unreachable!("rows have a dimension") };
    let ones = B::float_ones(with_last(&x.shape(), 1), &x.device(), x.dtype().into());
    B::float_reshape(B::linear_grad_weight(ones, x), Shape::new([width]))
}

impl<B: LinearBackend, C: CheckpointStrategy> LinearBackend for Autodiff<B, C> {
    fn linear_forward(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: Bias<Self>) -> FloatTensor<Self> {
        match bias {
            Bias::None => forward::<B, C, 2>([&x, &weight], Bias::None),
            Bias::Row(bias) => {
                let inner = Bias::Row(bias.primitive().clone());
                forward::<B, C, 3>([&x, &weight, &bias], inner)
            }
        }
    }

    fn linear_grad_x(_grad_y: FloatTensor<Self>, _weight: FloatTensor<Self>) -> FloatTensor<Self> {
        panic!("the backward pass of linear is not differentiable itself");
    }

    fn linear_grad_weight(_x: FloatTensor<Self>, _grad_y: FloatTensor<Self>) -> FloatTensor<Self> {
        panic!("the backward pass of linear is not differentiable itself");
    }
}

fn forward<B: LinearBackend, C: CheckpointStrategy, const N: usize>(
    inputs: [&FloatTensor<Autodiff<B, C>>; N],
    bias: Bias<B>,
) -> FloatTensor<Autodiff<B, C>> {
    let (x, weight) = (inputs[0], inputs[1]);
    let y = B::linear_forward(x.primitive().clone(), weight.primitive().clone(), bias);
    let prepared = LinearBackward.prepare::<C>(inputs.map(|input| input.node())).compute_bound();
    match prepared.stateful() {
        OpsKind::UnTracked(prep) => prep.finish(y),
        OpsKind::Tracked(mut prep) => {
            let saved = Saved {
                x: weight.is_tracked().then(|| prep.checkpoint(x)),
                weight: x.is_tracked().then(|| prep.checkpoint(weight)),
            };
            prep.finish(saved, y)
        }
    }
}
