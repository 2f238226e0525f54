//! `embed`: sequences as vectors.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use burn::tensor::{Device, Tensor};
use clap::Args;
use examples_common::files::publish;
use mamba_dna::Pooling;
use mamba_dna::data::{EmbeddingsWriter, Reference, SequenceReader, read_bed};
use mamba_dna::tokens::{reverse_complement, to_tensor};

use crate::error::{Error, check};
use crate::model::{Kind, Lm, kind, open_classifier};
use crate::pretrain::model_folder;

/// Writes the mean features of each sequence, over both strands, as a matrix; the names are in a file beside it.
#[derive(Args)]
pub struct EmbedArgs {
    /// FASTA or FASTQ file, packed or not
    input: PathBuf,
    /// Run of `pretrain` or `finetune` with Caduceus, or published checkpoint
    #[arg(long)]
    model: PathBuf,
    /// BED file: its intervals of the FASTA file, instead of whole records
    #[arg(long)]
    bed: Option<PathBuf>,
    /// The file to write, .npy or .safetensors; the names go to one of this name with .txt added
    #[arg(long)]
    out: PathBuf,
    /// The longest sequence that is taken
    #[arg(long, default_value_t = 1 << 20)]
    max_length: usize,
}

pub fn embed(args: &EmbedArgs, device: &Device) -> Result<(), Error> {
    check("max-length", args.max_length, args.max_length > 0, "at least 1")?;
    let folder = model_folder(&args.model);
    let caduceus = match kind(&folder)? {
        Kind::Classifier => open_classifier(&folder, device)?.caduceus,
        _ => match Lm::open(&folder, device)? {
            Lm::Masked(model) => model.caduceus,
            Lm::Causal(_) => {
                return Err(Error::Kind { path: folder, found: "a causal model", expected: "Caduceus" });
            }
        },
    };
    let [_, d_model] = caduceus.embedding.weight.dims();
    let mut writer = EmbeddingsWriter::create(&args.out, d_model)?;
    let mut names = Vec::new();
    let strand = |tokens: &[u8]| -> (Tensor<2>, Option<Tensor<2>>) {
        let (one, two) = caduceus.strands(to_tensor(&[tokens], device));
        (Pooling::Mean.of(one), two.map(|two| Pooling::Mean.of(two)))
    };
    let mut take = |name: String, tokens: Vec<u8>| -> Result<(), Error> {
        let (one, two) = strand(&tokens);
        let two = two.unwrap_or_else(|| strand(&reverse_complement(&tokens)).0);
        let row: Vec<f32> = (one + two).div_scalar(2.0).into_data().iter().collect();
        names.push(name);
        Ok(writer.write(&row)?)
    };
    match &args.bed {
        None => {
            for record in SequenceReader::open(&args.input)?.with_max_length(args.max_length) {
                let record = record?;
                take(record.name, record.tokens)?;
            }
        }
        Some(bed) => {
            let mut genome = Reference::open(&args.input)?;
            for interval in read_bed(bed)? {
                let place = format!("{}:{}-{}", interval.contig, interval.start, interval.end);
                let length = interval.end - interval.start;
                if length > args.max_length as u64 {
                    let reason = format!("{place} has {length} nucleotides, expected at most {}", args.max_length);
                    return Err(Error::Table { path: bed.clone(), reason });
                }
                let tokens = genome.interval(&interval)?;
                take(interval.name.unwrap_or(place), tokens)?;
            }
        }
    }
    let rows = writer.finish()?;
    let mut path = args.out.clone().into_os_string();
    path.push(".txt");
    publish(path.as_ref(), |path| {
        let mut file = BufWriter::new(File::create(path)?);
        names.iter().try_for_each(|name| writeln!(file, "{name}"))?;
        file.into_inner().map_err(|error| error.into_error())?.sync_all()
    })?;
    println!("{rows} rows of {d_model} numbers stored in {}", args.out.display());
    Ok(())
}
