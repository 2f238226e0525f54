//! The models of this program, and folders that hold them.

use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use mamba_blocks::{MambaLmConfig, read_config};
use mamba_dna::objective::{Example, Masking, next_token};
use mamba_dna::tokens::to_tensor;
use mamba_dna::{AlleleModel, CaduceusClassifier, CaduceusConfig, CaduceusMaskedLm, MambaDna};
use rand::Rng;
use serde::{Deserialize, Serialize};
use std::ops::Range;

use crate::error::Error;

/// What a language model is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// Nucleotides that are masked, from both sides (Caduceus)
    Masked,
    /// Each nucleotide from those before it (Mamba)
    Causal,
}

/// A language model.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "a program has one")]
pub enum Lm {
    Masked(CaduceusMaskedLm),
    Causal(MambaDna),
}

/// The sizes of a language model.
#[derive(Clone, Debug)]
pub enum LmConfig {
    Masked(CaduceusConfig),
    Causal(MambaLmConfig),
}

impl LmConfig {
    pub fn init(&self, device: &Device) -> Result<Lm, Error> {
        Ok(match self {
            Self::Masked(config) => Lm::Masked(config.try_init_masked_lm(device)?),
            Self::Causal(config) => Lm::Causal(MambaDna::try_init(config, device)?),
        })
    }
}

impl Lm {
    /// The language model in `folder`: a run of `pretrain`, or a published checkpoint.
    pub fn open(folder: &Path, device: &Device) -> Result<Self, Error> {
        match kind(folder)? {
            Kind::Masked => Ok(Self::Masked(CaduceusMaskedLm::from_pretrained(folder, device)?)),
            Kind::Causal => Ok(Self::Causal(MambaDna::from_pretrained(folder, device)?)),
            Kind::Classifier => Err(Error::Kind {
                path: folder.to_path_buf(),
                found: "a model with classes",
                expected: "a language model, as `pretrain` makes them",
            }),
        }
    }

    pub fn save(&self, config: &LmConfig, folder: &Path) -> Result<(), Error> {
        match (self, config) {
            (Self::Masked(model), LmConfig::Masked(config)) => Ok(model.save_pretrained(config, folder)?),
            (Self::Causal(model), LmConfig::Causal(_)) => Ok(model.save_pretrained(folder)?),
            _ => unreachable!("a model is saved with its own configuration"),
        }
    }

    pub fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        match self {
            Self::Masked(model) => model.forward(tokens),
            Self::Causal(model) => model.forward(tokens),
        }
    }

    /// What the model reads of a window, and what it should say.
    pub fn example<R: Rng + ?Sized>(&self, tokens: &[u8], masking: &Masking, rng: &mut R) -> Example {
        match self {
            Self::Masked(_) => masking.example(tokens, rng),
            Self::Causal(_) => next_token(tokens),
        }
    }

    /// Whether both strands are the same to it.
    pub fn is_symmetric(&self) -> bool {
        matches!(self, Self::Masked(model) if model.caduceus.order.is_some())
    }
}

impl AlleleModel for Lm {
    fn input(&self, window: &[u8], allele: Range<usize>) -> Vec<u8> {
        match self {
            Self::Masked(model) => model.input(window, allele),
            Self::Causal(model) => model.input(window, allele),
        }
    }

    fn counted(&self, window: &[u8], allele: Range<usize>) -> Range<usize> {
        match self {
            Self::Masked(model) => model.counted(window, allele),
            Self::Causal(model) => model.counted(window, allele),
        }
    }

    fn log_probabilities(&self, inputs: &[Vec<u8>], device: &Device) -> Tensor<3> {
        match self {
            Self::Masked(model) => model.log_probabilities(inputs, device),
            Self::Causal(model) => model.log_probabilities(inputs, device),
        }
    }
}

/// What a folder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Masked,
    Causal,
    Classifier,
}

/// What the model in `folder` is.
pub fn kind(folder: &Path) -> Result<Kind, Error> {
    let json = read_config(folder)?;
    Ok(match (json["model_type"].as_str(), json["architectures"][0].as_str()) {
        (Some("caduceus"), Some("CaduceusForSequenceClassification")) => Kind::Classifier,
        (Some("caduceus"), _) => Kind::Masked,
        _ => Kind::Causal,
    })
}

/// The classifier in `folder`, as `finetune` makes them.
pub fn open_classifier(folder: &Path, device: &Device) -> Result<CaduceusClassifier, Error> {
    match kind(folder)? {
        Kind::Classifier => Ok(CaduceusClassifier::from_pretrained(folder, device)?),
        _ => Err(Error::Kind {
            path: folder.to_path_buf(),
            found: "a language model",
            expected: "a model with classes, as `finetune` makes them",
        }),
    }
}

/// The logits of a classifier as it is evaluated: both strands count, whatever the model.
pub fn classify(model: &CaduceusClassifier, tokens: Tensor<2, Int>) -> Tensor<2> {
    match model.caduceus.order {
        Some(_) => model.forward(tokens),
        None => model.forward_conjoined(tokens),
    }
}

/// Two tensors `[batch, length]` of examples of one length.
pub fn batch(examples: &[Example], device: &Device) -> (Tensor<2, Int>, Tensor<2, Int>) {
    let inputs: Vec<_> = examples.iter().map(|example| &example.inputs).collect();
    let targets: Vec<_> = examples.iter().map(|example| &example.targets).collect();
    (to_tensor(&inputs, device), to_tensor(&targets, device))
}
