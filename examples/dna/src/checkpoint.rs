//! Checkpoints of `pretrain`: folders `checkpoint-<step>`, each complete; the newest one counts.

use std::fs;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::optim::{ModuleOptimizer, OptimizerRecord};
use burn::store::{ModuleRecord, RecordError};
use burn::tensor::{Bytes, Device};
use examples_common::files::{publish, write_synced};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::model::Lm;
use crate::settings::Settings;

const STATE: &str = "state.json";
const MODEL: &str = "model.bpk";
const OPTIMIZER: &str = "optimizer.bpk";
const PREFIX: &str = "checkpoint-";

/// One optimizer step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Steps done, this one included.
    pub step: usize,
    /// Loss of the batch, in bits per nucleotide that counts.
    pub train: f32,
    /// The same on a part of what is held out, where it was measured.
    pub validation: Option<f32>,
    /// Seconds of the run so far.
    pub seconds: f64,
}

/// Where a run stands.
#[derive(Serialize, Deserialize)]
pub struct State {
    pub settings: Settings,
    /// The genome.
    pub data: PathBuf,
    pub history: Vec<Record>,
}

/// A checkpoint on the disk.
pub struct Checkpoint {
    folder: PathBuf,
    pub state: State,
}

impl Checkpoint {
    /// The newest of the run in `run`.
    pub fn open(run: &Path) -> Result<Self, Error> {
        let Some(folder) = all(run)?.pop() else { return Err(Error::NoCheckpoint { path: run.to_path_buf() }) };
        let path = folder.join(STATE);
        let bytes = fs::read(&path).map_err(Error::read(&path))?;
        let state = serde_json::from_slice(&bytes).map_err(|error| damaged(&path, error))?;
        Ok(Self { folder, state })
    }

    pub fn model(&self, device: &Device) -> Result<Lm, Error> {
        let model = self.state.settings.model().init(device)?;
        self.record(MODEL, |bytes| model.try_load_record(ModuleRecord::from_bytes(bytes)?))
    }

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

    fn record<T>(&self, name: &str, load: impl FnOnce(Bytes) -> Result<T, RecordError>) -> Result<T, Error> {
        let path = self.folder.join(name);
        let bytes = fs::read(&path).map_err(Error::read(&path))?;
        load(Bytes::from_bytes_vec(bytes)).map_err(|error| damaged(&path, error))
    }
}

/// Writes a checkpoint, then removes the older ones: a run that is killed in between keeps a complete one.
pub fn save(run: &Path, state: &State, model: &Lm, optimizer: &ModuleOptimizer) -> Result<(), Error> {
    let step = state.history.last().map_or(0, |record| record.step);
    let folder = run.join(format!("{PREFIX}{step:08}"));
    let bytes = || Ok::<_, RecordError>((model.valid().into_record().into_bytes()?, optimizer.into_bytes()?));
    let (model, optimizer) = bytes().map_err(|error| Error::write(&folder)(std::io::Error::other(error)))?;
    publish(&folder, |scratch| {
        fs::create_dir(scratch)?;
        write_synced(&scratch.join(STATE), &serde_json::to_vec_pretty(state)?)?;
        write_synced(&scratch.join(MODEL), &model)?;
        write_synced(&scratch.join(OPTIMIZER), &optimizer)
    })?;
    for other in all(run)?.into_iter().filter(|other| *other != folder) {
        fs::remove_dir_all(&other).map_err(Error::write(&other))?;
    }
    Ok(())
}

/// Removes all checkpoints of a run.
pub fn remove_all(run: &Path) -> Result<(), Error> {
    all(run)?.into_iter().try_for_each(|folder| fs::remove_dir_all(&folder).map_err(Error::write(&folder)))
}

/// The checkpoint folders of a run, oldest first.
pub fn all(run: &Path) -> Result<Vec<PathBuf>, Error> {
    if !run.exists() {
        return Ok(vec![]);
    }
    let is_one = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
    let entries = fs::read_dir(run).map_err(Error::read(run))?;
    let paths: Result<Vec<_>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths: Vec<_> = paths.map_err(Error::read(run))?.into_iter().filter(is_one).collect();
    paths.sort();
    Ok(paths)
}

fn damaged(path: &Path, error: impl ToString) -> Error {
    Error::DamagedCheckpoint { path: path.to_path_buf(), reason: error.to_string() }
}
