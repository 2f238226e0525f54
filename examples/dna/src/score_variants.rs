//! `score-variants`: how much likelier each allele of a VCF file is than the reference.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use clap::Args;
use examples_common::progress;
use mamba_dna::data::{Input, Reference};
use mamba_dna::variant_scores;

use crate::error::{Error, check};
use crate::model::Lm;
use crate::pretrain::model_folder;
use crate::vcf::{self, Note, Record};

/// Writes a VCF file with a score for every allele in INFO. A run that was interrupted goes on where it stopped.
#[derive(Args)]
pub struct ScoreArgs {
    /// VCF file, packed or not
    input: PathBuf,
    /// FASTA file with the contigs, packed or not
    #[arg(long)]
    fasta: PathBuf,
    /// Run of `pretrain`, or published checkpoint
    #[arg(long)]
    model: PathBuf,
    /// The VCF file to write
    #[arg(long)]
    out: PathBuf,
    /// Nucleotides around an allele that the model reads, with it
    #[arg(long, default_value_t = 512)]
    length: usize,
    /// Windows at a time
    #[arg(long, default_value_t = 32)]
    batch: usize,
}

/// Lines that are scored, and written, together.
const TOGETHER: usize = 256;
/// Records without scores that are told one by one.
const TOLD: u64 = 20;

pub fn score_variants(args: &ScoreArgs, device: &Device) -> Result<(), Error> {
    check("length", args.length, (1..=1 << 20).contains(&args.length), "1 to 1048576")?;
    check("batch", args.batch, (1..=1 << 16).contains(&args.batch), "1 to 65536")?;
    let model = Lm::open(&model_folder(&args.model), device)?;
    let genome = Reference::open(&args.fasta)?;
    let records = count(&args.input)?;
    let part = part(&args.out);
    let header = header(args, &genome)?;
    let (file, done) = begin(&part, &header)?;
    if done > 0 {
        println!("{done} of {records} records have been scored before");
    }
    let bar = progress::steps(records as usize, done as usize);
    let mut scoring = Scoring { args, model, genome, device, file, lines: vec![], scored: 0, without: 0, bar };
    let mut number = 0;
    Input::open(&args.input)?.lines("VCF file", |line, text| {
        if text.starts_with('#') || text.is_empty() {
            return Ok(());
        }
        number += 1;
        match number > done {
            true => scoring.add(line, text),
            false => Ok(()),
        }
    })?;
    scoring.flush()?;
    let Scoring { file, scored, without, bar, .. } = scoring;
    bar.finish_and_clear();
    let finish = || {
        let file = file.into_inner().map_err(|error| error.into_error())?;
        file.sync_all()?;
        fs::rename(&part, &args.out)
    };
    finish().map_err(Error::write(&args.out))?;
    println!("{scored} alleles scored, {without} records without a score; stored in {}", args.out.display());
    Ok(())
}

