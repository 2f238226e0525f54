//! Fine-tuning, as a whole and through adapters.

use std::fs;

use serde_json::Value;

use crate::{Place, published, tokenizer};

/// Another text than that of the run, and few steps.
const SHORT: &[&str] =
    &["finetune", "--data=other", "--length=32", "--batch=2", "--steps=30", "--warmup=2", "--every=10", "--lr=0.01"];
const LORA: &[&str] = &["--lora=in_proj,x_proj,out_proj", "--rank=2", "--alpha=4"];

impl Place {
    fn with_other_text() -> Self {
        let place = Self::with_run();
        let other = fs::read_to_string(place.path("text")).unwrap().to_ascii_uppercase();
        fs::write(place.path("other"), other).unwrap();
        place
    }

    fn finetune(&self, flags: &[&str]) -> String {
        self.expect_success(&[SHORT, flags].concat())
    }

    /// The history of the fine-tuning without the clock.
    fn steps(&self, run: &str) -> Vec<Value> {
        let lines = fs::read_to_string(self.path(run).join("history.jsonl")).unwrap();
        let record = |line| {
            let mut record: Value = serde_json::from_str(line).unwrap();
            record.as_object_mut().unwrap().remove("seconds").unwrap();
            record
        };
        lines.lines().map(record).collect()
    }
}

/// The validation losses before and after.
fn losses(output: &str) -> [f64; 2] {
    let line = output.lines().find(|line| line.contains(" before, ")).unwrap();
    let numbers: Vec<f64> = line.split([' ', ',']).filter_map(|word| word.parse().ok()).collect();
    [numbers[0], numbers[1]]
}

#[test]
fn adapters_learn_and_merged_weights_are_the_same_model() {
    let place = Place::with_other_text();
    let output = place.finetune(&[LORA, &["--merge=merged"]].concat());
    let [before, after] = losses(&output);
    assert!(after < before - 0.05, "{output}");
    // Of two layers of 16: 2 * (16 + 64 + 32 + 9 + 32 + 16) each.
    assert!(output.contains("LoRA of rank 2, alpha 4") && output.contains("trains 676 parameters"), "{output}");

    // The base is as it was; the adapter beside it is the merged model, and merging it again gives the same weights.
    place.expect_success(&["convert", "--checkpoint=runs/language", "--out=base"]);
    let ids = "--ids=82,79,77,69,79,58,10";
    let adapter = "--adapter=runs/finetune/adapter";
    let logits = |flags: &[&str]| place.expect_success(&[&["logits", ids], flags].concat());
    let merged = logits(&["--model=merged"]);
    assert_eq!(logits(&["--model=base", adapter]), merged);
    assert_ne!(logits(&["--model=base"]), merged);
    place.expect_success(&["convert", "--model=base", adapter, "--out=again"]);
    let weights = |model: &str| fs::read(place.path(model).join("model.safetensors")).unwrap();
    assert!(weights("again") == weights("merged"));
    let text = |flags: &[&str]| place.expect_success(&[&["generate", "--length=20"], flags].concat());
    assert_eq!(text(&[adapter]), text(&["--model=merged"]));

    // The adapter and its checkpoint hold no weights of the base.
    let size = |path: &str| fs::metadata(place.path(path)).unwrap().len();
    assert!(size("runs/finetune/adapter/adapter_model.safetensors") < 4 * 676 + 3000);
    assert!(size("runs/finetune/checkpoint-00000030/adapter.bpk") < 4 * 676 + 12_000);
    assert!(!place.path("runs/finetune/checkpoint-00000030/model.bpk").exists());
}

