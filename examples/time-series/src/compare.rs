//! `compare`: several models on one data set, over horizons and seeds, as one table.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::Device;
use clap::Args;
use examples_common::files::{publish, write_synced};
use mamba_ts::data::{Series, Split};
use mamba_ts::metrics::Evaluation;
use mamba_ts::training::Trainer;
use serde::{Deserialize, Serialize};

use crate::checkpoint::Config;
use crate::error::Error;
use crate::eval::scores;
use crate::model::Kind;
use crate::settings::Choices;
use crate::source::{Source, shipped};
use crate::table::table;
use crate::train::{Task, epochs};

/// Trains several models by the protocol of the literature and writes their scores into a table.
#[derive(Args)]
pub struct CompareArgs {
    /// CSV or Parquet file with dates [default: the ETTh1 that ships here]
    #[arg(long)]
    data: Option<PathBuf>,
    #[command(flatten)]
    source: Source,
    /// Models to compare [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    models: Vec<Kind>,
    /// Rows to forecast
    #[arg(long, value_delimiter = ',', default_values_t = [96, 192, 336, 720])]
    horizons: Vec<usize>,
    /// How many seeds
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    #[command(flatten)]
    settings: Choices,
    /// Train nothing: the table of what has been trained
    #[arg(long)]
    kept: bool,
    /// Folder of the results, which are kept: what is there is not computed again
    #[arg(long, default_value = "runs/compare")]
    out: PathBuf,
}

/// One training.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Outcome {
    config: Config,
    epochs: usize,
    mse: f64,
    mae: f64,
    seconds: f64,
    parameters: usize,
}

pub fn compare(args: &CompareArgs, device: &Device) -> Result<(), Error> {
    let mut horizons = args.horizons.clone();
    horizons.sort_unstable();
    horizons.dedup();
    let sizes = [("seeds", args.seeds as usize), ("horizon", horizons[0])];
    mamba_blocks::ConfigError::check_sizes(&sizes)?;
    let data = args.data.clone().unwrap_or_else(shipped);
    let name = data.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let series = args.source.read(&data)?;
    fs::create_dir_all(&args.out).map_err(Error::write(&args.out))?;
    let is_wanted = |kind: &Kind| args.models.is_empty() || args.models.contains(kind);
    let kinds: Vec<_> = Kind::ALL.into_iter().filter(is_wanted).collect();
    let (path, results) = (args.out.join(format!("{name}.md")), args.out.join(format!("{name}.jsonl")));
    let (mut kept, mut outcomes) = (read(&results)?, Vec::new());
    // Seed by seed, so that a comparison that is interrupted has a whole table soon.
    for seed in 1..=args.seeds {
        for &horizon in &horizons {
            for &model in kinds.iter().filter(|kind| seed == 1 || !kind.is_rule()) {
                let choices = Choices { model, seed, ..args.settings.clone() };
                let config = Config {
                    // Results hold wherever the file is.
                    data: data.file_name().map(PathBuf::from).unwrap_or_default(),
                    source: args.source.clone(),
                    split: Split::of_dataset(&name),
                    horizon,
                    settings: choices.published(&name, horizon),
                    levels: vec![],
                };
                if !args.kept && !kept.iter().any(|outcome| outcome.config == config) {
                    kept.push(one(&config, &series, device)?);
                    write(&results, &kept)?;
                }
                outcomes.extend(kept.iter().find(|outcome| outcome.config == config).cloned());
                let table = table_of(&horizons, &kinds, &outcomes);
                publish(&path, |scratch| write_synced(scratch, table.as_bytes()))?;
            }
        }
    }
    print!("{}", table_of(&horizons, &kinds, &outcomes));
    Ok(())
}

/// What has been trained before: a line for each.
fn read(path: &Path) -> Result<Vec<Outcome>, Error> {
    if !path.exists() {
        return Ok(vec![]);
    }
    let text = fs::read_to_string(path).map_err(Error::read(path))?;
    let damaged = |line: usize, error: serde_json::Error| {
        let reason = format!("line {}: {error}", line + 1);
        Error::Damaged { path: path.to_path_buf(), reason }
    };
    let lines = text.lines().enumerate();
    lines.map(|(line, text)| serde_json::from_str(text).map_err(|error| damaged(line, error))).collect()
}

fn write(path: &Path, outcomes: &[Outcome]) -> Result<(), Error> {
    let store = |error: serde_json::Error| Error::Store { path: path.to_path_buf(), reason: error.to_string() };
    let lines = outcomes.iter().map(|outcome| Ok(serde_json::to_string(outcome).map_err(store)? + "\n"));
    let text = lines.collect::<Result<String, Error>>()?;
    Ok(publish(path, |scratch| write_synced(scratch, text.as_bytes()))?)
}

