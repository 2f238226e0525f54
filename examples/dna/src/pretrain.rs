//! `pretrain`: a language model from a genome.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor, TensorData};
use clap::{ArgMatches, Args};
use examples_common::cli::{Outcome, listen_for_interrupt};
use examples_common::files::{publish, remove_scratch, write_synced};
use examples_common::plot::{Axis, curves};
use examples_common::progress;
use mamba_dna::objective::{Masking, cross_entropy, weighted_sum};
use mamba_dna::tokens::reverse_complement;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::checkpoint::{self, Checkpoint, Record, State};
use crate::error::Error;
use crate::fitting::{optimizer, schedule};
use crate::genome::{Genome, shipped};
use crate::markov::Markov;
use crate::model::{Lm, batch};
use crate::settings::Settings;

/// Trains a language model on a genome, and tells how many bits a held-out nucleotide takes beside a Markov model.
#[derive(Args)]
pub struct PretrainArgs {
    #[command(flatten)]
    settings: Settings,
    /// FASTA file, packed or not; the last tenth of every contig is held out [default: the genome that ships here]
    #[arg(long)]
    data: Option<PathBuf>,
    /// Folder of the run: checkpoints, loss curve, and the model in `model`
    #[arg(long, default_value = "runs/dna")]
    out: PathBuf,
    /// Continue the run in --out exactly where its last checkpoint stands
    #[arg(long)]
    resume: bool,
    /// Replace the run in --out
    #[arg(long, conflicts_with = "resume")]
    overwrite: bool,
}

/// Order of the Markov model.
const ORDER: u32 = 5;
/// Windows of the held-out part that are looked at on the way.
const GLANCE: usize = 64;
/// The folder of the model in that of the run.
const MODEL: &str = "model";

/// Trains until the last step or Ctrl-C; `matches` tells which flags were typed.
pub fn pretrain(args: PretrainArgs, matches: &ArgMatches, device: &Device) -> Result<Outcome, Error> {
    let interrupted = listen_for_interrupt()?;
    let device = device.clone().autodiff();
    let mut run = match args.resume {
        true => Run::resume(args, matches, device)?,
        false => Run::start(args, device)?,
    };
    let outcome = run.train(&interrupted)?;
    match outcome {
        Outcome::Interrupted => println!("interrupted after step {}: continue with --resume", run.done()),
        Outcome::Finished => run.report()?,
    }
    Ok(outcome)
}

struct Run {
    folder: PathBuf,
    state: State,
    genome: Genome,
    device: Device,
    model: Lm,
    optimizer: ModuleOptimizer,
}

impl Run {
    fn start(args: PretrainArgs, device: Device) -> Result<Self, Error> {
        let PretrainArgs { settings, data, out: folder, overwrite, .. } = args;
        settings.validate()?;
        let data = data.unwrap_or_else(shipped);
        let data = std::path::absolute(&data).map_err(Error::read(&data))?;
        let genome = Genome::open(&data, settings.length)?;
        if !checkpoint::all(&folder)?.is_empty() && !overwrite {
            return Err(Error::RunExists { path: folder });
        }
        fs::create_dir_all(&folder).map_err(Error::write(&folder))?;
        remove_scratch(&folder)?;
        checkpoint::remove_all(&folder)?;
        device.seed(settings.seed);
        let (model, optimizer) = (settings.model().init(&device)?, optimizer(settings.weight_decay));
        let [training, held_out] = genome.sizes();
        println!("{training} nucleotides to train on, {held_out} held out, {} parameters", model.num_params());
        Ok(Self { folder, state: State { settings, data, history: vec![] }, genome, device, model, optimizer })
    }

