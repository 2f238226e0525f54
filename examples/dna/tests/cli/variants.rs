//! Scores of variants.

use std::fs;

use crate::{Place, genome};

/// `genome` has two contigs; some records have no place in it.
fn vcf() -> String {
    let genome = genome();
    let chr1: String = genome.lines().skip(1).take_while(|line| !line.starts_with('>')).collect();
    let letter = |position: usize| &chr1[position - 1..position];
    let other = |position: usize| if letter(position) == "A" { "C" } else { "A" };
    let mut text = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n".to_string();
    for position in (1..2000).step_by(3) {
        text += &format!("chr1\t{position}\t.\t{}\t{}\t.\t.\t.\n", letter(position), other(position));
    }
    text += &format!("chr1\t1500\tmany\t{}\t{}TT,<DEL>,{}\t9\tPASS\tX=1\n", letter(1500), letter(1500), other(1500));
    text += &format!("chr1\t1600\tdeletion\t{}\t{}\t.\t.\t.\n", &chr1[1599..1604], letter(1600));
    text += &format!("chr1\t1700\twrong\t{}\tG\t.\t.\t.\n", other(1700));
    text += "chr1\t99999\tbehind\tA\tG\t.\t.\t.\nchr9\t5\tnowhere\tA\tG\t.\t.\t.\nchr2\t5\tmany\tA*\tG\t.\t.\t.\n";
    text
}

const SCORE: &[&str] =
    &["score-variants", "in.vcf", "--fasta=genome.fa", "--model=run", "--length=32", "--out=out.vcf"];

fn place(more: &[&str]) -> Place {
    let place = Place::with_run(&[&["--out=run"], more].concat());
    fs::write(place.path("in.vcf"), vcf()).unwrap();
    place
}

#[test]
fn every_record_gets_a_score_or_a_note() {
    for more in [&[][..], &["--objective=causal"]] {
        let place = place(more);
        let output = place.run(SCORE);
        assert!(output.status.success(), "{output:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("chr1:1700: no score, ref_mismatch"), "{stderr}");
        let text = fs::read_to_string(place.path("out.vcf")).unwrap();
        let lines =
            |text: &str| text.lines().filter(|line| !line.starts_with('#')).map(str::to_string).collect::<Vec<_>>();
        let (before, after) = (lines(&vcf()), lines(&text));
        assert_eq!(before.len(), after.len());
        for (before, after) in before.iter().zip(&after) {
            let columns = |line: &str| line.split('\t').take(7).map(str::to_string).collect::<Vec<_>>();
            assert_eq!(columns(before), columns(after));
            assert!(after.contains("DNA_LLR=") != after.contains("DNA_NOTE="), "{after}");
        }
        let of =
            |id: &str| after.iter().find(|line| line.contains(id)).unwrap().rsplit('\t').next().unwrap().to_string();
        let many: Vec<_> = of("\tmany").strip_prefix("X=1;DNA_LLR=").unwrap().split(',').map(str::to_string).collect();
        assert!(many.len() == 3 && many[1] == "." && many[0].parse::<f64>().is_ok(), "{many:?}");
        assert!(of("deletion").strip_prefix("DNA_LLR=").unwrap().parse::<f64>().is_ok());
        assert_eq!(of("behind"), "DNA_NOTE=outside");
        assert_eq!(of("nowhere"), "DNA_NOTE=no_contig");
        assert_eq!(after.last().unwrap().rsplit('\t').next(), Some("DNA_NOTE=letters"));
        assert!(text.contains("##contig=<ID=chr2,length=1200>"), "{}", &text[..400]);
    }
}

#[test]
fn a_run_goes_on_after_its_last_full_line() {
    let place = place(&[]);
    place.expect_success(SCORE);
    let whole = fs::read(place.path("out.vcf")).unwrap();
    let part = place.path("out.vcf.part");
    assert!(!part.exists());
    for length in [0, 10, whole.len() / 2, whole.len() - 1, whole.len()] {
        fs::remove_file(place.path("out.vcf")).unwrap();
        fs::write(&part, &whole[..length]).unwrap();
        place.expect_success(SCORE);
        assert!(fs::read(place.path("out.vcf")).unwrap() == whole, "{length}");
    }
    fs::write(&part, &whole[..whole.len() / 2]).unwrap();
    let other: Vec<_> =
        SCORE.iter().map(|argument| if *argument == "--length=32" { "--length=16" } else { argument }).collect();
    place.expect_refusal(&other, "begun with other settings");
}

#[test]
fn lower_case_and_the_line_ends_of_windows_change_nothing() {
    let place = place(&[]);
    place.expect_success(SCORE);
    let expected = fs::read_to_string(place.path("out.vcf")).unwrap();
    let columns = |line: &str| match line.split('\t').collect::<Vec<_>>()[..] {
        [contig, position, id, reference, alternates, ..] if !line.starts_with('#') && !alternates.contains('<') => {
            [contig, position, id, &reference.to_lowercase(), &alternates.to_lowercase()].join("\t") + "\t.\t.\t."
        }
        _ => line.to_string(),
    };
    let lower: String = vcf().lines().map(|line| columns(line) + "\r\n").collect();
    fs::write(place.path("in.vcf"), lower).unwrap();
    fs::write(place.path("genome.fa"), genome().to_lowercase().replace('\n', "\r\n")).unwrap();
    place.expect_success(SCORE);
    let found = fs::read_to_string(place.path("out.vcf")).unwrap();
    let entries = |text: &str| -> Vec<String> {
        text.lines().filter_map(|line| Some(line.split_once("DNA_")?.1.to_string())).collect()
    };
    assert_eq!(entries(&found), entries(&expected));
    assert!(!found.contains('\r'));
}

#[test]
fn files_that_are_not_vcf_are_refused() {
    let place = place(&[]);
    for (text, expected) in [
        ("", "no line begins with #CHROM"),
        (">chr1\nACGT\n", "does not begin with ##fileformat=VCF"),
        ("##fileformat=VCFv4.2\nchr1\t5\t.\tA\tC\t.\t.\t.\n", "line 2 of in.vcf: a record before"),
        ("##fileformat=VCFv4.2\n#CHROM\tPOS\nchr1 5 . A C . . .\n", "line 3 of in.vcf: 1 columns"),
        ("##fileformat=VCFv4.2\n#CHROM\tPOS\nchr1\tx\t.\tA\tC\t.\t.\t.\n", "`x` is no position"),
    ] {
        fs::write(place.path("in.vcf"), text).unwrap();
        place.expect_refusal(SCORE, expected);
    }
    place.expect_refusal(&["score-variants", "absent", "--fasta=genome.fa", "--model=run", "--out=o"], "absent");
}
