//! `generate`: new sequence from a causal model.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;

use burn::tensor::Device;
use clap::Args;
use mamba_blocks::{Draw, GenerationConfig, Sampling};
use mamba_dna::tokens::{decode, encode};

use crate::error::Error;
use crate::model::Lm;
use crate::pretrain::model_folder;

/// Goes on from a sequence, nucleotide by nucleotide.
#[derive(Args)]
pub struct GenerateArgs {
    /// Run of `pretrain --objective causal`
    #[arg(long)]
    model: PathBuf,
    /// The sequence to go on from
    #[arg(long, default_value = "ATG")]
    prompt: String,
    /// New nucleotides
    #[arg(long, default_value_t = 300)]
    length: usize,
    /// Below 1 sharpens the probabilities, above 1 flattens them
    #[arg(long, default_value_t = 1.0)]
    temperature: f64,
    /// Seed of the draws
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

pub fn generate(args: &GenerateArgs, device: &Device) -> Result<(), Error> {
    let prompt = sequence("--prompt", &args.prompt)?;
    let folder = model_folder(&args.model);
    let Lm::Causal(model) = Lm::open(&folder, device)? else {
        return Err(Error::Kind { path: folder, found: "a masked model", expected: "a causal one" });
    };
    let draw = Draw::new().with_temperature(args.temperature);
    let config = GenerationConfig::new(args.length).with_seed(args.seed).with_sampling(Sampling::Random(draw));
    let mut out = std::io::stdout();
    model.generate(&prompt, &config, |token| {
        let written = write!(out, "{}", decode(&[token])).and_then(|()| out.flush());
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    println!();
    Ok(())
}

/// The tokens of a sequence on the command line.
pub fn sequence(name: &'static str, text: &str) -> Result<Vec<u8>, Error> {
    encode(text).map_err(|place| {
        let letter = text.as_bytes().get(place).copied().map_or('?', char::from);
        Error::Sequence { sequence: name, letter, position: place + 1 }
    })
}