    fn resume(args: PretrainArgs, matches: &ArgMatches, device: Device) -> Result<Self, Error> {
        let PretrainArgs { settings, data, out: folder, .. } = args;
        let checkpoint = Checkpoint::open(&folder)?;
        let conflict = |flag, stored| Error::Conflict { flag, stored, path: folder.clone() };
        if let Some((flag, stored)) = settings.conflict(&checkpoint.state.settings, matches) {
            return Err(conflict(flag, stored));
        }
        let stored = &checkpoint.state.data;
        if data.is_some_and(|data| std::path::absolute(&data).ok().as_ref() != Some(stored)) {
            return Err(conflict("data".into(), stored.display().to_string()));
        }
        let genome = Genome::open(stored, checkpoint.state.settings.length)?;
        remove_scratch(&folder)?;
        let model = checkpoint.model(&device)?;
        let optimizer = checkpoint.optimizer(optimizer(checkpoint.state.settings.weight_decay))?;
        Ok(Self { folder, state: checkpoint.state, genome, device, model, optimizer })
    }

    fn done(&self) -> usize {
        self.state.history.last().map_or(0, |record| record.step)
    }

    fn train(&mut self, interrupted: &AtomicBool) -> Result<Outcome, Error> {
        let Settings { steps, warmup, lr, min_lr, every, batch, length, .. } = self.state.settings;
        let (done, before) = (self.done(), self.state.history.last().map_or(0.0, |record| record.seconds));
        let mut schedule = schedule([steps, warmup, done], lr, min_lr)?;
        let bar = progress::steps(steps, done);
        let started = Instant::now();
        for step in done + 1..=steps {
            let train = self.step(step, schedule.step().base())?;
            let validation = match step % every == 0 || step == steps {
                true => Some(self.validate(GLANCE)? as f32),
                false => None,
            };
            let elapsed = started.elapsed().as_secs_f64();
            self.state.history.push(Record { step, train, validation, seconds: before + elapsed });
            let rate = ((step - done) * batch * length) as f64 / elapsed;
            bar.set_message(format!("{train:.3} bits  {rate:.0} nucleotides/s"));
            bar.inc(1);
            if let Some(bits) = validation {
                bar.suspend(|| println!("step {step}: {train:.4} bits in training, {bits:.4} held out"));
            }
            let interrupted = interrupted.load(Ordering::Relaxed);
            if validation.is_some() || interrupted {
                checkpoint::save(&self.folder, &self.state, &self.model, &self.optimizer)?;
            }
            if interrupted && step < steps {
                bar.abandon();
                return Ok(Outcome::Interrupted);
            }
        }
        bar.finish();
        Ok(Outcome::Finished)
    }

    /// One optimizer step; returns the loss of its batch in bits. Windows and masks depend on the step alone.
    fn step(&mut self, step: usize, lr: f64) -> Result<f32, Error> {
        let Settings { seed, batch: rows, length, repeat_weight, .. } = self.state.settings;
        let mut rng = StdRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(step as u64));
        let (mut examples, mut weights) = (Vec::with_capacity(rows), Vec::new());
        for _ in 0..rows {
            let window = self.genome.draw(length, &mut rng)?;
            let mut counts = match repeat_weight {
                1.0 => vec![],
                weight => self.genome.weights(&window, weight)?,
            };
            let mut tokens = window.tokens;
            if !self.model.is_symmetric() && rng.random() {
                tokens = reverse_complement(&tokens);
                counts.reverse();
            }
            let example = self.model.example(&tokens, &Masking::new(), &mut rng);
            // A causal model has no target for the first.
            weights.extend(counts.into_iter().skip(tokens.len() - example.targets.len()));
            examples.push(example);
        }
        let (inputs, targets) = batch(&examples, &self.device);
        let weights = match weights.is_empty() {
            true => None,
            false => Some(Tensor::from_data(TensorData::new(weights, targets.dims()), &self.device)),
        };
        let loss = cross_entropy(self.model.forward(inputs), targets, weights);
        let value = loss.clone().into_scalar::<f32>();
        if !value.is_finite() {
            return Err(Error::Diverged { step, loss: value });
        }
        let gradients = GradientsParams::from_grads(loss.backward(), &self.model);
        self.model = self.optimizer.step(lr, self.model.clone(), gradients);
        Ok(value / std::f32::consts::LN_2)
    }

    /// Bits per nucleotide over at most `windows` of the held-out part.
    fn validate(&mut self, windows: usize) -> Result<f64, Error> {
        let model = self.model.valid();
        held_out_bits(&model, &mut self.genome, self.state.settings.length, windows, &self.device.clone().inner())
    }

    /// Measures what the finished run gives, and stores the model.
    fn report(&mut self) -> Result<(), Error> {
        let folder = self.folder.join(MODEL);
        self.model.valid().save(&self.state.settings.model(), &folder)?;
        let svg = curve(&self.state.history)?;
        publish(&self.folder.join("bits.svg"), |path| write_synced(path, svg.as_bytes()))?;
        let bits = self.validate(usize::MAX)?;
        let markov = markov_bits(&mut self.genome, self.state.settings.length)?;
        let seconds = self.state.history.last().map_or(0.0, |record| record.seconds);
        println!(
            "held out: {bits:.4} bits per nucleotide after {seconds:.0} s; a Markov model of order {ORDER}: {markov:.4}"
        );
        println!("model stored in {}", folder.display());
        Ok(())
    }
}

