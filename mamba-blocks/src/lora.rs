//! Low-rank adaptation ([Hu et al. 2021](https://arxiv.org/abs/2106.09685)).
//!
//! A large model learns a new text without moving its weights: beside a projection `W` stands a change of low rank, and
//! only its two factors are trained,
//!
//! ```text
//! y = x (W + alpha / rank * A B),    A: [d_input, rank],    B: [rank, d_output].
//! ```
//!
//! `B` starts at zero, so that training starts from the model as it is; `A` starts as PyTorch's linear layers and
//! [PEFT](https://github.com/huggingface/peft)'s adapters do. An optimizer keeps moments for the factors alone.
//!
//! The factors are Burn's [`LoraAdapter`]s. A weight that has one is composed where it is used: a full weight and its
//! full gradient exist for one projection at a time, and nothing else in a layer knows of it.

use burn::config::Config;
use burn::module::{LoraAdapter, Module, ModuleVisitor, Param, ParamGroup, Reparameterizer};
use burn::tensor::{Distribution, Tensor};
use std::str::FromStr;
use thiserror::Error;

/// The projections of a [`Mamba`](crate::Mamba) mixer, which adapters may stand beside.
#[derive(Config, Copy, Debug, PartialEq, Eq)]
pub enum LoraTarget {
    /// `in_proj`
    In,
    /// `x_proj`
    X,
    /// `dt_proj`
    Dt,
    /// `out_proj`
    Out,
}

impl LoraTarget {
    /// All projections, in their order in the mixer.
    pub const ALL: [Self; 4] = [Self::In, Self::X, Self::Dt, Self::Out];

    /// The name of the projection.
    pub fn name(self) -> &'static str {
        match self {
            Self::In => "in_proj",
            Self::X => "x_proj",
            Self::Dt => "dt_proj",
            Self::Out => "out_proj",
        }
    }
}

impl FromStr for LoraTarget {
    type Err = LoraError;

    fn from_str(name: &str) -> Result<Self, LoraError> {
        let found = Self::ALL.into_iter().find(|target| target.name() == name);
        found.ok_or_else(|| LoraError::Target { found: name.to_string() })
    }
}

/// Low-rank adaptation ([Hu et al. 2021](https://arxiv.org/abs/2106.09685)): which weights get an adapter, and of which
/// rank.
///
/// A projection computes `x (W + alpha / rank * A B)` then. `W` is frozen, `A` starts as a linear layer's weight does, and
/// `B` at zero.
///
/// ```
/// use burn::{module::Module, tensor::Device};
/// use mamba_blocks::{LoraConfig, MambaLmConfig};
///
/// let model = MambaLmConfig::new(256, 64, 2).init(&Device::default().autodiff());
/// let lora = LoraConfig::new().with_rank(4);
/// // Trained as any module is: gradients reach the factors alone.
/// let adapted = lora.attach(model)?;
/// // A model of plain weights again.
/// let merged = adapted.materialize();
/// # Ok::<(), mamba_blocks::LoraError>(())
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct LoraConfig {
    /// Rank of the change of a weight.
    #[config(default = 8)]
    pub rank: usize,
    /// The change is scaled by `alpha / rank`.
    #[config(default = 16.0)]
    pub alpha: f64,
    /// The projections that get an adapter, in every mixer.
    #[config(default = "vec![LoraTarget::In, LoraTarget::X, LoraTarget::Out]")]
    pub targets: Vec<LoraTarget>,
}

impl LoraConfig {
    /// Freezes every parameter of `module` and puts adapters beside the chosen projections of all [`Mamba`](crate::Mamba)
    /// mixers in it.
    ///
    /// [`Module::materialize`] makes the sums the weights, and no adapter is left.
    ///
    /// # Errors
    /// [`LoraError`] if a setting is out of range, no projection is found, or adapters are there already.
    pub fn attach<M: Module>(&self, module: M) -> Result<M, LoraError> {
        self.check(&module)?;
        Ok(module.apply_reparameterization(Attach { config: self }))
    }

    /// How many numbers the adapters of `module` will have.
    ///
    /// # Errors
    /// As [`attach`](Self::attach).
    pub fn num_params<M: Module>(&self, module: &M) -> Result<usize, LoraError> {
        let shapes = self.check(module)?;
        Ok(shapes.into_iter().map(|[d_input, d_output]| self.rank * (d_input + d_output)).sum())
    }

