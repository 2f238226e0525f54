//! `--model`: a published checkpoint; or a run in its place.

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::prelude::*;
use burn::tensor::DType;
use clap::{Args, ValueEnum};
use mamba_blocks::{LoadOptions, MambaLm};
use serde::{Deserialize, Serialize};

use crate::checkpoint::Checkpoint;
use crate::error::Error;
use crate::tokens::Tokens;
use examples_common::progress;

#[derive(Args)]
pub struct Pretrained {
    /// Folder of a published checkpoint: config.json beside model.safetensors or pytorch_model.bin, or their shards; with
    /// the feature `hub` also owner/name, a repository of the Hugging Face hub
    #[arg(long)]
    pub model: PathBuf,
    /// What the parameters are loaded as
    #[arg(long, value_enum, default_value_t = Dtype::F32)]
    pub dtype: Dtype,
    /// Folder of an adapter, as finetune --lora writes it
    #[arg(long)]
    pub adapter: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Dtype {
    F32,
    F16,
    Bf16,
}

impl From<Dtype> for DType {
    fn from(dtype: Dtype) -> Self {
        match dtype {
            Dtype::F32 => Self::F32,
            Dtype::F16 => Self::F16,
            Dtype::Bf16 => Self::BF16,
        }
    }
}

impl Pretrained {
    /// The model, with its adapter beside its weights.
    pub fn load(&self, device: &Device) -> Result<MambaLm, Error> {
        with_adapter(load(&self.model, self.dtype, device)?, self.adapter.as_deref())
    }
}

fn load(path: &Path, dtype: Dtype, device: &Device) -> Result<MambaLm, Error> {
    let options = LoadOptions::new().with_dtype(dtype.into()).with_progress(progress::bytes("loading"));
    Ok(MambaLm::from_pretrained_with(folder(path)?, options, device)?)
}

/// The folder of a published checkpoint: `path` itself, or where the repository of that name is kept.
pub fn folder(path: &Path) -> Result<PathBuf, Error> {
    #[cfg(feature = "hub")]
    if let Some(name) = path.to_str().filter(|name| mamba_blocks::is_hub_name(name) && !path.exists()) {
        return Ok(mamba_blocks::fetch_from_hub(name)?);
    }
    Ok(path.to_path_buf())
}

pub fn with_adapter(model: MambaLm, adapter: Option<&Path>) -> Result<MambaLm, Error> {
    Ok(match adapter {
        Some(path) => model.load_lora(path)?,
        None => model,
    })
}

/// Where a model that has learnt something is: in a run, or published.
#[derive(Args, Clone, Serialize, Deserialize)]
pub struct Source {
    /// Folder of a run, or one of its checkpoints
    #[arg(long, default_value = "runs/language", conflicts_with = "model")]
    checkpoint: PathBuf,
    /// Folder of a published checkpoint, instead of a run
    #[arg(long)]
    model: Option<PathBuf>,
    /// A tokenizer.json [default: the one beside the model, else bytes]
    #[arg(long)]
    tokenizer: Option<PathBuf>,
}

/// A model that has learnt something, of a run or published.
#[derive(Args)]
pub struct Trained {
    #[command(flatten)]
    source: Source,
    /// What the parameters of a published checkpoint are loaded as
    #[arg(long, value_enum, default_value_t = Dtype::F32, requires = "model")]
    dtype: Dtype,
    /// Folder of an adapter, as finetune --lora writes it
    #[arg(long)]
    adapter: Option<PathBuf>,
}

/// What [`Trained`] names.
pub struct Opened {
    pub model: MambaLm,
    pub tokens: Tokens,
    /// None for a published checkpoint.
    pub run: Option<Checkpoint>,
}

impl Source {
    pub fn open(&self, device: &Device) -> Result<Opened, Error> {
        self.open_as(Dtype::F32, device)
    }

    fn open_as(&self, dtype: Dtype, device: &Device) -> Result<Opened, Error> {
        let (model, run) = self.load(dtype, device)?;
        let folder = match &run {
            Some(run) => run.folder().to_path_buf(),
            None => folder(self.path())?,
        };
        let tokens = Tokens::open(self.tokenizer.as_deref(), &folder, model.vocab_size)?;
        Ok(Opened { model, tokens, run })
    }

    fn load(&self, dtype: Dtype, device: &Device) -> Result<(MambaLm, Option<Checkpoint>), Error> {
        match &self.model {
            Some(path) => Ok((load(path, dtype, device)?, None)),
            None => {
                let run = Checkpoint::open(&self.checkpoint)?;
                Ok((run.model(device)?, Some(run)))
            }
        }
    }

    /// Of what is in use.
    pub fn path(&self) -> &Path {
        self.model.as_deref().unwrap_or(&self.checkpoint)
    }

    /// The same from any working folder. A run stands for its newest checkpoint, which training it further replaces.
    pub fn absolute(&self) -> Result<Self, Error> {
        // The name of a repository stays one.
        let absolute = |path: &PathBuf| match path.exists() {
            true => std::path::absolute(path).map_err(Error::read(path)),
            false => Ok(path.clone()),
        };
        let optional = |path: &Option<PathBuf>| path.as_ref().map(absolute).transpose();
        let checkpoint = absolute(&self.checkpoint)?;
        Ok(Self { checkpoint, model: optional(&self.model)?, tokenizer: optional(&self.tokenizer)? })
    }
}

impl Trained {
    /// The model with its adapter, if there is one, merged into its weights.
    pub fn open(&self, device: &Device) -> Result<Opened, Error> {
        let Opened { model, tokens, run } = self.source.open_as(self.dtype, device)?;
        let model = with_adapter(model, self.adapter.as_deref())?.materialize();
        Ok(Opened { model, tokens, run })
    }

    /// The model alone, which need not read text.
    pub fn load(&self, device: &Device) -> Result<MambaLm, Error> {
        let (model, _) = self.source.load(self.dtype, device)?;
        Ok(with_adapter(model, self.adapter.as_deref())?.materialize())
    }
}