/// Trains and scores one model.
fn one(config: &Config, series: &Series, device: &Device) -> Result<Outcome, Error> {
    let Config { horizon, settings, .. } = config;
    println!("{} at horizon {horizon}, seed {}", settings.model.name(), settings.seed);
    let started = Instant::now();
    let task = Task::new(config, series)?;
    let training = device.clone().autodiff();
    training.seed(settings.seed);
    let model = config.model(series, &training)?;
    let parameters = model.num_params();
    let mut trainer = Trainer::new(model, settings.training(settings.objective(&[])), &training)?;
    epochs(&mut trainer, &task, &AtomicBool::new(false), |_| Ok(()))?;
    let evaluation = scores(&trainer.best, &task.test(), Evaluation::new(*horizon, &[]), settings.batch, device);
    let (scores, seconds) = (evaluation.scores(), started.elapsed().as_secs_f64());
    let epochs = trainer.history.len();
    Ok(Outcome { config: config.clone(), epochs, mse: scores.mse, mae: scores.mae, seconds, parameters })
}

/// Every model at every horizon and over all horizons; the least errors are bold.
fn table_of(horizons: &[usize], kinds: &[Kind], outcomes: &[Outcome]) -> String {
    let mut blocks: Vec<_> = horizons.iter().map(|&horizon| (horizon.to_string(), vec![horizon])).collect();
    if horizons.len() > 1 {
        blocks.push(("all".to_string(), horizons.to_vec()));
    }
    let mut rows = Vec::new();
    for (name, horizons) in blocks {
        let runs = kinds.iter().map(|&kind| (kind, Runs::of(kind, &horizons, outcomes)));
        let runs: Vec<_> = runs.filter(|(_, runs)| !runs.0.is_empty()).collect();
        let least = |score: Value| runs.iter().map(|(_, runs)| runs.spread(score).0).fold(f64::INFINITY, f64::min);
        let scores: [Value; 2] = [|outcome| outcome.mse, |outcome| outcome.mae];
        let least = scores.map(least);
        for (kind, runs) in &runs {
            let mut row = vec![name.clone(), kind.name().to_string()];
            row.extend(scores.iter().zip(least).map(|(&score, least)| runs.text(score, least)));
            row.push(runs.0.len().to_string());
            row.push(format!("{:.0}", runs.spread(|outcome| outcome.parameters as f64).0));
            row.push(format!("{:.1}", runs.spread(|outcome| outcome.epochs as f64).0));
            rows.push(row);
        }
    }
    table(&["horizon", "model", "MSE", "MAE", "seeds", "parameters", "epochs"], &rows)
}

type Value = fn(&Outcome) -> f64;

/// The trainings of one model: for each seed one at every horizon.
struct Runs<'a>(Vec<Vec<&'a Outcome>>);

impl<'a> Runs<'a> {
    /// Those of seeds that have been trained at every horizon.
    fn of(kind: Kind, horizons: &[usize], outcomes: &'a [Outcome]) -> Self {
        let own =
            |outcome: &&Outcome| outcome.config.settings.model == kind && horizons.contains(&outcome.config.horizon);
        let mut own: Vec<_> = outcomes.iter().filter(own).collect();
        own.sort_by_key(|outcome| outcome.config.settings.seed);
        let seeds = own.chunk_by(|a, b| a.config.settings.seed == b.config.settings.seed);
        Self(seeds.filter(|outcomes| outcomes.len() == horizons.len()).map(<[_]>::to_vec).collect())
    }

    /// Mean and standard deviation over seeds of the mean over horizons.
    fn spread(&self, value: Value) -> (f64, f64) {
        let average = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let of_seed =
            |outcomes: &Vec<&Outcome>| average(&outcomes.iter().map(|outcome| value(outcome)).collect::<Vec<_>>());
        let seeds: Vec<_> = self.0.iter().map(of_seed).collect();
        let mean = average(&seeds);
        let squares: Vec<_> = seeds.iter().map(|seed| (seed - mean).powi(2)).collect();
        (mean, average(&squares).sqrt())
    }

    /// Bold if it is the least.
    fn text(&self, score: Value, least: f64) -> String {
        let (mean, deviation) = self.spread(score);
        let text = if mean == least { format!("**{mean:.4}**") } else { format!("{mean:.4}") };
        if self.0.len() > 1 { format!("{text} ± {deviation:.4}") } else { text }
    }
}
