//! Checkpoints: folders `checkpoint-<step>` in the folder of a run, each complete; the newest one counts.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::optim::{ModuleOptimizer, OptimizerRecord};
use burn::store::{ModuleRecord, RecordError};
use burn::tensor::{Bytes, Device};
use clap::ArgMatches;
use mamba_blocks::{MambaLm, MambaLmConfig};
use serde::{Deserialize, Serialize};

use crate::data::VOCABULARY;
use crate::error::Error;
use crate::files::{fingerprint, publish, write_synced};
use crate::history::{self, Record};
use crate::settings::Settings;

const FORMAT: &str = "mamba byte-level language model";
const CONFIG: &str = "config.json";
const STATE: &str = "state.json";
const HISTORY: &str = "history.jsonl";
const MODEL: &str = "model.bpk";
const OPTIMIZER: &str = "optimizer.bpk";
const PREFIX: &str = "checkpoint-";

/// What a run is: fixed from its first step to its last.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Config {
    format: String,
    pub model: MambaLmConfig,
    pub settings: Settings,
    /// The text that it trains on.
    pub data: PathBuf,
    /// Fingerprint of that text.
    pub text: u64,
}

impl Config {
    pub fn new(settings: Settings, data: PathBuf, text: u64) -> Self {
        Self { format: FORMAT.to_string(), model: settings.model(), settings, data, text }
    }
}

/// Where a run stands.
#[derive(Serialize, Deserialize)]
struct State {
    step: usize,
    /// Fingerprints of the other files.
    files: BTreeMap<String, u64>,
}

/// A checkpoint whose files are all there and undamaged.
pub struct Checkpoint {
    pub config: Config,
    pub step: usize,
    pub history: Vec<Record>,
    folder: PathBuf,
}

impl Checkpoint {
    /// Opens the newest checkpoint of the run in `path`, or the one that `path` itself is.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let is_checkpoint = path.join(CONFIG).exists();
        let folder = if is_checkpoint { Some(path.to_path_buf()) } else { all(path)?.pop() };
        let folder = folder.ok_or_else(|| Error::NoCheckpoint { path: path.to_path_buf() })?;

        let config = read_config(&folder.join(CONFIG))?;
        let State { step, files } = parse(&folder.join(STATE))?;
        for (name, expected) in &files {
            let path = folder.join(name);
            if fingerprint(&read(&path)?) != *expected {
                return Err(damaged(&path)("its content is not what was written"));
            }
        }
        let path = folder.join(HISTORY);
        let history = history::from_lines(&String::from_utf8_lossy(&read(&path)?)).map_err(damaged(&path))?;
        Ok(Self { config, step, history, folder })
    }

    /// An error if a flag on the command line says something else than the checkpoint.
    pub fn refuse_conflict(&self, given: &Settings, matches: &ArgMatches) -> Result<(), Error> {
        match given.conflict(&self.config.settings, matches) {
            Some((flag, given, stored)) => Err(self.conflict(&flag, given, stored)),
            None => Ok(()),
        }
    }

    /// The error for a flag that says something else than the checkpoint.
    pub fn conflict(&self, flag: &str, given: impl ToString, stored: String) -> Error {
        let (flag, given, path) = (flag.to_string(), given.to_string(), self.folder.clone());
        Error::Conflict { flag, given, stored, path }
    }

    /// The folder that holds it.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The model on `device`.
    pub fn model(&self, device: &Device) -> Result<MambaLm, Error> {
        let path = self.folder.join(MODEL);
        let load = |bytes| self.config.model.init(device).try_load_record(ModuleRecord::from_bytes(bytes)?);
        load(Bytes::from_bytes_vec(read(&path)?)).map_err(damaged(&path))
    }

    /// Gives `optimizer` its state back.
    pub fn optimizer(&self, optimizer: ModuleOptimizer) -> Result<ModuleOptimizer, Error> {
        let path = self.folder.join(OPTIMIZER);
        let load = |bytes| -> Result<_, RecordError> {
            let record = OptimizerRecord::from_bytes(bytes)?;
            let tensors = record.len();
            let optimizer = optimizer.load_record(record);
            // Burn skips what it cannot read; a run that continues without it would not be the same run.
            match optimizer.to_record().len() == tensors {
                true => Ok(optimizer),
                false => Err(RecordError::Validation("part of the optimizer state is missing".to_string())),
            }
        };
        load(Bytes::from_bytes_vec(read(&path)?)).map_err(damaged(&path))
    }
}

/// Whether the folder `run` holds a checkpoint.
pub fn exists(run: &Path) -> bool {
    all(run).is_ok_and(|checkpoints| !checkpoints.is_empty())
}

/// Removes every checkpoint of the run but that of step `keep`.
pub fn remove_others(run: &Path, keep: Option<usize>) -> Result<(), Error> {
    let kept = keep.map(|step| folder_of(run, step));
    for folder in all(run)?.into_iter().filter(|folder| Some(folder) != kept.as_ref()) {
        fs::remove_dir_all(&folder).map_err(Error::write(&folder))?;
    }
    Ok(())
}

