//! The average of a model's weights over its training.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;

/// An exponential moving average of weights, which often does better than the last ones (Polyak & Juditsky 1992).
///
/// The first averages are of few steps: with `t` updates so far, the decay is at most `(1 + t) / (10 + t)`.
///
/// ```
/// use burn::tensor::Device;
/// use mamba_vision::{Ema, VimConfig};
///
/// let model = VimConfig::new(16).with_depth(1).with_image_size([32, 32]).init(&Device::default().autodiff());
/// let mut ema = Ema::new(&model, 0.9999);
/// // After every step of the optimizer:
/// ema.update(&model);
/// let evaluated = ema.model().clone();
///
/// // A training that goes on: with the average of a checkpoint, and after how many steps it was.
/// let mut ema = Ema::from_average(evaluated, 0.9999, 1);
/// ema.update(&model);
/// ```
#[derive(Clone, Debug)]
pub struct Ema<M> {
    average: M,
    decay: f64,
    updates: usize,
}

impl<M: Module> Ema<M> {
    /// Starts from the weights of `model`, which may be one in training. A `decay` of 0.9999 is an average over some
    /// 10,000 steps.
    ///
    /// # Panics
    /// If `decay` is not in `0..1`.
    pub fn new(model: &M, decay: f64) -> Self {
        assert!((0.0..1.0).contains(&decay), "Ema: decay {decay}, expected at least 0 and less than 1");
        Self { average: model.valid(), decay, updates: 0 }
    }

    /// Goes on from an average that has been stored after `updates` updates.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn from_average(average: M, decay: f64, updates: usize) -> Self {
        assert!((0.0..1.0).contains(&decay), "Ema: decay {decay}, expected at least 0 and less than 1");
        Self { average, decay, updates }
    }

    /// Takes in the weights of `model`: the one that the average began with, some steps on.
    ///
    /// # Panics
    /// If it is a model of another shape.
    pub fn update(&mut self, model: &M) {
        let decay = self.decay.min((1 + self.updates) as f64 / (10 + self.updates) as f64);
        let mut values = Values::default();
        model.valid().visit(&mut values);
        let mut averaging = Averaging { values: values.0.into_iter(), decay };
        self.average = self.average.clone().map(&mut averaging);
        self.updates += 1;
    }

    /// The model with the averaged weights, without gradients.
    pub fn model(&self) -> &M {
        &self.average
    }
}

/// Parameters, flat. They are told by their order: batch norms get new identities for their statistics when they are
/// loaded.
#[derive(Default)]
struct Values(Vec<Tensor<1>>);

impl ModuleVisitor for Values {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push(param.val().flatten(0, D - 1));
    }
}

struct Averaging {
    values: std::vec::IntoIter<Tensor<1>>,
    decay: f64,
}

impl ModuleMapper for Averaging {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let value = self.values.next().expect("both models have the same parameters");
        let decay = self.decay;
        param.map(|average| {
            let value = value.reshape(average.dims());
            average.mul_scalar(decay) + value.mul_scalar(1.0 - decay)
        })
    }
}