#[test]
fn a_whole_model_learns_more() {
    let place = Place::with_other_text();
    let output = place.finetune(&["--merge=merged", "--out=runs/whole"]);
    let [before, after] = losses(&output);
    assert!(after < before - 0.2 && output.contains("trains all"), "{output}");
    // A published model is a start as well, with a tokenizer of its own, which goes with the merged model.
    fs::write(place.path("merged/tokenizer.json"), tokenizer(6)).unwrap();
    fs::write(place.path("abc"), "abacabacbabcacbabac".repeat(60)).unwrap();
    let flags = ["finetune", "--model=merged", "--data=abc", "--lora=dt_proj", "--out=runs/abc", "--merge=abc-model"];
    let [before, after] = losses(&place.expect_success(&[&flags, &SHORT[2..]].concat()));
    assert!(after < before);
    assert!(place.path("abc-model/tokenizer.json").exists());
}

#[test]
fn a_stopped_run_goes_on_exactly() {
    for (flags, run) in [(LORA, "runs/lora"), (&[], "runs/whole")] {
        let place = Place::with_other_text();
        let out = format!("--out={run}");
        place.finetune(&[flags, &[&out]].concat());
        let expected = place.steps(run);
        assert_eq!(expected.len(), 30);

        let mut child = place.command(&[SHORT, flags, &["--out=runs/stopped"]].concat()).spawn().unwrap();
        while !place.path("runs/stopped/checkpoint-00000010").exists() {
            assert!(child.try_wait().unwrap().is_none());
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        place.expect_success(&["finetune", "--resume", "--out=runs/stopped"]);
        assert_eq!(place.steps("runs/stopped"), expected);
    }
}

#[test]
fn bad_flags_and_other_models_are_refused() {
    let place = Place::with_other_text();
    let refused = |flags: &[&str], expected: &str| place.expect_refusal(&[SHORT, flags].concat(), expected);
    refused(&["--lora=conv1d"], "`conv1d` is no projection");
    refused(&["--lora="], "`` is no projection");
    refused(&["--lora=in_proj", "--rank=0"], "`rank` is 0, expected 1 to 16");
    refused(&["--lora=in_proj", "--rank=17"], "`rank` is 17");
    refused(&["--lora=in_proj", "--alpha=0"], "`alpha` is 0");
    refused(&["--rank=4"], "--lora");
    refused(&["--checkpoint=absent"], "no checkpoint in absent");
    refused(&["--model=absent"], "absent");
    refused(&["--resume"], "no checkpoint in runs/finetune");
    place.expect_refusal(&["finetune", "--data=other", "--batch=0"], "--batch 0");
    place.expect_refusal(&["finetune", "--data=other", "--length=600"], "has 600 tokens, at least 601 are needed");
    let plain = published("plain");
    refused(&["--merge", &plain], "already holds a model");
    refused(&["--model", &plain], "vocabulary of 48, expected 256");

    place.finetune(LORA);
    refused(&[], "--overwrite");
    let resumed = |flags: &[&str], expected: &str| {
        place.expect_refusal(&[&["finetune", "--resume"], flags].concat(), expected);
    };
    resumed(&["--rank=3"], "--rank 3 conflicts with 2");
    resumed(&["--lora=in_proj"], "--lora");
    resumed(&["--steps=31"], "--steps 31 conflicts with 30");
    resumed(&["--data=text"], "--data text conflicts with");
    resumed(&["--model", &plain], "--model");
    place.expect_refusal(&["generate", "--adapter=runs/finetune"], "adapter_config.json");
    place.expect_refusal(&["generate", "--checkpoint=runs/finetune"], "not a checkpoint of this program");

    // The run that it started from goes on, and is another model then.
    let again = ["train", "--overwrite", "--seed=1", "--steps=1", "--warmup=0", "--data=text", "--length=9"];
    place.expect_success(&[&again[..], &["--d-model=16", "--n-layer=2", "--d-state=4"]].concat());
    resumed(&[], "its weights are others");
    place.expect_success(&[&again[..], &["--d-model=24", "--n-layer=2", "--d-state=4"]].concat());
    place.expect_refusal(&["generate", "--adapter=runs/finetune/adapter"], "has shape [2, 16], expected [2, 24]");
}
