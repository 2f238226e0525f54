//! Text that is written, and text that is measured.

use std::fs;

use crate::{Place, nats, tokenizer};

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

#[test]
fn a_conversation_goes_on_from_a_file() {
    let place = Place::with_run();
    let generate = |flags: &[&str]| {
        let output = place.run(&[&["generate", "--top-k=10"], flags].concat());
        assert!(output.status.success(), "{flags:?}: {output:?}");
        output.stdout
    };
    let first = generate(&["--prompt=ROMEO:", "--length=20", "--save-state=talk"]);
    let (said, _) = first.split_at(first.len() - 1);
    let state = fs::read(place.path("talk")).unwrap();
    let second = generate(&["--state=talk", "--prompt=\nJULIET:", "--length=200", "--save-state=talk"]);
    assert_ne!(fs::read(place.path("talk")).unwrap(), state);
    let whole = [said, b"\nJULIET:"].concat();
    let whole = generate(&["--prompt", std::str::from_utf8(&whole).unwrap(), "--length=200"]);
    assert_eq!(whole, [said, &second].concat());
    assert_ne!(second, generate(&["--prompt=\nJULIET:", "--length=200"]));
    place.expect_success(&["generate", "--state=talk", "--prompt=a", "--length=3", "--beams=2"]);

    place.expect_refusal(&["generate", "--state=absent", "--prompt=a"], "absent");
    place.expect_refusal(&["generate", "--state=text", "--prompt=a"], "no complete safetensors file");
    place.expect_refusal(&["generate", "--state=talk"], "--prompt");
    place.expect_refusal(&["generate", "--state=talk", "--prompt="], "the prompt is empty");
    place.expect_refusal(&["generate", "--beams=2", "--save-state=talk"], "--save-state");
    place.expect_success(&[
        "train",
        "--overwrite",
        "--d-model=24",
        "--steps=1",
        "--warmup=0",
        "--data=text",
        "--length=9",
    ]);
    place.expect_refusal(&["generate", "--state=talk", "--prompt=a"], "layers.0.conv");
}

#[test]
fn a_text_of_many_pieces_is_measured_as_one() {
    let place = Place::with_run();
    fs::write(place.path("small"), tokenizer(6)).unwrap();
    let long = "abacabacbabcacbabaccabbacca".repeat(8000);
    fs::write(place.path("long"), &long).unwrap();
    fs::write(place.path("half"), &long[..long.len() / 2]).unwrap();
    let tokens = |file: &str| {
        let output = place.expect_success(&["eval", "--file", file, "--tokenizer=small"]);
        output.split("over ").nth(1).unwrap().split(' ').next().unwrap().parse::<usize>().unwrap() + 1
    };
    assert_eq!(tokens("long"), 2 * tokens("half"));
}

#[test]
fn speed_and_memory_are_told() {
    let place = Place::with_run();
    let bench = ["bench", "--length=3,5", "--batch=1,2", "--new=2", "--repeats=1"];
    let output = place.expect_success(&bench);
    let rows: Vec<_> = output.lines().filter(|line| line.starts_with("| 1") || line.starts_with("| 2")).collect();
    assert_eq!(rows.len(), 4, "{output}");
    for row in rows {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        assert!(cells[3].parse::<f64>().unwrap() > 0.0 && cells[4].parse::<f64>().unwrap() > 0.0, "{row}");
        assert!(!cfg!(target_os = "linux") || cells[5].ends_with("MB"), "{row}");
    }
    place.expect_refusal(&["bench", "--length=0"], "--length 0");
    place.expect_refusal(&["bench", "--length=5,x"], "--length");
    place.expect_refusal(&["bench", "--batch=1,0"], "--batch 1,0");
    place.expect_refusal(&["bench", "--new=0"], "--new 0");
    place.expect_refusal(&["bench", "--model=absent"], "absent");
}
