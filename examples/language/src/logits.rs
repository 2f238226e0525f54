//! `logits`: what a published model predicts after each of some tokens, to compare it with other programs.

use std::path::{Path, PathBuf};

use burn::prelude::*;
use burn::tensor::DType;
use clap::Args;
use safetensors::tensor::{Dtype, TensorView};

use crate::error::Error;
use crate::pretrained::Pretrained;
use examples_common::files::{publish, write_synced};

/// How many of the likeliest tokens are shown.
const SHOWN: usize = 10;

/// Computes the logits after each token of a sequence.
#[derive(Args)]
pub struct LogitsArgs {
    #[command(flatten)]
    pretrained: Pretrained,
    /// Token ids, separated by commas
    #[arg(long, allow_hyphen_values = true)]
    ids: String,
    /// Safetensors file to write, with `logits` [length, vocabulary] in f32 [default: print the likeliest tokens]
    #[arg(long)]
    out: Option<PathBuf>,
}

pub fn logits(args: &LogitsArgs, device: &Device) -> Result<(), Error> {
    let ids = parse(&args.ids)?;
    let model = args.pretrained.load(device)?;
    let vocabulary = model.vocab_size;
    if let Some((position, &id)) = ids.iter().enumerate().find(|(_, id)| **id as usize >= vocabulary) {
        return Err(Error::Token { id, position, vocabulary });
    }

    let shape = [1, ids.len()];
    let tokens = Tensor::<2, Int>::from_data(TensorData::new(ids.iter().map(|&id| id as i32).collect(), shape), device);
    // Without the logits of the vocabulary's padding.
    let logits = model.forward(tokens).narrow(2, 0, vocabulary).squeeze_dim::<2>(0);
    let logits =
        logits.cast(DType::F32).into_data().try_to_vec::<f32>().map_err(|error| Error::Device(error.to_string()))?;
    match &args.out {
        Some(path) => write(path, &logits, [ids.len(), vocabulary]),
        None => {
            for (position, (id, logits)) in ids.iter().zip(logits.chunks(vocabulary)).enumerate() {
                println!("after token {id} at position {position}");
                likeliest(logits).iter().for_each(|(token, logit)| println!("  {token:>8} {logit:>12.6}"));
            }
            Ok(())
        }
    }
}

fn parse(text: &str) -> Result<Vec<u32>, Error> {
    if text.trim().is_empty() {
        return Err(Error::NoIds);
    }
    // Token ids are i32 on the devices.
    let id = |part: &str| part.trim().parse().ok().filter(|id| *id <= i32::MAX as u32);
    text.split(',').map(|part| id(part).ok_or_else(|| Error::Id { found: part.to_string() })).collect()
}

/// The tokens with the largest logits, largest first.
fn likeliest(logits: &[f32]) -> Vec<(usize, f32)> {
    let mut tokens: Vec<_> = logits.iter().copied().enumerate().collect();
    tokens.sort_by(|(_, left), (_, right)| right.total_cmp(left));
    tokens.truncate(SHOWN);
    tokens
}

fn write(path: &Path, logits: &[f32], shape: [usize; 2]) -> Result<(), Error> {
    let bytes: Vec<u8> = logits.iter().flat_map(|logit| logit.to_le_bytes()).collect();
    publish(path, |scratch| {
        let view = TensorView::new(Dtype::F32, shape.to_vec(), &bytes).map_err(std::io::Error::other)?;
        write_synced(scratch, &safetensors::serialize([("logits", view)], None).map_err(std::io::Error::other)?)
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_separated_by_commas() {
        assert_eq!(parse("1, 2,3").unwrap(), [1, 2, 3]);
        for text in ["", " ", ",", "1,,2", "1,", "-1", "x", "1.5", "4294967295"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_likeliest_come_first() {
        assert_eq!(likeliest(&[0.5, 2.0, -1.0]), [(1, 2.0), (0, 0.5), (2, -1.0)]);
        assert_eq!(likeliest(&[0.0; 40]).len(), SHOWN);
    }
}
