//! `--model`: a published checkpoint.

use std::path::PathBuf;

use burn::prelude::*;
use burn::tensor::DType;
use clap::{Args, ValueEnum};
use mamba_blocks::{LoadOptions, MambaLm};

use crate::error::Error;

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
        Ok(MambaLm::from_pretrained_with(&self.model, LoadOptions::new().with_dtype(self.dtype.into()), device)?)
    }
}
