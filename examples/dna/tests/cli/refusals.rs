//! What is refused, and with which words.

use std::fs;

use crate::{Place, TINY};

#[test]
fn bad_flags_and_files_are_refused() {
    let place = Place::new();
    fs::write(place.path("empty.fa"), "").unwrap();
    fs::write(place.path("bad.fa"), ">one\nACGT!CGT\n").unwrap();
    fs::write(place.path("short.fa"), ">one\nACGTACGT\n").unwrap();
    let cases: &[(&[&str], &str)] = &[
        (&["pretrain", "--data=absent"], "absent"),
        (&["pretrain", "--data=empty.fa"], "no sequences"),
        (&["pretrain", "--data=short.fa"], "no contig has 512 nucleotides in its training part"),
        (&["pretrain", "--data=genome.fa", "--length=300"], "in its validation part"),
        (&["pretrain", "--d-model=0"], "`d_model` is 0"),
        (&["pretrain", "--n-layer=0"], "`n_layer` is 0"),
        (&["pretrain", "--steps=0"], "--steps 0"),
        (&["pretrain", "--warmup=100000"], "--warmup 100000"),
        (&["pretrain", "--lr=NaN"], "--lr NaN"),
        (&["pretrain", "--length=1"], "--length 1"),
        (&["pretrain", "--batch=0"], "--batch 0"),
        (&["pretrain", "--ph", "--objective=causal"], "--objective masked"),
        (&["pretrain", "--repeat-weight=2"], "--repeat-weight 2: expected 0 to 1"),
        (&["pretrain", "--resume"], "no checkpoint in runs/dna"),
        (&["pretrain", "--device=abacus"], "unknown device `abacus`"),
        (&["finetune", "--folds=1"], "--folds 1"),
        (&["finetune", "--epochs=0"], "--epochs 0"),
        (&["finetune", "--models=forest"], "forest"),
        (&["generate", "--model=absent"], "absent/config.json"),
        (&["generate", "--model=absent", "--prompt=ACX"], "letter 'X' at position 3"),
        (&["saliency", "--model=absent", "--sequence="], "--sequence 0"),
        (&["saliency", "--model=absent", "--fasta=bad.fa"], "letter '!' at position 5 of record `one`"),
        (&["saliency", "--model=absent"], "--sequence"),
        (&["saliency", "--model=absent", "--fasta=genome.fa"], "more than 1000 nucleotides"),
        (&["eval", "--model=absent"], "absent/config.json"),
        (&["embed", "genome.fa", "--model=absent", "--out=rows.npy"], "absent/config.json"),
    ];
    for (arguments, expected) in cases {
        place.expect_refusal(arguments, expected);
    }
}

#[test]
fn runs_are_neither_lost_nor_changed_by_mistake() {
    let place = Place::with_run(&["--out=run"]);
    place.expect_refusal(&[TINY, &["--out=run"]].concat(), "already holds a run");
    place.expect_refusal(&["pretrain", "--resume", "--out=run", "--d-model=16"], "--d-model differs from the run");
    place.expect_refusal(&["pretrain", "--resume", "--out=run", "--data=other.fa"], "--data differs from the run");
    place.expect_refusal(&["embed", "genome.fa", "--model=run", "--out=rows.txt"], ".npy or .safetensors");
    place.expect_refusal(
        &["embed", "genome.fa", "--model=run", "--out=rows.npy", "--max-length=100"],
        "more than 100 nucleotides",
    );
    fs::write(place.path("outside.bed"), "chr1\t0\t40\nchr2\t1190\t1201\n").unwrap();
    place.expect_refusal(
        &["embed", "genome.fa", "--model=run", "--out=rows.npy", "--bed=outside.bed"],
        "1190..1201 is not within record `chr2` of genome.fa, which has 1200 nucleotides",
    );
    for name in ["state.json", "model.bpk", "optimizer.bpk"] {
        let path = place.path("run/checkpoint-00000020").join(name);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        place.expect_refusal(&["pretrain", "--resume", "--out=run"], &format!("{name} is damaged"));
        fs::write(&path, bytes).unwrap();
    }
    place.expect_success(&[TINY, &["--out=run", "--overwrite"]].concat());
}
