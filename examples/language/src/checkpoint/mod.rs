//! What a run of `train` leaves in its checkpoints.

pub mod folder;

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::store::{ModuleRecord, RecordError};
use burn::tensor::{Bytes, Device};
use clap::ArgMatches;
use mamba_blocks::{MambaLm, MambaLmConfig};
use serde::{Deserialize, Serialize};

pub use folder::{exists, remove_others};

use crate::data::VOCABULARY;
use crate::error::Error;
use crate::history::Record;
use crate::recipe::conflict;
use crate::settings::Settings;
use folder::{CONFIG, Folder, MODEL};

const FORMAT: &str = "mamba byte-level language model";

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

/// A checkpoint whose files are all there and undamaged.
pub struct Checkpoint {
    pub config: Config,
    pub step: usize,
    pub history: Vec<Record>,
    folder: Folder,
}

impl Checkpoint {
    /// Opens the newest checkpoint of the run in `path`, or the one that `path` itself is.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let folder = Folder::find(path)?;
        let config: Config = folder.config(FORMAT)?;
        if config.model.vocab_size != VOCABULARY {
            let (path, found) = (folder.path().join(CONFIG), config.model.vocab_size);
            return Err(Error::Vocabulary { path, found, expected: VOCABULARY });
        }
        let (step, history) = folder.verify()?;
        Ok(Self { config, step, history, folder })
    }

    /// An error if a flag on the command line says something else than the checkpoint.
    pub fn refuse_conflict(&self, given: &Settings, matches: &ArgMatches) -> Result<(), Error> {
        match conflict(given, &self.config.settings, matches) {
            Some((flag, given, stored)) => Err(self.conflict(&flag, given, stored)),
            None => Ok(()),
        }
    }

    /// The error for a flag that says something else than the checkpoint.
    pub fn conflict(&self, flag: &str, given: impl ToString, stored: String) -> Error {
        self.folder.conflict(flag, given, stored)
    }

    /// The folder that holds it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The model on `device`.
    pub fn model(&self, device: &Device) -> Result<MambaLm, Error> {
        self.folder
            .record(MODEL, |bytes| self.config.model.init(device).try_load_record(ModuleRecord::from_bytes(bytes)?))
    }

    /// Gives `optimizer` its state back.
    pub fn optimizer(&self, optimizer: ModuleOptimizer) -> Result<ModuleOptimizer, Error> {
        self.folder.optimizer(optimizer)
    }
}

/// Writes a checkpoint, then removes the older ones: a run that is killed in between keeps a complete one.
pub fn save(
    run: &Path,
    config: &Config,
    history: &[Record],
    model: &MambaLm,
    optimizer: &ModuleOptimizer,
) -> Result<(), Error> {
    let weights = || -> Result<Bytes, RecordError> { model.valid().into_record().into_bytes() };
    folder::save(run, config, history, (MODEL, weights), optimizer)
}

#[cfg(test)]
mod tests {
    use std::fs;

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
        fs::rename(folder::of(run.folder.path(), 2), &copy).unwrap();
        run.save(10);
        fs::rename(copy, folder::of(run.folder.path(), 2)).unwrap();
        assert_eq!(run.open().unwrap().step, 10);
        run.save(11);
        assert_eq!(folder::all(run.folder.path()).unwrap(), [folder::of(run.folder.path(), 11)]);
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
