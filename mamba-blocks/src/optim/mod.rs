//! Which parameters get no weight decay, and gradients from several devices.
//!
//! Decay pulls a weight towards zero, which is wrong for those whose zero means nothing: `a_log` (the decay rates), `d`
//! (the skip), every bias (that of `dt_proj` is a time step) and the weights of norms. The original implementation
//! excludes them, and so does [`adamw`].

mod parallel;

pub use parallel::data_parallel;

use burn::module::ParamGroup;
use burn::optim::{AdamWConfig, ModuleOptimizer};

/// The last part of the path of a parameter without weight decay; Burn calls the weight of a norm `gamma`.
const NO_WEIGHT_DECAY: &str = r"(^|\.)(a_log|d|bias|gamma|beta)$";

/// The parameters without weight decay, by the ends of their paths: `a_log`, `d`, `bias`, `gamma` and `beta`.
///
/// Paths, not the identities of parameters, so that the group also fits a model loaded later, and a module that holds a
/// Mamba layer among others. Give it to [`ModuleOptimizer::with_group`], or exclude it from a group of your own.
///
/// ```
/// use burn::optim::AdamWConfig;
/// use mamba_blocks::optim::{adamw_except, no_weight_decay};
///
/// // What `adamw` does; a model with more such parameters has a group of its own.
/// let optimizer = adamw_except(&AdamWConfig::new().with_weight_decay(0.1), no_weight_decay());
/// ```
pub fn no_weight_decay() -> ParamGroup {
    ParamGroup::from_regex(NO_WEIGHT_DECAY).expect("the pattern is a valid regular expression")
}

/// AdamW with the weight decay of `config` for all parameters except [`no_weight_decay`].
///
/// One optimizer with one record. It has to be made by this function again before a record is loaded into it.
///
/// ```
/// use burn::optim::{AdamWConfig, GradientsParams};
/// use burn::tensor::{Device, Int, Tensor};
/// use mamba_blocks::{MambaLmConfig, optim::adamw};
///
/// let device = Device::default().autodiff();
/// let mut model = MambaLmConfig::new(16, 8, 1).init(&device);
/// let mut optimizer = adamw(&AdamWConfig::new().with_weight_decay(0.1));
///
/// let tokens = Tensor::<2, Int>::from_ints([[1, 2, 3]], &device);
/// let loss = model.forward(tokens).square().mean();
/// let gradients = GradientsParams::from_grads(loss.backward(), &model);
/// model = optimizer.step(1e-3, model, gradients);
/// ```
pub fn adamw(config: &AdamWConfig) -> ModuleOptimizer {
    adamw_except(config, no_weight_decay())
}

/// AdamW with the weight decay of `config` for all parameters except those of `group`, as [`adamw`] otherwise.
pub fn adamw_except(config: &AdamWConfig, group: ParamGroup) -> ModuleOptimizer {
    let optimizer = config.init();
    let clipping = optimizer.grad_clipping().cloned();
    optimizer.with_group(group, config.clone().with_weight_decay(0.0).build(), clipping)
}
