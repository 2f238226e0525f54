//! `finetune`: classes of sequences, by cross-validation, beside simpler models.

use std::fs;
use std::path::{Path, PathBuf};

use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Linear, LinearConfig};
use burn::optim::GradientsParams;
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use clap::{Args, ValueEnum};
use examples_common::files::{publish, write_synced};
use examples_common::progress;
use mamba_dna::data::augment;
use mamba_dna::objective::class_weights;
use mamba_dna::tokens::to_tensor;
use mamba_dna::{CaduceusClassifier, CaduceusConfig};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::baselines::{Cnn, kmer_counts};
use crate::error::{Error, check};
use crate::fitting::{optimizer, schedule};
use crate::labelled::{Labelled, shipped};
use crate::metrics::Predictions;
use crate::model::{Lm, classify};
use crate::pretrain::model_folder;
use crate::table::{self, table};

/// Trains classifiers of sequences, each on all folds but one, and tells how they do on that one.
#[derive(Args)]
pub struct FinetuneArgs {
    /// Table of sequences and classes [default: the splice junctions that ship here]
    #[arg(long)]
    data: Option<PathBuf>,
    /// Which models: ps and ph (Caduceus), cnn, kmer
    #[arg(long, value_enum, value_delimiter = ',', default_value = "ps,cnn,kmer")]
    models: Vec<Method>,
    /// Run of `pretrain`, or published checkpoint, that Caduceus starts from [default: from nothing]
    #[arg(long)]
    pretrained: Option<PathBuf>,
    /// Channels of a Caduceus that starts from nothing
    #[arg(long, default_value_t = 118)]
    d_model: usize,
    /// Blocks of a Caduceus that starts from nothing
    #[arg(long, default_value_t = 4)]
    n_layer: usize,
    /// Parts that the sequences are cut into
    #[arg(long, default_value_t = 5)]
    folds: usize,
    /// How often every fold is trained, with other initial weights
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// How often every sequence is seen
    #[arg(long, default_value_t = 10)]
    epochs: usize,
    /// Sequences of one step
    #[arg(long, default_value_t = 32)]
    batch: usize,
    /// Peak learning rate
    #[arg(long, default_value_t = 1e-3)]
    lr: f64,
    /// Weight decay of matrices
    #[arg(long, default_value_t = 0.1)]
    weight_decay: f64,
    /// Let rare classes count as much as others
    #[arg(long)]
    balance: bool,
    /// Folder of the results, the table, and the first Caduceus in `model`; what has been trained is not trained again
    #[arg(long, default_value = "runs/dna-classes")]
    out: PathBuf,
    /// Begin anew
    #[arg(long)]
    overwrite: bool,
}

/// How classes are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Caduceus of both strands
    Ps,
    /// Caduceus of one strand, trained and evaluated on both
    Ph,
    /// A convolutional network of as many parameters
    Cnn,
    /// Logistic regression on counts of k-mers
    Kmer,
}

impl Method {
    pub const ALL: [Self; 4] = [Self::Ps, Self::Ph, Self::Cnn, Self::Kmer];

    pub fn name(self) -> &'static str {
        match self {
            Self::Ps => "Caduceus-PS",
            Self::Ph => "Caduceus-Ph",
            Self::Cnn => "CNN",
            Self::Kmer => "k-mers, logistic regression",
        }
    }
}

const RESULTS: &str = "results.jsonl";
const SETTINGS: &str = "settings.txt";
const TABLE: &str = "table.md";
const CLASSES: &str = "classes.txt";
/// Longest k-mers that are counted.
const LONGEST: u32 = 5;

pub fn finetune(args: &FinetuneArgs, device: &Device) -> Result<(), Error> {
    args.validate()?;
    let path = args.data.clone().unwrap_or_else(shipped);
    let data = Labelled::read(&path)?;
    check("folds", args.folds, (2..=data.len()).contains(&args.folds), format!("2 to {}", data.len()))?;
    let config = args.config()?;
    fs::create_dir_all(&args.out).map_err(Error::write(&args.out))?;
    let mut results = args.earlier(&path)?;
    let device = device.clone().autodiff();
    println!("{} sequences of {} nucleotides in {} classes", data.len(), data.length(), data.classes.len());

    for seed in 0..args.seeds {
        let folds = data.folds(args.folds, seed);
        for fold in 0..args.folds {
            let others: Vec<_> = (0..args.folds).filter(|other| *other != fold).collect();
            let training: Vec<_> = others.iter().flat_map(|other| folds[*other].clone()).collect();
            for &method in &args.models {
                if results.iter().any(|found| (found.method, found.seed, found.fold) == (method, seed, fold)) {
                    continue;
                }
                device.seed(seed);
                let fit = Fit { args, data: &data, training: &training, config: &config, device: &device, seed };
                let (predictions, parameters) = fit.method(method, &folds[fold], fold)?;
                let scores = predictions.scores();
                let name = method.name();
                println!("{name}, seed {seed}, fold {fold}: accuracy {:.4}, MCC {:.4}", scores.accuracy, scores.mcc);
                results.push(table::Result { method, seed, fold, parameters, scores });
                args.store(&results)?;
            }
        }
    }
    print!("{}", table(&results));
    println!("results stored in {}", args.out.display());
    Ok(())
}

