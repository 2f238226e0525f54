//! What the program does, seen from outside.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// A model that takes a fraction of a second.
const TINY: &[&str] = &["--look-back=24", "--d-model=16", "--layers=1", "--epochs=2", "--batch=64", "--lr=0.001"];

/// A folder with a series, which is also the working folder of the program.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let mut text = "date,load,price,name\n".to_string();
        for row in 0..600 {
            // Two hours are missing, and one value.
            if row == 100 || row == 101 {
                continue;
            }
            let wave = (row as f64 / 24.0 * std::f64::consts::TAU).sin();
            let price = if row == 50 { String::new() } else { format!("{:.3}", 5.0 + wave + row as f64 / 100.0) };
            text += &format!("2024-01-{:02} {:02}:00,{:.3},{price},x\n", 1 + row / 24, row % 24, 3.0 - 2.0 * wave);
        }
        fs::write(place.path("series.csv"), text).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_time-series")).args(arguments).current_dir(self.0.path()).output().unwrap()
    }

    fn expect_success(&self, arguments: &[&str]) -> (String, String) {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (text(output.stdout), text(output.stderr))
    }

    /// Exit code 2, a last line on stderr that contains `expected`, nothing on stdout.
    fn expect_refusal(&self, arguments: &[&str], expected: &str) {
        let output = self.run(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.lines().last().unwrap().contains(expected), "{arguments:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

fn tiny<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [arguments, TINY].concat()
}

#[test]
fn a_forecast_goes_on_where_the_file_ends() {
    let place = Place::new();
    for model in ["s-mamba", "tsm2", "mamba", "d-linear", "ar-net", "seasonal-naive"] {
        let model = format!("--model={model}");
        let arguments = tiny(&["forecast", "series.csv", "--horizon=12", &model, "--plot=out.svg"]);
        let (stdout, stderr) = place.expect_success(&arguments);
        let lines: Vec<_> = stdout.lines().collect();
        assert_eq!(lines.len(), 13, "{stdout}");
        assert!(lines[0].starts_with("date,load") && lines[1].starts_with("2024-01-26T00:00:00,"), "{stdout}");
        for note in ["left out the column `name`", "2 rows without values into gaps", "`price`: 1 values are missing"] {
            assert!(stderr.contains(note), "{stderr}");
        }
        let svg = fs::read_to_string(place.path("out.svg")).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("price"));
    }
}

#[test]
fn a_forecast_is_written_where_it_is_asked_for() {
    let place = Place::new();
    let arguments = tiny(&["forecast", "series.csv", "--target=price", "--quantiles=0.2,0.8", "--out=out.csv"]);
    assert!(place.expect_success(&arguments).0.is_empty());
    let csv = fs::read_to_string(place.path("out.csv")).unwrap();
    assert!(csv.starts_with("date,price,price_q20,price_q80\n"), "{csv}");
    assert_eq!(csv.lines().count(), 25);
}

#[test]
fn a_back_test_tells_scores_beside_those_of_rules() {
    let place = Place::new();
    let arguments = tiny(&["backtest", "series.csv", "--horizon=12", "--plot=out.svg"]);
    let (stdout, _) = place.expect_success(&arguments);
    for expected in ["10 forecasts of 12 rows", "| step | MSE |", "CRPS", "last value: MAE", "seasonal naive: MAE"] {
        assert!(stdout.contains(expected), "{stdout}");
    }
    assert!(place.path("out.svg").exists());
}

