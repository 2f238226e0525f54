//! Classes of sequences.

use std::fs;

use crate::Place;

/// Sequences of 24 whose class is whether `GTAAGT` is in their middle.
fn table() -> String {
    let mut state = 7_u64;
    let mut text = String::new();
    for index in 0..60 {
        let mut letter = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(b"ACGT"[(state >> 62) as usize])
        };
        let mut sequence: String = (0..24).map(|_| letter()).collect();
        if index % 2 == 0 {
            sequence.replace_range(9..15, "GTAAGT");
        }
        text += &format!("{sequence}\t{}\n", if index % 2 == 0 { "site" } else { "other" });
    }
    text
}

const FINETUNE: &[&str] = &[
    "finetune",
    "--data=table.tsv",
    "--models=ps,ph,cnn,kmer",
    "--d-model=8",
    "--n-layer=1",
    "--folds=2",
    "--epochs=2",
    "--batch=8",
    "--lr=1e-2",
    "--out=classes",
];

fn place() -> Place {
    let place = Place::new();
    fs::write(place.path("table.tsv"), table()).unwrap();
    place
}

#[test]
fn every_model_is_trained_on_every_fold_once() {
    let place = place();
    let text = place.expect_success(FINETUNE);
    assert!(text.contains("60 sequences of 24 nucleotides in 2 classes"), "{text}");
    let table = fs::read_to_string(place.path("classes/table.md")).unwrap();
    for name in ["Caduceus-PS", "Caduceus-Ph", "CNN", "k-mers, logistic regression"] {
        assert!(table.contains(&format!("| {name} |")), "{table}");
    }
    // What is there is not trained again; one that is missing is.
    let path = place.path("classes/results.jsonl");
    let results = fs::read_to_string(&path).unwrap();
    assert_eq!(results.lines().count(), 8);
    fs::write(&path, results.lines().skip(1).map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    let again = place.expect_success(FINETUNE);
    assert_eq!(again.matches("fold").count(), 1, "{again}");
    assert_eq!(fs::read_to_string(place.path("classes/table.md")).unwrap(), table);

    let scores = place.expect_success(&["eval", "--model=classes", "--data=table.tsv"]);
    assert!(scores.starts_with("accuracy 0.") || scores.starts_with("accuracy 1."), "{scores}");
    let saliency = ["saliency", "--model=classes", "--sequence=ACGTACGTAGTAAGTACGTACGTA", "--class=site"];
    place.expect_success(&saliency);
    assert!(fs::read_to_string(place.path("saliency.svg")).unwrap().contains("logit of class site"));
    place.expect_refusal(&[&saliency[..3], &["--class=third"]].concat(), "--class third: expected other, site");
    place.expect_refusal(&[FINETUNE, &["--balance"]].concat(), "begun with other settings");
    place.expect_refusal(&["eval", "--model=classes"], "class `EI`, expected those of the model: other, site");
}

#[test]
fn bad_tables_are_refused_by_the_line() {
    let place = place();
    for (text, expected) in [
        ("ACGT\ta\nACG\tb\n", "line 2 of table.tsv: 3 nucleotides, expected 4"),
        ("ACGT\ta\nACGE\tb\n", "letter 'E' at position 4"),
        ("ACGT\ta\nACGT\n", "line 2 of table.tsv: no class"),
        ("ACGT\ta\nACGA\ta\n", "1 classes among 2 sequences"),
        ("\ta\n", "no class"),
        (",,a\n", "0 nucleotides"),
    ] {
        fs::write(place.path("table.tsv"), text).unwrap();
        place.expect_refusal(FINETUNE, expected);
    }
    place.expect_refusal(&["finetune", "--data=absent"], "absent");
}
