//! Which parameters get no weight decay; see [`mamba_blocks::optim`].

use burn::module::ParamGroup;
use burn::optim::{AdamWConfig, ModuleOptimizer};
use mamba_blocks::optim::adamw_except;

/// The last part of the path of a parameter without weight decay; Burn calls the weight of a norm `gamma`.
const NO_WEIGHT_DECAY: &str =
    r"(^|\.)(a_log|a_b_log|a_logs|d|ds|dt_projs_bias|bias|gamma|beta|cls_token|pos_embed|skip_scale2?|weights)$";

/// The parameters without weight decay, by the ends of their paths: decay rates, skips, biases, norms, the class token
/// and the positions.
///
/// ```
/// use burn::optim::AdamWConfig;
/// use mamba_blocks::optim::adamw_except;
/// use mamba_vision::optim::no_weight_decay;
///
/// // What `adamw` does; a model with more such parameters has a group of its own.
/// let optimizer = adamw_except(&AdamWConfig::new().with_weight_decay(0.05), no_weight_decay());
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
/// use burn::tensor::{Device, Tensor};
/// use mamba_vision::{VimConfig, optim::adamw};
///
/// let device = Device::default().autodiff();
/// let mut model = VimConfig::new(16).with_depth(1).with_image_size([32, 32]).with_num_classes(4).init(&device);
/// let mut optimizer = adamw(&AdamWConfig::new().with_weight_decay(0.05));
///
/// let loss = model.forward(Tensor::ones([1, 3, 32, 32], &device)).square().mean();
/// let gradients = GradientsParams::from_grads(loss.backward(), &model);
/// model = optimizer.step(1e-3, model, gradients);
/// ```
pub fn adamw(config: &AdamWConfig) -> ModuleOptimizer {
    adamw_except(config, no_weight_decay())
}
