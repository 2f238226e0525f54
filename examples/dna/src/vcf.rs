//! What is needed of VCF: lines stay as they are, but for one more entry in INFO.

use mamba_dna::VariantWindow;
use mamba_dna::data::{DataError, Reference};
use mamba_dna::tokens::{PAD, encode};

/// The score of each alternate allele.
pub const SCORE: &str = "DNA_LLR";
/// Why a record has no scores.
pub const NOTE: &str = "DNA_NOTE";

/// The lines that describe them.
pub fn header() -> String {
    format!(
        "##INFO=<ID={SCORE},Number=A,Type=Float,Description=\"Logarithm of how much likelier a model of DNA takes each \
         alternate allele for than the reference allele\">\n\
         ##INFO=<ID={NOTE},Number=1,Type=String,Description=\"Why there is no {SCORE}: the reference allele is another \
         one in the FASTA file (ref_mismatch), there is no such contig (no_contig), the place is not within it \
         (outside), or an allele has other letters than ACGTN (letters)\">\n"
    )
}

/// One line with a variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    pub contig: &'a str,
    /// From 1 on.
    pub position: u64,
    pub reference: &'a str,
    pub alternates: Vec<&'a str>,
}

/// Why a record has no scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    RefMismatch,
    NoContig,
    Outside,
    Letters,
}

impl Note {
    pub fn name(self) -> &'static str {
        match self {
            Self::RefMismatch => "ref_mismatch",
            Self::NoContig => "no_contig",
            Self::Outside => "outside",
            Self::Letters => "letters",
        }
    }
}

impl<'a> Record<'a> {
    /// Reads a line; what is wrong with it otherwise.
    pub fn parse(line: &'a str) -> Result<Self, String> {
        let columns: Vec<_> = line.split('\t').collect();
        let [contig, position, _, reference, alternates, _, _, _, ..] = columns[..] else {
            return Err(format!("{} columns, expected at least 8 with tabs between them", columns.len()));
        };
        let position = position.parse().map_err(|_| format!("`{position}` is no position, expected a whole number"))?;
        if contig.is_empty() || reference.is_empty() || alternates.is_empty() {
            return Err("a column is empty, expected `.` where nothing is said".into());
        }
        Ok(Self { contig, position, reference, alternates: alternates.split(',').collect() })
    }

    /// The window of each alternate allele, `length` nucleotides around the reference allele; none for alleles that are
    /// no sequences, as `<DEL>`, `*` or `.`.
    pub fn windows(
        &self,
        genome: &mut Reference,
        length: usize,
    ) -> Result<Result<Vec<Option<VariantWindow>>, Note>, DataError> {
        let Ok(reference) = encode(self.reference) else { return Ok(Err(Note::Letters)) };
        let Some(whole) = genome.length(self.contig) else { return Ok(Err(Note::NoContig)) };
        let size = reference.len() as u64;
        // Positions count from 1; 0 and the one behind the end are telomeres.
        let Some(start) = self.position.checked_sub(1).filter(|start| start.saturating_add(size) <= whole) else {
            return Ok(Err(Note::Outside));
        };
        if genome.fetch(self.contig, start, start + size)? != reference {
            return Ok(Err(Note::RefMismatch));
        }
        let flank = (length.saturating_sub(reference.len()) / 2) as u64;
        let end = start + size;
        let mut part = |from: u64, to: u64| match from < to {
            true => genome.fetch(self.contig, from, to),
            false => Ok(Vec::new()),
        };
        // Ends of contigs are padded, so that most windows have one length.
        let before = part(start.saturating_sub(flank), start)?;
        let before = [vec![PAD; flank as usize - before.len()], before].concat();
        let mut after = part(end, end.saturating_add(flank).min(whole))?;
        after.resize(flank as usize, PAD);
        let window = |alternate: &&str| {
            let alternate = encode(alternate).ok().filter(|tokens| !tokens.is_empty())?;
            let (before, reference, after) = (before.clone(), reference.clone(), after.clone());
            Some(VariantWindow { before, reference, alternate, after })
        };
        Ok(Ok(self.alternates.iter().map(window).collect()))
    }
}

