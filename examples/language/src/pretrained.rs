//! `--model`: a published checkpoint; or a run in its place.

use std::path::{Path, PathBuf};

use burn::prelude::*;
use burn::tensor::DType;
use clap::{Args, ValueEnum};
use mamba_blocks::{LoadOptions, MambaLm};

use crate::checkpoint::Checkpoint;
use crate::error::Error;
use crate::tokens::Tokens;

#[derive(Args)]
pub struct Pretrained {
    /// Folder of a published checkpoint: config.json beside model.safetensors or pytorch_model.bin, or their shards
    #[arg(long)]
    pub model: PathBuf,
    /// What the parameters are loaded as
    #[arg(long, value_enum, default_value_t = Dtype::F32)]
    pub dtype: Dtype,
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
    pub fn load(&self, device: &Device) -> Result<MambaLm, Error> {
        load(&self.model, self.dtype, device)
    }
}

fn load(path: &Path, dtype: Dtype, device: &Device) -> Result<MambaLm, Error> {
    Ok(MambaLm::from_pretrained_with(path, LoadOptions::new().with_dtype(dtype.into()), device)?)
}

/// A model that has learnt something, of a run or published.
#[derive(Args)]
pub struct Trained {
    /// Folder of a run, or one of its checkpoints
    #[arg(long, default_value = "runs/language", conflicts_with = "model")]
    checkpoint: PathBuf,
    /// Folder of a published checkpoint, instead of a run
    #[arg(long)]
    model: Option<PathBuf>,
    /// What the parameters of a published checkpoint are loaded as
    #[arg(long, value_enum, default_value_t = Dtype::F32, requires = "model")]
    dtype: Dtype,
    /// A tokenizer.json [default: the one beside the model, else bytes]
    #[arg(long)]
    tokenizer: Option<PathBuf>,
}

/// What [`Trained`] names.
pub struct Opened {
    pub model: MambaLm,
    pub tokens: Tokens,
    /// None for a published checkpoint.
    pub run: Option<Checkpoint>,
}

impl Trained {
    pub fn open(&self, device: &Device) -> Result<Opened, Error> {
        let (model, run) = match &self.model {
            Some(path) => (load(path, self.dtype, device)?, None),
            None => {
                let run = Checkpoint::open(&self.checkpoint)?;
                (run.model(device)?, Some(run))
            }
        };
        let folder = self.model.as_deref().or(run.as_ref().map(Checkpoint::folder)).unwrap_or(&self.checkpoint);
        let tokens = Tokens::open(self.tokenizer.as_deref(), folder, model.vocab_size)?;
        Ok(Opened { model, tokens, run })
    }
}
