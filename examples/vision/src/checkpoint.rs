//! What a run leaves after every epoch: folders `checkpoint-<epoch>`, each complete; the newest one counts.

use std::fs;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::optim::{ModuleOptimizer, OptimizerRecord};
use burn::store::{ModuleRecord, RecordError};
use burn::tensor::{Bytes, Device, Tensor};
use examples_common::files::{publish, write_synced};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::model::{Model, Sizes};
use crate::settings::Settings;
use crate::train::Record;

const CONFIG: &str = "config.json";
const HISTORY: &str = "history.jsonl";
const MODEL: &str = "model.bpk";
const AVERAGE: &str = "average.bpk";
const OPTIMIZER: &str = "optimizer.bpk";
const PREFIX: &str = "checkpoint-";
const FORMAT: &str = "mamba vision classifier";

/// What a run is: fixed from its first step to its last.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Config {
    format: String,
    pub settings: Settings,
    pub sizes: Sizes,
    /// Names of the classes.
    pub names: Vec<String>,
    /// The folder of the images, and how many there are to train on.
    pub data: PathBuf,
    pub images: usize,
    /// Mean and standard deviation of their pixels.
    pub statistics: (f32, f32),
}

impl Config {
    pub fn new(
        settings: Settings,
        sizes: Sizes,
        names: Vec<String>,
        (data, images): (PathBuf, usize),
        statistics: (f32, f32),
    ) -> Self {
        Self { format: FORMAT.into(), settings, sizes, names, data, images, statistics }
    }

    /// A mean of zero and a standard deviation of one, over all images to train on together.
    pub fn normalized(&self, images: Tensor<4>) -> Tensor<4> {
        let (mean, deviation) = self.statistics;
        images.sub_scalar(mean).div_scalar(deviation.max(1e-6))
    }
}

/// A checkpoint whose files are all there.
pub struct Checkpoint {
    pub config: Config,
    pub history: Vec<Record>,
    folder: PathBuf,
}

impl Checkpoint {
    /// Opens the newest checkpoint of the run in `path`, or the one that `path` itself is.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let is_checkpoint = path.join(CONFIG).exists();
        let folder = if is_checkpoint { Some(path.to_path_buf()) } else { all(path)?.pop() };
        let folder = folder.ok_or_else(|| Error::NoCheckpoint { path: path.to_path_buf() })?;
        let file = folder.join(CONFIG);
        let foreign = |reason: String| Error::ForeignCheckpoint { path: file.clone(), reason };
        let config: Config = serde_json::from_slice(&read(&file)?).map_err(|error| foreign(error.to_string()))?;
        if config.format != FORMAT {
            return Err(foreign(format!("its format is \"{}\", expected \"{FORMAT}\"", config.format)));
        }
        let file = folder.join(HISTORY);
        let lines = String::from_utf8_lossy(&read(&file)?).into_owned();
        let history: Result<Vec<Record>, _> = lines.lines().map(serde_json::from_str).collect();
        Ok(Self { config, history: history.map_err(damaged(&file))?, folder })
    }

    /// The model as it was trained last.
    pub fn model(&self, device: &Device) -> Result<Model, Error> {
        self.weights(MODEL, device)
    }

    /// The average of the model's weights, where the run keeps one.
    pub fn average(&self, device: &Device) -> Result<Option<Model>, Error> {
        (self.config.settings.ema > 0.0).then(|| self.weights(AVERAGE, device)).transpose()
    }

    /// The model to use: the average, where there is one.
    pub fn best(&self, device: &Device) -> Result<Model, Error> {
        match self.average(device)? {
            Some(average) => Ok(average),
            None => self.model(device),
        }
    }

    /// Gives `optimizer` its state back.
    pub fn optimizer(&self, optimizer: ModuleOptimizer) -> Result<ModuleOptimizer, Error> {
        self.record(OPTIMIZER, |bytes| {
            let record = OptimizerRecord::from_bytes(bytes)?;
            let tensors = record.len();
            let optimizer = optimizer.load_record(record);
            // Burn skips what it cannot read; a run that continues without it would not be the same run.
            match optimizer.to_record().len() == tensors {
                true => Ok(optimizer),
                false => Err(RecordError::Validation("part of the optimizer state is missing".to_string())),
            }
        })
    }

    /// The error for a flag that says something else than the checkpoint.
    pub fn conflict(&self, flag: &str, given: String, stored: String) -> Error {
        Error::Conflict { flag: flag.to_string(), given, stored, path: self.folder.clone() }
    }

    fn weights(&self, name: &str, device: &Device) -> Result<Model, Error> {
        let model = self.config.sizes.init(self.config.settings.model, device)?;
        self.record(name, |bytes| model.try_load_record(ModuleRecord::from_bytes(bytes)?))
    }

    fn record<T>(&self, name: &str, load: impl FnOnce(Bytes) -> Result<T, RecordError>) -> Result<T, Error> {
        let path = self.folder.join(name);
        load(Bytes::from_bytes_vec(read(&path)?)).map_err(damaged(&path))
    }
}

