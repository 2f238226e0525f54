//! `train`: from labelled images to a model.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::lr_scheduler::LrSchedulerConfig;
use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::lr_scheduler::linear::LinearLrSchedulerConfig;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::lr_scheduler::sequential::SequentialLrSchedulerConfig;
use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use clap::Args;
use examples_common::files::{publish, write_synced};
use examples_common::progress;
use mamba_vision::data::{LabelledImages, Variation};
use mamba_vision::optim::adamw;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde::Serialize;

use crate::error::Error;
use crate::evaluate::Confusion;
use crate::model::{Model, Sizes};
use crate::plot::curves;
use crate::settings::Settings;

/// Trains a model on images of the MNIST family and tells how often it is right on others.
#[derive(Args)]
pub struct TrainArgs {
    #[command(flatten)]
    settings: Settings,
    /// Folder with the four idx files, packed or not [default: the part of Fashion-MNIST that ships here]
    #[arg(long)]
    data: Option<PathBuf>,
    /// Folder of the run: model, settings, history, curves, confusion matrix
    #[arg(long, default_value = "runs/vision")]
    out: PathBuf,
    /// Replace the run in --out
    #[arg(long)]
    overwrite: bool,
}

/// One epoch.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    pub epoch: usize,
    /// Mean loss of its batches.
    pub loss: f32,
    /// Accuracy on the test images after it.
    pub accuracy: f64,
    /// Seconds of the run so far.
    pub seconds: f64,
}

/// Classes of the MNIST family.
const CLASSES: usize = 10;

pub fn train(args: &TrainArgs, device: &Device) -> Result<(), Error> {
    args.settings.validate()?;
    let folder = args.data.clone().unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("data"));
    let (data, test) = (read(&folder, "train")?, read(&folder, "t10k")?);
    if test.dims() != data.dims() {
        return Err(Error::OtherImages { path: folder, found: test.dims(), expected: data.dims() });
    }
    if args.out.join(HISTORY).exists() && !args.overwrite {
        return Err(Error::RunExists { path: args.out.clone() });
    }
    fs::create_dir_all(&args.out).map_err(Error::write(&args.out))?;

    let mut run = Run::start(args.settings.clone(), data, test, device.clone().autodiff())?;
    println!(
        "{} images to train on, {} to test, {} parameters",
        run.data.len(),
        run.test.len(),
        run.model.num_params()
    );
    for epoch in 1..=args.settings.epochs {
        run.epoch(epoch)?;
    }
    run.store(&args.out)
}

/// Images and labels with the names that they are published under.
fn read(folder: &Path, part: &str) -> Result<LabelledImages, Error> {
    let file = |name: &str| {
        let packed = folder.join(format!("{part}-{name}-ubyte.gz"));
        if packed.exists() { packed } else { packed.with_extension("") }
    };
    Ok(LabelledImages::read_idx(file("images-idx3"), file("labels-idx1"), CLASSES)?)
}

const HISTORY: &str = "history.jsonl";

struct Run {
    settings: Settings,
    data: LabelledImages,
    test: LabelledImages,
    /// Mean and standard deviation of the pixels.
    statistics: (f32, f32),
    device: Device,
    model: Model,
    optimizer: ModuleOptimizer,
    schedule: ModuleLrScheduler,
    rng: StdRng,
    steps: usize,
    history: Vec<Record>,
    /// On the test images, after the last epoch.
    confusion: Confusion,
    started: Instant,
}

impl Run {
    fn start(settings: Settings, data: LabelledImages, test: LabelledImages, device: Device) -> Result<Self, Error> {
        device.seed(settings.seed);
        let sizes = Sizes { d_model: settings.d_model, image: data.dims(), classes: data.classes() };
        Ok(Self {
            statistics: data.statistics(),
            model: sizes.init(settings.model, &device)?,
            optimizer: adamw(&AdamWConfig::new().with_weight_decay(settings.weight_decay as f32)),
            schedule: schedule(&settings, data.len().div_ceil(settings.batch))?,
            rng: StdRng::seed_from_u64(settings.seed),
            steps: 0,
            history: Vec::new(),
            confusion: Confusion(Vec::new()),
            started: Instant::now(),
            settings,
            data,
            test,
            device,
        })
    }

