//! Gradients with the activations of one block at a time (Chen et al. 2016, "Training Deep Nets with Sublinear Memory
//! Cost", arXiv:1604.06174).

use super::MambaLm;
use crate::block::norm;
use crate::mamba::MambaOptions;
use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Bool, Gradients, Int, Tensor};

/// Of the stream between two blocks: what the last mixer returned, and the sum of all before it.
type Stream = (Tensor<3>, Option<Tensor<3>>);

impl MambaLm {
    /// The loss, and its gradients as [`backward`](Tensor::backward) gives them, from a model on an autodiff device.
    ///
    /// `loss` makes one number of the logits, `[batch, length, padded_vocab]`. The forward pass keeps no more than the
    /// input of every block; going back, each block is run once more. So the memory for activations is that of one block
    /// and of the head, for about a third more time. `reset` is that of
    /// [`LmOptions::with_reset`](super::LmOptions::with_reset).
    ///
    /// Burn's own `Device::gradient_checkpointing` saves little here: it recomputes what is elementwise, and that is
    /// inside the operators of this library already.
    ///
    /// # Panics
    /// As [`forward`](Self::forward), or if the model is not on an autodiff device.
    pub fn gradients_by_block(
        &self,
        tokens: Tensor<2, Int>,
        reset: Option<Tensor<2, Bool>>,
        loss: impl FnOnce(Tensor<3>) -> Tensor<1>,
    ) -> (Tensor<1>, GradientsParams) {
        let options = |reset: &Option<Tensor<2, Bool>>| match reset {
            Some(reset) => MambaOptions::new().with_reset(reset.clone()),
            None => MambaOptions::new(),
        };
        let (plain, plain_reset) = (self.valid(), reset.clone().map(Tensor::without_autodiff));
        let mut streams: Vec<Stream> = Vec::with_capacity(self.layers.len());
        let mut stream = (plain.embedding.forward(tokens.clone().without_autodiff()), None);
        for layer in &plain.layers {
            streams.push(stream.clone());
            let (hidden, sum, _) = layer.forward_with(stream.0, stream.1, options(&plain_reset));
            stream = (hidden, Some(sum));
        }

        let mut all = GradientsAccumulator::new();
        let (hidden, residual) = leaves(stream);
        let loss = loss(self.head(norm(&self.norm_f, hidden.clone(), residual.clone()).normed));
        let mut gradients = loss.backward();
        let mut upstream = of_leaves(&mut gradients, &hidden, residual.as_ref());
        all.accumulate(self, GradientsParams::from_grads(gradients, self));

        for (layer, stream) in self.layers.iter().zip(streams).rev() {
            let (hidden, residual) = leaves(stream);
            let (output, sum, _) = layer.forward_with(hidden.clone(), residual.clone(), options(&reset));
            let mut gradients = backward([Some((output, upstream.0)), upstream.1.map(|upstream| (sum, upstream))]);
            upstream = of_leaves(&mut gradients, &hidden, residual.as_ref());
            all.accumulate(self, GradientsParams::from_grads(gradients, layer));
        }
        let embedded = self.embedding.forward(tokens);
        if embedded.is_tracked() {
            let gradients = backward([Some((embedded, upstream.0)), None]);
            all.accumulate(self, GradientsParams::from_grads(gradients, &self.embedding));
        }
        (loss.inner(), all.grads())
    }
}

/// The start of a graph.
fn leaves((hidden, residual): Stream) -> Stream {
    let leaf = |x| Tensor::from_inner(x).require_grad();
    (leaf(hidden), residual.map(leaf))
}

fn of_leaves(gradients: &mut Gradients, hidden: &Tensor<3>, residual: Option<&Tensor<3>>) -> Stream {
    let of = |x: &Tensor<3>, gradients: &mut Gradients| x.grad_remove(gradients);
    let residual = residual.and_then(|residual| of(residual, gradients));
    (of(hidden, gradients).expect("the loss depends on every block"), residual)
}

/// The gradients whose starts are given: those of the sum of `<x, upstream>`.
fn backward(ends: [Option<(Tensor<3>, Tensor<3>)>; 2]) -> Gradients {
    let products = ends.into_iter().flatten().map(|(x, upstream)| (x * Tensor::from_inner(upstream)).sum());
    products.reduce(|left, right| left + right).expect("there is one at least").backward()
}
