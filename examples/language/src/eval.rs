//! `eval`: how well a model predicts a text, of any length.

use std::f64::consts::LN_2;
use std::path::{Path, PathBuf};

use burn::nn::loss::CrossEntropyLossConfig;
use burn::prelude::*;
use clap::Args;
use mamba_blocks::{LmState, MambaLm};

use crate::checkpoint::Checkpoint;
use crate::data::Corpus;
use crate::error::Error;
use crate::pretrained::{Opened, Trained};
use crate::recipe::check;
use crate::text::each_token;
use crate::tokens::Tokens;
use examples_common::progress;

/// Tokens that go through the model at once.
pub const WINDOW: usize = 2048;

/// Measures a model on the validation part of its text, or on a whole file.
#[derive(Args)]
pub struct EvalArgs {
    #[command(flatten)]
    trained: Trained,
    /// File to measure on, as a whole [default: the validation part of the text that a run trains on]
    #[arg(long)]
    file: Option<PathBuf>,
    /// Tokens that go through the model at once: costs memory, leaves the result as it is
    #[arg(long, default_value_t = WINDOW)]
    window: usize,
}

pub fn eval(args: &EvalArgs, device: &Device) -> Result<(), Error> {
    check("window", args.window, args.window > 0, "at least 1")?;
    let Opened { model, tokens, run } = args.trained.open(device)?;
    let mut score = Score::new(&model, args.window, device);
    let bytes = match (&args.file, &run) {
        (Some(path), _) => read_file(path, &tokens, &mut score)?,
        (None, Some(run)) => read_validation(run, &tokens, &mut score)?,
        (None, None) => return Err(Error::NoFile),
    };
    let Total { nats, tokens: count } = score.finish();
    let unit = unit(&tokens, "byte", "token");
    let loss = nats / count as f64;
    println!(
        "{loss:.5} nats per {unit}, {:.5} bits per byte, perplexity {:.4} over {count} {unit}s{}",
        in_bits(nats) / bytes as f64,
        loss.exp(),
        run.map_or(String::new(), |run| format!(" (step {})", run.step))
    );
    Ok(())
}

/// Scores a file of any size; returns for how many bytes its predicted tokens stand.
fn read_file(path: &Path, tokens: &Tokens, score: &mut Score) -> Result<usize, Error> {
    let size = std::fs::metadata(path).map_err(Error::read(path))?.len();
    let mut bar = progress::reading("bytes");
    let bytes = each_token(path, tokens, |token, read| {
        if score.add(token) {
            bar(read, size);
        }
    })?;
    bar(size, size);
    match score.read() {
        0 => Err(Error::EmptyText { path: path.to_path_buf() }),
        1 => Err(too_short(path, 1, tokens)),
        _ => Ok(bytes as usize),
    }
}

fn too_short(path: &Path, found: usize, tokens: &Tokens) -> Error {
    Error::ShortText { path: path.to_path_buf(), part: "text", found, needed: 2, unit: unit(tokens, "bytes", "tokens") }
}

fn unit(tokens: &Tokens, bytes: &'static str, others: &'static str) -> &'static str {
    if matches!(tokens, Tokens::Bytes) { bytes } else { others }
}

fn read_validation(checkpoint: &Checkpoint, tokens: &Tokens, score: &mut Score) -> Result<usize, Error> {
    let path = &checkpoint.config.data;
    let corpus = Corpus::read(path, 1)?;
    match corpus.fingerprint == checkpoint.config.text {
        true => read_text_as(path, corpus.validation(), tokens, score),
        false => Err(Error::OtherText { path: path.clone() }),
    }
}

/// Scores a text of the file `path`; returns for how many bytes its predicted tokens stand.
fn read_text_as(path: &Path, text: &[u8], tokens: &Tokens, score: &mut Score) -> Result<usize, Error> {
    if let Tokens::Bytes = tokens {
        for &byte in text {
            score.add(byte.into());
        }
        return Ok(text.len() - 1);
    }
    let text = std::str::from_utf8(text).map_err(|reason| Error::NotUtf8 { path: path.to_path_buf(), reason })?;
    let (ids, start) = tokens.encode_with_start(text)?;
    if ids.len() < 2 {
        return Err(too_short(path, ids.len(), tokens));
    }
    for token in ids {
        score.add(token);
    }
    Ok(text.len() - start)
}