/// What is scored beside its place.
fn part(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// Number of records; also sees whether the file is one of VCF and complete.
fn count(path: &Path) -> Result<u64, Error> {
    let (mut records, mut is_vcf) = (0, false);
    let refuse = |line, reason: &str| Error::Line { path: path.to_path_buf(), line, reason: reason.to_string() };
    Input::open(path)?.lines("VCF file", |line, text| {
        match text {
            _ if line == 1 && !text.starts_with("##fileformat=VCF") => {
                return Err(refuse(line, "it does not begin with ##fileformat=VCF"));
            }
            _ if text.starts_with("#CHROM\t") => is_vcf = true,
            _ if text.starts_with('#') || text.is_empty() => {}
            _ if !is_vcf => return Err(refuse(line, "a record before the line that begins with #CHROM")),
            _ => {
                Record::parse(text).map_err(|reason| refuse(line, &reason))?;
                records += 1;
            }
        }
        Ok(())
    })?;
    match is_vcf {
        true => Ok(records),
        false => Err(Error::Table { path: path.to_path_buf(), reason: "no line begins with #CHROM".into() }),
    }
}

/// The header of the input with lines for what is added, and the settings, by which a part of a run is known again.
fn header(args: &ScoreArgs, genome: &Reference) -> Result<String, Error> {
    let mut header = String::new();
    let mut has_contigs = false;
    Input::open(&args.input)?.lines("VCF file", |_, text| {
        let is_ours =
            text.starts_with(&format!("##INFO=<ID={},", vcf::SCORE)) || text.starts_with("##dna_score_variants");
        has_contigs |= text.starts_with("##contig=");
        if text.starts_with("#CHROM\t") {
            if !has_contigs {
                for (name, length) in genome.contigs() {
                    header += &format!("##contig=<ID={name},length={length}>\n");
                }
            }
            header += &vcf::header();
            let [model, fasta] = [&args.model, &args.fasta].map(|path| path.display().to_string());
            header += &format!("##dna_score_variants=model {model}, fasta {fasta}, length {}\n", args.length);
        }
        if text.starts_with('#') && !is_ours {
            header += text;
            header.push('\n');
        }
        Ok::<_, Error>(())
    })?;
    Ok(header)
}

/// Opens what is left of an earlier run, after its last full line, or begins with the header. Returns the records that
/// are there.
fn begin(part: &Path, header: &str) -> Result<(BufWriter<File>, u64), Error> {
    let open = || -> std::io::Result<Option<(File, u64)>> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(part)?;
        let mut found = String::new();
        file.read_to_string(&mut found)?;
        let whole = found.rfind('\n').map_or(0, |end| end + 1);
        let done = match found[..whole].strip_prefix(header) {
            Some(records) => records.lines().count() as u64,
            // Not even the header has been written.
            None if header.starts_with(&found) => 0,
            None => return Ok(None),
        };
        let end = if done == 0 { 0 } else { whole as u64 };
        file.set_len(end)?;
        file.seek(SeekFrom::Start(end))?;
        if done == 0 {
            file.write_all(header.as_bytes())?;
        }
        Ok(Some((file, done)))
    };
    match open().map_err(Error::write(part))? {
        Some((file, done)) => Ok((BufWriter::new(file), done)),
        None => Err(Error::OtherPart { path: part.to_path_buf() }),
    }
}

struct Scoring<'a> {
    args: &'a ScoreArgs,
    model: Lm,
    genome: Reference,
    device: &'a Device,
    file: BufWriter<File>,
    /// Lines with their numbers that wait.
    lines: Vec<(usize, String)>,
    scored: u64,
    without: u64,
    bar: indicatif::ProgressBar,
}

impl Scoring<'_> {
    fn add(&mut self, line: usize, text: &str) -> Result<(), Error> {
        self.lines.push((line, text.to_string()));
        if self.lines.len() == TOGETHER { self.flush() } else { Ok(()) }
    }

    /// Scores and writes the lines that wait.
    fn flush(&mut self) -> Result<(), Error> {
        let lines = std::mem::take(&mut self.lines);
        let mut found = Vec::with_capacity(lines.len());
        for (line, text) in &lines {
            let refuse = |reason| Error::Line { path: self.args.input.clone(), line: *line, reason };
            let record = Record::parse(text).map_err(refuse)?;
            found.push(record.windows(&mut self.genome, self.args.length)?);
        }
        let windows: Vec<_> = found.iter().flatten().flatten().flatten().cloned().collect();
        let mut scores = variant_scores(&self.model, &windows, self.args.batch, self.device).into_iter();
        for ((line, text), windows) in lines.iter().zip(found) {
            let entry = match windows {
                Ok(windows) => {
                    let of_alleles: Vec<_> =
                        windows.iter().map(|window| scores.by_ref().take(window.iter().count()).next()).collect();
                    self.scored += of_alleles.iter().flatten().count() as u64;
                    self.without += u64::from(of_alleles.iter().all(Option::is_none));
                    vcf::scores(&of_alleles)
                }
                Err(note) => self.note(*line, text, note),
            };
            let written = writeln!(self.file, "{}", vcf::with_info(text, &entry));
            written.map_err(Error::write(&self.args.out))?;
        }
        self.file.flush().map_err(Error::write(&self.args.out))?;
        self.bar.inc(lines.len() as u64);
        Ok(())
    }

    fn note(&mut self, line: usize, text: &str, note: Note) -> String {
        self.without += 1;
        if self.without <= TOLD {
            let place: Vec<_> = text.split('\t').take(2).collect();
            self.bar.suspend(|| eprintln!("line {line}, {}: no score, {}", place.join(":"), note.name()));
        }
        format!("{}={}", vcf::NOTE, note.name())
    }
}
