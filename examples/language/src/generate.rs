//! `generate`: text from a trained model, token by token.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use burn::prelude::*;
use clap::Args;
use mamba_blocks::{BeamConfig, Draw, Generated, GenerationConfig, LmState, MambaLm, Prompts, Sampling};

use crate::error::Error;
use crate::pretrained::{Opened, Trained};
use crate::recipe::check;
use crate::tokens::Tokens;
use examples_common::progress;

/// Continues a prompt with a model of a run, or a published one.
#[derive(Args)]
pub struct GenerateArgs {
    #[command(flatten)]
    trained: Trained,
    /// Text to continue [default: a line end]
    #[arg(long)]
    prompt: Option<String>,
    /// Tokens to write
    #[arg(long, default_value_t = 500)]
    length: usize,
    /// Below 1 for safer text, above for wilder
    #[arg(long, default_value_t = 0.8)]
    temperature: f64,
    /// Choose among this many most likely tokens
    #[arg(long)]
    top_k: Option<usize>,
    /// Choose among the most likely tokens that have this probability together
    #[arg(long)]
    top_p: Option<f64>,
    /// Choose among the tokens that are at least this times as likely as the most likely one
    #[arg(long)]
    min_p: Option<f64>,
    /// Above 1 to avoid tokens that were there before
    #[arg(long, default_value_t = 1.0)]
    repetition_penalty: f64,
    /// Always choose the most likely token
    #[arg(long, conflicts_with_all = ["temperature", "top_k", "top_p", "min_p"])]
    greedy: bool,
    /// Another seed writes another text
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Look for the most likely text with this many beams; nothing is shown before it is found
    #[arg(long, conflicts_with_all = ["greedy", "temperature", "top_k", "top_p", "min_p", "seed"])]
    beams: Option<usize>,
    /// End after this text; may be given several times. With --beams, the text of one token
    #[arg(long)]
    stop: Vec<String>,
    /// Go on from what --save-state wrote: the prompt comes behind all that was said then
    #[arg(long, requires = "prompt")]
    state: Option<PathBuf>,
    /// Write what the model remembers at the end to this file
    #[arg(long, conflicts_with = "beams")]
    save_state: Option<PathBuf>,
}

impl GenerateArgs {
    fn sampled(&self) -> GenerationConfig {
        let Self { temperature, top_k, top_p, min_p, .. } = *self;
        let sampling = match self.greedy {
            true => Sampling::Greedy,
            false => Sampling::Random(Draw { temperature, top_k, top_p, min_p }),
        };
        GenerationConfig::new(self.length)
            .with_sampling(sampling)
            .with_seed(self.seed)
            .with_repetition_penalty(self.repetition_penalty)
    }

    fn searched(&self, beams: usize, tokens: &Tokens) -> Result<BeamConfig, Error> {
        let mut stops = Vec::new();
        for text in &self.stop {
            let token = tokens.encode(text)?;
            check("stop", text, token.len() == 1, "the text of one token with --beams")?;
            stops.extend(token);
        }
        let config = BeamConfig::new(self.length, beams).with_stop_tokens(stops);
        Ok(config.with_repetition_penalty(self.repetition_penalty))
    }
}

pub fn generate(args: &GenerateArgs, device: &Device) -> Result<(), Error> {
    check("length", args.length, args.length > 0, "at least 1")?;
    check("stop", "", args.stop.iter().all(|text| !text.is_empty()), "a text")?;
    let text = args.prompt.as_deref().unwrap_or("\n");
    let Opened { model, tokens, .. } = match text.is_empty() {
        true => return Err(Error::EmptyPrompt),
        false => args.trained.open(device)?,
    };
    let state = args.state.as_ref().map(|path| LmState::load(path, &model)).transpose()?;
    let prompt = if state.is_some() { tokens.encode_further(text)? } else { tokens.encode(text)? };
    if prompt.is_empty() {
        return Err(Error::EmptyPrompt);
    }
    let talk = Talk { args, model: &model, tokens: &tokens, text, prompt, state };
    match args.beams {
        Some(beams) => talk.search(beams),
        None => talk.stream(),
    }
}

/// What is said, and to whom.
struct Talk<'a> {
    args: &'a GenerateArgs,
    model: &'a MambaLm,
    tokens: &'a Tokens,
    text: &'a str,
    /// The tokens of the text.
    prompt: Vec<u32>,
    /// What was said before.
    state: Option<LmState>,
}

