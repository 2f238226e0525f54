//! `convert`: a model in another layout.

use std::path::PathBuf;

use burn::prelude::*;
use clap::{Args, ValueEnum};

use crate::checkpoint::Checkpoint;
use crate::error::Error;
use crate::pretrained::{Dtype, Pretrained, with_adapter};

/// Writes a model as other programs load it.
#[derive(Args)]
pub struct ConvertArgs {
    /// Folder of a published checkpoint, in any layout
    #[arg(long, required_unless_present = "checkpoint")]
    model: Option<PathBuf>,
    /// Folder of a run, or one of its checkpoints
    #[arg(long, conflicts_with_all = ["model", "dtype"])]
    checkpoint: Option<PathBuf>,
    /// What the parameters are rounded to
    #[arg(long, value_enum, default_value_t = Dtype::F32)]
    dtype: Dtype,
    /// Folder of an adapter, as finetune --lora writes it, to merge into the weights
    #[arg(long)]
    adapter: Option<PathBuf>,
    /// What to write beside config.json
    #[arg(long, value_enum, default_value_t = Layout::HuggingFace)]
    to: Layout,
    /// Folder to write, without a model in it
    #[arg(long)]
    out: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Layout {
    /// model.safetensors, which transformers loads
    HuggingFace,
    /// model.bpk, Burn's own format
    Burn,
}

pub fn convert(args: &ConvertArgs, device: &Device) -> Result<(), Error> {
    if args.out.join("config.json").exists() {
        return Err(Error::ModelExists { path: args.out.clone() });
    }
    let model = match (&args.checkpoint, &args.model) {
        (Some(path), _) => with_adapter(Checkpoint::open(path)?.model(device)?, args.adapter.as_deref())?,
        (None, Some(model)) => {
            Pretrained { model: model.clone(), dtype: args.dtype, adapter: args.adapter.clone() }.load(device)?
        }
        (None, None) => unreachable!("clap asks for one of the two"),
    };
    match args.to {
        Layout::HuggingFace => model.save_pretrained(&args.out)?,
        Layout::Burn => model.save_burnpack(&args.out)?,
    }
    Ok(())
}
