//! Decoding step by step, with the launches of a step recorded once where the device can.

use super::{LmState, MambaLm};
use crate::parts::at_least_f32;
use burn::module::Module;
use burn::tensor::{Graph, Int, Tensor, capture};
use mamba_core::{among_workers, memory_id, records_graphs};
use std::cell::RefCell;
use std::rc::Rc;

/// Goes on from a state, one token for each row at a time. Made by [`MambaLm::decoder`].
///
/// A step of a small batch is hundreds of kernels of a few microseconds, and a host takes longer to launch them. On CUDA
/// devices a step is recorded once, as a CUDA graph, and then replayed with one launch. Elsewhere it is
/// [`MambaLm::step`].
pub struct Decoder {
    model: MambaLm,
    buffers: Rc<RefCell<Buffers>>,
    graph: Option<Graph<(), Box<dyn FnMut()>>>,
}

/// The memory that a recorded step reads and writes. No one else holds these tensors, so that they are written in place.
struct Buffers {
    tokens: Tensor<1, Int>,
    state: LmState,
    /// None before the first step.
    logits: Option<Tensor<2>>,
}

impl MambaLm {
    /// Decodes from `state`, which stays as it is. On an autodiff device nothing is tracked.
    ///
    /// # Panics
    /// If `state` has no layers, or not as many as the model.
    pub fn decoder(&self, state: &LmState) -> Decoder {
        let model = for_steps(self.valid());
        let state = state.clone().inner();
        let [batch, _, _] = state.layers.first().expect("Decoder: the state has no layers").ssm.dims();
        let device = model.embedding.weight.device();
        let buffers = Rc::new(RefCell::new(Buffers { tokens: Tensor::zeros([batch], &device), state, logits: None }));
        let mut decoder = Decoder { model, buffers, graph: None };
        if records_graphs(&device) {
            decoder.record();
        }
        decoder
    }
}

impl Decoder {
    /// The logits of each next token, `[batch, padded_vocab]`, after `tokens`, `[batch]`.
    ///
    /// # Panics
    /// If `tokens` has not one token for each row of the state.
    pub fn step(&mut self, tokens: Tensor<1, Int>) -> Tensor<2> {
        let mut buffers = self.buffers.borrow_mut();
        let (actual, expected) = (tokens.dims(), buffers.tokens.dims());
        assert!(actual == expected, "Decoder: `tokens` has shape {actual:?}, expected {expected:?}");
        let Some(graph) = &mut self.graph else {
            // Nobody else holds the state then, and a step may write over it.
            let state = LmState { layers: std::mem::take(&mut buffers.state.layers) };
            let model = &self.model;
            let (logits, next) = among_workers(&tokens.device(), move || model.step(tokens, state));
            buffers.state = next;
            return logits;
        };
        let dtype = buffers.tokens.dtype();
        buffers.tokens.inplace(|own| own.slice_assign(0..expected[0], tokens.cast(dtype)));
        // The recorded step is replayed, not run: nothing borrows them then.
        drop(buffers);
        // SAFETY: what the step reads and writes lives as long as the decoder: its model, which no one writes, and its
        // buffers, which no one else holds. A decoder stays on its thread, and so on the stream of its recording.
        unsafe { graph.replay() };
        copy(self.buffers.borrow().logits.as_ref().expect("the recorded step left its logits"))
    }

    /// The state behind the last token.
    pub fn state(&self) -> LmState {
        copy_state(&self.buffers.borrow().state)
    }

    fn record(&mut self) {
        let start = {
            let mut buffers = self.buffers.borrow_mut();
            let own = copy_state(&buffers.state);
            std::mem::replace(&mut buffers.state, own)
        };
        let memory = memory_ids(&self.buffers.borrow().state);
        let in_place = self.steps_in_place(&start);
        let model = self.model.clone();
        let shared = self.buffers.clone();
        let step = move || {
            let mut buffers = shared.borrow_mut();
            let tokens = buffers.tokens.clone();
            let logits = if in_place {
                let state = LmState { layers: std::mem::take(&mut buffers.state.layers) };
                let (logits, next) = model.step(tokens, state);
                buffers.state = next;
                logits
            } else {
                let (logits, next) = model.step(tokens, buffers.state.clone());
                assign_state(&mut buffers.state, next);
                logits
            };
            buffers.logits = Some(logits);
        };
        let device = self.model.embedding.weight.device();
        let graph = capture(&device, Box::new(step) as Box<dyn FnMut()>);
        // Recording went through some steps.
        let mut buffers = self.buffers.borrow_mut();
        if graph.is_hardware() && memory_ids(&buffers.state) == memory {
            assign_state(&mut buffers.state, start);
            self.graph = Some(graph);
        } else {
            buffers.state = start;
        }
    }

    /// Whether a step leaves its state in the memory of the last, if nobody else holds that.
    fn steps_in_place(&self, state: &LmState) -> bool {
        let state = copy_state(state);
        let before = memory_ids(&state);
        let (_, next) = self.model.step(self.buffers.borrow().tokens.clone(), state);
        before.is_some() && memory_ids(&next) == before
    }
}

/// The memory of every part that is carried from step to step.
fn memory_ids(state: &LmState) -> Option<Vec<usize>> {
    let parts = state.layers.iter().flat_map(|layer| layer.parts());
    // A convolution of width 1 has no state.
    parts.filter(|(_, part)| !part.dims().contains(&0)).map(|(_, part)| memory_id(part)).collect()
}

/// With what a step would compute of the parameters alone: those that the kernels take in f32 in no less, which are as
/// exact, and the rates of the scans.
fn for_steps(mut model: MambaLm) -> MambaLm {
    for layer in &mut model.layers {
        let mixer = &mut layer.mixer;
        mixer.kept_rates = Some(mixer.rates());
        mixer.d = mixer.d.clone().map(at_least_f32);
        mixer.dt_proj.bias = mixer.dt_proj.bias.clone().map(|bias| bias.map(at_least_f32));
        mixer.conv1d.weight = mixer.conv1d.weight.clone().map(at_least_f32);
        mixer.conv1d.bias = mixer.conv1d.bias.clone().map(|bias| bias.map(at_least_f32));
    }
    model
}

/// Writes `value` into the memory of `to`.
fn assign<const D: usize>(to: &mut Tensor<D>, value: Tensor<D>) {
    let dims = to.dims();
    // A convolution of width 1 has no state.
    if dims.contains(&0) {
        return;
    }
    let all = dims.map(|size| 0..size);
    to.inplace(|own| own.slice_assign(all, value));
}

fn assign_state(to: &mut LmState, value: LmState) {
    for (to, value) in to.layers.iter_mut().zip(value.layers) {
        assign(&mut to.conv, value.conv);
        assign(&mut to.ssm, value.ssm);
        if let (Some(to), Some(value)) = (&mut to.window, value.window) {
            assign(to, value);
        }
    }
}

/// The same in memory of its own.
fn copy<const D: usize>(x: &Tensor<D>) -> Tensor<D> {
    let mut copy = Tensor::empty(x.dims(), (&x.device(), x.dtype()));
    assign(&mut copy, x.clone());
    copy
}

fn copy_state(state: &LmState) -> LmState {
    LmState { layers: state.layers.iter().map(|layer| layer.map(copy)).collect() }
}
