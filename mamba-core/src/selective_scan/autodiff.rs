//! The backward node. It saves the inputs and the state before every chunk; all else is recomputed.

use super::backend::{Gate, Path, ScanConfig, ScanGrads, ScanInputs, SelectiveScanBackend};
use crate::backend::FinalStateGrad;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend};

/// The node of `y`; that of the final state hangs on it.
#[derive(Debug)]
struct ScanBackward;

/// What [`ScanBackward`] needs: the inputs by their nodes, so that checkpointing may recompute them.
#[derive(Clone, Debug)]
struct Saved<B: Backend> {
    nodes: [NodeId; 8],
    z: Option<NodeId>,
    path: Path<B>,
    saved_states: FloatTensor<B>,
    grad_final_state: FinalStateGrad<B>,
    config: ScanConfig,
}

impl<B: SelectiveScanBackend> Backward<B, 9> for ScanBackward {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Self::State, 9>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let Saved { nodes, z, path, saved_states, grad_final_state, config } = ops.state;
        let mut input = |node| checkpointer.retrieve_node_output::<FloatTensor<B>>(node);
        let [u, delta, a, b, c, d, delta_bias, initial_state] = nodes.map(&mut input);
        let gate = z.map_or(Gate::None, |z| Gate::Silu(input(z)));
        let grad_y = grads.consume::<B>(&ops.node);
        let grad_final_state = grad_final_state.take();
        let config = ScanConfig { final_grad: grad_final_state.is_some(), ..config };
        let grad_final_state = grad_final_state.unwrap_or_else(|| initial_state.clone());
        let inputs = ScanInputs { u, delta, a, b, c, d, delta_bias, initial_state, gate, path };

        let ScanGrads { u, delta, a, b, c, d, delta_bias, initial_state, gate } =
            B::selective_scan_backward(inputs, saved_states, grad_y, grad_final_state, config);
        let [node_u, node_delta, node_a, node_b, node_c, node_d, node_bias, node_state, node_z] = ops.parents;
        let mut all = vec![
            (node_u, u),
            (node_delta, delta),
            (node_a, a),
            (node_b, b),
            (node_c, c),
            (node_d, d),
            (node_bias, delta_bias),
            (node_state, initial_state),
        ];
        if let Gate::Silu(z) = gate {
            all.push((node_z, z));
        }
        for (node, grad) in all {
            if let Some(node) = node {
                grads.register::<B>(node.id, grad);
            }
        }
    }
}

impl<B: SelectiveScanBackend, C: CheckpointStrategy> SelectiveScanBackend for Autodiff<B, C> {
    fn selective_scan(
        inputs: ScanInputs<Self>,
        config: ScanConfig,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let ScanInputs { u, delta, a, b, c, d, delta_bias, initial_state, gate, path } = inputs;
        let z = match gate {
            Gate::None => None,
            Gate::Silu(z) => Some(z),
        };
        let path = path.into_inner();
        let floats = [&u, &delta, &a, &b, &c, &d, &delta_bias, &initial_state];
        let inner = ScanInputs::<B> {
            u: u.primitive().clone(),
            delta: delta.primitive().clone(),
            a: a.primitive().clone(),
            b: b.primitive().clone(),
            c: c.primitive().clone(),
            d: d.primitive().clone(),
            delta_bias: delta_bias.primitive().clone(),
            initial_state: initial_state.primitive().clone(),
            gate: z.as_ref().map_or(Gate::None, |z| Gate::Silu(z.primitive().clone())),
            path: path.clone(),
        };
        // Without a gate its place among the parents is taken by `u`, which gets nothing from it.
        let gate_node = z.as_ref().unwrap_or(&u).node();
        let [n0, n1, n2, n3, n4, n5, n6, n7] = floats.map(|x| x.node());
        let prepared =
            ScanBackward.prepare::<C>([n0, n1, n2, n3, n4, n5, n6, n7, gate_node]).compute_bound().stateful();
        match prepared {
            OpsKind::UnTracked(prep) => {
                let (y, final_state, saved_states) = B::selective_scan(inner, config);
                (prep.finish(y), FloatTensor::<Self>::new(final_state), FloatTensor::<Self>::new(saved_states))
            }
            OpsKind::Tracked(mut prep) => {
                let (y, final_state, saved_states) = B::selective_scan(inner, ScanConfig { save: true, ..config });
                let outside = FloatTensor::<Self>::new(saved_states.clone());
                let grad_final_state = FinalStateGrad::default();
                let saved = Saved {
                    nodes: floats.map(|x| prep.checkpoint(x)),
                    z: z.as_ref().map(|z| prep.checkpoint(z)),
                    path,
                    saved_states,
                    grad_final_state: grad_final_state.clone(),
                    config,
                };
                let y = prep.finish(saved, y);
                let final_state = grad_final_state.attach::<C>(&y, final_state);
                (y, final_state, outside)
            }
        }
    }

    fn selective_scan_backward(
        _inputs: ScanInputs<Self>,
        _saved_states: FloatTensor<Self>,
        _grad_y: FloatTensor<Self>,
        _grad_final_state: FloatTensor<Self>,
        _config: ScanConfig,
    ) -> ScanGrads<Self> {
        panic!("the backward pass of selective_scan is not differentiable itself");
    }
}