/// The likelihood of a text, token by token: the state is carried from window to window, so that memory does not grow.
pub struct Score<'a> {
    model: &'a MambaLm,
    device: &'a Device,
    state: Option<LmState>,
    /// The last token of the window before and those of the next one.
    window: Vec<u32>,
    size: usize,
    total: Total,
}

/// What was predicted.
#[derive(Clone, Copy, Default)]
pub struct Total {
    /// Negative log-likelihood of every token after the first, given all tokens before it, in nats.
    pub nats: f64,
    /// The number of these tokens.
    pub tokens: usize,
}

impl<'a> Score<'a> {
    pub fn new(model: &'a MambaLm, size: usize, device: &'a Device) -> Self {
        Self { model, device, state: None, window: Vec::new(), size, total: Total::default() }
    }

    /// One token more; whether a window is full with it, and has gone through the model.
    pub fn add(&mut self, token: u32) -> bool {
        self.window.push(token);
        let full = self.window.len() > self.size;
        if full {
            self.score_window();
        }
        full
    }

    /// How many tokens there were, the first included.
    pub fn read(&self) -> usize {
        self.total.tokens + self.window.len()
    }

    pub fn finish(mut self) -> Total {
        self.score_window();
        self.total
    }

    fn score_window(&mut self) {
        let [inputs @ .., last] = self.window.as_slice() else { return };
        let (last, count) = (*last, inputs.len());
        if count == 0 {
            return;
        }
        let tensor = |tokens: &[u32]| {
            let tokens = TensorData::new(tokens.iter().map(|&token| i64::from(token)).collect(), [1, count]);
            Tensor::<2, Int>::from_data(tokens, self.device)
        };
        let (inputs, targets) = (tensor(inputs), tensor(&self.window[1..]));
        let state = self.state.take().unwrap_or_else(|| self.model.init_state(1, self.device));
        let (logits, state) = self.model.forward_with_state(inputs, state);
        self.total.nats += cross_entropy(logits, targets).into_scalar::<f64>() * count as f64;
        self.total.tokens += count;
        self.state = Some(state);
        self.window = vec![last];
    }
}

/// Mean negative log-likelihood of every token after the first.
pub fn nats_per_token<T>(model: &MambaLm, text: &[T], window: usize, device: &Device) -> f64
where
    T: Copy + Into<u32>,
{
    let mut score = Score::new(model, window, device);
    for &token in text {
        score.add(token.into());
    }
    let Total { nats, tokens } = score.finish();
    nats / tokens as f64
}

/// Mean cross entropy of `logits` `[batch, length, classes]` against `targets` `[batch, length]`, in nats.
pub fn cross_entropy(logits: Tensor<3>, targets: Tensor<2, Int>) -> Tensor<1> {
    CrossEntropyLossConfig::new().init(&logits.device()).forward(logits.flatten(0, 1), targets.flatten(0, 1))
}

/// Nats as bits.
pub fn in_bits(nats: f64) -> f64 {
    nats / LN_2
}

#[cfg(test)]
mod tests {
    use mamba_blocks::MambaLmConfig;

    use super::*;

    #[test]
    fn the_sum_over_windows_is_that_of_the_whole() {
        let device = Device::default();
        let model = MambaLmConfig::new(256, 16, 2).with_d_state(4).with_initializer_range(0.5).init(&device);
        let text: Vec<u8> = (0..3000_u32).map(|at| (at * at + 7 * at) as u8).collect();
        let whole = nats_per_token(&model, &text, text.len(), &device);
        for window in [1, 13, 1000, 2999, 3000] {
            let windows = nats_per_token(&model, &text, window, &device);
            assert!((windows / whole - 1.0).abs() < 1e-6, "{window}: {windows}, expected {whole}");
        }
    }
}
