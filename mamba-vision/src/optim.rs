//! Which parameters get no weight decay; see [`mamba_blocks::optim`].

use burn::module::ParamGroup;
use burn::optim::{AdamWConfig, ModuleOptimizer};
use mamba_blocks::optim::adamw_except;

/// The last part of the path of a parameter without weight decay; Burn calls the weight of a norm `gamma`.
const NO_WEIGHT_DECAY: &str =
    r"(^|\.)(a_log|a_b_log|a_logs|d|ds|dt_projs_bias|bias|gamma|beta|cls_token|pos_embed|skip_scale2?|weights)$";

/// The parameters without weight decay, by the ends of their paths: decay rates, skips, biases, norms, the class token
/// and the positions.
pub fn no_weight_decay() -> ParamGroup {
    ParamGroup::from_regex(NO_WEIGHT_DECAY).expect("the pattern is a valid regular expression")
}

/// AdamW with the weight decay of `config` for all parameters except [`no_weight_decay`].
///
/// One optimizer with one record. It has to be made by this function again before a record is loaded into it.
pub fn adamw(config: &AdamWConfig) -> ModuleOptimizer {
    adamw_except(config, no_weight_decay())
}
