//! `train`: from labelled images to a model.

use std::fs;
use std::path::PathBuf;

use burn::module::Module;
use burn::tensor::Device;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args};
use examples_common::cli::{Outcome, listen_for_interrupt};
use examples_common::files::{publish, remove_scratch, write_synced};
use mamba_core::among_workers;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::checkpoint::{self, Checkpoint, Config};
use crate::dataset::{self, DataSet};
use crate::error::Error;
use crate::model::Sizes;
use crate::plot::curves;
use crate::settings::Settings;
use crate::trainer::Trainer;

/// Trains a model on labelled images and tells how often it is right on others.
#[derive(Args)]
pub struct TrainArgs {
    #[command(flatten)]
    settings: Settings,
    /// Folder of the images: idx files, CIFAR-10, or a folder for each class [default: the part of Fashion-MNIST that
    /// ships here]
    #[arg(long)]
    data: Option<PathBuf>,
    /// Folder of the run: checkpoint, history, curves, confusion matrix
    #[arg(long, default_value = "runs/vision")]
    out: PathBuf,
    /// Continue the run in --out exactly where its last checkpoint stands
    #[arg(long)]
    resume: bool,
    /// Replace the run in --out
    #[arg(long, conflicts_with = "resume")]
    overwrite: bool,
}

/// One epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub epoch: usize,
    /// Mean loss of its batches.
    pub loss: f32,
    /// Accuracy on the test images after it.
    pub accuracy: f64,
    /// Seconds of the run so far.
    pub seconds: f64,
}

/// Trains on `device` until the last epoch or Ctrl-C; `matches` tells which flags were typed.
pub fn train(args: &TrainArgs, matches: &ArgMatches, device: &Device) -> Result<Outcome, Error> {
    let interrupted = listen_for_interrupt()?;
    let mut trainer = if args.resume { resume(args, matches, device)? } else { start(args, device)? };
    let parameters = trainer.model.num_params();
    let DataSet { train, test, .. } = &trainer.data;
    println!("{} images to train on, {} to test, {parameters} parameters", train.len(), test.len());
    for epoch in trainer.history.len() + 1..=trainer.config.settings.epochs {
        if among_workers(device, || trainer.epoch(epoch, &interrupted))? == Outcome::Interrupted {
            println!("interrupted in epoch {epoch}, which counts from its start: continue with --resume");
            return Ok(Outcome::Interrupted);
        }
        let models = (&trainer.model, trainer.average.as_ref().map(|average| average.model()));
        checkpoint::save(&args.out, &trainer.config, &trainer.history, models, &trainer.optimizer)?;
        show(&trainer, args)?;
    }
    let accuracy = trainer.history.last().map_or(0.0, |record| record.accuracy);
    println!("test accuracy {:.2} %; run stored in {}", 100.0 * accuracy, args.out.display());
    Ok(Outcome::Finished)
}

fn start(args: &TrainArgs, device: &Device) -> Result<Trainer, Error> {
    let settings = args.settings.clone();
    settings.validate()?;
    if checkpoint::exists(&args.out) && !args.overwrite {
        return Err(Error::RunExists { path: args.out.clone() });
    }
    let folder = args.data.clone().unwrap_or_else(dataset::shipped);
    let folder = std::path::absolute(&folder).map_err(Error::read(&folder))?;
    let data = dataset::read(&folder, settings.side)?;
    let sizes = Sizes {
        d_model: settings.d_model,
        depths: settings.depths.clone(),
        stem: settings.stem,
        enlarge: settings.enlarge,
        drop_path: settings.drop_path,
        image: data.train.dims(),
        classes: data.train.classes(),
    };
    let statistics = data.train.statistics();
    let config = Config::new(settings, sizes, data.names.clone(), (folder, data.train.len()), statistics);
    let trainer = Trainer::start(config, data, device)?;
    fs::create_dir_all(&args.out).map_err(Error::write(&args.out))?;
    remove_scratch(&args.out)?;
    checkpoint::remove_others(&args.out, None)?;
    Ok(trainer)
}

fn resume(args: &TrainArgs, matches: &ArgMatches, device: &Device) -> Result<Trainer, Error> {
    let checkpoint = Checkpoint::open(&args.out)?;
    let stored = &checkpoint.config;
    if let Some((flag, given, stored)) = conflict(&args.settings, &stored.settings, matches) {
        return Err(checkpoint.conflict(&flag, given, stored));
    }
    let folder = args.data.clone().unwrap_or_else(|| stored.data.clone());
    let data = dataset::read(&folder, stored.settings.side)?;
    if (data.train.len(), data.train.statistics()) != (stored.images, stored.statistics) {
        let content = format!("the content of {}", stored.data.display());
        return Err(checkpoint.conflict("data", folder.display().to_string(), content));
    }
    remove_scratch(&args.out)?;
    Trainer::resume(checkpoint, data, device)
}

/// The first flag on the command line whose value is not that of `stored`: its name, its value and the stored one.
fn conflict(given: &Settings, stored: &Settings, matches: &ArgMatches) -> Option<(String, String, String)> {
    let fields = |settings: &Settings| match serde_json::to_value(settings) {
        Ok(Value::Object(fields)) => fields,
        _ => unreachable!("a struct of settings is a JSON object"),
    };
    let (given, stored) = (fields(given), fields(stored));
    given.into_iter().find_map(|(id, value)| {
        let typed = matches.value_source(&id) == Some(ValueSource::CommandLine);
        (typed && value != stored[&id]).then(|| (id.replace('_', "-"), value.to_string(), stored[&id].to_string()))
    })
}

/// Writes what people look at.
fn show(trainer: &Trainer, args: &TrainArgs) -> Result<(), Error> {
    let write = |name: &str, text: String| {
        publish(&args.out.join(name), |path| write_synced(path, text.as_bytes())).map_err(Error::File)
    };
    let history = checkpoint::lines(&trainer.history).map_err(|error| Error::write(&args.out)(error.into()))?;
    write("history.jsonl", history)?;
    write("curves.svg", curves(&trainer.history)?)?;
    write("confusion.svg", trainer.confusion.svg(&trainer.config.names))
}
