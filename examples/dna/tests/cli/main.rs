//! What the program does, seen from outside.

mod classes;
mod refusals;
mod runs;
mod variants;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A model and a run that take a fraction of a second.
const TINY: &[&str] = &[
    "pretrain",
    "--data=genome.fa",
    "--d-model=8",
    "--n-layer=1",
    "--length=32",
    "--batch=2",
    "--steps=20",
    "--warmup=2",
    "--every=5",
];

/// A folder with a genome, which is also the working folder of the program.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::write(place.path("genome.fa"), genome()).unwrap();
        place
    }

    fn with_run(more: &[&str]) -> Self {
        let place = Self::new();
        place.expect_success(&[TINY, more].concat());
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dna"));
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

    /// Exit code 2, one line on stderr that contains `expected`, no file touched.
    fn expect_refusal(&self, arguments: &[&str], expected: &str) {
        let before = contents(self.0.path());
        let output = self.run(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.lines().count() == 1 && stderr.contains(expected), "{arguments:?}: {stderr}");
        assert_eq!(before, contents(self.0.path()), "{arguments:?} left something behind");
    }
}

/// Two contigs, drawn by a rule, with lines of 50.
fn genome() -> String {
    let mut state = 1_u64;
    let mut text = String::new();
    for (name, lines) in [("chr1", 40), ("chr2", 24)] {
        text += &format!(">{name} drawn\n");
        for _ in 0..lines {
            let mut letter = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                char::from(b"ACGT"[(state >> 62) as usize])
            };
            text.extend((0..50).map(|_| letter()));
            text.push('\n');
        }
    }
    text
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
