//! The backward node. It saves the sum, from which the scale of every row is found again.

use super::backend::{AddRmsNormBackend, Residual};
use crate::backend::FinalStateGrad;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, DType, TensorMetadata};

/// The node of the norm, on which that of the sum hangs; its parents are `hidden`, `gamma` and, if `N` is 3, `residual`.
#[derive(Debug)]
struct AddRmsNormBackward;

#[derive(Clone, Debug)]
struct Saved<B: Backend> {
    sum: FloatTensor<B>,
    /// By its node, so that checkpointing may recompute it.
    gamma: NodeId,
    grad_sum: FinalStateGrad<B>,
    epsilon: f64,
    /// Of `hidden`, `gamma` and `residual`.
    dtypes: [DType; 3],
}

impl<B: AddRmsNormBackend, const N: usize> Backward<B, N> for AddRmsNormBackward {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let Saved { sum, gamma, grad_sum, epsilon, dtypes } = ops.state;
        let gamma = checkpointer.retrieve_node_output::<FloatTensor<B>>(gamma);
        let grad_normed = grads.consume::<B>(&ops.node);
        let grad_sum = grad_sum.take_or_zeros(&sum);
        let (grad_sum, grad_gamma) = B::add_rms_norm_backward(sum, gamma, grad_normed, grad_sum, epsilon);
        // What is added has the gradient of the sum.
        let all = [grad_sum.clone(), grad_gamma, grad_sum];
        for ((node, grad), dtype) in ops.parents.into_iter().zip(all).zip(dtypes) {
            if let Some(node) = node {
                let grad = if grad.dtype() == dtype { grad } else { B::float_cast(grad, dtype.into()) };
                grads.register::<B>(node.id, grad);
            }
        }
    }
}

impl<B: AddRmsNormBackend, C: CheckpointStrategy> AddRmsNormBackend for Autodiff<B, C> {
    fn add_rms_norm(
        hidden: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        residual: Residual<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        match residual {
            Residual::None => forward::<B, C, 2>([&hidden, &gamma], Residual::None, epsilon),
            Residual::Stream(residual) => {
                let inner = Residual::Stream(residual.primitive().clone());
                forward::<B, C, 3>([&hidden, &gamma, &residual], inner, epsilon)
            }
        }
    }

    fn add_rms_norm_backward(
        _sum: FloatTensor<Self>,
        _gamma: FloatTensor<Self>,
        _grad_normed: FloatTensor<Self>,
        _grad_sum: FloatTensor<Self>,
        _epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        panic!("the backward pass of add_rms_norm is not differentiable itself");
    }
}

/// The norm and the sum.
type Outputs<B> = (FloatTensor<B>, FloatTensor<B>);

fn forward<B: AddRmsNormBackend, C: CheckpointStrategy, const N: usize>(
    inputs: [&FloatTensor<Autodiff<B, C>>; N],
    residual: Residual<B>,
    epsilon: f64,
) -> Outputs<Autodiff<B, C>> {
    let (hidden, gamma) = (inputs[0], inputs[1]);
    let (normed, sum) = B::add_rms_norm(hidden.primitive().clone(), gamma.primitive().clone(), residual, epsilon);
    match AddRmsNormBackward.prepare::<C>(inputs.map(|input| input.node())).compute_bound().stateful() {
        OpsKind::UnTracked(prep) => (prep.finish(normed), FloatTensor::<Autodiff<B, C>>::new(sum)),
        OpsKind::Tracked(mut prep) => {
            let grad_sum = FinalStateGrad::default();
            let saved = Saved {
                sum: sum.clone(),
                gamma: prep.checkpoint(gamma),
                grad_sum: grad_sum.clone(),
                epsilon,
                dtypes: [hidden.dtype(), gamma.dtype(), inputs[N - 1].dtype()],
            };
            let normed = prep.finish(saved, normed);
            let sum = grad_sum.attach::<C>(&normed, sum);
            (normed, sum)
        }
    }
}