impl FinetuneArgs {
    fn validate(&self) -> Result<(), Error> {
        for (flag, value) in [("epochs", self.epochs), ("batch", self.batch), ("seeds", self.seeds as usize)] {
            check(flag, value, (1..=1 << 20).contains(&value), "1 to 1048576")?;
        }
        check("lr", self.lr, self.lr > 0.0 && self.lr <= 1.0, "more than 0 and at most 1")?;
        check("weight-decay", self.weight_decay, (0.0..=10.0).contains(&self.weight_decay), "0 to 10")
    }

    /// The sizes of Caduceus.
    fn config(&self) -> Result<CaduceusConfig, Error> {
        let config = match &self.pretrained {
            Some(folder) => CaduceusConfig::from_pretrained(model_folder(folder))?,
            None => CaduceusConfig::new(self.d_model, self.n_layer),
        };
        config.validate()?;
        Ok(config)
    }

    /// What decides about the results, as a text.
    fn settings(&self, data: &Path) -> String {
        let Self { pretrained, d_model, n_layer, folds, epochs, batch, lr, weight_decay, balance, .. } = self;
        format!(
            "data {}\npretrained {pretrained:?}\nd_model {d_model}\nn_layer {n_layer}\nfolds {folds}\nepochs {epochs}\n\
             batch {batch}\nlr {lr}\nweight_decay {weight_decay}\nbalance {balance}\n",
            data.display()
        )
    }

    /// The results of an earlier run with the same settings.
    fn earlier(&self, data: &Path) -> Result<Vec<table::Result>, Error> {
        let (settings, path) = (self.out.join(SETTINGS), self.out.join(RESULTS));
        let expected = self.settings(data);
        match fs::read_to_string(&settings) {
            Ok(found) if found == expected && !self.overwrite => {}
            Ok(_) if !self.overwrite => return Err(Error::OtherPart { path: self.out.clone() }),
            _ => {
                publish(&path, |path| write_synced(path, b""))?;
                publish(&settings, |path| write_synced(path, expected.as_bytes()))?;
            }
        }
        let text = fs::read_to_string(&path).map_err(Error::read(&path))?;
        let damaged =
            |error: serde_json::Error| Error::DamagedCheckpoint { path: path.clone(), reason: error.to_string() };
        text.lines().map(|line| serde_json::from_str(line).map_err(damaged)).collect()
    }

    fn store(&self, results: &[table::Result]) -> Result<(), Error> {
        let lines: serde_json::Result<String> =
            results.iter().map(|result| serde_json::to_string(result).map(|line| line + "\n")).collect();
        let path = self.out.join(RESULTS);
        let lines = lines.map_err(|error| Error::write(&path)(error.into()))?;
        publish(&path, |path| write_synced(path, lines.as_bytes()))?;
        Ok(publish(&self.out.join(TABLE), |path| write_synced(path, table(results).as_bytes()))?)
    }
}

/// One training.
struct Fit<'a> {
    args: &'a FinetuneArgs,
    data: &'a Labelled,
    training: &'a [usize],
    config: &'a CaduceusConfig,
    device: &'a Device,
    seed: u64,
}

