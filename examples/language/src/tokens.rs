//! Text as tokens: those of a `tokenizer.json`, or bytes.

use std::path::{Path, PathBuf};

use examples_common::files::{publish, write_synced};
use examples_common::panics::caught;
use tokenizers::Tokenizer;

use crate::data::VOCABULARY;
use crate::error::Error;

/// The file of a checkpoint's folder that holds its tokenizer.
const FILE: &str = "tokenizer.json";

/// How a model reads and writes text.
pub enum Tokens {
    /// Token `n` is the byte `n`.
    Bytes,
    /// The tokens of a `tokenizer.json`.
    File { path: PathBuf, tokenizer: Box<Tokenizer> },
}

impl Tokens {
    /// The tokenizer in the file `given`, else the one in `folder`, else bytes. A tokenizer may have fewer tokens than
    /// the model, not more; for bytes, the model needs a token for each.
    pub fn open(given: Option<&Path>, folder: &Path, vocab_size: usize) -> Result<Self, Error> {
        let found = Some(folder.join(FILE)).filter(|path| path.exists());
        let Some(path) = given.map(Path::to_path_buf).or(found) else {
            return match vocab_size >= VOCABULARY {
                true => Ok(Self::Bytes),
                false => {
                    let path = folder.to_path_buf();
                    Err(Error::Vocabulary { path, found: vocab_size, expected: VOCABULARY })
                }
            };
        };
        let bytes = std::fs::read(&path).map_err(Error::read(&path))?;
        let tokenizer = parse(&bytes).map_err(|reason| wrong(&path, reason))?;
        let tokens = tokenizer.get_vocab(true).into_values().max().map_or(0, |id| id as usize + 1);
        match tokens <= vocab_size {
            true => Ok(Self::File { path, tokenizer: Box::new(tokenizer) }),
            false => Err(Error::TokenizerVocabulary { path, found: tokens, expected: vocab_size }),
        }
    }

    /// The tokens of a text, with those that the tokenizer puts around every text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        Ok(self.encode_with_start(text)?.0)
    }

    /// As [`encode`](Self::encode); also how many bytes of the text the first token stands for.
    pub fn encode_with_start(&self, text: &str) -> Result<(Vec<u32>, usize), Error> {
        match self {
            Self::Bytes => Ok((text.bytes().map(u32::from).collect(), 1)),
            Self::File { path, tokenizer } => {
                let (ids, spans) = encode_with_spans(path, tokenizer, text)?;
                Ok((ids, spans.first().map_or(0, |(_, end)| *end)))
            }
        }
    }

    /// The tokens of what follows another text: without those that the tokenizer puts around every text.
    pub fn encode_further(&self, text: &str) -> Result<Vec<u32>, Error> {
        match self {
            Self::Bytes => self.encode(text),
            Self::File { path, tokenizer } => {
                let encoding = tokenizer.encode(text, false).map_err(|error| wrong(path, error))?;
                Ok(encoding.get_ids().to_vec())
            }
        }
    }

    /// Puts the tokenizer, if there is one, beside a model.
    pub fn copy_to(&self, folder: &Path) -> Result<(), Error> {
        let Self::File { path, .. } = self else { return Ok(()) };
        let (bytes, to) = (std::fs::read(path).map_err(Error::read(path))?, folder.join(FILE));
        Ok(publish(&to, |scratch| write_synced(scratch, &bytes))?)
    }

    /// The text of a few tokens.
    pub fn decode(&self, tokens: &[u32]) -> Result<Vec<u8>, Error> {
        match self {
            Self::Bytes => Ok(tokens.iter().flat_map(|&token| byte(token)).collect()),
            Self::File { path, tokenizer } => {
                Ok(tokenizer.decode(tokens, true).map_err(|error| wrong(path, error))?.into_bytes())
            }
        }
    }

    /// Hands out the text of one token after the other, as soon as its characters are whole.
    pub fn stream(&self) -> impl FnMut(u32) -> Result<Vec<u8>, Error> + '_ {
        let mut stream = match self {
            Self::Bytes => None,
            Self::File { path, tokenizer } => Some((path, tokenizer.decode_stream(true))),
        };
        move |token| match &mut stream {
            None => Ok(byte(token)),
            Some((path, stream)) => {
                Ok(stream.step(token).map_err(|error| wrong(path, error))?.unwrap_or_default().into_bytes())
            }
        }
    }
}

/// Tokens, and of each where the bytes that it stands for start and end.
type Spans = (Vec<u32>, Vec<(usize, usize)>);

/// The tokens of a text, and which of its bytes each stands for.
pub fn encode_with_spans(path: &Path, tokenizer: &Tokenizer, text: &str) -> Result<Spans, Error> {
    let encoding = tokenizer.encode(text, true).map_err(|error| wrong(path, error))?;
    Ok((encoding.get_ids().to_vec(), encoding.get_offsets().to_vec()))
}

/// The library panics over some files (tokenizers 0.23.2, a `type` that is no text); that is an error like any other.
fn parse(bytes: &[u8]) -> Result<Tokenizer, String> {
    match caught(|| Tokenizer::from_bytes(bytes)) {
        Ok(parsed) => parsed.map_err(|error| error.to_string()),
        Err(_) => Err("it is no description of a tokenizer".to_string()),
    }
}

