//! `bench`: how fast a model reads and writes, and in how much memory.

use std::time::Instant;

use burn::prelude::*;
use clap::Args;
use mamba_blocks::{LmState, MambaLm, Prompts};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::error::Error;
use crate::memory::{bytes, forget_peak, peak};
use crate::pretrained::Trained;
use crate::recipe::check;

/// Measures tokens per second and the peak of memory, on random tokens.
#[derive(Args)]
pub struct BenchArgs {
    #[command(flatten)]
    trained: Trained,
    /// Lengths of the prompts, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "128,512")]
    length: Vec<usize>,
    /// Numbers of prompts in a batch, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "1")]
    batch: Vec<usize>,
    /// Tokens to write after each prompt
    #[arg(long, default_value_t = 32)]
    new: usize,
    /// Times that each is measured, after once that does not count; the median is shown
    #[arg(long, default_value_t = 3)]
    repeats: usize,
}

pub fn bench(args: &BenchArgs, device: &Device) -> Result<(), Error> {
    let positive = |numbers: &[usize]| numbers.iter().all(|&number| number > 0);
    let list = |numbers: &[usize]| numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    check("length", list(&args.length), positive(&args.length), "at least 1 each")?;
    check("batch", list(&args.batch), positive(&args.batch), "at least 1 each")?;
    check("new", args.new, args.new > 0, "at least 1")?;
    check("repeats", args.repeats, args.repeats > 0, "at least 1")?;

    let start = Instant::now();
    let model = args.trained.load(device)?;
    let memory = || peak().map_or("unknown".to_string(), bytes);
    println!(
        "loaded {} parameters in {:.2} s, peak memory {}\n",
        model.num_params(),
        start.elapsed().as_secs_f64(),
        memory()
    );
    println!("| batch | prompt | prefill, tokens/s | decode, tokens/s | peak memory |");
    println!("|---|---|---|---|---|");
    for &batch in &args.batch {
        for &length in &args.length {
            let prompts = prompts(batch, length, model.vocab_size);
            forget_peak();
            let [prefill, decode] = measure(&model, &prompts, args, device)?;
            let prefill = (batch * length) as f64 / prefill;
            let decode = (batch * args.new) as f64 / decode;
            println!("| {batch} | {length} | {prefill:.1} | {decode:.1} | {} |", memory());
        }
    }
    Ok(())
}

/// Median seconds for the prompts and for the tokens after them.
fn measure(model: &MambaLm, prompts: &Prompts, args: &BenchArgs, device: &Device) -> Result<[f64; 2], Error> {
    let mut seconds = [Vec::new(), Vec::new()];
    for round in 0..=args.repeats {
        let start = Instant::now();
        let (logits, state) = model.read(prompts, None)?;
        let first = likeliest(logits);
        wait(device)?;
        let prefill = start.elapsed().as_secs_f64();

        let decode = decode(model, first, &state, args.new, device)?;
        if round > 0 {
            seconds[0].push(prefill);
            seconds[1].push(decode);
        }
    }
    Ok(seconds.map(median))
}

/// Seconds for `count` steps. The likeliest token stays on the device.
fn decode(
    model: &MambaLm,
    mut tokens: Tensor<1, Int>,
    state: &LmState,
    count: usize,
    device: &Device,
) -> Result<f64, Error> {
    // Not the recording of a step, which a conversation has once.
    let mut decoder = model.decoder(state);
    wait(device)?;
    let start = Instant::now();
    for _ in 0..count {
        tokens = likeliest(decoder.step(tokens));
    }
    wait(device)?;
    Ok(start.elapsed().as_secs_f64())
}

fn likeliest(logits: Tensor<2>) -> Tensor<1, Int> {
    logits.argmax(1).squeeze_dim(1)
}

fn wait(device: &Device) -> Result<(), Error> {
    device.sync().map_err(|error| Error::Device(format!("{error:?}")))
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

fn prompts(batch: usize, length: usize, vocabulary: usize) -> Prompts {
    let mut rng = StdRng::seed_from_u64(0);
    let mut row = || (0..length).map(|_| rng.random_range(0..vocabulary as u32)).collect::<Vec<_>>();
    Prompts::new((0..batch).map(|_| row()).collect::<Vec<_>>())
}