/// Writes a checkpoint, then removes the older ones: a run that is killed in between keeps a complete one.
pub fn save(
    run: &Path,
    config: &Config,
    history: &[Record],
    model: &MambaLm,
    optimizer: &ModuleOptimizer,
) -> Result<(), Error> {
    let step = history.last().map_or(0, |record| record.step);
    let folder = folder_of(run, step);
    let contents = || -> Result<[(&str, Bytes); 4], RecordError> {
        let json = |error: serde_json::Error| RecordError::Io(error.to_string());
        Ok([
            (CONFIG, Bytes::from_bytes_vec(serde_json::to_vec_pretty(config).map_err(json)?)),
            (HISTORY, Bytes::from_bytes_vec(history::to_lines(history).map_err(json)?.into_bytes())),
            (MODEL, model.valid().into_record().into_bytes()?),
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

fn folder_of(run: &Path, step: usize) -> PathBuf {
    run.join(format!("{PREFIX}{step:08}"))
}

/// The checkpoint folders of a run, oldest first.
fn all(run: &Path) -> Result<Vec<PathBuf>, Error> {
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

fn read_config(path: &Path) -> Result<Config, Error> {
    let foreign = |reason: String| Error::ForeignCheckpoint { path: path.to_path_buf(), reason };
    let value: serde_json::Value =
        serde_json::from_slice(&read(path)?).map_err(|error| foreign(format!("no JSON: {error}")))?;
    if value["format"] != FORMAT {
        return Err(foreign(format!("its format is {}, expected \"{FORMAT}\"", value["format"])));
    }
    let config: Config = serde_json::from_value(value).map_err(|error| foreign(error.to_string()))?;
    if config.model.vocab_size != VOCABULARY {
        let found = config.model.vocab_size;
        return Err(Error::Vocabulary { path: path.to_path_buf(), found, expected: VOCABULARY });
    }
    Ok(config)
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Error> {
    serde_json::from_slice(&read(path)?).map_err(damaged(path))
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(Error::read(path))
}

fn damaged<E: ToString>(path: &Path) -> impl Fn(E) -> Error {
    let path = path.to_path_buf();
    move |error| Error::DamagedCheckpoint { path: path.clone(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use burn::optim::{AdamWConfig, GradientsParams};
    use burn::tensor::Tensor;
    use mamba_blocks::optim::adamw;

    use super::*;
    use crate::settings::tests::settings;

    struct Run {
        folder: tempfile::TempDir,
        config: Config,
        model: MambaLm,
        optimizer: ModuleOptimizer,
    }

    impl Run {
        /// One step of training, so that the optimizer has a state.
        fn new() -> Self {
            let device = Device::default().autodiff();
            let settings = Settings { d_model: 8, n_layer: 1, d_state: 2, ..settings() };
            let config = Config::new(settings, "text".into(), 7);
            let model = config.model.init(&device);
            let mut optimizer = adamw(&AdamWConfig::new());
            let loss = model.forward(Tensor::from_ints([[1, 2, 3]], &device)).square().mean();
            let grads = GradientsParams::from_grads(loss.backward(), &model);
            let model = optimizer.step(0.1, model, grads);
            Self { folder: tempfile::tempdir().unwrap(), config, model, optimizer }
        }

        fn save(&self, step: usize) {
            let record = Record { step, train: 1.0, validation: None, lr: 0.1, seconds: 0.0 };
            save(self.folder.path(), &self.config, &[record], &self.model, &self.optimizer).unwrap();
        }

        fn open(&self) -> Result<Checkpoint, Error> {
            Checkpoint::open(self.folder.path())
        }
    }

    #[test]
    fn weights_and_optimizer_come_back_bit_by_bit() {
        let run = Run::new();
        run.save(1);
        let checkpoint = run.open().unwrap();
        assert_eq!((checkpoint.step, checkpoint.history.len()), (1, 1));
        let device = Device::default().autodiff();
        let model = checkpoint.model(&device).unwrap();
        let bytes = |model: &MambaLm| model.valid().into_record().into_bytes().unwrap().to_vec();
        assert_eq!(bytes(&model), bytes(&run.model));

        // The next step is the same too: the state of the optimizer finds its parameters, and they are trainable.
        let optimizer = checkpoint.optimizer(adamw(&AdamWConfig::new())).unwrap();
        let next = |model: MambaLm, mut optimizer: ModuleOptimizer| {
            let loss = model.forward(Tensor::from_ints([[4, 5, 6]], &device)).square().mean();
            let grads = GradientsParams::from_grads(loss.backward(), &model);
            optimizer.step(0.1, model, grads)
        };
        assert_ne!(bytes(&run.model), bytes(&next(run.model.clone(), run.optimizer.clone())));
        assert_eq!(bytes(&next(model, optimizer)), bytes(&next(run.model, run.optimizer)));
    }

    #[test]
    fn the_newest_checkpoint_counts_and_replaces_the_others() {
        let run = Run::new();
        run.save(2);
        // A run killed right after it wrote step 10 still has step 2.
        let copy = run.folder.path().join("copy");
        fs::rename(folder_of(run.folder.path(), 2), &copy).unwrap();
        run.save(10);
        fs::rename(copy, folder_of(run.folder.path(), 2)).unwrap();
        assert_eq!(run.open().unwrap().step, 10);
        run.save(11);
        assert_eq!(all(run.folder.path()).unwrap(), [folder_of(run.folder.path(), 11)]);
    }

    #[test]
    fn a_folder_without_checkpoint_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("checkpoint-of-somebody")).unwrap();
        assert!(!exists(folder.path()));
        let error = Checkpoint::open(folder.path()).err().unwrap();
        assert!(error.to_string().contains(folder.path().to_str().unwrap()));
    }
}
