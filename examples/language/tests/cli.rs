//! What the program does, seen from outside.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use safetensors::SafeTensors;
use serde_json::Value;
use tempfile::TempDir;

/// A model and a run that take a fraction of a second.
const TINY: &[&str] = &[
    "--d-model=16",
    "--n-layer=2",
    "--d-state=4",
    "--length=32",
    "--batch=2",
    "--steps=60",
    "--warmup=5",
    "--every=10",
    "--data=text",
];
const STEPS: usize = 60;

/// A folder with a text to train on, which is also the working folder of the program.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/tiny-shakespeare.txt");
        fs::write(place.path("text"), &fs::read(shipped).unwrap()[..6000]).unwrap();
        place
    }

    fn with_run() -> Self {
        let place = Self::new();
        place.expect_success(&[&["train"], TINY].concat());
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_language"));
        command.args(arguments).current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn expect_success(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Exit code 2, one line on stderr that contains `expected`, nothing on stdout, no file touched.
    fn expect_refusal(&self, arguments: &[&str], expected: &str) {
        let before = contents(self.0.path());
        let output = self.run(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.lines().count() == 1 && stderr.contains(expected), "{arguments:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert_eq!(before, contents(self.0.path()), "{arguments:?} left something behind");
    }

    /// Starts a training and waits until its first checkpoint is there.
    fn start_training(&self) -> Child {
        let mut child =
            self.command(&[&["train"], TINY].concat()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.path("runs/language/checkpoint-00000010").exists() {
            assert!(Instant::now() < deadline && child.try_wait().unwrap().is_none());
            std::thread::sleep(Duration::from_millis(1));
        }
        child
    }

    fn checkpoint(&self) -> PathBuf {
        let run = self.path("runs/language");
        let found = fs::read_dir(run).unwrap().map(|entry| entry.unwrap().path());
        let mut found: Vec<_> = found.filter(|path| path.to_string_lossy().contains("checkpoint-")).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    /// The history without the clock.
    fn history(&self) -> Vec<Value> {
        let lines = fs::read_to_string(self.checkpoint().join("history.jsonl")).unwrap();
        let record = |line| {
            let mut record: Value = serde_json::from_str(line).unwrap();
            record.as_object_mut().unwrap().remove("seconds").unwrap();
            record
        };
        lines.lines().map(record).collect()
    }
}

/// Every file below `folder` with its bytes.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => {
                found.append(&mut contents(&path));
                found.insert(path, None);
            }
            false => drop(found.insert(path.clone(), Some(fs::read(path).unwrap()))),
        }
    }
    found
}