    /// Sees every image once.
    fn epoch(&mut self, epoch: usize) -> Result<(), Error> {
        let mut order: Vec<_> = (0..self.data.len()).collect();
        order.shuffle(&mut self.rng);
        let bar = progress::steps(order.len().div_ceil(self.settings.batch), 0);
        let mut sum = 0.0;
        for indices in order.chunks(self.settings.batch) {
            let loss = self.step(indices)?;
            sum += loss * indices.len() as f32;
            bar.set_message(format!("loss {loss:.3}"));
            bar.inc(1);
        }
        bar.finish_and_clear();
        self.confusion = self.measure();
        let (loss, accuracy) = (sum / order.len() as f32, self.confusion.accuracy());
        let seconds = self.started.elapsed().as_secs_f64();
        println!("epoch {epoch}: training loss {loss:.4}, test accuracy {:.2} %, {seconds:.0} s", 100.0 * accuracy);
        self.history.push(Record { epoch, loss, accuracy, seconds });
        Ok(())
    }

    /// One optimizer step; returns the loss of its batch.
    fn step(&mut self, indices: &[usize]) -> Result<f32, Error> {
        let variation = Variation { shift: self.settings.shift, flip: true };
        let (images, labels) = self.data.varied_batch(indices, variation, &mut self.rng, &self.device);
        let loss = CrossEntropyLossConfig::new().with_smoothing(Some(self.settings.smoothing)).init(&self.device);
        let loss = loss.forward(self.model.forward(normalized(images, self.statistics)), labels);
        let value = loss.clone().into_scalar::<f32>();
        self.steps += 1;
        if !value.is_finite() {
            return Err(Error::Diverged { step: self.steps, loss: value });
        }
        let gradients = GradientsParams::from_grads(loss.backward(), &self.model);
        let lr = self.schedule.step().base();
        self.model = self.optimizer.step(lr, self.model.clone(), gradients);
        Ok(value)
    }

    /// How often the model is right on the test images.
    fn measure(&self) -> Confusion {
        let prepare = |images| normalized(images, self.statistics);
        Confusion::of(&self.model.valid(), &self.test, prepare, &self.device.clone().inner())
    }

    /// Writes what the run gave into `folder`.
    fn store(&self, folder: &Path) -> Result<(), Error> {
        let write = |name: &str, bytes: &[u8]| publish(&folder.join(name), |path| write_synced(path, bytes));
        let path = folder.join("model.bpk");
        let record = self.model.valid().into_record().into_bytes();
        write("model.bpk", &record.map_err(|error| Error::Store { path: path.clone(), reason: error.to_string() })?)?;
        write("confusion.svg", self.confusion.svg().as_bytes())?;
        write("curves.svg", curves(&self.history)?.as_bytes())?;
        write("settings.json", json(&self.settings, &path)?.as_bytes())?;
        let lines: Result<String, Error> = self.history.iter().map(|record| Ok(json(record, &path)? + "\n")).collect();
        write(HISTORY, lines?.as_bytes())?;
        println!("test accuracy {:.2} %; run stored in {}", 100.0 * self.confusion.accuracy(), folder.display());
        Ok(())
    }
}

fn json(value: &impl Serialize, path: &Path) -> Result<String, Error> {
    let reason = |error: serde_json::Error| Error::Store { path: path.to_path_buf(), reason: error.to_string() };
    serde_json::to_string(value).map_err(reason)
}

/// A mean of zero and a standard deviation of one, over all images together.
fn normalized(images: Tensor<4>, (mean, deviation): (f32, f32)) -> Tensor<4> {
    images.sub_scalar(mean).div_scalar(deviation.max(1e-6))
}

/// Rises for an epoch, then falls along a cosine.
fn schedule(settings: &Settings, steps_of_epoch: usize) -> Result<ModuleLrScheduler, Error> {
    let lr = settings.lr;
    let rise = LinearLrSchedulerConfig::new(lr / (steps_of_epoch + 1) as f64, lr, steps_of_epoch);
    let fall = CosineAnnealingLrSchedulerConfig::new(lr, (steps_of_epoch * (settings.epochs - 1)).max(1));
    let phases = vec![LrSchedulerConfig::Linear(rise), LrSchedulerConfig::Cosine(fall)];
    SequentialLrSchedulerConfig::new(phases, vec![steps_of_epoch]).init().map_err(Error::Schedule)
}
