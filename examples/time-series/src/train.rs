//! `train`: a model by the protocol of the literature.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use burn::module::Module;
use burn::tensor::Device;
use clap::Args;
use examples_common::cli::{Outcome, listen_for_interrupt};
use examples_common::files::{publish, remove_scratch, write_synced};
use examples_common::progress;
use mamba_ts::data::{Parts, Series, Split, StandardScaler, Windows};
use mamba_ts::training::{Control, Trainer};

use crate::checkpoint::{self, Checkpoint, Config};
use crate::error::Error;
use crate::eval::report;
use crate::model::Model;
use crate::plot;
use crate::settings::Choices;
use crate::source::{Source, shipped};

/// Trains a model on the first part of a series and scores it on the last.
#[derive(Args)]
pub struct TrainArgs {
    /// CSV or Parquet file with dates [default: the ETTh1 that ships here]
    #[arg(long)]
    data: Option<PathBuf>,
    #[command(flatten)]
    source: Source,
    /// Rows to forecast
    #[arg(long, default_value_t = 96)]
    horizon: usize,
    /// Levels of the quantiles to forecast, as in 0.1,0.5,0.9 [default: the mean instead]
    #[arg(long, value_delimiter = ',')]
    quantiles: Vec<f64>,
    #[command(flatten)]
    settings: Choices,
    /// Folder of the run: checkpoints, curves
    #[arg(long, default_value = "runs/time-series")]
    out: PathBuf,
    /// Continue the run in --out after its last epoch
    #[arg(long)]
    resume: bool,
    /// Replace the run in --out
    #[arg(long, conflicts_with = "resume")]
    overwrite: bool,
}

pub fn train(args: &TrainArgs, device: &Device) -> Result<Outcome, Error> {
    let data = args.data.clone().unwrap_or_else(shipped);
    let name = data.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let config = Config {
        data,
        source: args.source.clone(),
        split: Split::of_dataset(&name),
        horizon: args.horizon,
        settings: args.settings.published(&name, args.horizon),
        levels: args.quantiles.clone(),
    };
    let found = Checkpoint::find(&args.out)?;
    match &found {
        Some(_) if !args.resume && !args.overwrite => return Err(Error::RunExists { path: args.out.clone() }),
        Some(found) if args.resume && found.config != config => {
            return Err(Error::OtherSettings { path: args.out.clone() });
        }
        None if args.resume => return Err(Error::NoRun { path: args.out.clone() }),
        _ => {}
    }

    let series = config.source.read(&config.data)?;
    let task = Task::new(&config, &series)?;
    let device = device.clone().autodiff();
    device.seed(config.settings.seed);
    let model = config.model(&series, &device)?;
    println!("{} with {} parameters", config.settings.model.name(), model.num_params());
    let training = config.settings.training(config.settings.objective(&config.levels));
    let mut trainer = Trainer::new(model, training, &device)?;
    fs::create_dir_all(&args.out).map_err(Error::write(&args.out))?;
    remove_scratch(&args.out)?;
    match found {
        Some(found) if args.resume => trainer = found.restore(trainer)?,
        _ => checkpoint::remove_others(&args.out, None)?,
    }

    let interrupted = listen_for_interrupt()?;
    if !epochs(&mut trainer, &task, &interrupted, |trainer| save(&args.out, &config, trainer))? {
        println!("interrupted after epoch {}; go on with --resume", trainer.history.len());
        return Ok(Outcome::Interrupted);
    }
    if trainer.history.is_empty() {
        save(&args.out, &config, &trainer)?; // A rule has no epochs.
    }
    report(&trainer.best, &task, &trainer.config.objective, config.settings.batch, &device.inner());
    Ok(Outcome::Finished)
}

/// A series, scaled and cut.
pub struct Task {
    pub parts: Parts,
    pub windows: Windows,
    /// Scaled.
    pub series: Series,
}

impl Task {
    pub fn new(config: &Config, series: &Series) -> Result<Self, Error> {
        let (look_back, horizon) = (config.settings.look_back, config.horizon);
        mamba_blocks::ConfigError::check_sizes(&[("look_back", look_back), ("horizon", horizon)])?;
        let parts = config.split.parts(series.len(), look_back, horizon)?;
        let scaler = StandardScaler::fit(series, parts.train.clone());
        let series = scaler.transform(series);
        let windows = Windows::new(&series, parts.train.clone(), look_back, horizon);
        Ok(Self { parts, windows, series })
    }

    pub fn validation(&self) -> Windows {
        self.windows.with_rows(self.parts.validation.clone())
    }

    pub fn test(&self) -> Windows {
        self.windows.with_rows(self.parts.test.clone())
    }
}

/// Epochs until the last, each followed by `save`; whether all are done.
pub fn epochs(
    trainer: &mut Trainer<Model>,
    task: &Task,
    interrupted: &AtomicBool,
    save: impl Fn(&Trainer<Model>) -> Result<(), Error>,
) -> Result<bool, Error> {
    let validation = task.validation();
    while !trainer.is_done() {
        let bar = progress::steps(0, 0);
        let record = trainer.epoch(&task.windows, &validation, &mut |progress| {
            bar.set_message(format!("epoch {}  loss {:.4}", progress.epoch, progress.loss));
            bar.set_length(progress.batches as u64);
            bar.inc(1);
            if interrupted.load(Ordering::Relaxed) { Control::Stop } else { Control::Continue }
        })?;
        bar.finish_and_clear();
        let Some(record) = record else { return Ok(false) };
        let (epoch, train, validation) = (record.epoch, record.train, record.validation);
        println!("epoch {epoch}: training loss {train:.4}, validation loss {validation:.4}");
        save(trainer)?;
    }
    Ok(true)
}

/// The checkpoint, and the curves for people to look at.
fn save(run: &Path, config: &Config, trainer: &Trainer<Model>) -> Result<(), Error> {
    checkpoint::save(run, config, trainer)?;
    let path = run.join("loss.svg");
    let curves = plot::curves(&trainer.history)
        .map_err(|error| Error::Plot { path: path.clone(), reason: error.to_string() })?;
    Ok(publish(&path, |scratch| write_synced(scratch, curves.as_bytes()))?)
}