#[test]
fn a_training_that_was_stopped_goes_on_as_if_it_had_not() {
    let place = Place::new();
    let train = |out: &str, epochs: &str, more: &[&str]| {
        let (out, epochs) = (format!("--out={out}"), format!("--epochs={epochs}"));
        let arguments = ["train", "--data=series.csv", "--target=load,price", "--horizon=6", &out, &epochs];
        let sizes = TINY.iter().filter(|size| !size.starts_with("--epochs"));
        let arguments: Vec<_> = arguments.into_iter().chain(sizes.copied()).chain(more.iter().copied()).collect();
        place.run(&arguments)
    };
    assert!(train("whole", "3", &[]).status.success());
    // One that was killed after its second epoch has the settings of three.
    assert!(train("part", "2", &[]).status.success());
    let settings = place.path("part/checkpoint-0002/settings.json");
    let text = fs::read_to_string(&settings).unwrap().replace("\"epochs\": 2", "\"epochs\": 3");
    fs::write(&settings, text).unwrap();
    let output = train("part", "3", &["--resume"]);
    assert!(output.status.success(), "{output:?}");
    let best = |run: &str| fs::read(place.path(&format!("{run}/checkpoint-0003/best.bpk"))).unwrap();
    let history = |run: &str| fs::read_to_string(place.path(&format!("{run}/checkpoint-0003/history.json"))).unwrap();
    assert_eq!(history("part"), history("whole"));
    assert_eq!(best("part").len(), best("whole").len());

    let (stdout, _) = place.expect_success(&["eval", "whole", "--drop-last"]);
    assert!(stdout.contains("| all |") && stdout.contains("without the last"), "{stdout}");
    assert!(fs::read_to_string(place.path("whole/loss.svg")).unwrap().starts_with("<svg"));
    for (more, expected) in [(&[][..], "already holds a run"), (&["--resume", "--seed=2"][..], "settings of the run")] {
        let output = train("whole", "3", more);
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains(expected), "{output:?}");
    }
    fs::write(place.path("whole/checkpoint-0003/best.bpk"), b"half").unwrap();
    place.expect_refusal(&["eval", "whole"], "best.bpk is damaged");
}

#[test]
fn a_comparison_is_kept_and_made_once() {
    let place = Place::new();
    let arguments = tiny(&[
        "compare",
        "--data=series.csv",
        "--target=load,price",
        "--models=d-linear,last-value",
        "--horizons=6",
        "--out=table",
    ]);
    let twice = [&arguments[..], &["--seeds=2"]].concat();
    let (first, _) = place.expect_success(&twice);
    assert!(first.contains("| 6 | DLinear |") && first.contains("| 6 | last value |"), "{first}");
    let (second, _) = place.expect_success(&twice);
    assert!(second.starts_with("| horizon |") && first.ends_with(&second), "{second}");
    assert_eq!(fs::read_to_string(place.path("table/series.md")).unwrap(), second);
    let three = [&arguments[..], &["--seeds=3", "--kept"]].concat();
    assert_eq!(place.expect_success(&three).0, second);
    // Rules have one seed; other settings are other results.
    let results = || fs::read_to_string(place.path("table/series.jsonl")).unwrap();
    assert_eq!(results().lines().count(), 3);
    place.expect_success(&[&arguments[..], &["--seeds=1", "--patience=2"]].concat());
    assert_eq!(results().lines().count(), 5);
    fs::write(place.path("table/series.jsonl"), results() + "half").unwrap();
    place.expect_refusal(&arguments, "line 6");
}

#[test]
fn bad_input_is_refused_by_name() {
    let place = Place::new();
    fs::write(place.path("text.csv"), "date,a\n2024-01-01,1\n2024-01-02,oops\n").unwrap();
    fs::write(place.path("short.csv"), "date,a\n2024-01-01,1\n2024-01-02,2\n").unwrap();
    for (arguments, expected) in [
        (&["forecast", "none.csv"][..], "cannot read none.csv"),
        (&["forecast", "text.csv"], "row 2 of the column `a` is `oops`"),
        (&["forecast", "short.csv"], "there are 2 rows to learn from, expected at least 144"),
        (&["forecast", "series.csv", "--target=cost"], "there is no column `cost`"),
        (&["forecast", "series.csv", "--horizon=0"], "`horizon` is 0"),
        (&["forecast", "series.csv", "--quantiles=0.5,0.1"], "`quantiles` is 0.1"),
        (&["forecast", "series.csv", "--freq=often"], "`often` is no frequency"),
        (&["forecast", "series.csv", "--lr=-1"], "`lr` is -1"),
        (&["forecast", "series.csv", "--device=abacus"], "unknown device `abacus`"),
        (&["backtest", "series.csv", "--train=1.5"], "`train` is 1.5"),
        (&["backtest", "series.csv", "--horizon=0"], "`horizon` is 0"),
        (&["train", "--data=series.csv", "--horizon=0"], "`horizon` is 0"),
        (&["compare", "--data=series.csv", "--horizons=0"], "`horizon` is 0"),
        (&["compare", "--data=series.csv", "--seeds=0"], "`seeds` is 0"),
        (&["train", "--data=series.csv", "--horizon=400"], "expected at least"),
        (&["train", "--data=series.csv", "--resume"], "no run in"),
        (&["eval", "nothing"], "no run in nothing"),
    ] {
        place.expect_refusal(arguments, expected);
    }
    assert!(!place.path("runs").exists() && !Path::new("runs").exists());
}