/// A model with more tokens than bytes may write one that is none.
fn byte(token: u32) -> Vec<u8> {
    match u8::try_from(token) {
        Ok(byte) => vec![byte],
        Err(_) => char::REPLACEMENT_CHARACTER.to_string().into_bytes(),
    }
}

fn wrong(path: &Path, error: impl ToString) -> Error {
    Error::Tokenizer { path: path.to_path_buf(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use examples_common::files::FileError;

    /// Words of bytes; `é` is two of them.
    const BYTE_LEVEL: &str = r#"{
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
        "added_tokens": [],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "vocab": {"a": 0, "b": 1, "Ġ": 2, "Ã": 3, "©": 4, "ab": 5, "Ġab": 6}, "merges": ["a b", "Ġ ab"]}
    }"#;

    fn tokens(text: &str, vocab_size: usize) -> Result<Tokens, Error> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), text).unwrap();
        Tokens::open(None, folder.path(), vocab_size)
    }

    #[test]
    fn a_tokenizer_beside_the_model_is_used() {
        let tokens = tokens(BYTE_LEVEL, 7).unwrap();
        assert_eq!(tokens.encode("ab abé").unwrap(), [5, 6, 3, 4]);
        assert_eq!(tokens.encode_with_start("ab ab").unwrap(), (vec![5, 6], 2));
        assert_eq!(tokens.decode(&[5, 6, 3, 4]).unwrap(), "ab abé".as_bytes());
        // The first byte of a character waits for the second.
        let mut stream = tokens.stream();
        let pieces = [5, 6, 3, 4, 0].map(|token| String::from_utf8(stream(token).unwrap()).unwrap());
        assert_eq!(pieces, ["ab", " ab", "", "é", "a"]);
    }

    #[test]
    fn bytes_serve_without_one() {
        let folder = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(None, folder.path(), 256).unwrap();
        assert_eq!(tokens.encode("aé").unwrap(), [97, 195, 169]);
        assert_eq!(tokens.decode(&[97, 195, 169]).unwrap(), "aé".as_bytes());
        assert!(matches!(Tokens::open(None, folder.path(), 255), Err(Error::Vocabulary { found: 255, .. })));
        assert_eq!(tokens.stream()(300).unwrap(), "\u{fffd}".as_bytes());
    }

    #[test]
    fn a_tokenizer_of_more_tokens_or_none_is_refused() {
        assert!(matches!(tokens(BYTE_LEVEL, 6), Err(Error::TokenizerVocabulary { found: 7, expected: 6, .. })));
        assert!(matches!(tokens("{}", 256), Err(Error::Tokenizer { .. })));
        let folder = tempfile::tempdir().unwrap();
        let absent = folder.path().join("absent");
        assert!(matches!(Tokens::open(Some(&absent), folder.path(), 256), Err(Error::File(FileError::Read { .. }))));
    }

    /// Random damage, for `MAMBA_FUZZ_SECONDS` if that is set: an error or a tokenizer that works, never a panic.
    #[test]
    fn a_damaged_tokenizer_is_an_error_or_works() {
        use rand::rngs::StdRng;
        use rand::{RngExt, SeedableRng};
        use std::time::{Duration, Instant};

        const PIECES: [&str; 16] = [
            "null",
            "-1",
            "1e999",
            "4294967295",
            "[]",
            "{}",
            "\"a b\"",
            "\"\"",
            "\"Unigram\"",
            "\"WordLevel\"",
            "\"WordPiece\"",
            "\"Precompiled\"",
            "\"Sequence\"",
            "\"Metaspace\"",
            "true",
            "\"ab\": 5, \"ab\": 6,",
        ];
        let seconds = std::env::var("MAMBA_FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
        let (start, limit) = (Instant::now(), Duration::from_secs(seconds.unwrap_or(0)));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let (mut case, mut working) = (0, 0);
        while case < 500 || start.elapsed() < limit {
            let mut rng = StdRng::seed_from_u64(case);
            let mut file = BYTE_LEVEL.as_bytes().to_vec();
            for _ in 0..rng.random_range(1..4) {
                let (at, bytes) = (rng.random_range(0..file.len()), rng.random_range(0..12_usize));
                let end = file.len().min(at + bytes);
                match rng.random_range(0..4) {
                    0 => file[at] ^= 1 << rng.random_range(0..8),
                    1 => drop(file.drain(at..end)),
                    2 => drop(file.splice(at..at, file[at..end].to_vec())),
                    _ => {
                        // In place of a value, so that what comes out is JSON more often.
                        let Some(from) = file[at..].iter().position(|byte| *byte == b':') else { continue };
                        let from = at + from + 1;
                        let to = file[from..].iter().position(|byte| b",}]".contains(byte));
                        let piece = PIECES[rng.random_range(0..PIECES.len())];
                        file.splice(from..to.map_or(from, |to| from + to), piece.bytes());
                    }
                }
            }
            std::fs::write(&path, &file).unwrap();
            match Tokens::open(None, folder.path(), 300) {
                Ok(tokens) => {
                    working += 1;
                    let ids = tokens.encode("ab abé \u{10ffff}").and_then(|ids| tokens.decode(&ids));
                    let _ = ids.and_then(|_| tokens.decode(&[0, 6, 7, 299, u32::MAX]));
                }
                Err(error) => assert!(error.to_string().contains(path.to_str().unwrap()), "case {case}: {error}"),
            }
            case += 1;
        }
        println!("{working} of {case} work");
        assert!(working > 0);
    }
}
