//! What a language model remembers of the tokens that it has seen.

mod file;

use super::MambaLm;
use crate::error::GenerationError;
use crate::mamba::{Mamba, MambaState};
use burn::tensor::{Int, Tensor, TensorData};
use std::collections::BTreeMap;

/// What a [`MambaLm`] remembers of the tokens that it has seen: as much after a million tokens as after one.
///
/// A clone is a snapshot, and costs nothing: no operation changes a state that somebody holds.
#[derive(Clone, Debug)]
pub struct LmState {
    /// The state of every layer.
    pub layers: Vec<MambaState>,
}

impl LmState {
    /// Number of sequences.
    pub fn batch(&self) -> usize {
        self.layers.first().map_or(0, |layer| layer.ssm.dims()[0])
    }

    /// The states of the given sequences, in this order; one may be given several times.
    ///
    /// # Panics
    /// If a row is not less than [`batch`](Self::batch), or no row is given.
    pub fn select(&self, rows: &[usize]) -> Self {
        let batch = self.batch();
        assert!(!rows.is_empty(), "LmState: no row is given, expected at least one");
        if let Some(row) = rows.iter().find(|&&row| row >= batch) {
            panic!("LmState: row {row} of a state of {batch} rows");
        }
        let Some(first) = self.layers.first() else { return self.clone() };
        let rows = indices(rows, &first.ssm);
        let select = |tensor: &Tensor<3>| tensor.clone().select(0, rows.clone());
        Self { layers: self.layers.iter().map(|layer| layer.map(select)).collect() }
    }

    /// The sequences of several states as those of one, in their order.
    ///
    /// # Panics
    /// If there is no state, or if the states are not of one model.
    ///
    /// ```
    /// use burn::tensor::{Device, Int, Tensor};
    /// use mamba_blocks::{LmState, MambaLmConfig};
    ///
    /// let device = Device::default();
    /// let model = MambaLmConfig::new(32, 16, 1).init(&device);
    /// let read = |tokens| model.prefill(Tensor::<2, Int>::from_ints(tokens, &device)).1;
    /// // Two texts of different lengths go on together.
    /// let both = LmState::cat(vec![read([[1, 2, 3]]), model.init_state(1, &device)]);
    /// assert_eq!(both.batch(), 2);
    /// ```
    pub fn cat(states: Vec<Self>) -> Self {
        let n_layer = states.first().expect("LmState: there is no state to join").layers.len();
        let layer = |at: usize| {
            let layers = || states.iter().map(|state| &state.layers[at]);
            let windows: Option<Vec<_>> = layers().map(|layer| layer.window.clone()).collect();
            MambaState {
                conv: Tensor::cat(layers().map(|layer| layer.conv.clone()).collect(), 0),
                ssm: Tensor::cat(layers().map(|layer| layer.ssm.clone()).collect(), 0),
                window: windows.map(|windows| Tensor::cat(windows, 0)),
            }
        };
        Self { layers: (0..n_layer).map(layer).collect() }
    }

    /// Without the graph of gradients.
    pub(super) fn inner(self) -> Self {
        Self { layers: self.layers.iter().map(|layer| layer.map(|part| part.clone().inner())).collect() }
    }

    /// An error unless this is a state of `model` for `batch` sequences.
    pub(super) fn check(&self, model: &MambaLm, batch: usize) -> Result<(), GenerationError> {
        let (found, expected) = (self.layers.len(), model.layers.len());
        if found != expected {
            return Err(GenerationError::StateLayers { found, expected });
        }
        for (index, (state, layer)) in self.layers.iter().zip(&model.layers).enumerate() {
            let found: BTreeMap<_, _> = state.parts().map(|(part, tensor)| (part, tensor.dims())).collect();
            let expected = shapes(&layer.mixer, batch);
            for part in found.keys().chain(expected.keys()) {
                // A part that is not there counts as empty.
                let [found, expected] = [&found, &expected].map(|shapes| shapes.get(part).copied().unwrap_or_default());
                if found != expected {
                    return Err(GenerationError::StateShape { key: key(index, part), found, expected });
                }
            }
        }
        Ok(())
    }
}

/// Of the parts of a layer's state.
fn shapes(mixer: &Mamba, batch: usize) -> BTreeMap<&'static str, [usize; 3]> {
    let [d_inner, d_state] = mixer.a_log.dims();
    let [_, _, d_conv] = mixer.conv1d.weight.dims();
    let mut shapes = BTreeMap::from([("conv", [batch, d_conv - 1, d_inner]), ("ssm", [batch, d_inner, d_state])]);
    shapes.extend(mixer.window().map(|window| ("window", [batch, window, 2 * d_inner + d_state])));
    shapes
}

/// The name of a tensor of the state.
fn key(layer: usize, part: &str) -> String {
    format!("layers.{layer}.{part}")
}

/// Row numbers on the device of `tensor`.
fn indices<const D: usize>(rows: &[usize], tensor: &Tensor<D>) -> Tensor<1, Int> {
    let data = TensorData::new(rows.iter().map(|&row| row as i64).collect(), [rows.len()]);
    Tensor::from_data(data, &tensor.device())
}

/// Rows of a batch that have ended before the others: their last logits and their states.
#[derive(Default)]
pub(super) struct Parked {
    rows: Vec<usize>,
    logits: Vec<Tensor<2>>,
    states: Vec<LmState>,
}

impl Parked {
    /// Takes the rows that have `ended` out of `active`, and out of `logits` and `state`, whose rows are the active
    /// ones. Returns the state of the others, if there are any.
    pub(super) fn park(
        &mut self,
        active: &mut Vec<usize>,
        ended: impl Fn(usize) -> bool,
        logits: Tensor<2>,
        state: LmState,
    ) -> Option<LmState> {
        let (out, left): (Vec<usize>, Vec<usize>) = (0..active.len()).partition(|&at| ended(active[at]));
        if out.is_empty() {
            return Some(state);
        }
        self.rows.extend(out.iter().map(|&at| active[at]));
        *active = left.iter().map(|&at| active[at]).collect();
        if left.is_empty() {
            self.logits.push(logits);
            self.states.push(state);
            return None;
        }
        let rows = indices(&out, &logits);
        self.logits.push(logits.select(0, rows));
        self.states.push(state.select(&out));
        Some(state.select(&left))
    }

    /// The logits and states of all rows, in their order. At least one is parked.
    pub(super) fn gather(self) -> (Tensor<2>, LmState) {
        let (logits, state) = (Tensor::cat(self.logits, 0), LmState::cat(self.states));
        if self.rows.is_sorted() {
            return (logits, state);
        }
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        order.sort_unstable_by_key(|&at| self.rows[at]);
        let rows = indices(&order, &logits);
        (logits.select(0, rows), state.select(&order))
    }
}
