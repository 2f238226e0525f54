//! Files of sequences, good and bad.

use flate2::Compression;
use flate2::write::GzEncoder;
use mamba_dna::data::{
    DataError, EmbeddingsWriter, Interval, Record, Reference, SequenceReader, Window, Windows, WindowsConfig, augment,
    read_bed, shuffle_pairs,
};
use mamba_dna::tokens::{N, PAD, decode, encode, reverse_complement};
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use tempfile::TempDir;

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn file(&self, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join("file");
        fs::write(&path, content).unwrap();
        path
    }

    fn packed(&self, content: &str) -> PathBuf {
        self.file(packed(content))
    }
}

fn packed(content: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn records(path: PathBuf) -> Result<Vec<Record>, DataError> {
    SequenceReader::open(path)?.collect()
}

fn texts(path: PathBuf) -> Vec<(String, String)> {
    records(path).unwrap().into_iter().map(|record| (record.name, decode(&record.tokens))).collect()
}

#[test]
fn sequences_are_read_in_every_form() {
    let place = Place::new();
    let expected = [("one".to_string(), "ACGTACGTN".to_string()), ("two".into(), "TTNN".into())];
    let fasta = ">one of two\nACGT\nacgt\nn\n>two\nUuRy\n";
    assert_eq!(texts(place.file(fasta)), expected);
    assert_eq!(texts(place.file(fasta.replace('\n', "\r\n"))), expected);
    assert_eq!(texts(place.file(fasta.trim_end())), expected);
    assert_eq!(texts(place.file(fasta.replace("\n>", "\n\n>") + "\n\n")), expected);
    assert_eq!(texts(place.packed(fasta)), expected);
    // Several packed files in one, as bgzip writes them.
    let parts = [packed(">one\nACGTAC"), packed("GTN\n>two\nTTNN\n")].concat();
    assert_eq!(texts(place.file(parts)), expected);
    let fastq = "@one x\nACGTACGTN\n+\nIIIIIIIII\n@two\nTTNN\n+two\n@@@@\n";
    assert_eq!(texts(place.file(fastq)), expected);
    assert_eq!(texts(place.file(fastq.replace('\n', "\r\n"))), expected);
    assert_eq!(texts(place.packed(fastq)), expected);
}

#[test]
fn files_that_are_not_sequences_are_refused() {
    let place = Place::new();
    let refused = |content: Vec<u8>, expected: &str| {
        let error = records(place.file(content)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}: {expected}");
    };
    refused(vec![], "no sequences");
    refused(b"ACGT\n".to_vec(), "begins with 'A'");
    refused(b">one\nACGT\n>two\n>three\nA\n".to_vec(), "record `two`");
    refused(b">one\nACGT\n>two\n".to_vec(), "line 3 is cut short");
    refused(b">one\nACGT\nAC-T\n".to_vec(), "letter '-' at position 7 of record `one`");
    refused(b">one\nACGT\nAC T\n".to_vec(), "letter ' ' at position 7");
    refused(b">one\nMKVL*\n".to_vec(), "letter 'L' at position 4");
    refused(b">\nACGT\n".to_vec(), "line 1 has no name");
    refused(b"@one\nACGT\n+\nIII\n".to_vec(), "Sequence length is 4 but quality length is 3");
    refused(b"@one\nACGT\nIIII\n".to_vec(), "FASTQ");
    refused(b"@one\n\n+\n\n".to_vec(), "record `one`");
    let whole = packed(&format!(">one\n{}\n", "ACGGT".repeat(5000)));
    for length in [10, 20, whole.len() / 2, whole.len() - 1] {
        refused(whole[..length].to_vec(), "no complete gzip file");
    }
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 4].fill(0xff);
    refused(damaged, "no complete gzip file");
    let fastq = packed("@one\nACGT\n+\nIIII\n");
    refused(fastq[..fastq.len() - 9].to_vec(), "no complete gzip file");
    let error = records("no_such_file".into()).unwrap_err();
    assert!(matches!(error, DataError::Read { .. }), "{error}");
    let mut long = SequenceReader::open(place.file(">one\nACGT\nACG\n")).unwrap().with_max_length(6);
    let error = long.next_record().unwrap_err();
    assert!(matches!(error, DataError::TooLong { expected: 6, .. }), "{error}");
}

