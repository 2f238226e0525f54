//! A forecaster that reads one row after the other and remembers them in states of fixed size.

mod config;

pub use config::MambaForecasterConfig;

use crate::baselines::{check_look_back, joined};
use crate::data::{Batch, Input};
use crate::network::{Network, Objective};
use burn::module::Module;
use burn::nn::{Linear, RmsNorm};
use burn::tensor::Tensor;
use mamba_blocks::parts::project;
use mamba_blocks::{MambaBlock, MambaOptions, MambaState};
use mamba_core::add_rms_norm;

/// Mamba blocks over time, on each variate by itself with the same weights. Made by [`MambaForecasterConfig`].
///
/// A token is a patch: the last `patch` values, less the newest one (NLinear's normalisation, Zeng et al. 2023), with
/// its time marks. Every token forecasts the whole horizon behind it, as a difference to its newest value, so that
/// training learns from each row of a look-back, and a forecast needs nothing but the states and the last patch.
#[derive(Module, Debug)]
pub struct MambaForecaster {
    /// From patches to tokens.
    pub embedding: Linear,
    /// From time marks to tokens; none without marks.
    pub mark_embedding: Option<Linear>,
    /// The blocks, first to last.
    pub layers: Vec<MambaBlock>,
    /// RMS norm of the output of the blocks.
    pub norm_f: RmsNorm,
    /// From tokens to horizons: `d_model` to `horizon * outputs`.
    pub head: Linear,
    /// Rows of the look-backs to train on.
    pub look_back: usize,
    /// Outputs for each value.
    pub outputs: usize,
}

/// What a [`MambaForecaster`] remembers of several series.
#[derive(Clone, Debug)]
pub struct ForecasterState {
    /// The last `patch - 1` values, oldest first: `[series, patch - 1]`.
    pub last: Tensor<2>,
    /// That of every block.
    pub layers: Vec<MambaState>,
}

impl MambaForecaster {
    /// Reads `length` rows of several series, `[series, length]`, with their marks, `[series, length, marks]`, from the
    /// first row of all or behind those of a state. Returns a feature for each row, `[series, length, d_model]`, and
    /// the state behind the last.
    ///
    /// # Panics
    /// If the marks or the state do not fit.
    pub fn read(
        &self,
        values: Tensor<2>,
        marks: Option<Tensor<3>>,
        state: Option<ForecasterState>,
    ) -> (Tensor<3>, ForecasterState) {
        let (last, states) = match state {
            Some(state) => (Some(state.last), state.layers.into_iter().map(Some).collect()),
            None => (None, vec![None; self.layers.len()]),
        };
        let (patches, last) = self.patches(values, last);
        let mut hidden = project(&self.embedding, patches);
        if let (Some(embedding), Some(marks)) = (&self.mark_embedding, marks) {
            hidden = hidden + project(embedding, marks);
        }
        let (mut residual, mut layers) = (None, Vec::new());
        for (layer, state) in self.layers.iter().zip(states) {
            let options = state.map_or_else(MambaOptions::new, |state| MambaOptions::new().with_state(state));
            let (output, sum, state) = layer.forward_with(hidden, residual, options);
            (hidden, residual) = (output, Some(sum));
            layers.push(state);
        }
        let hidden = add_rms_norm(hidden, residual, self.norm_f.gamma.val(), self.norm_f.epsilon).normed;
        (hidden, ForecasterState { last, layers })
    }

    /// The horizons `[series, length, horizon, outputs]` behind rows with these `features` and `values`,
    /// `[series, length]`.
    pub fn horizons(&self, features: Tensor<3>, values: Tensor<2>) -> Tensor<4> {
        let [series, length, _] = features.dims();
        let difference = project(&self.head, features).reshape([series, length, self.horizon(), self.outputs]);
        difference + values.unsqueeze_dims(&[2, 3])
    }

    /// The patch of every row, less its newest value, and what the next patches need.
    fn patches(&self, values: Tensor<2>, last: Option<Tensor<2>>) -> (Tensor<3>, Tensor<2>) {
        let [_, length] = values.dims();
        let before = self.embedding.weight.dims()[0] - 1;
        // Before the first row, it is repeated.
        let last = last.unwrap_or_else(|| values.clone().narrow(1, 0, 1).repeat_dim(1, before));
        let all = Tensor::cat(vec![last, values.clone()], 1);
        let last = all.clone().narrow(1, length, before);
        (all.unfold::<3, _>(1, before + 1, 1) - values.unsqueeze_dim(2), last)
    }
}

/// Batch and variates as one dimension: `[batch * variates, length]`.
fn by_series(values: Tensor<3>) -> Tensor<2> {
    let [batch, length, variates] = values.dims();
    values.swap_dims(1, 2).reshape([batch * variates, length])
}

/// The marks of every series: `[batch * variates, length, marks]`.
fn marks_by_series(marks: Tensor<3>, variates: usize) -> Tensor<3> {
    let [batch, length, count] = marks.dims();
    marks.unsqueeze_dim::<4>(1).repeat_dim(1, variates).reshape([batch * variates, length, count])
}

impl Network for MambaForecaster {
    fn look_back(&self) -> usize {
        self.look_back
    }

    fn horizon(&self) -> usize {
        self.head.weight.dims()[1] / self.outputs
    }

    fn forecast(&self, Input { values, marks }: Input) -> Tensor<4> {
        check_look_back("MambaForecaster", &values, self.look_back);
        let [batch, length, variates] = values.dims();
        let values = by_series(values);
        let (features, _) = self.read(values.clone(), marks.map(|marks| marks_by_series(marks, variates)), None);
        let outputs = self.horizons(features.narrow(1, length - 1, 1), values.narrow(1, length - 1, 1));
        outputs.reshape([batch, variates, self.horizon(), self.outputs]).swap_dims(1, 2)
    }

    /// That of the horizons behind every row of the look-back.
    fn loss(&self, batch: Batch, objective: &Objective) -> Tensor<1> {
        let [_, length, variates] = batch.input.values.dims();
        let horizon = self.horizon();
        let values = by_series(batch.input.values.clone());
        let marks = batch.input.marks.map(|marks| marks_by_series(marks, variates));
        let (features, _) = self.read(values.clone(), marks, None);
        let outputs = self.horizons(features, values);
        // The horizon behind row t begins at t + 1.
        let behind = |series: Tensor<3>| {
            let series = by_series(series).narrow(1, 1, length + horizon - 1);
            series.unfold::<3, _>(1, horizon, 1).unsqueeze_dim::<4>(3)
        };
        let mask = batch.input_mask.zip(batch.mask).map(|(look_back, horizon)| behind(joined(look_back, horizon)));
        objective.loss(outputs, behind(joined(batch.input.values, batch.target)), mask)
    }
}
