//! Language models: trained, continued, measured, used.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::{Place, TINY};

#[test]
fn an_interrupted_run_ends_as_one_that_was_not() {
    for objective in ["--objective=masked", "--objective=causal"] {
        let place = Place::with_run(&["--out=whole", objective]);
        let arguments = [TINY, &["--out=parts", objective]].concat();
        let mut child = place.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while !place.path("parts/checkpoint-00000005").exists() && child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        place.expect_success(&["pretrain", "--resume", "--out=parts"]);
        let model = |run: &str| fs::read(place.path(run).join("model/model.safetensors")).unwrap();
        assert!(model("whole") == model("parts"), "{objective}");
        assert!(fs::read_to_string(place.path("parts/bits.svg")).unwrap().starts_with("<svg"));
    }
}

#[test]
fn a_masked_model_is_measured_and_gives_embeddings_and_pictures() {
    for (ph, out) in [(&[][..], "ps"), (&["--ph"][..], "ph")] {
        let place = Place::with_run(&[&["--out", out], ph].concat());
        let text = place.expect_success(&["eval", "--model", out, "--data=genome.fa", "--length=32"]);
        assert!(text.contains("bits per held-out nucleotide; a Markov model of order 5"), "{text}");

        fs::write(place.path("places.bed"), "chr1\t0\t40\tfirst\nchr2\t10\t60\tother\t0\t-\nchr2\t10\t60\n").unwrap();
        let embed = ["embed", "genome.fa", "--model", out];
        place.expect_success(&[&embed[..], &["--bed=places.bed", "--out=rows.npy"]].concat());
        place.expect_success(&[&embed[..], &["--out=rows.safetensors"]].concat());
        assert_eq!(fs::read_to_string(place.path("rows.npy.txt")).unwrap(), "first\nother\nchr2:10-60\n");
        assert_eq!(fs::read_to_string(place.path("rows.safetensors.txt")).unwrap(), "chr1\nchr2\n");
        // Either strand has the same mean, to the rounding of its sum.
        let bytes = fs::read(place.path("rows.npy")).unwrap();
        let rows: Vec<f32> = bytes[256..].as_chunks().0.iter().map(|word| f32::from_le_bytes(*word)).collect();
        assert!((0..8).all(|i| (rows[8 + i] - rows[16 + i]).abs() < 1e-5), "{rows:?}");

        place.expect_success(&["saliency", "--model", out, "--sequence=ACGTNACGT", "--out=logo.svg"]);
        assert!(fs::read_to_string(place.path("logo.svg")).unwrap().contains("bits"));
        place.expect_refusal(&["generate", "--model", out], "a masked model, expected a causal one");
    }
}

#[test]
fn letters_in_lower_case_count_as_much_as_was_asked_for() {
    for model in [&[][..], &["--ph"], &["--objective=causal"]] {
        let place = Place::with_run(&[&["--out=upper"], model].concat());
        let upper = fs::read_to_string(place.path("genome.fa")).unwrap();
        let lower = upper.to_lowercase();
        let (half, _) = lower.split_once(">chr2").unwrap();
        fs::write(place.path("lower.fa"), &lower).unwrap();
        fs::write(place.path("half.fa"), half.to_string() + &upper[half.len()..]).unwrap();
        let tiny: Vec<_> = TINY.iter().copied().filter(|flag| !flag.starts_with("--data")).collect();
        let model = |data: &str, out: &str, weight: &str| {
            let more = ["--data", data, "--out", out, "--repeat-weight", weight];
            place.expect_success(&[&tiny[..], &more, model].concat());
            fs::read(place.path(out).join("model/model.safetensors")).unwrap()
        };
        let upper = fs::read(place.path("upper/model/model.safetensors")).unwrap();
        // The mean is the same if all count half.
        assert!(model("lower.fa", "lower", "0.5") == upper && model("half.fa", "same", "1") == upper);
        assert!(model("half.fa", "half", "0.5") != upper);
    }
}

#[test]
fn a_causal_model_writes_nucleotides() {
    let place = Place::with_run(&["--objective=causal", "--out=run"]);
    let generate = ["generate", "--model=run", "--prompt=ACGT", "--length=50", "--seed=3"];
    let text = place.expect_success(&generate);
    assert!(text.trim_end().len() <= 50 && text.trim_end().bytes().all(|letter| b"ACGT".contains(&letter)), "{text}");
    assert_eq!(place.expect_success(&generate), text);
    fs::write(place.path("short.fa"), ">one\nACGTACGT\n").unwrap();
    place.expect_success(&["saliency", "--model=run", "--fasta=short.fa"]);
    place.expect_refusal(&["embed", "genome.fa", "--model=run", "--out=rows.npy"], "a causal model, expected Caduceus");
}