fn windows(path: PathBuf, config: WindowsConfig) -> Vec<(String, u64, String)> {
    let windows = Windows::new(Reference::open(path).unwrap(), config);
    windows.map(Result::unwrap).map(|Window { contig, start, tokens }| (contig, start, decode(&tokens))).collect()
}

#[test]
fn windows_go_over_every_contig() {
    let place = Place::new();
    let path = place.file(">one\nACG\nTAC\nGT\n>two\nNN\nNA\n");
    let of = |config: WindowsConfig| -> Vec<String> {
        windows(path.clone(), config)
            .into_iter()
            .map(|(contig, start, text)| format!("{contig}:{start} {text}"))
            .collect()
    };
    let config = WindowsConfig::new(3);
    assert_eq!(of(config.clone()), ["one:0 ACG", "one:3 TAC", "two:0 NNN"]);
    assert_eq!(of(config.clone().with_partial(true)), ["one:0 ACG", "one:3 TAC", "one:6 GT", "two:0 NNN", "two:3 A"]);
    assert_eq!(of(config.clone().with_stride(5)), ["one:0 ACG", "one:5 CGT", "two:0 NNN"]);
    assert_eq!(of(config.clone().with_max_unknown(0.5)), ["one:0 ACG", "one:3 TAC"]);
    let overlapping = WindowsConfig::new(4).with_stride(2).with_partial(true);
    assert_eq!(of(overlapping), ["one:0 ACGT", "one:2 GTAC", "one:4 ACGT", "two:0 NNNA"]);
    assert_eq!(of(WindowsConfig::new(9)), Vec::<String>::new());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn windows_are_those_of_the_whole_contig(
        lengths in prop::collection::vec(1..60_usize, 1..4), line in 1..20_usize, length in 1..20_usize,
        stride in 1..25_usize, partial: bool,
    ) {
        let place = Place::new();
        let mut rng = StdRng::seed_from_u64(lengths.len() as u64);
        let contigs: Vec<String> = lengths.iter().map(|&length| {
            (0..length).map(|_| "ACGTN".as_bytes()[rand::RngExt::random_range(&mut rng, 0..5)] as char).collect()
        }).collect();
        let mut text = String::new();
        let mut expected = Vec::new();
        for (index, contig) in contigs.iter().enumerate() {
            text += &format!(">c{index}\n");
            for line in contig.as_bytes().chunks(line) {
                text += &format!("{}\n", String::from_utf8_lossy(line));
            }
            let mut start = 0;
            let mut covered = 0;
            while start + length <= contig.len() {
                expected.push((format!("c{index}"), start as u64, contig[start..start + length].to_string()));
                covered = start + length;
                start += stride;
            }
            if partial && start < contig.len() && covered < contig.len() {
                expected.push((format!("c{index}"), start as u64, contig[start..].to_string()));
            }
        }
        let config = WindowsConfig::new(length).with_stride(stride).with_partial(partial);
        prop_assert_eq!(windows(place.file(text), config), expected);
    }
}