impl Fit<'_> {
    /// What the trained model says of the sequences `test`, and its number of parameters.
    fn method(&self, method: Method, test: &[usize], fold: usize) -> Result<(Predictions, usize), Error> {
        let classes = self.data.classes.len();
        let test = self.data.select(test);
        match method {
            Method::Ps | Method::Ph => {
                let model = self.caduceus(method)?;
                let turns = method == Method::Ph;
                let model = self.train(model, turns, |model, tokens| model.forward(to_tensor(tokens, self.device)))?;
                let valid = model.valid();
                if self.seed == 0 && fold == 0 && method == self.args.models[0] {
                    self.keep(&valid)?;
                }
                Ok((
                    predict(&test, &inner(self.device), |tokens, device| classify(&valid, to_tensor(tokens, device))),
                    model.num_params(),
                ))
            }
            Method::Cnn => {
                let size = self.caduceus(Method::Ps)?.num_params();
                let model = Cnn::of_size(size, self.data.length(), classes, self.device);
                let model = self.train(model, false, |model, tokens| model.forward(to_tensor(tokens, self.device)))?;
                let valid = model.valid();
                Ok((
                    predict(&test, &inner(self.device), |tokens, device| valid.forward(to_tensor(tokens, device))),
                    model.num_params(),
                ))
            }
            Method::Kmer => {
                let width = (1..=LONGEST).map(|k| 4_usize.pow(k)).sum();
                let model: Linear = LinearConfig::new(width, classes).init(self.device);
                let features = |tokens: &[&[u8]], device: &Device| kmer_counts(tokens, LONGEST, device);
                let model = self.train(model, false, |model, tokens| {
                    let tokens: Vec<_> = tokens.iter().map(Vec::as_slice).collect();
                    model.forward(features(&tokens, self.device))
                })?;
                let valid = model.valid();
                Ok((
                    predict(&test, &inner(self.device), |tokens, device| valid.forward(features(tokens, device))),
                    model.num_params(),
                ))
            }
        }
    }

    fn caduceus(&self, method: Method) -> Result<CaduceusClassifier, Error> {
        let classes = self.data.classes.len();
        let config = self.config.clone();
        match &self.args.pretrained {
            None => {
                let config = config.with_rcps(method == Method::Ps);
                Ok(config.classifier(config.try_init(self.device)?, classes))
            }
            Some(folder) => match Lm::open(&model_folder(folder), self.device)? {
                Lm::Masked(model) if model.caduceus.order.is_some() == (method == Method::Ps) => {
                    Ok(config.classifier(model.caduceus, classes))
                }
                _ => Err(Error::Kind { path: folder.clone(), found: "another model", expected: method.name() }),
            },
        }
    }

    /// Stores a model for `eval` and `saliency`, with the names of the classes.
    fn keep(&self, model: &CaduceusClassifier) -> Result<(), Error> {
        let folder = self.args.out.join("model");
        let config = self.config.clone().with_rcps(model.caduceus.order.is_some());
        model.save_pretrained(&config, &folder)?;
        let names = self.data.classes.join("\n") + "\n";
        Ok(publish(&folder.join(CLASSES), |path| write_synced(path, names.as_bytes()))?)
    }

    /// Trains on batches at random; `turns` gives every second sequence as its other strand.
    fn train<M: Module>(
        &self,
        mut model: M,
        turns: bool,
        forward: impl Fn(&M, &[Vec<u8>]) -> Tensor<2>,
    ) -> Result<M, Error> {
        let FinetuneArgs { epochs, batch, lr, weight_decay, balance, .. } = *self.args;
        let steps = epochs * self.training.len().div_ceil(batch);
        let mut schedule: ModuleLrScheduler = schedule([steps, steps / 10, 0], lr, 0.0)?;
        let mut optimizer = optimizer(weight_decay);
        let labels = self.data.select(self.training).1;
        let weights = balance.then(|| class_weights(&labels, self.data.classes.len()));
        let loss = CrossEntropyLossConfig::new().with_weights(weights).init(self.device);
        let mut rng = StdRng::seed_from_u64(self.seed);
        let mut order = self.training.to_vec();
        let bar = progress::steps(steps, 0);
        let mut step = 0;
        for _ in 0..epochs {
            order.shuffle(&mut rng);
            for indices in order.chunks(batch) {
                let (tokens, labels) = self.data.select(indices);
                let turn = |tokens: &[u8]| if turns { augment(tokens.to_vec(), &mut rng) } else { tokens.to_vec() };
                let tokens: Vec<_> = tokens.into_iter().map(turn).collect();
                let labels: Vec<_> = labels.into_iter().map(|label| label as i32).collect();
                let targets = Tensor::<1, Int>::from_data(TensorData::new(labels, [indices.len()]), self.device);
                let loss = loss.forward(forward(&model, &tokens), targets);
                let value = loss.clone().into_scalar::<f32>();
                step += 1;
                if !value.is_finite() {
                    return Err(Error::Diverged { step, loss: value });
                }
                let gradients = GradientsParams::from_grads(loss.backward(), &model);
                model = optimizer.step(schedule.step().base(), model, gradients);
                bar.set_message(format!("loss {value:.3}"));
                bar.inc(1);
            }
        }
        bar.finish_and_clear();
        Ok(model)
    }
}

fn inner(device: &Device) -> Device {
    device.clone().inner()
}

/// The probabilities that `forward` gives sequences.
pub fn predict(
    (sequences, labels): &(Vec<&[u8]>, Vec<usize>),
    device: &Device,
    forward: impl Fn(&[&[u8]], &Device) -> Tensor<2>,
) -> Predictions {
    const ROWS: usize = 64;
    let mut probabilities = Vec::with_capacity(labels.len());
    for rows in sequences.chunks(ROWS) {
        let logits = forward(rows, device);
        let [_, classes] = logits.dims();
        let values: Vec<f32> = softmax(logits, 1).into_data().iter().collect();
        probabilities.extend(values.chunks(classes).map(<[f32]>::to_vec));
    }
    Predictions { labels: labels.clone(), probabilities }
}

/// The names of the classes of the model in `folder`; their numbers if it has none.
pub fn class_names(folder: &Path, classes: usize) -> Vec<String> {
    let names = fs::read_to_string(folder.join(CLASSES)).unwrap_or_default();
    let names: Vec<_> = names.lines().map(str::to_string).collect();
    if names.len() == classes { names } else { (0..classes).map(|class| class.to_string()).collect() }
}
