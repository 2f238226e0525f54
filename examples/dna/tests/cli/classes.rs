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
fn tables_are_read_in_every_form() {
    let place = place();
    let kmers = ["finetune", "--data=table.tsv", "--models=kmer", "--folds=2", "--out"];
    place.expect_success(&[&kmers[..], &["classes"]].concat());
    let expected = fs::read_to_string(place.path("classes/table.md")).unwrap();
    let rna = table().replace("\tsite", ",site").replace("\tother", ",other");
    let rna: String =
        rna.lines().map(|line| line[..24].to_lowercase().replace('t', "u") + &line[24..] + "\r\n").collect();
    fs::write(place.path("table.tsv"), rna).unwrap();
    place.expect_success(&[&kmers[..], &["rna"]].concat());
    assert_eq!(fs::read_to_string(place.path("rna/table.md")).unwrap(), expected);
}

#[test]
fn promoters_and_their_shuffled_sequences_become_a_table() {
    let place = Place::new();
    let starts = ["chr1\tx\ttranscript\t301\t900\t.\t+", "chr1\tx\ttranscript\t100\t1500\t.\t-"];
    // The same once more, one that overlaps, one before the contig, other features, a contig that is not there.
    let others = [
        "chr1\tx\ttranscript\t301\t700\t.\t+",
        "chr1\tx\ttranscript\t320\t700\t.\t+",
        "chr1\tx\ttranscript\t10\t700\t.\t+",
        "chr1\tx\texon\t1000\t1100\t.\t+",
        "chr9\tx\ttranscript\t301\t900\t.\t+",
    ];
    let gtf: String = starts.iter().chain(&others).map(|line| format!("{line}\t.\tgene_id \"g\";\r\n")).collect();
    fs::write(place.path("genes.gtf"), format!("#comment\n{gtf}")).unwrap();
    let promoters = ["promoters", "--fasta=genome.fa", "--gtf=genes.gtf", "--before=20", "--after=10"];
    let told = place.expect_success(&promoters);
    assert!(told.starts_with("2 promoters of 5 starts"), "{told}");
    let table = fs::read_to_string(place.path("promoters.tsv")).unwrap();
    let genome = crate::genome();
    let chr1: String = genome.lines().skip(1).take_while(|line| !line.starts_with('>')).collect();
    let other: String = chr1[1490..1520].chars().rev().map(complement).collect();
    let sequences: Vec<_> = table.lines().map(|line| line.split_once('\t').unwrap()).collect();
    assert_eq!((sequences[1], sequences[3]), ((&chr1[280..310], "promoter"), (other.as_str(), "promoter")));
    assert!([0, 2].iter().all(|&index| sequences[index].1 == "shuffled" && sequences[index].0.len() == 30));
    place.expect_success(&["finetune", "--data=promoters.tsv", "--models=kmer", "--folds=2", "--out=classes"]);

    for (text, expected) in [
        ("chr1\tx\ttranscript\t0\t9\t.\t+\t.\t.\n", "line 1 of genes.gtf: `0` is no position"),
        ("chr1\tx\ttranscript\t1\t9\t.\t.\t.\t.\n", "the strand is `.`"),
        ("chr1 x transcript\n", "1 columns, expected 9"),
        ("chr9\tx\ttranscript\t1\t9\t.\t+\t.\t.\n", "none of its 1 starts of transcripts has a window"),
    ] {
        fs::write(place.path("genes.gtf"), text).unwrap();
        place.expect_refusal(&promoters, expected);
    }
    place.expect_refusal(&[&promoters[..3], &["--after=0"]].concat(), "--after 0");
}

fn complement(letter: char) -> char {
    match letter {
        'A' => 'T',
        'C' => 'G',
        'G' => 'C',
        _ => 'A',
    }
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
