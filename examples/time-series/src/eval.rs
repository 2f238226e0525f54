//! `eval`: the scores of a trained model, beside those of the rules without parameters.

use std::path::PathBuf;

use burn::tensor::Device;
use clap::Args;
use examples_common::progress;
use mamba_ts::data::Windows;
use mamba_ts::metrics::{Evaluation, naive_errors};
use mamba_ts::training::evaluate;
use mamba_ts::{LastValueConfig, Network, Objective, SeasonalNaiveConfig};

use crate::checkpoint::Checkpoint;
use crate::error::Error;
use crate::model::Model;
use crate::table;
use crate::train::Task;

/// Scores the model of a run on the last part of its series.
#[derive(Args)]
pub struct EvalArgs {
    /// Folder of the run
    #[arg(default_value = "runs/time-series")]
    run: PathBuf,
    /// Leave out the last windows, those that do not fill a batch, as the programs of the literature do
    #[arg(long)]
    drop_last: bool,
}

pub fn eval(args: &EvalArgs, device: &Device) -> Result<(), Error> {
    let found = Checkpoint::find(&args.run)?.ok_or_else(|| Error::NoRun { path: args.run.clone() })?;
    let series = found.config.source.read(&found.config.data)?;
    let task = Task::new(&found.config, &series)?;
    let model = found.best(found.config.model(&series, device)?)?;
    let objective = found.config.settings.objective(&found.config.levels);
    let batch = found.config.settings.batch;
    report(&model, &task, &objective, batch, device);
    if args.drop_last {
        let (all, kept) = (task.test().len(), task.test().len() / batch * batch);
        let test = task.windows.with_rows(task.parts.test.start..task.parts.test.end - (all - kept));
        let scores =
            scores(&model, &test, Evaluation::new(model.horizon(), objective.levels()), batch, device).scores();
        println!("without the last {} of {all} windows: MSE {:.4}, MAE {:.4}", all - kept, scores.mse, scores.mae);
    }
    Ok(())
}

/// Prints the scores on the test windows, in units of the scaled series.
pub fn report(model: &Model, task: &Task, objective: &Objective, batch: usize, device: &Device) {
    let (test, look_back, horizon) = (task.test(), model.look_back(), model.horizon());
    println!("{} test windows, in units of the scaled series", test.len());
    let season = task.series.calendar().map_or(1, |calendar| calendar.frequency.season()).min(look_back);
    let scales = naive_errors(&task.series, task.parts.train.clone(), season);
    let evaluation = Evaluation::new(horizon, objective.levels()).with_scales(scales);
    print!("{}", table::scores(&scores(model, &test, evaluation, batch, device), horizon));
    let rules = [
        ("last value", LastValueConfig::new(look_back, horizon).try_init().map(Model::LastValue)),
        ("seasonal naive", SeasonalNaiveConfig::new(look_back, horizon, season).try_init().map(Model::SeasonalNaive)),
    ];
    for (name, rule) in rules {
        if let Ok(rule) = rule {
            let scores = scores(&rule, &test, Evaluation::new(horizon, &[]), batch, device).scores();
            println!("{name}: MSE {:.4}, MAE {:.4}", scores.mse, scores.mae);
        }
    }
}

/// Fills `evaluation`, with a bar.
pub fn scores(
    model: &Model,
    windows: &Windows,
    mut evaluation: Evaluation,
    batch: usize,
    device: &Device,
) -> Evaluation {
    let bar = progress::steps(windows.len(), 0);
    evaluate(model, windows, &mut evaluation, batch, device, |done| bar.set_position(done as u64));
    bar.finish_and_clear();
    evaluation
}
