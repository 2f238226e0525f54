//! `generate`: text from a trained model, byte by byte.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;

use burn::prelude::*;
use clap::Args;
use mamba_blocks::{Draw, GenerationConfig, MambaLm, Sampling};

use crate::checkpoint::Checkpoint;
use crate::data::to_tokens;
use crate::error::Error;
use crate::settings::check;

/// Continues a prompt with a trained model.
#[derive(Args)]
pub struct GenerateArgs {
    /// Folder of a run, or one of its checkpoints
    #[arg(long, default_value = "runs/language")]
    checkpoint: PathBuf,
    /// Text to continue
    #[arg(long, default_value = "\n", hide_default_value = true)]
    prompt: String,
    /// Bytes to write
    #[arg(long, default_value_t = 500)]
    length: usize,
    /// Below 1 for safer text, above for wilder
    #[arg(long, default_value_t = 0.8)]
    temperature: f64,
    /// Choose among this many most likely bytes
    #[arg(long)]
    top_k: Option<usize>,
    /// Choose among the most likely bytes that have this probability together
    #[arg(long)]
    top_p: Option<f64>,
    /// Always choose the most likely byte
    #[arg(long, conflicts_with_all = ["temperature", "top_k", "top_p"])]
    greedy: bool,
    /// Another seed writes another text
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

pub fn generate(args: &GenerateArgs, device: &Device) -> Result<(), Error> {
    let sampling = match args.greedy {
        true => Sampling::Greedy,
        false => {
            let draw = Draw::new().with_temperature(args.temperature).with_top_k(args.top_k).with_top_p(args.top_p);
            Sampling::Random(draw)
        }
    };
    let config = GenerationConfig::new(args.length).with_sampling(sampling).with_seed(args.seed);
    check("length", args.length, args.length > 0, "at least 1")?;
    if args.prompt.is_empty() {
        return Err(Error::EmptyPrompt);
    }
    let model = Checkpoint::open(&args.checkpoint)?.model(device)?;

    let mut out = std::io::stdout().lock();
    let mut show = |bytes: &[u8]| match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()), // Nobody reads on.
    };
    let mut shown = false;
    go_on(&model, args.prompt.as_bytes(), &config, device, |byte| {
        if !std::mem::replace(&mut shown, true) {
            show(args.prompt.as_bytes())?;
        }
        show(&[byte])
    })?;
    let _ = show(b"\n");
    Ok(())
}

/// What a trained model writes by itself: 500 bytes after a line end.
pub fn sample(model: &MambaLm, device: &Device) -> Result<Vec<u8>, Error> {
    let sampling = Sampling::Random(Draw::new().with_temperature(0.8));
    go_on(model, b"\n", &GenerationConfig::new(500).with_sampling(sampling), device, |_| ControlFlow::Continue(()))
}

/// The bytes after `prompt`; `each` sees them one by one.
fn go_on(
    model: &MambaLm,
    prompt: &[u8],
    config: &GenerationConfig,
    device: &Device,
    mut each: impl FnMut(u8) -> ControlFlow<()>,
) -> Result<Vec<u8>, Error> {
    let prompt = to_tokens(prompt.iter(), [1, prompt.len()], device);
    let rows = model.generate(prompt, config, |tokens| each(tokens[0] as u8))?;
    Ok(rows.into_iter().flatten().map(|token| token as u8).collect())
}