/// The line with `entry` at the end of INFO, its eighth column.
pub fn with_info(line: &str, entry: &str) -> String {
    let columns: Vec<_> = line.split('\t').enumerate().collect();
    let column = |(index, text): (usize, &str)| match (index, text) {
        (7, "." | "") => entry.to_string(),
        (7, info) => format!("{};{entry}", info.trim_end_matches(';')),
        (_, text) => text.to_string(),
    };
    columns.into_iter().map(column).collect::<Vec<_>>().join("\t")
}

/// The entry with the scores of the alternate alleles.
pub fn scores(scores: &[Option<f64>]) -> String {
    let values = scores.iter().map(|score| score.map_or(".".to_string(), |score| format!("{score:.4}")));
    format!("{SCORE}={}", values.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mamba_dna::tokens::decode;
    use std::io::Write;

    #[test]
    fn lines_keep_what_they_have() {
        let line = "chr1\t5\trs1\tA\tC,<DEL>\t.\tPASS\tAC=3\tGT\t0/1";
        assert_eq!(with_info(line, "X=1"), "chr1\t5\trs1\tA\tC,<DEL>\t.\tPASS\tAC=3;X=1\tGT\t0/1");
        assert_eq!(with_info("c\t1\t.\tA\tC\t.\t.\t.", "X=1"), "c\t1\t.\tA\tC\t.\t.\tX=1");
        let record = Record::parse(line).unwrap();
        assert_eq!((record.position, record.alternates.as_slice()), (5, ["C", "<DEL>"].as_slice()));
        assert!(Record::parse("chr1 5 . A C . . .").unwrap_err().contains("1 columns"));
        assert!(Record::parse("chr1\tx\t.\tA\tC\t.\t.\t.").unwrap_err().contains("`x` is no position"));
        assert_eq!(scores(&[Some(-0.5), None]), "DNA_LLR=-0.5000,.");
    }

    #[test]
    fn windows_are_around_the_reference_allele() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b">c\nACGTACGTAC\n").unwrap();
        let mut genome = Reference::open(file.path()).unwrap();
        let mut windows = |position, reference, alternates: &[&'static str]| {
            let record = Record { contig: "c", position, reference, alternates: alternates.to_vec() };
            record.windows(&mut genome, 7).unwrap()
        };
        let found = windows(5, "A", &["G", "<DEL>", "ATT"]).unwrap();
        let texts = |window: &VariantWindow| {
            [&window.before, &window.reference, &window.alternate, &window.after].map(|tokens| decode(tokens))
        };
        assert_eq!(texts(found[0].as_ref().unwrap()), ["CGT", "A", "G", "CGT"]);
        assert_eq!(found[1], None);
        assert_eq!(texts(found[2].as_ref().unwrap()), ["CGT", "A", "ATT", "CGT"]);
        let found = windows(1, "a", &["T"]).unwrap();
        assert_eq!(texts(found[0].as_ref().unwrap()), ["[PAD][PAD][PAD]", "A", "T", "CGT"]);
        let found = windows(9, "AC", &["A"]).unwrap();
        assert_eq!(texts(found[0].as_ref().unwrap()), ["GT", "AC", "A", "[PAD][PAD]"]);
        assert_eq!(windows(5, "C", &["G"]), Err(Note::RefMismatch));
        assert_eq!(windows(0, "A", &["G"]), Err(Note::Outside));
        assert_eq!(windows(10, "CA", &["G"]), Err(Note::Outside));
        assert_eq!(windows(10, "<X>", &["G"]), Err(Note::Letters));
        let record = Record { contig: "d", position: 1, reference: "A", alternates: vec!["C"] };
        assert_eq!(record.windows(&mut genome, 7).unwrap(), Err(Note::NoContig));
    }
}