fn nats(output: &str) -> f64 {
    output.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn a_run_trains_and_is_usable() {
    let place = Place::new();
    let output = place.expect_success(&[&["train"], TINY].concat());
    assert!(output.contains("validation loss") && output.contains("sample:"), "{output}");

    let history = place.history();
    assert_eq!(history.len(), STEPS);
    let validation = |step: usize| history[step - 1]["validation"].as_f64().unwrap();
    assert!(validation(STEPS) < validation(10) && validation(10) < 5.6);
    for name in ["loss.svg", "history.jsonl", "sample.txt"] {
        assert!(fs::metadata(place.path("runs/language").join(name)).unwrap().len() > 0, "{name}");
    }

    // The last validation of the training is what `eval` measures.
    let loss = nats(&place.expect_success(&["eval"]));
    assert!((loss - validation(STEPS)).abs() < 1e-4, "{loss}");

    let generate = |flags: &[&str]| place.run(&[&["generate", "--prompt=ROMEO:", "--length=20"], flags].concat());
    let first = generate(&["--seed=1"]);
    assert!(first.status.success() && first.stdout.starts_with(b"ROMEO:"), "{first:?}");
    assert_eq!(first.stdout.len(), "ROMEO:".len() + 20 + "\n".len());
    assert_eq!(first.stdout, generate(&["--seed=1"]).stdout);
    assert_ne!(first.stdout, generate(&["--seed=2"]).stdout);
    assert_eq!(generate(&["--greedy", "--seed=1"]).stdout, generate(&["--greedy", "--seed=2"]).stdout);

    let stderr = String::from_utf8_lossy(&first.stderr).into_owned();
    assert!(stderr.contains("20 tokens, ") && stderr.contains("tokens per second"), "{stderr}");

    let checkpoint = place.checkpoint();
    let info = place.expect_success(&["info", "--checkpoint", checkpoint.to_str().unwrap()]);
    assert!(info.contains("d_model 16") && info.contains("layers.0.mixer.a_log") && info.contains("step 60 of 60"));
    assert!(place.expect_success(&["info", "--n-layer=3"]).contains("n_layer 3"));
}

/// A tokenizer of the bytes `a` to `c` and some of their pairs, `size` tokens in all.
fn tokenizer(size: usize) -> String {
    let pairs = (3..size).map(|id| format!(r#""{}{}": {id}"#, ["a", "b", "c"][id / 3 % 3], ["a", "b", "c"][id % 3]));
    let vocabulary = [r#""a": 0"#, r#""b": 1"#, r#""c": 2"#].map(str::to_string).into_iter().chain(pairs);
    let vocabulary = vocabulary.collect::<Vec<_>>().join(", ");
    format!(
        r#"{{"version": "1.0", "truncation": null, "padding": null, "normalizer": null, "pre_tokenizer": null,
        "post_processor": null, "decoder": {{"type": "Fuse"}}, "added_tokens": [],
        "model": {{"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
        "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": {{{vocabulary}}},
        "merges": ["b a"]}}}}"#
    )
}

#[test]
fn text_is_written_as_asked() {
    let place = Place::with_run();
    let of_length = |length: &str, flags: &[&str]| {
        let output = place.run(&[&["generate", "--prompt=ROMEO:", "--length", length], flags].concat());
        assert!(output.status.success(), "{flags:?}: {output:?}");
        output.stdout
    };
    let generate = |flags: &[&str]| of_length("300", flags);
    let whole = generate(&[]);
    assert_eq!(whole, generate(&["--min-p=0", "--repetition-penalty=1"]));
    assert_eq!(generate(&["--min-p=1"]), generate(&["--greedy"]));
    assert_ne!(generate(&["--greedy"]), generate(&["--greedy", "--repetition-penalty=1.5"]));

    // The text ends with the stop text, if it is there.
    let written = String::from_utf8_lossy(&whole["ROMEO:".len()..whole.len() - 1]).into_owned();
    let stop: String = written.chars().filter(char::is_ascii_graphic).take(1).collect();
    let (before, _) = written.split_once(&stop).expect("a letter in 300");
    assert_eq!(generate(&["--stop=not there", "--stop", &stop]), format!("ROMEO:{before}{stop}\n").into_bytes());

    let beams = |flags: &[&str]| of_length("12", flags);
    assert_eq!(beams(&["--beams=1"]), beams(&["--greedy"]));
    assert_eq!(beams(&["--beams=4", "--stop=e"]), beams(&["--beams=4", "--stop=e"]));
    place.expect_refusal(&["generate", "--beams=0"], "0 beams");
    place.expect_refusal(&["generate", "--beams=2", "--stop=two"], "--stop two");
    place.expect_refusal(&["generate", "--beams=2", "--seed=1"], "--seed");
    place.expect_refusal(&["generate", "--min-p=2"], "min_p");
    place.expect_refusal(&["generate", "--repetition-penalty=0"], "repetition_penalty");
    place.expect_refusal(&["generate", "--stop="], "--stop");
}

#[test]
fn a_tokenizer_takes_the_place_of_bytes() {
    let place = Place::with_run();
    fs::write(place.path("small"), tokenizer(6)).unwrap();
    fs::write(place.path("abc"), "abacabacbabcacbabac".repeat(5)).unwrap();
    let output = place.expect_success(&["eval", "--file=abc", "--tokenizer=small"]);
    // `ba` is one token, which is there five times in every repetition.
    assert!(output.contains("nats per token") && output.contains("over 69 tokens"), "{output}");
    let loss: f64 = nats(&output);
    let perplexity: f64 = output.split("perplexity ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!((loss.exp() / perplexity - 1.0).abs() < 1e-4, "{output}");

    // In the checkpoint's folder it is found.
    let inside = place.checkpoint().join("tokenizer.json");
    fs::copy(place.path("small"), &inside).unwrap();
    assert_eq!(output, place.expect_success(&["eval", "--file=abc"]));
    fs::write(place.path("other"), b"ab\xff").unwrap();
    place.expect_refusal(&["eval", "--file=other"], "not UTF-8");

    fs::write(&inside, tokenizer(6).replace("\"c\": 2", "\"c\": 256")).unwrap();
    place.expect_refusal(&["generate"], "has 257 tokens, expected at most the 256 of the model");
    fs::write(&inside, "no JSON").unwrap();
    place.expect_refusal(&["generate"], "tokenizer.json does not work");
    place.expect_refusal(&["generate", "--tokenizer=absent"], "absent");
}

#[test]
fn a_killed_run_resumes_exactly() {
    let whole = Place::with_run();
    let place = Place::new();
    let mut child = place.start_training();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(place.history().len() < STEPS, "killed too late to test anything");

    // What a kill in the middle of a write leaves.
    fs::create_dir_all(place.path("runs/language/.scratch-1/built")).unwrap();
    place.expect_success(&["train", "--resume"]);
    assert_eq!(place.history(), whole.history());
    assert!(!place.path("runs/language/.scratch-1").exists());

    // A finished run has nothing left to do.
    place.expect_success(&["train", "--resume"]);
    assert_eq!(place.history(), whole.history());
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_a_run_that_resumes_exactly() {
    let whole = Place::with_run();
    let place = Place::new();
    let mut child = place.start_training();
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!((10..STEPS).contains(&place.history().len()));
    place.expect_success(&["train", "--resume", "--data=text"]);
    assert_eq!(place.history(), whole.history());
}

#[test]
fn a_run_is_replaced_only_on_request() {
    let place = Place::with_run();
    let again = [&["train"], TINY].concat();
    place.expect_refusal(&again, "--overwrite");
    place.expect_success(&[&again[..], &["--overwrite", "--seed=1"]].concat());
    assert_eq!(place.history().len(), STEPS);
}

#[test]
fn eval_does_not_depend_on_the_windows() {
    let place = Place::with_run();
    fs::write(place.path("other"), &fs::read(place.path("text")).unwrap()[..500]).unwrap();
    let eval = |window: &str| nats(&place.expect_success(&["eval", "--file=other", "--window", window]));
    let whole = eval("10000");
    assert!(whole > 1.0 && whole < 5.6);
    for window in ["1", "7", "64", "499"] {
        assert!((eval(window) - whole).abs() <= 2e-5, "{window}: {} {whole}", eval(window));
    }
}

fn published(name: &str) -> String {
    format!("{}/../../fixtures/checkpoints/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A tensor of a safetensors file as f32.
fn tensor(path: &Path, name: &str) -> (Vec<usize>, Vec<f32>) {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = file.tensor(name).unwrap();
    let words = tensor.data().as_chunks().0.iter();
    (tensor.shape().to_vec(), words.map(|bytes| f32::from_le_bytes(*bytes)).collect())
}

#[test]
fn logits_of_published_models_are_those_of_transformers() {
    let place = Place::new();
    let ids = |name: &str| {
        let path = PathBuf::from(published(name)).join("expected.safetensors");
        let bytes = fs::read(&path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let ids: Vec<_> =
            file.tensor("ids").unwrap().data().as_chunks().0.iter().map(|id| i32::from_le_bytes(*id)).collect();
        (ids.iter().map(i32::to_string).collect::<Vec<_>>().join(","), tensor(&path, "logits"))
    };
    for (model, of) in [("untied", "untied"), ("untied_original", "untied"), ("falcon", "falcon")] {
        let (ids, (shape, expected)) = ids(of);
        let model = published(model);
        let output = place.expect_success(&["logits", "--model", &model, "--ids", &ids, "--out=logits.safetensors"]);
        assert_eq!(output, "");
        let (found_shape, found) = tensor(&place.path("logits.safetensors"), "logits");
        assert_eq!(found_shape, shape);
        assert!(found.iter().zip(&expected).all(|(x, y)| (x - y).abs() <= 1e-4));
    }
    let output = place.expect_success(&["logits", "--model", &published("plain"), "--ids=3,4"]);
    assert_eq!(output.lines().count(), 2 * 11, "{output}");
    assert!(place.expect_success(&["info", "--model", &published("deep")]).contains("n_layer 6"));
}

#[test]
fn a_converted_model_is_the_same_model() {
    let place = Place::with_run();
    let original = published("narrow_original");
    place.expect_success(&["convert", "--model", &original, "--out=converted"]);
    place.expect_success(&["convert", "--model=converted", "--to=burn", "--out=burn"]);
    let ids = "--ids=1,2,3";
    let converted = place.expect_success(&["logits", "--model=converted", ids]);
    assert_eq!(converted.lines().count(), 3 * 11);
    assert_eq!(place.expect_success(&["logits", "--model=burn", ids]), converted);
    place.expect_success(&["convert", "--checkpoint=runs/language", "--out=bytes"]);
    assert!(place.expect_success(&["info", "--model=bytes"]).contains("vocab_size 256"));
    place.expect_refusal(&["convert", "--model", &original, "--out=converted"], "already holds a model");
}

#[test]
fn a_published_model_generates_and_is_measured_as_the_run_it_was_made_from() {
    let place = Place::with_run();
    place.expect_success(&["convert", "--checkpoint=runs/language", "--out=published"]);
    let generate = ["generate", "--length=20", "--seed=3"];
    let by = |what: &[&str]| place.expect_success(what);
    assert_eq!(by(&[&generate[..], &["--model=published"]].concat()), by(&generate));
    let eval = ["eval", "--file=text"];
    assert_eq!(nats(&by(&[&eval[..], &["--model=published"]].concat())), nats(&by(&eval)));
    place.expect_refusal(&["eval", "--model=published"], "--file");
    place.expect_refusal(&["generate", "--model=published", "--checkpoint=runs/language"], "--model");
}

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
