//! A run of `finetune`: the model it started from, what it has learnt, and its checkpoints.

use std::fs;
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleVisitor, Param};
use burn::prelude::*;
use burn::store::ModuleRecord;
use clap::ArgMatches;
use mamba_blocks::{LoraConfig, MambaLm, lora_parameters};
use serde::{Deserialize, Serialize};

use super::FinetuneArgs;
use super::tuning::Tuning;
use crate::checkpoint::folder::{self, Folder, MODEL};
use crate::data::{Corpus, shipped_text};
use crate::error::Error;
use crate::fingerprint::{FINGERPRINT, fingerprint_from};
use crate::pretrained::{Opened, Source};
use crate::recipe::conflict;
use crate::tokens::Tokens;
use crate::trainer::{Trainer, optimizer};
use examples_common::files::remove_scratch;

const FORMAT: &str = "mamba fine-tuning";
/// The factors of the adapters, in a checkpoint.
const FACTORS: &str = "adapter.bpk";
/// The adapter for other programs, in the folder of the run.
const ADAPTER: &str = "adapter";

/// What a run is: fixed from its first step to its last.
#[derive(Serialize, Deserialize)]
pub struct Config {
    format: String,
    /// The model that it started from.
    source: Source,
    /// Fingerprint of that model's weights.
    weights: u64,
    tuning: Tuning,
    adapters: Option<LoraConfig>,
    data: PathBuf,
    /// Fingerprint of that text's tokens.
    text: u64,
    /// Validation loss before the first step.
    pub before: f32,
}

pub struct Run {
    pub folder: PathBuf,
    pub config: Config,
    pub trainer: Trainer<u32>,
    pub tokens: Tokens,
}

impl Run {
    pub fn start(args: FinetuneArgs, device: Device) -> Result<Self, Error> {
        let FinetuneArgs { source, tuning, data, out: folder, overwrite, .. } = args;
        tuning.recipe.validate()?;
        let data = data.unwrap_or_else(shipped_text);
        let data = std::path::absolute(&data).map_err(Error::read(&data))?;
        let Opened { model, tokens, .. } = source.open(&device)?;
        let corpus = Corpus::read_as(&data, &tokens, tuning.recipe.length)?;
        let (source, weights, adapters) = (source.absolute()?, fingerprint_of(&model), tuning.lora(&model)?);
        if folder::exists(&folder) && !overwrite {
            return Err(Error::RunExists { path: folder });
        }

        device.seed(tuning.recipe.seed);
        let (recipe, text) = (tuning.recipe.clone(), corpus.fingerprint);
        let (model, optimizer) = (adapted(model, adapters.as_ref())?, optimizer(&recipe));
        let trainer = Trainer { recipe, corpus, device, model, optimizer, history: vec![] };
        let before = trainer.validate() as f32;
        fs::create_dir_all(&folder).map_err(Error::write(&folder))?;
        remove_scratch(&folder)?;
        folder::remove_others(&folder, None)?;
        let config = Config { format: FORMAT.into(), source, weights, tuning, adapters, data, text, before };
        Ok(Self { folder, config, trainer, tokens })
    }

    pub fn resume(args: FinetuneArgs, matches: &ArgMatches, device: Device) -> Result<Self, Error> {
        let FinetuneArgs { source, tuning, data, out: folder, .. } = args;
        let checkpoint = Folder::find(&folder)?;
        let config: Config = checkpoint.config(FORMAT)?;
        let (_, history) = checkpoint.verify()?;
        let flags = conflict(&tuning, &config.tuning, matches);
        if let Some((flag, given, stored)) = flags.or(conflict(&source.absolute()?, &config.source, matches)) {
            return Err(checkpoint.conflict(&flag, given, stored));
        }
        let Opened { model, tokens, .. } = config.source.open(&device)?;
        if fingerprint_of(&model) != config.weights {
            return Err(Error::OtherModel { path: config.source.path().to_path_buf() });
        }
        let recipe = config.tuning.recipe.clone();
        let data = data.unwrap_or_else(|| config.data.clone());
        let corpus = Corpus::read_as(&data, &tokens, recipe.length)?;
        if corpus.fingerprint != config.text {
            let stored = format!("the content of {}", config.data.display());
            return Err(checkpoint.conflict("data", data.display(), stored));
        }
        let model = adapted(model, config.adapters.as_ref())?;
        let model = match &config.adapters {
            Some(_) => checkpoint
                .record(FACTORS, |bytes| model.try_load_record(ModuleRecord::from_bytes(bytes)?.allow_partial(true)))?,
            None => checkpoint.record(MODEL, |bytes| model.try_load_record(ModuleRecord::from_bytes(bytes)?))?,
        };
        let optimizer = checkpoint.optimizer(optimizer(&recipe))?;
        remove_scratch(&folder)?;
        Ok(Self { folder, config, trainer: Trainer { recipe, corpus, device, model, optimizer, history }, tokens })
    }

    /// Says what is trained.
    pub fn describe(&self) {
        let model = &self.trainer.model;
        let all = model.num_params();
        match &self.config.adapters {
            Some(LoraConfig { rank, alpha, targets }) => {
                let factors = trained(model);
                let names = targets.iter().map(|target| target.name()).collect::<Vec<_>>().join(", ");
                let share = 100.0 * factors as f64 / (all - factors) as f64;
                println!("LoRA of rank {rank}, alpha {alpha}, on {names}");
                println!("trains {factors} parameters, {share:.2} % of the {} of the model", all - factors);
            }
            None => println!("trains all {all} parameters"),
        }
        println!("validation loss {:.4} nats per token before", self.config.before);
    }
}

/// A checkpoint, the adapter for other programs, then the history and the loss curve.
pub fn save(run: &Path, config: &Config, trainer: &Trainer<u32>) -> Result<(), Error> {
    let model = trainer.model.valid();
    let (name, group) = match config.adapters {
        Some(_) => (FACTORS, Some(lora_parameters())),
        None => (MODEL, None),
    };
    let weights = || match group {
        Some(group) => model.clone().into_record_group(group).into_bytes(),
        None => model.clone().into_record().into_bytes(),
    };
    folder::save(run, config, &trainer.history, (name, weights), &trainer.optimizer)?;
    if config.adapters.is_some() {
        model.save_lora(run.join(ADAPTER))?;
    }
    trainer.show(run)
}

fn adapted(model: MambaLm, adapters: Option<&LoraConfig>) -> Result<MambaLm, Error> {
    Ok(match adapters {
        Some(adapters) => adapters.attach(model)?,
        None => model,
    })
}

/// How many numbers the optimizer moves.
fn trained(model: &MambaLm) -> usize {
    struct Count(usize);
    impl ModuleVisitor for Count {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if param.is_require_grad() {
                self.0 += param.lazy_shape().num_elements();
            }
        }
    }
    let mut count = Count(0);
    model.visit(&mut count);
    count.0
}

/// Tells the weights of a model from those of another.
fn fingerprint_of(model: &MambaLm) -> u64 {
    struct Hash(u64);
    impl ModuleVisitor for Hash {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0 = fingerprint_from(self.0, param.val().into_data().as_bytes());
        }
    }
    let mut hash = Hash(FINGERPRINT);
    model.valid().visit(&mut hash);
    hash.0
}
