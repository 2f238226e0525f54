//! `compare`: several models on one data set, over horizons and seeds, as one table.

use std::fs;
use std::path::PathBuf;
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
use crate::settings::Settings;
use crate::source::{Source, shipped};
use crate::table::table;
use crate::train::{Task, epochs};

/// Trains several models by the protocol of the literature and writes their scores into a table.
#[derive(Args)]
pub struct CompareArgs {
    /// CSV file with dates [default: the ETTh1 that ships here]
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
    settings: Settings,
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
    let data = args.data.clone().unwrap_or_else(shipped);
    let name = data.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let series = args.source.read(&data)?;
    fs::create_dir_all(&args.out).map_err(Error::write(&args.out))?;
    let kinds = if args.models.is_empty() { Kind::ALL.to_vec() } else { args.models.clone() };
    let mut rows = Vec::new();
    for &horizon in &args.horizons {
        for &kind in &kinds {
            let mut results = Vec::new();
            // A rule gives the same with every seed.
            let seeds = if matches!(kind, Kind::LastValue | Kind::SeasonalNaive) { 1 } else { args.seeds };
            for seed in 1..=seeds {
                let settings = Settings { model: kind, seed, ..args.settings.clone() };
                let split = Split::of_dataset(&name);
                let (data, source) = (data.clone(), args.source.clone());
                let config = Config { data, source, split, horizon, settings, levels: vec![] };
                results.push(one(args, &name, &config, &series, device)?);
            }
            rows.push(row(kind, horizon, &results));
        }
    }
    let header = ["horizon", "model", "MSE", "MAE", "seeds", "parameters", "epochs", "seconds"];
    let table = table(&header, &rows);
    print!("{table}");
    let path = args.out.join(format!("{name}.md"));
    Ok(publish(&path, |scratch| write_synced(scratch, table.as_bytes()))?)
}

/// The result of one training, from its file if it is there.
fn one(args: &CompareArgs, name: &str, config: &Config, series: &Series, device: &Device) -> Result<Outcome, Error> {
    let Config { horizon, settings, .. } = config;
    let file = format!("{name}-{horizon}-{}-{}.json", settings.model.name().replace(' ', "-"), settings.seed);
    let path = args.out.join(file);
    if path.exists() {
        let bytes = fs::read(&path).map_err(Error::read(&path))?;
        let found: Outcome = serde_json::from_slice(&bytes)
            .map_err(|error| Error::Damaged { path: path.clone(), reason: error.to_string() })?;
        return if found.config == *config { Ok(found) } else { Err(Error::OtherSettings { path }) };
    }
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
    let scores = evaluation.scores();
    let result = Outcome {
        config: config.clone(),
        epochs: trainer.history.len(),
        mse: scores.mse,
        mae: scores.mae,
        seconds: started.elapsed().as_secs_f64(),
        parameters,
    };
    let json = serde_json::to_vec_pretty(&result)
        .map_err(|error| Error::Store { path: path.clone(), reason: error.to_string() })?;
    publish(&path, |scratch| write_synced(scratch, &json))?;
    Ok(result)
}

/// Mean and standard deviation over seeds.
fn row(kind: Kind, horizon: usize, results: &[Outcome]) -> Vec<String> {
    let spread = |value: fn(&Outcome) -> f64| {
        let count = results.len() as f64;
        let mean = results.iter().map(value).sum::<f64>() / count;
        let deviation = (results.iter().map(|result| (value(result) - mean).powi(2)).sum::<f64>() / count).sqrt();
        if results.len() > 1 { format!("{mean:.4} ± {deviation:.4}") } else { format!("{mean:.4}") }
    };
    let mean = |value: fn(&Outcome) -> f64| results.iter().map(value).sum::<f64>() / results.len() as f64;
    vec![
        horizon.to_string(),
        kind.name().to_string(),
        spread(|result| result.mse),
        spread(|result| result.mae),
        results.len().to_string(),
        results[0].parameters.to_string(),
        format!("{:.1}", mean(|result| result.epochs as f64)),
        format!("{:.0}", mean(|result| result.seconds)),
    ]
}
