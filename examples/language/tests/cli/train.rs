//! Training: what a run leaves, how it stops and goes on.

use std::fs;
use std::process::Command;

use crate::{Place, STEPS, TINY, nats};

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
