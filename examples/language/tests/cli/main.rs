//! What the program does, seen from outside.

mod finetune;
#[cfg(feature = "hub")]
mod hub;
mod published;
mod refusals;
mod text;
mod train;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

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

fn published(name: &str) -> String {
    format!("{}/../../fixtures/checkpoints/{name}", env!("CARGO_MANIFEST_DIR"))
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
