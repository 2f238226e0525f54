//! Normalisation of every window by itself, and its inverse for what a network makes of it.

use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::tensor::{Device, Tensor};

/// Mean and standard deviation over time: `[batch, 1, variates]` each.
#[derive(Clone, Debug)]
pub struct Instance {
    /// The mean; no gradient flows through it.
    pub mean: Tensor<3>,
    /// The deviation of the population, with `epsilon` added to its square.
    pub deviation: Tensor<3>,
}

impl Instance {
    /// Those of `values`, `[batch, length, variates]`, and the values normalised with them.
    ///
    /// ```
    /// use burn::tensor::{Device, Distribution, Tensor};
    /// use mamba_ts::Instance;
    ///
    /// let values = Tensor::<3>::random([2, 10, 3], Distribution::Uniform(5.0, 9.0), &Device::default());
    /// let (normalized, instance) = Instance::normalize(values.clone(), 1e-5);
    /// let back = instance.denormalize(normalized.unsqueeze_dim(3)).squeeze_dim::<3>(3);
    /// assert!((back - values).abs().max().into_scalar::<f32>() < 1e-4);
    /// ```
    pub fn normalize(values: Tensor<3>, epsilon: f64) -> (Tensor<3>, Self) {
        let mean = values.clone().mean_dim(1).detach();
        let centred = values - mean.clone();
        let deviation = centred.clone().var_bias(1).add_scalar(epsilon).sqrt();
        (centred / deviation.clone(), Self { mean, deviation })
    }

    /// The inverse, for any number of outputs for each variate: `[batch, length, variates, outputs]`.
    pub fn denormalize(self, outputs: Tensor<4>) -> Tensor<4> {
        outputs * self.deviation.unsqueeze_dim(3) + self.mean.unsqueeze_dim(3)
    }
}

/// Configuration of a [`RevIn`].
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mamba_ts::RevInConfig;
///
/// let device = Device::default();
/// let norm = RevInConfig::new(3).init(&device);
/// let (normalized, instance) = norm.normalize(Tensor::ones([2, 10, 3], &device));
/// // What a network makes of it, in the units of the series again.
/// let outputs = normalized.narrow(1, 0, 4).unsqueeze_dim(3);
/// assert_eq!(norm.denormalize(outputs, instance).dims(), [2, 4, 3, 1]);
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct RevInConfig {
    /// Number of variates.
    pub variates: usize,
    /// What is added to the variance.
    #[config(default = 1e-5)]
    pub epsilon: f64,
    /// Whether every variate has a scale and a shift to learn.
    #[config(default = true)]
    pub affine: bool,
}

impl RevInConfig {
    /// Makes the normalisation, which starts without scale and shift.
    pub fn init(&self, device: &Device) -> RevIn {
        RevIn {
            weight: self.affine.then(|| Initializer::Ones.init([self.variates], device)),
            bias: self.affine.then(|| Initializer::Zeros.init([self.variates], device)),
            epsilon: self.epsilon,
        }
    }
}

/// Reversible instance normalisation (Kim et al. 2022). Made by [`RevInConfig`].
#[derive(Module, Debug)]
pub struct RevIn {
    /// The scale of every variate: `[variates]`.
    pub weight: Option<Param<Tensor<1>>>,
    /// Its shift: `[variates]`.
    pub bias: Option<Param<Tensor<1>>>,
    /// What is added to the variance.
    pub epsilon: f64,
}

impl RevIn {
    /// Normalises `[batch, length, variates]`; returns what [`denormalize`](Self::denormalize) needs as well.
    pub fn normalize(&self, values: Tensor<3>) -> (Tensor<3>, Instance) {
        let (values, Instance { mean, deviation }) = Instance::normalize(values, self.epsilon);
        let values = match (&self.weight, &self.bias) {
            (Some(weight), Some(bias)) => values * weight.val().unsqueeze() + bias.val().unsqueeze(),
            _ => values,
        };
        (values, Instance { mean, deviation: deviation.detach() })
    }

    /// The inverse, for `[batch, length, variates, outputs]`.
    pub fn denormalize(&self, outputs: Tensor<4>, instance: Instance) -> Tensor<4> {
        let per_variate = |x: Tensor<1>| x.unsqueeze_dim::<2>(1).unsqueeze::<4>();
        let outputs = match (&self.weight, &self.bias) {
            (Some(weight), Some(bias)) => {
                // As the original: a weight that reaches zero stays harmless.
                let weight = per_variate(weight.val()).add_scalar(self.epsilon * self.epsilon);
                (outputs - per_variate(bias.val())) / weight
            }
            _ => outputs,
        };
        instance.denormalize(outputs)
    }
}
