//! The learning rate: linear warm-up, then a cosine.

use burn::lr_scheduler::LrSchedulerConfig;
use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::lr_scheduler::linear::LinearLrSchedulerConfig;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::lr_scheduler::sequential::SequentialLrSchedulerConfig;

use crate::error::Error;
use crate::recipe::Recipe;

/// The schedule of a run, positioned so that the next `step()` gives the rate of step `done + 1`.
pub fn schedule(recipe: &Recipe, done: usize) -> Result<ModuleLrScheduler, Error> {
    let Recipe { steps, warmup, lr, min_lr, .. } = *recipe;
    // The last step runs at exactly `min_lr`.
    let cosine = CosineAnnealingLrSchedulerConfig::new(lr, (steps - warmup - 1).max(1)).with_min_lr(min_lr);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::recipe;

    fn rates(recipe: &Recipe, done: usize) -> Vec<f64> {
        let mut schedule = schedule(recipe, done).unwrap();
        (done..recipe.steps).map(|_| schedule.step().base()).collect()
    }

    #[test]
    fn rises_to_the_peak_and_falls_to_the_minimum() {
        let rates = rates(&Recipe { steps: 20, warmup: 4, lr: 0.5, min_lr: 0.1, ..recipe() }, 0);
        let close = |a: f64, b: f64| (a - b).abs() < 1e-12;
        assert!((0..5).all(|step| close(rates[step], 0.5 * (step + 1) as f64 / 5.0)), "{rates:?}");
        assert!(rates[4..].is_sorted_by(|a, b| a > b));
        assert!(close(rates[19], 0.1), "{rates:?}");
    }

    #[test]
    fn works_without_warmup_and_for_one_step() {
        assert_eq!(rates(&Recipe { steps: 1, warmup: 0, lr: 0.5, ..recipe() }, 0), [0.5]);
        assert_eq!(rates(&Recipe { steps: 2, warmup: 1, lr: 0.5, ..recipe() }, 0), [0.25, 0.5]);
    }

    #[test]
    fn continues_where_it_stopped() {
        let recipe = Recipe { steps: 30, warmup: 5, ..recipe() };
        assert_eq!(rates(&recipe, 0)[12..], rates(&recipe, 12));
    }
}
