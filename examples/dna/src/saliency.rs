//! `saliency`: what a model looks at, as a sequence logo.

use std::path::PathBuf;

use burn::tensor::Device;
use burn::tensor::activation::softmax;
use clap::Args;
use examples_common::files::{publish, write_synced};
use mamba_dna::data::SequenceReader;
use mamba_dna::tokens::{A, MASK, NUCLEOTIDES, T, decode, to_tensor};
use mamba_dna::{AlleleModel, CaduceusClassifier};

use crate::error::{Error, check};
use crate::finetune::class_names;
use crate::generate::sequence;
use crate::logo::logo;
use crate::model::{Kind, Lm, classify, kind, open_classifier};
use crate::pretrain::model_folder;

/// Draws the weight of every nucleotide. Of a model with classes: by how much the logit of the class is above its mean
/// over the other nucleotides there. Of a language model: what it expects at each place, in bits of information.
#[derive(Args)]
pub struct SaliencyArgs {
    /// Run of `finetune` or `pretrain`, or published checkpoint
    #[arg(long)]
    model: PathBuf,
    /// The sequence
    #[arg(long, required_unless_present = "fasta", conflicts_with = "fasta")]
    sequence: Option<String>,
    /// FASTA file whose first record is the sequence
    #[arg(long)]
    fasta: Option<PathBuf>,
    /// Number or name of the class [default: the one that the model tells]
    #[arg(long)]
    class: Option<String>,
    /// The picture
    #[arg(long, default_value = "saliency.svg")]
    out: PathBuf,
}

/// Pictures of more are not looked at.
const MOST: usize = 1000;
/// Sequences at a time.
const ROWS: usize = 64;

pub fn saliency(args: &SaliencyArgs, device: &Device) -> Result<(), Error> {
    let tokens = match (&args.sequence, &args.fasta) {
        (Some(text), _) => sequence("--sequence", text)?,
        (None, Some(path)) => match SequenceReader::open(path)?.with_max_length(MOST).next_record()? {
            Some(record) => record.tokens,
            None => return Err(Error::Table { path: path.clone(), reason: "it has no records".into() }),
        },
        (None, None) => unreachable!("one of both is required"),
    };
    check("sequence", tokens.len(), (1..=MOST).contains(&tokens.len()), format!("1 to {MOST} nucleotides"))?;
    let folder = model_folder(&args.model);
    let (columns, label) = match kind(&folder)? {
        Kind::Classifier => {
            let model = open_classifier(&folder, device)?;
            let [_, classes] = model.score.weight.dims();
            let names = class_names(&folder, classes);
            let logits: Vec<f32> = classify(&model, to_tensor(&[&tokens], device)).into_data().iter().collect();
            let class = match &args.class {
                None => (0..classes).max_by(|left, right| logits[*left].total_cmp(&logits[*right])).unwrap_or(0),
                Some(name) => names.iter().position(|other| other == name).ok_or_else(|| Error::Flag {
                    flag: "class",
                    given: name.clone(),
                    expected: names.join(", "),
                })?,
            };
            (weights(&model, &tokens, class, device), format!("logit of class {}", names[class]))
        }
        _ => (expected(&Lm::open(&folder, device)?, &tokens, device), "bits".to_string()),
    };
    publish(&args.out, |path| write_synced(path, logo(&columns, &label).as_bytes()))?;
    println!("{} nucleotides drawn in {}", tokens.len(), args.out.display());
    Ok(())
}

/// The logit of the class above its mean over the other three nucleotides at each place.
fn weights(model: &CaduceusClassifier, tokens: &[u8], class: usize, device: &Device) -> Vec<Vec<(char, f64)>> {
    let mut rows = vec![tokens.to_vec()];
    for place in 0..tokens.len() {
        for other in NUCLEOTIDES.into_iter().filter(|other| *other != tokens[place]) {
            let mut row = tokens.to_vec();
            row[place] = other;
            rows.push(row);
        }
    }
    let mut logits: Vec<f64> = Vec::with_capacity(rows.len());
    for rows in rows.chunks(ROWS) {
        let of_class = classify(model, to_tensor(rows, device)).narrow(1, class, 1);
        logits.extend(of_class.into_data().iter::<f64>());
    }
    let mut others = logits[1..].iter();
    let of = |token: &u8| {
        // An unknown nucleotide has four others.
        let count = if (A..=T).contains(token) { 3 } else { 4 };
        let mean = others.by_ref().take(count).sum::<f64>() / count as f64;
        vec![(letter(*token), logits[0] - mean)]
    };
    tokens.iter().map(of).collect()
}

/// The probabilities of the nucleotides at each place, masked for a model that reads both sides, times the information
/// that they have.
fn expected(model: &Lm, tokens: &[u8], device: &Device) -> Vec<Vec<(char, f64)>> {
    let rows: Vec<_> = match model {
        Lm::Masked(_) => (0..tokens.len()).map(|place| model.input(tokens, place..place + 1)).collect(),
        Lm::Causal(_) => vec![tokens.to_vec()],
    };
    debug_assert!(rows.len() == 1 || rows[0][0] == MASK);
    let mut probabilities: Vec<f64> = Vec::new();
    for (part, rows) in rows.chunks(ROWS).enumerate() {
        let all = softmax(model.log_probabilities(rows, device), 2);
        match model {
            Lm::Causal(_) => probabilities.extend(all.into_data().iter::<f64>()),
            Lm::Masked(_) => {
                for row in 0..rows.len() {
                    let place = all.clone().narrow(0, row, 1).narrow(1, part * ROWS + row, 1);
                    probabilities.extend(place.into_data().iter::<f64>());
                }
            }
        }
    }
    let column = |p: &[f64]| {
        let entropy = -p.iter().filter(|p| **p > 0.0).map(|p| p * p.log2()).sum::<f64>();
        NUCLEOTIDES.iter().zip(p).map(|(token, p)| (letter(*token), p * (2.0 - entropy))).collect()
    };
    probabilities.chunks(4).map(column).collect()
}

fn letter(token: u8) -> char {
    decode(&[token]).chars().next().unwrap_or('N')
}