    /// The shapes of the weights that are to be adapted.
    fn check<M: Module>(&self, module: &M) -> Result<Vec<[usize; 2]>, LoraError> {
        let mut found = Weights { config: self, path: Vec::new(), shapes: Vec::new(), adapted: None };
        module.visit(&mut found);
        if let Some(path) = found.adapted {
            return Err(LoraError::Adapted { path });
        }
        // A change of full rank needs no factors.
        let most = found.shapes.iter().flatten().copied().min().ok_or(LoraError::NoWeights)?;
        if !(1..=most).contains(&self.rank) {
            return Err(LoraError::Rank { found: self.rank, most });
        }
        match self.alpha.is_finite() && self.alpha > 0.0 {
            true => Ok(found.shapes),
            false => Err(LoraError::Alpha(self.alpha)),
        }
    }

    /// Whether the parameter at `path` gets an adapter.
    fn adapts(&self, path: &str) -> bool {
        let layer = path.strip_suffix(".weight");
        let name = layer.and_then(|layer| layer.rsplit('.').next());
        self.targets.iter().any(|target| Some(target.name()) == name)
    }
}

/// The factors of all adapters in a module, by their paths: what is to be saved of a model that is adapted.
///
/// ```
/// use burn::optim::AdamWConfig;
/// use mamba_blocks::{lora_parameters, optim::adamw_except};
///
/// // The factors alone, without weight decay.
/// let optimizer = adamw_except(&AdamWConfig::new().with_weight_decay(0.1), lora_parameters());
/// ```
pub fn lora_parameters() -> ParamGroup {
    ParamGroup::from_regex(FACTORS).expect("the pattern is a valid regular expression")
}

/// The paths of Burn's [`LoraAdapter`].
const FACTORS: &str = r"\.lora\.[ab]$";

struct Attach<'a> {
    config: &'a LoraConfig,
}

impl Reparameterizer for Attach<'_> {
    type Reparam = LoraAdapter;

    fn reparameterize<const D: usize>(
        &mut self,
        path: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<LoraAdapter>) {
        let LoraConfig { rank, alpha, .. } = *self.config;
        let shape = param.lazy_shape();
        let frozen = param.set_require_grad(false);
        if D != 2 || !self.config.adapts(path) {
            return (frozen, None);
        }
        let (device, dtype) = (frozen.device(), frozen.dtype());
        let bound = 1.0 / (shape[0] as f64).sqrt();
        let a = Tensor::random([shape[0], rank], Distribution::Uniform(-bound, bound), (&device, dtype));
        let b = Tensor::zeros([rank, shape[1]], (&device, dtype));
        let (a, b) = (Param::from_tensor(a), Param::from_tensor(b));
        (frozen, Some(LoraAdapter { a, b, scale: alpha / rank as f64 }))
    }
}

/// Looks for the weights that are to be adapted.
struct Weights<'a> {
    config: &'a LoraConfig,
    path: Vec<String>,
    shapes: Vec<[usize; 2]>,
    /// The first weight that has an adapter.
    adapted: Option<String>,
}

impl ModuleVisitor for Weights<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let (path, shape) = (self.path.join("."), param.lazy_shape());
        if let (None, Some((weight, _))) = (&self.adapted, path.split_once(".lora.")) {
            self.adapted = Some(weight.to_string());
        }
        if D == 2 && self.config.adapts(&path) {
            self.shapes.push([shape[0], shape[1]]);
        }
    }
}

/// Why adapters could not be attached.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum LoraError {
    /// A projection that no mixer has.
    #[error("`{found}` is no projection of a mixer, expected in_proj, x_proj, dt_proj or out_proj")]
    Target {
        /// The name.
        found: String,
    },
    /// A rank of zero, or one that saves nothing.
    #[error("`rank` is {found}, expected 1 to {most}")]
    Rank {
        /// The rank.
        found: usize,
        /// The smallest side of a weight that is adapted.
        most: usize,
    },
    /// A scale that is no positive number.
    #[error("`alpha` is {0}, expected a positive number")]
    Alpha(f64),
    /// No weight of the module is to be adapted.
    #[error("no projection to adapt, expected at least one")]
    NoWeights,
    /// There are adapters already.
    #[error("`{path}` has an adapter already: merge it first")]
    Adapted {
        /// The first weight that has one.
        path: String,
    },
}
