//! `convert`: a model in Hugging Face's layout, for other programs.

use std::path::PathBuf;

use burn::prelude::*;
use clap::Args;

use crate::checkpoint::Checkpoint;
use crate::error::Error;
use crate::pretrained::{Dtype, Pretrained};

/// Writes a model as config.json and model.safetensors, in the layout that transformers loads.
#[derive(Args)]
pub struct ConvertArgs {
    /// Folder of a published checkpoint, in either layout
    #[arg(long, required_unless_present = "checkpoint")]
    model: Option<PathBuf>,
    /// Folder of a run, or one of its checkpoints
    #[arg(long, conflicts_with_all = ["model", "dtype"])]
    checkpoint: Option<PathBuf>,
    /// What the parameters are rounded to
    #[arg(long, value_enum, default_value_t = Dtype::F32)]
    dtype: Dtype,
    /// Folder to write, without a model in it
    #[arg(long)]
    out: PathBuf,
}

pub fn convert(args: &ConvertArgs, device: &Device) -> Result<(), Error> {
    if args.out.join("config.json").exists() {
        return Err(Error::ModelExists { path: args.out.clone() });
    }
    let model = match (&args.checkpoint, &args.model) {
        (Some(path), _) => Checkpoint::open(path)?.model(device)?,
        (None, Some(model)) => Pretrained { model: model.clone(), dtype: args.dtype }.load(device)?,
        (None, None) => unreachable!("clap asks for one of the two"),
    };
    Ok(model.save_pretrained(&args.out)?)
}