#[test]
fn intervals_are_read_and_checked() {
    let place = Place::new();
    let bed = "# comment\ntrack name=x\nchr1\t2\t5\n\nchr2\t0\t9\tgene\t0\t-\n".replace('\n', "\r\n");
    let one = Interval { contig: "chr1".into(), start: 2, end: 5, name: None, is_reverse: false };
    let two = Interval { contig: "chr2".into(), start: 0, end: 9, name: Some("gene".into()), is_reverse: true };
    assert_eq!(read_bed(place.file(bed.clone())).unwrap(), [one, two]);
    for (line, expected) in [
        ("chr1\t2", "2 columns, expected at least 3"),
        ("chr1 2 5", "1 columns"),
        ("chr1\tx\t5", "`x` is no place"),
        ("chr1\t-1\t5", "`-1` is no place"),
        ("chr1\t5\t5", "5..5 is empty"),
        ("chr1\t2\t5\tn\t0\t?", "the strand is `?`"),
    ] {
        let error = read_bed(place.file(format!("{bed}{line}\n"))).unwrap_err().to_string();
        assert!(error.contains("line 6 of") && error.contains(expected), "{error}");
    }
}

#[test]
fn references_give_any_interval() {
    let place = Place::new();
    let fasta = ">one\nACGTA\nCGTnn\nT\n>two\nGG\n";
    let windows = fasta.replace('\n', "\r\n");
    for content in [fasta.as_bytes().to_vec(), packed(fasta), windows.as_bytes().to_vec(), packed(&windows)] {
        let path = place.file(content);
        let mut reference = Reference::open(&path).unwrap();
        assert_eq!(reference.contigs().collect::<Vec<_>>(), [("one".to_string(), 11), ("two".into(), 2)]);
        assert_eq!(decode(&reference.fetch("one", 3, 9).unwrap()), "TACGTN");
        assert_eq!(decode(&reference.fetch("one", 0, 11).unwrap()), "ACGTACGTNNT");
        assert_eq!(decode(&reference.fetch("two", 1, 2).unwrap()), "G");
        let other = Interval { contig: "one".into(), start: 0, end: 5, name: None, is_reverse: true };
        assert_eq!(decode(&reference.interval(&other).unwrap()), "TACGT");
        assert_eq!(
            reference.around("two", 0, 6).unwrap(),
            [[PAD; 3].as_slice(), &encode("GG").unwrap(), &[PAD]].concat()
        );
        assert_eq!(decode(&reference.around("one", 5, 4).unwrap()), "TACG");
        for (start, end) in [(0, 12), (5, 5), (6, 5), (11, 12), (u64::MAX - 1, u64::MAX)] {
            let error = reference.fetch("one", start, end).unwrap_err();
            assert!(matches!(error, DataError::Outside { length: 11, .. }), "{error}");
        }
        let is_lower = reference.lower_case("one", 3, 11).unwrap();
        assert_eq!(is_lower, [false, false, false, false, false, true, true, false]);
        assert!(matches!(reference.lower_case("one", 3, 12), Err(DataError::Outside { length: 11, .. })));
        let error = reference.fetch("three", 0, 1).unwrap_err();
        assert_eq!(error.to_string(), format!("{} has no record `three`", path.display()));
    }
}

#[test]
fn packed_files_that_are_cut_short_are_refused_whatever_they_hold() {
    let place = Place::new();
    let (fasta, bed) = (packed(&format!(">one\n{}\n", "ACGGT".repeat(500))), packed(&"one\t2\t5\n".repeat(500)));
    for share in [0.5, 0.9] {
        let cut = |whole: &[u8]| place.file(&whole[..(whole.len() as f64 * share) as usize]);
        let error = Reference::open(cut(&fasta)).err().unwrap();
        assert!(matches!(error, DataError::Gzip { .. }), "{error}");
        let error = read_bed(cut(&bed)).unwrap_err();
        assert!(matches!(error, DataError::Gzip { .. }), "{error}");
    }
}

