//! `eval`: how well a model tells classes, or how many bits a nucleotide takes.

use std::path::PathBuf;

use burn::tensor::Device;
use clap::Args;
use mamba_dna::tokens::to_tensor;

use crate::error::{Error, check};
use crate::finetune::{class_names, predict};
use crate::genome::{Genome, shipped};
use crate::labelled::{self, Labelled};
use crate::model::{Kind, Lm, classify, kind, open_classifier};
use crate::pretrain::{held_out_bits, markov_bits, model_folder};

/// Tells accuracy, MCC and AUROC of a model with classes; of a language model, the bits of a held-out nucleotide.
#[derive(Args)]
pub struct EvalArgs {
    /// Run of `finetune` or `pretrain`, or published checkpoint
    #[arg(long)]
    model: PathBuf,
    /// Table of sequences and classes, or genome [default: what ships here]
    #[arg(long)]
    data: Option<PathBuf>,
    /// Nucleotides in a window of the genome
    #[arg(long, default_value_t = 512)]
    length: usize,
    /// Windows of the genome that are looked at, at most
    #[arg(long, default_value_t = usize::MAX, hide_default_value = true)]
    windows: usize,
}

pub fn eval(args: &EvalArgs, device: &Device) -> Result<(), Error> {
    let folder = model_folder(&args.model);
    if kind(&folder)? != Kind::Classifier {
        check("length", args.length, (2..=1 << 22).contains(&args.length), "2 to 4194304")?;
        let model = Lm::open(&folder, device)?;
        let mut genome = Genome::open(&args.data.clone().unwrap_or_else(shipped), args.length)?;
        let bits = held_out_bits(&model, &mut genome, args.length, args.windows, device)?;
        let markov = markov_bits(&mut genome, args.length)?;
        println!("{bits:.4} bits per held-out nucleotide; a Markov model of order 5: {markov:.4}");
        return Ok(());
    }
    let model = open_classifier(&folder, device)?;
    let path = args.data.clone().unwrap_or_else(labelled::shipped);
    let mut data = Labelled::read(&path)?;
    let [_, classes] = model.score.weight.dims();
    data.rename(class_names(&folder, classes), &path)?;
    let all: Vec<_> = (0..data.len()).collect();
    let predictions = predict(&data.select(&all), device, |tokens, device| classify(&model, to_tensor(tokens, device)));
    let scores = predictions.scores();
    println!("accuracy {:.4}  MCC {:.4}  AUROC {:.4}", scores.accuracy, scores.mcc, scores.auroc);
    Ok(())
}
