//! `finetune`: classes of sequences, by cross-validation, beside simpler models.

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use clap::{Args, ValueEnum};
use examples_common::files::{publish, write_synced};
use mamba_dna::CaduceusConfig;
use serde::{Deserialize, Serialize};

use crate::error::{Error, check};
use crate::fit::Fit;
use crate::labelled::{Labelled, shipped};
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
    pub models: Vec<Method>,
    /// Run of `pretrain`, or published checkpoint, that Caduceus starts from [default: from nothing]
    #[arg(long)]
    pub pretrained: Option<PathBuf>,
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
    #[arg(long, default_value_t = 8)]
    pub epochs: usize,
    /// Sequences of one step
    #[arg(long, default_value_t = 8)]
    pub batch: usize,
    /// Peak learning rate of all models [default: 2e-3 for Caduceus, 1e-3 for others]
    #[arg(long)]
    lr: Option<f64>,
    /// Weight decay of matrices
    #[arg(long, default_value_t = 0.1)]
    pub weight_decay: f64,
    /// Trainings of this run at most; the next goes on with the others
    #[arg(long, default_value_t = usize::MAX, hide_default_value = true)]
    trainings: usize,
    /// Let rare classes count as much as others
    #[arg(long)]
    pub balance: bool,
    /// Folder of the results, the table, and the first Caduceus in `model`; what has been trained is not trained again
    #[arg(long, default_value = "runs/dna-classes")]
    pub out: PathBuf,
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

    /// Where each does best, of a few that were tried.
    fn lr(self) -> f64 {
        match self {
            Self::Ps | Self::Ph => 2e-3,
            Self::Cnn | Self::Kmer => 1e-3,
        }
    }
}

const RESULTS: &str = "results.jsonl";
const SETTINGS: &str = "settings.txt";
const TABLE: &str = "table.md";
/// The names of the classes, beside the model.
pub const CLASSES: &str = "classes.txt";

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

    let mut left = args.trainings;
    for seed in 0..args.seeds {
        let folds = data.folds(args.folds, seed);
        for fold in 0..args.folds {
            let others: Vec<_> = (0..args.folds).filter(|other| *other != fold).collect();
            let training: Vec<_> = others.iter().flat_map(|other| folds[*other].clone()).collect();
            for &method in &args.models {
                if results.iter().any(|found| (found.method, found.seed, found.fold) == (method, seed, fold)) {
                    continue;
                }
                if left == 0 {
                    break;
                }
                left -= 1;
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
        if let Some(lr) = self.lr {
            check("lr", lr, lr > 0.0 && lr <= 1.0, "more than 0 and at most 1")?;
        }
        check("weight-decay", self.weight_decay, (0.0..=10.0).contains(&self.weight_decay), "0 to 10")
    }

    /// The peak learning rate of a model.
    pub fn lr(&self, method: Method) -> f64 {
        self.lr.unwrap_or(method.lr())
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
             batch {batch}\nlr {lr:?}\nweight_decay {weight_decay}\nbalance {balance}\n",
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

/// The names of the classes of the model in `folder`; their numbers if it has none.
pub fn class_names(folder: &Path, classes: usize) -> Vec<String> {
    let names = fs::read_to_string(folder.join(CLASSES)).unwrap_or_default();
    let names: Vec<_> = names.lines().map(str::to_string).collect();
    if names.len() == classes { names } else { (0..classes).map(|class| class.to_string()).collect() }
}