impl Talk<'_> {
    /// Shows every piece of text as soon as it is there.
    fn stream(self) -> Result<(), Error> {
        let Self { args, model, tokens, text, prompt, state } = self;
        let config = args.sampled();
        config.validate(model)?;
        let (start, length, prompts) = (Instant::now(), prompt.len(), Prompts::new([prompt]));
        let mut bar = progress::reading("tokens");
        let read = model.read_with(&prompts, state, |done| bar(done as u64, length as u64))?;

        let mut decode = tokens.stream();
        let mut stop = Stop::new(&args.stop);
        let (mut first, mut failed) = (None, None);
        let generated = model.generate_after(&prompts, read, &config, |new| {
            if first.is_none() {
                first = Some(Instant::now());
                show(text.as_bytes())?;
            }
            match decode(new[0]) {
                Ok(text) => {
                    show(&text)?;
                    if stop.comes_with(&text) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                }
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        let _ = show(b"\n");
        if let Some(first) = first {
            let count = generated.tokens[0].len();
            let speed = (count - 1).max(1) as f64 / first.elapsed().as_secs_f64();
            let read = (first - start).as_secs_f64();
            eprintln!("{count} tokens, {speed:.1} tokens per second, after a prompt of {length} in {read:.3} seconds");
        }
        if let Some(path) = &args.save_state {
            whole_state(model, generated)?.save(path)?;
        }
        failed.map_or(Ok(()), Err)
    }

    /// Shows the most likely text.
    fn search(self, beams: usize) -> Result<(), Error> {
        let Self { args, model, tokens, text, prompt, state } = self;
        let config = args.searched(beams, tokens)?;
        let start = Instant::now();
        let texts = model.beam_search(Prompts::new([prompt]), state, &config)?;
        let seconds = start.elapsed().as_secs_f64();
        if let Some(best) = texts.first().and_then(|texts| texts.first()) {
            let written = tokens.decode(&best.tokens)?;
            let _ = show(&[text.as_bytes(), &written, b"\n"].concat());
            let count = best.tokens.len();
            let speed = count as f64 / seconds;
            eprintln!("{count} tokens, {speed:.1} tokens per second with {beams} beams, score {:.4}", best.score);
        }
        Ok(())
    }
}

/// The state behind every token, the last included: a prompt that goes on from it need not repeat one.
fn whole_state(model: &MambaLm, generated: Generated) -> Result<LmState, Error> {
    let last = generated.tokens[0].last().copied();
    Ok(model.read(&Prompts::new([Vec::from_iter(last)]), Some(generated.state))?.1)
}

/// Breaks if nobody reads on.
fn show(bytes: &[u8]) -> ControlFlow<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    }
}

/// Texts after which to end.
struct Stop<'a> {
    texts: &'a [String],
    /// The end of what was written, as far as a stop text may have begun there.
    tail: Vec<u8>,
}

impl<'a> Stop<'a> {
    fn new(texts: &'a [String]) -> Self {
        Self { texts, tail: Vec::new() }
    }

    /// Whether a stop text is complete with this piece.
    fn comes_with(&mut self, piece: &[u8]) -> bool {
        self.tail.extend(piece);
        let found = self.texts.iter().any(|text| self.tail.windows(text.len()).any(|part| part == text.as_bytes()));
        let keep = self.texts.iter().map(|text| text.len() - 1).max().unwrap_or(0);
        self.tail.drain(..self.tail.len().saturating_sub(keep));
        found
    }
}

/// What a trained model writes by itself: 500 bytes after a line end.
pub fn sample(model: &MambaLm) -> Result<Vec<u8>, Error> {
    let sampling = Sampling::Random(Draw::new().with_temperature(0.8));
    let config = GenerationConfig::new(500).with_sampling(sampling);
    let rows = model.generate(Prompts::new([[u32::from(b'\n')]]), &config, |_| ControlFlow::Continue(()))?;
    Tokens::Bytes.decode(&rows[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_text_is_found_across_pieces() {
        let texts = ["\n\n".to_string(), "end".to_string()];
        let written = |pieces: &[&str]| {
            let mut stop = Stop::new(&texts);
            pieces.iter().position(|piece| stop.comes_with(piece.as_bytes()))
        };
        assert_eq!(written(&["a\n", "\nb"]), Some(1));
        assert_eq!(written(&["the en", "", "d of"]), Some(2));
        assert_eq!(written(&["\n", "e", "n", "\n"]), None);
        assert_eq!(written(&["a\n\nb"]), Some(0));
        assert!(!Stop::new(&[]).comes_with(b"anything"));
    }
}