/// Bits per nucleotide that counts, over at most `windows` of the held-out part. Of a masked model, 15 % of all are
/// masked; of a causal one, all count but the first of each window.
pub fn held_out_bits(
    model: &Lm,
    genome: &mut Genome,
    length: usize,
    windows: usize,
    device: &Device,
) -> Result<f64, Error> {
    const ROWS: usize = 16;
    let masking = Masking::new().with_masked(1.0).with_replaced(0.0);
    let mut rng = StdRng::seed_from_u64(0);
    let (mut nats, mut count) = (0.0, 0.0);
    let mut examples = Vec::new();
    let mut measure = |examples: &mut Vec<_>| {
        if !examples.is_empty() {
            let (inputs, targets) = batch(examples, device);
            let (sum, number) = weighted_sum(model.forward(inputs), targets, None);
            nats += f64::from(sum.into_scalar::<f32>());
            count += f64::from(number.into_scalar::<f32>());
            examples.clear();
        }
    };
    let mut seen = 0;
    genome.each(true, length, |window| {
        if seen < windows {
            seen += 1;
            examples.push(model.example(&window, &masking, &mut rng));
            if examples.len() == ROWS {
                measure(&mut examples);
            }
        }
        Ok(())
    })?;
    measure(&mut examples);
    Ok(nats / count / std::f64::consts::LN_2)
}

/// Bits per nucleotide of the Markov model on the same windows.
pub fn markov_bits(genome: &mut Genome, length: usize) -> Result<f64, Error> {
    let mut markov = Markov::new(ORDER);
    genome.each(false, length, |window| {
        markov.learn(&window);
        Ok(())
    })?;
    let (mut bits, mut number) = (0.0, 0);
    genome.each(true, length, |window| {
        let (more, of) = markov.bits(&window);
        (bits, number) = (bits + more, number + of);
        Ok(())
    })?;
    Ok(bits / number as f64)
}

/// Bits in training and held out against the step.
fn curve(history: &[Record]) -> Result<String, Error> {
    const POINTS: usize = 150;
    let mean = |records: &[Record]| {
        let sum = |value: fn(&Record) -> f64| records.iter().map(value).sum::<f64>() / records.len() as f64;
        (sum(|record| record.step as f64), sum(|record| record.train.into()))
    };
    let training: Vec<_> = history.chunks(history.len().div_ceil(POINTS).max(1)).map(mean).collect();
    let held_out: Vec<_> =
        history.iter().filter_map(|record| Some((record.step as f64, record.validation?.into()))).collect();
    let values = || training.iter().chain(&held_out).map(|point| point.1);
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max).min(2.1));
    let x = Axis { label: "step", range: 0.0..history.last().map_or(1.0, |record| record.step as f64) };
    let y = Axis { label: "bits per nucleotide", range: low.min(high) - 0.02..high + 0.02 };
    Ok(curves(x, y, [("training", training), ("held out", held_out)])?)
}

/// Whether a folder is that of a run, whose model is in a folder of it.
pub fn model_folder(path: &Path) -> PathBuf {
    let inner = path.join(MODEL);
    if inner.join("config.json").exists() { inner } else { path.to_path_buf() }
}
