//! What every training here has in common.

use burn::grad_clipping::GradientClippingConfig;
use burn::lr_scheduler::LrSchedulerConfig;
use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::lr_scheduler::linear::LinearLrSchedulerConfig;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::lr_scheduler::sequential::SequentialLrSchedulerConfig;
use burn::optim::{AdamWConfig, ModuleOptimizer};
use mamba_blocks::optim::adamw;

use crate::error::Error;

/// AdamW with the betas of the published models (Schiff et al. 2024, appendix B).
pub fn optimizer(weight_decay: f64) -> ModuleOptimizer {
    let config = AdamWConfig::new().with_beta_1(0.9).with_beta_2(0.95).with_epsilon(1e-8);
    let clipping = GradientClippingConfig::Norm(1.0);
    adamw(&config.with_weight_decay(weight_decay as f32).with_grad_clipping(Some(clipping)))
}

/// Linear warm-up, then a cosine, positioned so that the next step is `done + 1`.
pub fn schedule([steps, warmup, done]: [usize; 3], lr: f64, min_lr: f64) -> Result<ModuleLrScheduler, Error> {
    let cosine = CosineAnnealingLrSchedulerConfig::new(lr, (steps - warmup).max(2) - 1).with_min_lr(min_lr);
    let mut phases = vec![LrSchedulerConfig::Cosine(cosine)];
    let mut milestones = vec![];
    if warmup > 0 {
        let rise = LinearLrSchedulerConfig::new(lr / (warmup + 1) as f64, lr, warmup);
        phases.insert(0, LrSchedulerConfig::Linear(rise));
        milestones.push(warmup);
    }
    let mut schedule = SequentialLrSchedulerConfig::new(phases, milestones).init().map_err(Error::Schedule)?;
    for _ in 0..done {
        schedule.step();
    }
    Ok(schedule)
}