#[test]
fn references_without_order_are_refused() {
    let place = Place::new();
    for (fasta, expected) in [
        (">one\nAC\nACGT\n", "line 3 of"),
        (">one\nACGT\nAC\nACG\n", "line 4 of"),
        (">one\nACGT\nACGT\r\nACGT\n", "line 4 of"),
        (">one\nAC\n>one\nAC\n", "two records `one`"),
        (">one\n>two\nAC\n", "record `one`"),
        ("@one\nAC\n+\nII\n", "FASTA file"),
        ("", "no sequences"),
    ] {
        let error = Reference::open(place.file(fasta)).err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let mut letters = Reference::open(place.file(">one\nAC?T\n")).unwrap();
    let error = letters.fetch("one", 1, 4).unwrap_err().to_string();
    assert!(error.contains("letter '?' at position 3"), "{error}");
}

#[test]
fn every_second_sequence_is_of_the_other_strand() {
    let tokens = encode("AACN").unwrap();
    let other = reverse_complement(&tokens);
    assert_eq!(other, encode("NGTT").unwrap());
    let mut rng = StdRng::seed_from_u64(1);
    let turned = (0..1000).filter(|_| augment(tokens.clone(), &mut rng) == other).count();
    assert!((420..580).contains(&turned), "{turned}");
    assert!(tokens.contains(&N));
}

/// How often each pair of neighbours occurs.
fn pairs(tokens: &[u8]) -> BTreeMap<[u8; 2], usize> {
    let mut found = BTreeMap::new();
    tokens.windows(2).for_each(|pair| *found.entry([pair[0], pair[1]]).or_default() += 1);
    found
}

proptest! {
    #[test]
    fn shuffled_sequences_have_the_same_pairs_and_ends(tokens in prop::collection::vec(7..12_u8, 0..80), seed: u64) {
        let shuffled = shuffle_pairs(&tokens, &mut StdRng::seed_from_u64(seed));
        prop_assert_eq!(pairs(&shuffled), pairs(&tokens));
        prop_assert_eq!((shuffled.len(), shuffled.first(), shuffled.last()), (tokens.len(), tokens.first(), tokens.last()));
    }
}

#[test]
fn every_order_of_the_same_pairs_is_as_likely() {
    // All orders with the pairs of AACAGA: two loops of A may come in any order, AA before, between or behind them.
    let (tokens, mut rng) = (encode("AACAGA").unwrap(), StdRng::seed_from_u64(1));
    let mut found = BTreeMap::<_, usize>::new();
    (0..6000).for_each(|_| *found.entry(decode(&shuffle_pairs(&tokens, &mut rng))).or_default() += 1);
    let expected = ["AACAGA", "AAGACA", "ACAAGA", "ACAGAA", "AGAACA", "AGACAA"];
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
    assert!(found.values().all(|count| (850..1150).contains(count)), "{found:?}");
}

#[test]
fn embeddings_are_files_of_other_programs() {
    let place = TempDir::new().unwrap();
    let rows = [[1.0_f32, -2.5], [0.0, 4.0], [5.0, 1e-3]];
    for name in ["rows.npy", "rows.safetensors"] {
        let path = place.path().join(name);
        let mut writer = EmbeddingsWriter::create(&path, 2).unwrap();
        assert!(!path.exists());
        rows.iter().for_each(|row| writer.write(row).unwrap());
        assert_eq!(writer.finish().unwrap(), 3);
        let bytes = fs::read(&path).unwrap();
        let expected: Vec<u8> = rows.iter().flatten().flat_map(|value| value.to_le_bytes()).collect();
        match name {
            "rows.npy" => {
                let header = String::from_utf8_lossy(&bytes[10..256]);
                assert!(
                    bytes.starts_with(b"\x93NUMPY\x01\x00\xf6\x00") && header.contains("'shape': (3, 2)"),
                    "{header}"
                );
                assert_eq!(bytes[256..], expected);
            }
            _ => {
                let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
                let tensor = file.tensor("embeddings").unwrap();
                assert_eq!((tensor.shape(), tensor.data()), ([3, 2].as_slice(), expected.as_slice()));
            }
        }
    }
    drop(EmbeddingsWriter::create(place.path().join("dropped.npy"), 2).unwrap());
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2);
    let error = EmbeddingsWriter::create(place.path().join("rows.txt"), 2).err().unwrap().to_string();
    assert!(error.contains(".npy or .safetensors"), "{error}");
}