/// Writes a checkpoint, then removes the older ones: a run that is killed in between keeps a complete one.
pub fn save(
    run: &Path,
    config: &Config,
    history: &[Record],
    (model, average): (&Model, Option<&Model>),
    optimizer: &ModuleOptimizer,
) -> Result<(), Error> {
    let folder = of(run, history.len());
    let contents = || -> Result<Vec<(&str, Bytes)>, RecordError> {
        let json = |error: serde_json::Error| RecordError::Io(error.to_string());
        let mut contents = vec![
            (CONFIG, Bytes::from_bytes_vec(serde_json::to_vec_pretty(config).map_err(json)?)),
            (HISTORY, Bytes::from_bytes_vec(lines(history).map_err(json)?.into_bytes())),
            (MODEL, model.valid().into_record().into_bytes()?),
            (OPTIMIZER, optimizer.into_bytes()?),
        ];
        if let Some(average) = average {
            contents.push((AVERAGE, average.clone().into_record().into_bytes()?));
        }
        Ok(contents)
    };
    let contents = contents().map_err(|error| Error::write(&folder)(std::io::Error::other(error)))?;
    publish(&folder, |scratch| {
        fs::create_dir(scratch)?;
        contents.iter().try_for_each(|(name, bytes)| write_synced(&scratch.join(name), bytes))
    })?;
    remove_others(run, Some(history.len()))
}

/// The records as JSON lines.
pub fn lines(history: &[Record]) -> serde_json::Result<String> {
    history.iter().map(|record| serde_json::to_string(record).map(|line| line + "\n")).collect()
}

/// Whether the folder `run` holds a checkpoint.
pub fn exists(run: &Path) -> bool {
    all(run).is_ok_and(|checkpoints| !checkpoints.is_empty())
}

/// Removes every checkpoint of the run but that of epoch `keep`.
pub fn remove_others(run: &Path, keep: Option<usize>) -> Result<(), Error> {
    let kept = keep.map(|epoch| of(run, epoch));
    for folder in all(run)?.into_iter().filter(|folder| Some(folder) != kept.as_ref()) {
        fs::remove_dir_all(&folder).map_err(Error::write(&folder))?;
    }
    Ok(())
}

fn of(run: &Path, epoch: usize) -> PathBuf {
    run.join(format!("{PREFIX}{epoch:04}"))
}

/// The checkpoint folders of a run, oldest first.
fn all(run: &Path) -> Result<Vec<PathBuf>, Error> {
    if !run.exists() {
        return Ok(vec![]);
    }
    let epoch = |path: &Path| path.file_name()?.to_str()?.strip_prefix(PREFIX)?.parse::<usize>().ok();
    let mut found = vec![];
    for entry in fs::read_dir(run).map_err(Error::read(run))? {
        let path = entry.map_err(Error::read(run))?.path();
        found.extend(epoch(&path).map(|epoch| (epoch, path)));
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(Error::read(path))
}

fn damaged<E: ToString>(path: &Path) -> impl Fn(E) -> Error {
    let path = path.to_path_buf();
    move |error| Error::DamagedCheckpoint { path: path.clone(), reason: error.to_string() }
}
