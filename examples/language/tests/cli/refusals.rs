//! What is refused, and with which words.

use std::fs;

use crate::{Place, published};

#[test]
fn bad_models_and_ids_are_refused() {
    let place = Place::new();
    let (plain, hostile) = (published("plain"), published("hostile"));
    let cases: &[(&[&str], &str)] = &[
        (&["logits", "--model", &plain, "--ids="], "no token ids"),
        (&["logits", "--model", &plain, "--ids=1,x"], "`x` is no token id"),
        (&["logits", "--model", &plain, "--ids", "-1"], "`-1` is no token id"),
        (&["logits", "--model", &plain, "--ids=47,48"], "token 48 at position 1 is not in the vocabulary of 48"),
        (&["logits", "--model", &plain, "--ids=1", "--out=absent/x"], "absent/x"),
        (&["logits", "--model=absent", "--ids=1"], "absent/config.json"),
        (&["logits", "--model=.", "--ids=1"], "config.json"),
        (&["logits", "--model", &hostile, "--ids=1"], "is missing"),
        (&["logits", "--ids=1"], "--model"),
        (&["info", "--model", &plain, "--n-layer=3"], "--n-layer"),
        (&["convert", "--out=converted"], "--model"),
    ];
    for (arguments, expected) in cases {
        place.expect_refusal(arguments, expected);
    }
}

#[test]
fn bad_flags_are_refused() {
    let place = Place::new();
    fs::write(place.path("empty"), "").unwrap();
    fs::write(place.path("short"), "To be, or not to be").unwrap();
    let cases: &[(&[&str], &str)] = &[
        (&["train", "--data=absent"], "absent"),
        (&["train", "--data=empty"], "is empty"),
        (&["train", "--data=short"], "too short"),
        (&["train", "--data=text", "--length=600"], "validation part has 600 bytes, at least 601"),
        (&["train", "--d-model=0"], "`d_model` is 0"),
        (&["train", "--d-state=0"], "`d_state` is 0"),
        (&["train", "--d-model=1000000"], "parameters"),
        (&["train", "--steps=0"], "--steps 0"),
        (&["train", "--warmup=1000000"], "--warmup 1000000"),
        (&["train", "--lr=-1"], "--lr -1"),
        (&["train", "--lr=NaN"], "--lr NaN"),
        (&["train", "--lr=fast"], "--lr"),
        (&["train", "--batch=0"], "--batch 0"),
        (&["train", "--resume"], "no checkpoint in runs/language"),
        (&["train", "--resume", "--overwrite"], "--overwrite"),
        (&["train", "--data=text", "--length=32", "--out=text/below"], "text/below"),
        (&["train", "--device=abacus"], "unknown device `abacus`; this build has"),
        (&["generate"], "no checkpoint in runs/language"),
        (&["generate", "--prompt="], "the prompt is empty"),
        (&["generate", "--length=0"], "--length 0"),
        (&["eval", "--window=0"], "--window 0"),
        (&["info", "--n-layer=0"], "`n_layer` is 0"),
        (&["translate"], "translate"),
    ];
    for (arguments, expected) in cases {
        place.expect_refusal(arguments, expected);
    }
    if cfg!(not(feature = "rocm")) {
        place.expect_refusal(&["info", "--device=rocm"], "device `rocm` is not compiled in; this build has");
    }
}

#[test]
fn flags_that_contradict_a_checkpoint_are_refused() {
    let place = Place::with_run();
    fs::write(place.path("other"), fs::read(place.path("text")).unwrap().to_ascii_uppercase()).unwrap();
    fs::write(place.path("byte"), "x").unwrap();
    place.expect_refusal(&["train", "--resume", "--d-model=32"], "--d-model 32 conflicts with 16");
    place.expect_refusal(&["train", "--resume", "--steps=61"], "--steps 61 conflicts with 60");
    place.expect_refusal(&["train", "--resume", "--data=other"], "--data other conflicts with");
    place.expect_refusal(&["info", "--checkpoint=runs/language", "--n-layer=9"], "--n-layer 9 conflicts with 2");
    place.expect_refusal(&["generate", "--temperature=0"], "temperature");
    place.expect_refusal(&["generate", "--top-p=1.5"], "top_p");
    place.expect_refusal(&["generate", "--top-k=0"], "top_k");
    place.expect_refusal(&["eval", "--file=byte"], "too short");
    fs::copy(place.path("other"), place.path("text")).unwrap();
    place.expect_refusal(&["eval"], "not the one that the model was trained on");
    place.expect_success(&["eval", "--file=text"]);
}

#[test]
fn damaged_and_foreign_checkpoints_are_refused() {
    let place = Place::with_run();
    let checkpoint = place.checkpoint();
    let spoil = |name: &str, change: &dyn Fn(Vec<u8>) -> Vec<u8>, command: &[&str], expected: &str| {
        let path = checkpoint.join(name);
        let original = fs::read(&path).unwrap();
        fs::write(&path, change(original.clone())).unwrap();
        place.expect_refusal(command, expected);
        fs::write(&path, original).unwrap();
    };
    let replace = |from: &'static str, to: &'static str| {
        move |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replacen(from, to, 1).into_bytes()
    };
    let flip = |mut bytes: Vec<u8>| {
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        bytes
    };
    let half = |bytes: Vec<u8>| bytes[..bytes.len() / 2].to_vec();

    spoil("model.bpk", &flip, &["generate"], "model.bpk is damaged");
    spoil("model.bpk", &half, &["eval"], "model.bpk is damaged");
    spoil("optimizer.bpk", &half, &["train", "--resume"], "optimizer.bpk is damaged");
    spoil("history.jsonl", &half, &["train", "--resume"], "history.jsonl is damaged");
    spoil("state.json", &half, &["train", "--resume"], "state.json is damaged");
    spoil("config.json", &half, &["info", "--checkpoint=runs/language"], "not a checkpoint of this program");
    let hugging_face = |_| br#"{"model_type": "mamba", "hidden_size": 768}"#.to_vec();
    spoil("config.json", &hugging_face, &["generate"], "not a checkpoint of this program");
    let vocabulary = replace("\"vocab_size\": 256", "\"vocab_size\": 50280");
    spoil("config.json", &vocabulary, &["generate"], "vocabulary of 50280, expected 256");
    let other_model = replace("\"d_model\": 16", "\"d_model\": 24");
    spoil("config.json", &other_model, &["generate"], "checkpoint");

    // All is restored: the run is usable again, and unusable without one of its files.
    place.expect_success(&["eval"]);
    fs::remove_file(checkpoint.join("model.bpk")).unwrap();
    place.expect_refusal(&["eval"], "model.bpk");
}

#[cfg(feature = "hub")]
#[test]
fn a_hub_that_does_not_answer_is_told() {
    let place = Place::new();
    let mut command = place.command(&["logits", "--model=owner/name", "--ids=1"]);
    let output = command.env("HF_ENDPOINT", "http://127.0.0.1:9").env("HF_HOME", place.path("hub")).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.starts_with("error: cannot fetch the list of files of owner/name from the hub: "), "{stderr}");
    place.expect_refusal(&["logits", "--model=one/two/three", "--ids=1"], "config.json");
}
