//! The tokens of a file of any size, in constant memory.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use tokenizers::Tokenizer;

use crate::error::Error;
use crate::tokens::{Tokens, encode_with_spans};

/// Bytes of text that are encoded at once.
const PIECE: usize = 1 << 16;
/// Bytes before and behind what is taken of a piece: what a tokenizer makes of a text depends on nothing further off.
const MARGIN: usize = 1 << 12;

/// Hands every token of the file `path` to `see`, with the bytes read so far. Returns how many bytes follow the first
/// token.
pub fn each_token(path: &Path, tokens: &Tokens, mut see: impl FnMut(u32, u64)) -> Result<u64, Error> {
    let file = File::open(path).map_err(Error::read(path))?;
    match tokens {
        Tokens::Bytes => {
            let mut count = 0;
            for byte in BufReader::new(file).bytes() {
                count += 1;
                see(byte.map_err(Error::read(path))?.into(), count);
            }
            Ok(count.saturating_sub(1))
        }
        Tokens::File { path: of, tokenizer } => {
            let mut pieces = Pieces { path, file, bytes: Vec::new(), text: String::new(), start: 0, size: PIECE };
            pieces.each_token(of, tokenizer, see)
        }
    }
}

/// A window on a text file.
struct Pieces<'a, R> {
    path: &'a Path,
    file: R,
    /// Read, but not yet whole characters.
    bytes: Vec<u8>,
    text: String,
    /// Where `text` starts in the file.
    start: u64,
    /// How much is read ahead of the margin.
    size: usize,
}

impl<R: Read> Pieces<'_, R> {
    fn each_token(&mut self, of: &Path, tokenizer: &Tokenizer, mut see: impl FnMut(u32, u64)) -> Result<u64, Error> {
        // Where the next token starts in `text`.
        let mut next = 0;
        let mut first_end = None;
        loop {
            let end = self.fill()?;
            let (ids, spans) = encode_with_spans(of, tokenizer, &self.text)?;
            let cut = |at: usize| Error::TokenizerCut { path: of.to_path_buf(), at: self.start + at as u64 };
            let from = match first_end {
                None => 0,
                // Tokens that stand for no text, as those around every text, are no place to go on from.
                Some(_) => spans.iter().position(|span| span.0 == next && span.1 > next).ok_or_else(|| cut(next))?,
            };
            first_end = first_end.or(spans.first().map(|span| span.1 as u64));
            let is_cut = |&at: &usize| {
                let (span, before) = (spans[at], spans[at - 1]);
                span.0 + MARGIN <= self.text.len() && span.1 > span.0 && before.1 <= span.0
            };
            let to = match end {
                true => ids.len(),
                false => (from + 1..ids.len()).rev().find(is_cut).ok_or_else(|| cut(next))?,
            };
            let read = self.start + spans.get(to).map_or(self.text.len(), |span| span.0) as u64;
            ids[from..to].iter().for_each(|&id| see(id, read));
            if end {
                return Ok(read - first_end.unwrap_or(0));
            }
            let (at, start) = (spans[to].0, self.text.floor_char_boundary(spans[to].0.saturating_sub(MARGIN)));
            self.text.drain(..start);
            self.start += start as u64;
            next = at - start;
        }
    }

    /// Reads on; whether the file has ended.
    fn fill(&mut self) -> Result<bool, Error> {
        let wanted = (self.size + 2 * MARGIN).saturating_sub(self.text.len()) as u64;
        let read = (&mut self.file).take(wanted).read_to_end(&mut self.bytes).map_err(Error::read(self.path))?;
        let end = (read as u64) < wanted;
        let whole = match std::str::from_utf8(&self.bytes) {
            Ok(text) => text.len(),
            // A character whose other bytes come next.
            Err(error) if error.error_len().is_none() && !end => error.valid_up_to(),
            Err(reason) => return Err(Error::NotUtf8 { path: self.path.to_path_buf(), reason }),
        };
        let rest = self.bytes.split_off(whole);
        let text = std::mem::replace(&mut self.bytes, rest);
        // What has been checked is not checked again, but joined.
        self.text.push_str(&String::from_utf8_lossy(&text));
        Ok(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words of bytes, with their spaces; a token at the start of every text.
    const TOKENIZER: &str = r#"{
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null,
        "added_tokens": [{"id": 8, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true}],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}}], "pair": [],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [8], "tokens": ["<s>"]}}},
        "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "vocab": {"a": 0, "b": 1, "Ġ": 2, "Ã": 3, "©": 4, "ab": 5, "Ġab": 6, "Ċ": 7, "<s>": 8},
            "merges": ["a b", "Ġ ab"]}
    }"#;

    fn text(length: usize) -> String {
        let words = ["ab", " ab", "  ab", "é", "aab", "\n", " \n", "b a", "é ab"];
        (0..length).map(|at| words[(at * at + 3 * at) % 89 % words.len()]).collect()
    }

    #[test]
    fn pieces_give_the_tokens_of_the_whole() {
        let tokenizer = Tokenizer::from_bytes(TOKENIZER).unwrap();
        for length in [0, 1, 7000, 20_000] {
            let text = text(length);
            let whole = tokenizer.encode(text.as_str(), true).unwrap();
            for size in [50, 1000, 4096, 100_000] {
                let (path, file) = (Path::new("text"), text.as_bytes());
                let mut pieces = Pieces { path, file, bytes: vec![], text: String::new(), start: 0, size };
                let (mut ids, mut read) = (vec![], 0);
                let see = |id, at| {
                    ids.push(id);
                    read = at;
                };
                let behind = pieces.each_token(Path::new("tokenizer"), &tokenizer, see).unwrap();
                assert!(ids == whole.get_ids(), "{length} words in pieces of {size}");
                assert_eq!((behind, read), (text.len() as u64, text.len() as u64));
                assert!(pieces.text.len() <= size + 2 * MARGIN);
            }
        }
    }

    #[test]
    fn half_a_character_is_an_error_only_at_the_end() {
        let tokenizer = Tokenizer::from_bytes(TOKENIZER).unwrap();
        let mut bytes = text(9000).into_bytes();
        bytes.extend([b'a', 0xc3]);
        let (path, file) = (Path::new("text"), bytes.as_slice());
        let mut pieces = Pieces { path, file, bytes: vec![], text: String::new(), start: 0, size: 1000 };
        let mut count = 0;
        let result = pieces.each_token(Path::new("tokenizer"), &tokenizer, |_, _| count += 1);
        assert!(matches!(result, Err(Error::NotUtf8 { .. })) && count > 1000);
    }
}
