//! What a training leaves: folders `checkpoint-<epoch>` in the folder of a run, each complete; the newest one counts.

use std::fs;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::store::{ModuleRecord, RecordError};
use burn::tensor::{Bytes, Device};
use examples_common::files::{publish, write_synced};
use mamba_ts::data::{Series, Split};
use mamba_ts::training::{EpochRecord, Trainer};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::model::Model;
use crate::settings::Settings;
use crate::source::Source;

const PREFIX: &str = "checkpoint-";
const CONFIG: &str = "settings.json";
const HISTORY: &str = "history.json";
const NETWORK: &str = "network.bpk";
const BEST: &str = "best.bpk";
const OPTIMIZER: &str = "optimizer.bpk";

/// What a run is, from its first epoch to its last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    pub data: PathBuf,
    pub source: Source,
    pub split: Split,
    pub horizon: usize,
    pub settings: Settings,
    pub levels: Vec<f64>,
}

impl Config {
    /// The model before its first epoch.
    pub fn model(&self, series: &Series, device: &Device) -> Result<Model, Error> {
        let outputs = self.settings.objective(&self.levels).outputs();
        Ok(Model::new(&self.settings, self.horizon, outputs, series, device)?)
    }
}

/// The newest checkpoint of a run.
pub struct Checkpoint {
    pub config: Config,
    folder: PathBuf,
}

impl Checkpoint {
    /// That of the run in `run`, if there is one.
    pub fn find(run: &Path) -> Result<Option<Self>, Error> {
        let Some(folder) = all(run)?.pop() else { return Ok(None) };
        let path = folder.join(CONFIG);
        let config = serde_json::from_slice(&read(&path)?).map_err(damaged(&path))?;
        Ok(Some(Self { config, folder }))
    }

    /// `model` with the weights after the best epoch.
    pub fn best(&self, model: Model) -> Result<Model, Error> {
        self.load(BEST, |bytes| model.try_load_record(ModuleRecord::from_bytes(bytes)?))
    }

    /// A training that has not begun, brought to where this one stood.
    pub fn restore(&self, mut trainer: Trainer<Model>) -> Result<Trainer<Model>, Error> {
        let (network, best, optimizer) = (trainer.network, trainer.best, trainer.optimizer);
        trainer.network = self.load(NETWORK, |bytes| network.try_load_record(ModuleRecord::from_bytes(bytes)?))?;
        trainer.best = self.load(BEST, |bytes| best.try_load_record(ModuleRecord::from_bytes(bytes)?))?;
        trainer.optimizer = self.load(OPTIMIZER, |bytes| optimizer.from_bytes(bytes))?;
        let path = self.folder.join(HISTORY);
        trainer.history = serde_json::from_slice::<Vec<EpochRecord>>(&read(&path)?).map_err(damaged(&path))?;
        Ok(trainer)
    }

    fn load<T>(&self, name: &str, load: impl FnOnce(Bytes) -> Result<T, RecordError>) -> Result<T, Error> {
        let path = self.folder.join(name);
        load(Bytes::from_bytes_vec(read(&path)?)).map_err(damaged(&path))
    }
}

/// Writes a checkpoint, then removes the older ones: a run that is killed in between keeps a complete one.
pub fn save(run: &Path, config: &Config, trainer: &Trainer<Model>) -> Result<(), Error> {
    let folder = run.join(format!("{PREFIX}{:04}", trainer.history.len()));
    let store = |error: String| Error::Store { path: folder.clone(), reason: error };
    let record = |model: Model| model.into_record().into_bytes().map_err(|error| store(error.to_string()));
    let json = |result: serde_json::Result<Vec<u8>>| result.map_err(|error| store(error.to_string()));
    let files = [
        (CONFIG, Bytes::from_bytes_vec(json(serde_json::to_vec_pretty(config))?)),
        (HISTORY, Bytes::from_bytes_vec(json(serde_json::to_vec_pretty(&trainer.history))?)),
        (NETWORK, record(trainer.network.valid())?),
        (BEST, record(trainer.best.clone())?),
        (OPTIMIZER, trainer.optimizer.into_bytes().map_err(|error| store(error.to_string()))?),
    ];
    publish(&folder, |scratch| {
        fs::create_dir(scratch)?;
        files.iter().try_for_each(|(name, bytes)| write_synced(&scratch.join(name), bytes))
    })?;
    remove_others(run, Some(&folder))
}

/// Removes every checkpoint of a run but one.
pub fn remove_others(run: &Path, keep: Option<&Path>) -> Result<(), Error> {
    for other in all(run)?.iter().filter(|other| Some(other.as_path()) != keep) {
        fs::remove_dir_all(other).map_err(Error::write(other))?;
    }
    Ok(())
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

fn damaged<E: ToString>(path: &Path) -> impl FnOnce(E) -> Error {
    let path = path.to_path_buf();
    move |error| Error::Damaged { path, reason: error.to_string() }
}
