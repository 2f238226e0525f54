//! Checkpoints: folders `checkpoint-<step>` in the folder of a run, each complete; the newest one counts.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::optim::{ModuleOptimizer, OptimizerRecord};
use burn::store::RecordError;
use burn::tensor::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Error;
use crate::fingerprint::fingerprint;
use crate::history::{self, Record};
use examples_common::files::{publish, write_synced};

pub const CONFIG: &str = "config.json";
pub const MODEL: &str = "model.bpk";
const STATE: &str = "state.json";
const HISTORY: &str = "history.jsonl";
const OPTIMIZER: &str = "optimizer.bpk";
const PREFIX: &str = "checkpoint-";

/// Where a run stands.
#[derive(Serialize, Deserialize)]
struct State {
    step: usize,
    /// Fingerprints of the other files.
    files: BTreeMap<String, u64>,
}

/// The folder of a checkpoint.
pub struct Folder(PathBuf);

impl Folder {
    /// The newest checkpoint of the run in `path`, or the one that `path` itself is.
    pub fn find(path: &Path) -> Result<Self, Error> {
        let is_checkpoint = path.join(CONFIG).exists();
        let folder = if is_checkpoint { Some(path.to_path_buf()) } else { all(path)?.pop() };
        Ok(Self(folder.ok_or_else(|| Error::NoCheckpoint { path: path.to_path_buf() })?))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// What the run is, if its `format` is the expected one.
    pub fn config<T: DeserializeOwned>(&self, format: &str) -> Result<T, Error> {
        let path = self.0.join(CONFIG);
        let foreign = |reason: String| Error::ForeignCheckpoint { path: path.clone(), reason };
        let value: Value =
            serde_json::from_slice(&read(&path)?).map_err(|error| foreign(format!("no JSON: {error}")))?;
        if value["format"] != format {
            return Err(foreign(format!("its format is {}, expected \"{format}\"", value["format"])));
        }
        serde_json::from_value(value).map_err(|error| foreign(error.to_string()))
    }

    /// Checks every file; returns the steps done and what they measured.
    pub fn verify(&self) -> Result<(usize, Vec<Record>), Error> {
        let state = self.0.join(STATE);
        let State { step, files } = serde_json::from_slice(&read(&state)?).map_err(damaged(&state))?;
        for (name, expected) in &files {
            let path = self.0.join(name);
            if fingerprint(&read(&path)?) != *expected {
                return Err(damaged(&path)("its content is not what was written"));
            }
        }
        let path = self.0.join(HISTORY);
        let history = history::from_lines(&String::from_utf8_lossy(&read(&path)?)).map_err(damaged(&path))?;
        Ok((step, history))
    }

    /// What `load` makes of the file `name`.
    pub fn record<T>(&self, name: &str, load: impl FnOnce(Bytes) -> Result<T, RecordError>) -> Result<T, Error> {
        let path = self.0.join(name);
        load(Bytes::from_bytes_vec(read(&path)?)).map_err(damaged(&path))
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
    pub fn conflict(&self, flag: &str, given: impl ToString, stored: String) -> Error {
        let (flag, given, path) = (flag.to_string(), given.to_string(), self.0.clone());
        Error::Conflict { flag, given, stored, path }
    }
}

/// Writes a checkpoint, then removes the older ones: a run that is killed in between keeps a complete one.
pub fn save(
    run: &Path,
    config: &impl Serialize,
    history: &[Record],
    (name, weights): (&str, impl FnOnce() -> Result<Bytes, RecordError>),
    optimizer: &ModuleOptimizer,
) -> Result<(), Error> {
    let step = history.last().map_or(0, |record| record.step);
    let folder = of(run, step);
    let contents = || -> Result<[(&str, Bytes); 4], RecordError> {
        let json = |error: serde_json::Error| RecordError::Io(error.to_string());
        Ok([
            (CONFIG, Bytes::from_bytes_vec(serde_json::to_vec_pretty(config).map_err(json)?)),
            (HISTORY, Bytes::from_bytes_vec(history::to_lines(history).map_err(json)?.into_bytes())),
            (name, weights()?),
            (OPTIMIZER, optimizer.into_bytes()?),
        ])
    };
    let contents = contents().map_err(|error| Error::write(&folder)(std::io::Error::other(error)))?;
    let files = contents.iter().map(|(name, bytes)| (name.to_string(), fingerprint(bytes))).collect();
    publish(&folder, |scratch| {
        fs::create_dir(scratch)?;
        contents.iter().try_for_each(|(name, bytes)| write_synced(&scratch.join(name), bytes))?;
        write_synced(&scratch.join(STATE), &serde_json::to_vec_pretty(&State { step, files })?)
    })?;
    remove_others(run, Some(step))
}

/// Whether the folder `run` holds a checkpoint.
pub fn exists(run: &Path) -> bool {
    all(run).is_ok_and(|checkpoints| !checkpoints.is_empty())
}

/// Removes every checkpoint of the run but that of step `keep`.
pub fn remove_others(run: &Path, keep: Option<usize>) -> Result<(), Error> {
    let kept = keep.map(|step| of(run, step));
    for folder in all(run)?.into_iter().filter(|folder| Some(folder) != kept.as_ref()) {
        fs::remove_dir_all(&folder).map_err(Error::write(&folder))?;
    }
    Ok(())
}

/// The folder for step `step`.
pub(super) fn of(run: &Path, step: usize) -> PathBuf {
    run.join(format!("{PREFIX}{step:08}"))
}

/// The checkpoint folders of a run, oldest first.
pub(super) fn all(run: &Path) -> Result<Vec<PathBuf>, Error> {
    if !run.exists() {
        return Ok(vec![]);
    }
    let step = |path: &Path| path.file_name()?.to_str()?.strip_prefix(PREFIX)?.parse::<usize>().ok();
    let mut found = vec![];
    for entry in fs::read_dir(run).map_err(Error::read(run))? {
        let path = entry.map_err(Error::read(run))?.path();
        found.extend(step(&path).map(|step| (step, path)));
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
