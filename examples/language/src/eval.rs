//! `eval`: how well a model predicts a text, of any length.

use std::f64::consts::LN_2;
use std::path::PathBuf;

use burn::nn::loss::CrossEntropyLossConfig;
use burn::prelude::*;
use clap::Args;
use mamba_blocks::MambaLm;

use crate::checkpoint::Checkpoint;
use crate::data::{Corpus, read_text, to_tokens};
use crate::error::Error;
use crate::settings::check;

/// Bytes that go through the model at once.
pub const WINDOW: usize = 2048;

/// Measures a trained model on the validation part of its text, or on a whole file.
#[derive(Args)]
pub struct EvalArgs {
    /// Folder of a run, or one of its checkpoints
    #[arg(long, default_value = "runs/language")]
    checkpoint: PathBuf,
    /// File to measure on, as a whole [default: the validation part of the text that the run trains on]
    #[arg(long)]
    file: Option<PathBuf>,
    /// Bytes that go through the model at once: costs memory, leaves the result as it is
    #[arg(long, default_value_t = WINDOW)]
    window: usize,
}

pub fn eval(args: &EvalArgs, device: &Device) -> Result<(), Error> {
    check("window", args.window, args.window > 0, "at least 1")?;
    let checkpoint = Checkpoint::open(&args.checkpoint)?;
    let text = match &args.file {
        Some(path) => {
            let text = read_text(path)?;
            match text.len() {
                1 => return Err(Error::ShortText { path: path.clone(), part: "text", bytes: 1, needed: 2 }),
                _ => text,
            }
        }
        None => {
            let path = &checkpoint.config.data;
            let corpus = Corpus::read(path, 1)?;
            match corpus.fingerprint == checkpoint.config.text {
                true => corpus.validation().to_vec(),
                false => return Err(Error::OtherText { path: path.clone() }),
            }
        }
    };
    let loss = nats_per_byte(&checkpoint.model(device)?, &text, args.window, device);
    println!(
        "{loss:.5} nats per byte, {:.5} bits per byte over {} bytes (step {})",
        in_bits(loss),
        text.len() - 1,
        checkpoint.step
    );
    Ok(())
}

/// Mean negative log-likelihood of every byte after the first, given all bytes before it: the state is carried from
/// window to window.
pub fn nats_per_byte(model: &MambaLm, text: &[u8], window: usize, device: &Device) -> f64 {
    let mut state = model.init_state(1, device);
    let mut total = 0.0;
    for (inputs, targets) in text[..text.len() - 1].chunks(window).zip(text[1..].chunks(window)) {
        let tokens = |bytes: &[u8]| to_tokens(bytes.iter(), [1, bytes.len()], device);
        let (logits, next) = model.forward_with_state(tokens(inputs), state);
        total += cross_entropy(logits, tokens(targets)).into_scalar::<f64>() * inputs.len() as f64;
        state = next;
    }
    total / (text.len() - 1) as f64
}

/// Mean cross entropy of `logits` `[batch, length, classes]` against `targets` `[batch, length]`, in nats.
pub fn cross_entropy(logits: Tensor<3>, targets: Tensor<2, Int>) -> Tensor<1> {
    CrossEntropyLossConfig::new().init(&logits.device()).forward(logits.flatten(0, 1), targets.flatten(0, 1))
}

/// Nats as bits.
pub fn in_bits(nats: f64) -> f64 {
    nats / LN_2
}
