//! `promoters`: a table for `finetune` from a genome and its annotation.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use examples_common::files::{publish, write_synced};
use mamba_dna::data::{Input, Interval, Reference, shuffle_pairs};
use mamba_dna::tokens::{N, decode};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::error::{Error, check};

/// Writes the sequences around the starts of transcripts, and each once more with its nucleotides shuffled, as a table
/// for `finetune`. Shuffled sequences have every pair of neighbours as often as the promoter; no two promoters overlap.
#[derive(Args)]
pub struct PromotersArgs {
    /// FASTA file of the genome, packed or not
    #[arg(long)]
    fasta: PathBuf,
    /// GTF file of its annotation, packed or not
    #[arg(long)]
    gtf: PathBuf,
    /// Nucleotides before the start of a transcript
    #[arg(long, default_value_t = 200)]
    before: u64,
    /// Nucleotides from the start of a transcript on
    #[arg(long, default_value_t = 50)]
    after: u64,
    /// Seed of the shuffled sequences
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The table
    #[arg(long, default_value = "promoters.tsv")]
    out: PathBuf,
}

pub fn promoters(args: &PromotersArgs) -> Result<(), Error> {
    const MOST: u64 = 1 << 20;
    check("before", args.before, args.before <= MOST, format!("at most {MOST}"))?;
    check("after", args.after, (1..=MOST).contains(&args.after), format!("1 to {MOST}"))?;
    let starts = starts(&args.gtf)?;
    let mut genome = Reference::open(&args.fasta)?;
    let mut rng = StdRng::seed_from_u64(args.seed);
    let (mut text, mut count) = (String::new(), 0);
    let mut last: Option<Interval> = None;
    for start in &starts {
        let Some(window) = start.window(args, &genome) else { continue };
        if last.as_ref().is_some_and(|last| last.contig == window.contig && window.start < last.end) {
            continue;
        }
        let tokens = genome.interval(&window)?;
        if !tokens.contains(&N) {
            for (tokens, class) in [(shuffle_pairs(&tokens, &mut rng), "shuffled"), (tokens, "promoter")] {
                writeln!(text, "{}\t{class}", decode(&tokens)).expect("strings take all text");
            }
            (last, count) = (Some(window), count + 1);
        }
    }
    if count == 0 {
        let reason = format!("none of its {} starts of transcripts has a window in the FASTA file", starts.len());
        return Err(Error::Table { path: args.gtf.clone(), reason });
    }
    publish(&args.out, |path| write_synced(path, text.as_bytes()))?;
    println!(
        "{count} promoters of {} starts of transcripts, and as many shuffled: {}",
        starts.len(),
        args.out.display()
    );
    Ok(())
}

/// Where a transcript starts: in the order of contigs, then of places.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Start {
    contig: String,
    /// From 0 on.
    place: u64,
    is_reverse: bool,
}

impl Start {
    /// None if it is not within a contig of the genome.
    fn window(&self, args: &PromotersArgs, genome: &Reference) -> Option<Interval> {
        let Self { contig, place, is_reverse } = self;
        let (before, after) = if *is_reverse { (args.after - 1, args.before + 1) } else { (args.before, args.after) };
        let (start, end) = (place.checked_sub(before)?, place + after);
        let interval = Interval { contig: contig.clone(), start, end, name: None, is_reverse: *is_reverse };
        (end <= genome.length(contig)?).then_some(interval)
    }
}

/// The starts of all transcripts, each once.
fn starts(path: &Path) -> Result<BTreeSet<Start>, Error> {
    let mut starts = BTreeSet::new();
    Input::open(path)?.lines("GTF file", |line, text| {
        if !text.trim().is_empty() && !text.starts_with('#') {
            let start = start(text).map_err(|reason| Error::Line { path: path.to_path_buf(), line, reason })?;
            starts.extend(start);
        }
        Ok::<_, Error>(())
    })?;
    Ok(starts)
}

/// Of a line; none if it is of another feature than a transcript.
fn start(line: &str) -> Result<Option<Start>, String> {
    let columns: Vec<_> = line.split('\t').collect();
    let [contig, _, feature, first, last, _, strand, ..] = columns[..] else {
        return Err(format!("{} columns, expected 9 with tabs between them", columns.len()));
    };
    if feature != "transcript" {
        return Ok(None);
    }
    let number = |text: &str| match text.parse::<u64>() {
        Ok(position) if position > 0 => Ok(position - 1),
        _ => Err(format!("`{text}` is no position, expected a whole number from 1 on")),
    };
    let (first, last) = (number(first)?, number(last)?);
    let (place, is_reverse) = match strand {
        "+" => (first, false),
        "-" => (last, true),
        _ => return Err(format!("the strand is `{strand}`, expected + or -")),
    };
    Ok(Some(Start { contig: contig.to_string(), place, is_reverse }))
}
