//! Every public constructor and operator of the libraries has an example in its documentation. `cargo test --doc` runs
//! them; this looks which there are, in the text of the sources as rustfmt writes it.

use std::fs;
use std::path::{Path, PathBuf};

const LIBRARIES: [&str; 5] = ["mamba-core", "mamba-blocks", "mamba-vision", "mamba-ts", "mamba-dna"];

/// A source file, up to its unit tests.
struct Source {
    text: String,
    /// Whether what is public in it is public in the library without being named by a `pub use`.
    is_open: bool,
}

/// The module in `file` and those below it, which are beside it in `folder`.
fn sources(file: &Path, folder: &Path, is_open: bool, found: &mut Vec<Source>) {
    let text = fs::read_to_string(file).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_string();
    for line in text.lines() {
        let is_public = line.starts_with("pub mod ");
        let Some(name) = line.trim_start_matches("pub ").strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';'))
        else {
            continue;
        };
        let below = folder.join(name);
        let files = [folder.join(format!("{name}.rs")), below.join("mod.rs")];
        let file = files.iter().find(|file| file.exists()).expect("a module has a file");
        sources(file, &below, is_open && is_public, found);
    }
    found.push(Source { text, is_open });
}

fn all_sources() -> Vec<Source> {
    let mut found = Vec::new();
    for library in LIBRARIES {
        let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", library, "src"].iter().collect();
        sources(&folder.join("lib.rs"), &folder, true, &mut found);
    }
    found
}

/// The code of every example that is compiled.
fn examples(text: &str) -> Vec<String> {
    let mut examples = Vec::new();
    let mut open: Option<(bool, String)> = None;
    for line in text.lines() {
        let line = line.trim_start();
        let Some(line) = line.strip_prefix("///").or(line.strip_prefix("//!")) else { continue };
        match (line.trim().strip_prefix("```"), &mut open) {
            (Some(kind), None) => open = Some((["", "no_run"].contains(&kind), String::new())),
            (Some(_), Some((is_compiled, code))) => {
                examples.extend(is_compiled.then(|| code.clone()));
                open = None;
            }
            (None, Some((_, code))) => code.push_str(&format!("{line}\n")),
            (None, None) => {}
        }
    }
    examples
}

/// What makes something, as `Type::function`, or is an operator: a function in a module.
fn items(source: &Source, is_exported: impl Fn(&str) -> bool) -> Vec<String> {
    let mut items = Vec::new();
    let mut within = None;
    let mut derives_config = false;
    let mut lines = source.text.lines().peekable();
    while let Some(line) = lines.next() {
        let is_public = |name: &str| source.is_open || is_exported(name);
        if let Some(derived) = line.strip_prefix("#[derive(") {
            derives_config = derived.starts_with("Config");
        } else if let Some(name) = line.strip_prefix("pub struct ").map(word) {
            items.extend((derives_config && is_public(name)).then(|| format!("{name}::new")));
        } else if line.starts_with("impl") {
            within = (!line.contains(" for ")).then(|| word(without_generics(&line[4..]).trim_start()));
        } else if line.starts_with('}') {
            within = None;
        }
        let declared = line.trim_start().trim_start_matches("pub const fn ").trim_start_matches("pub fn ");
        let indent = line.len() - line.trim_start().len();
        if !line.trim_start().starts_with("pub ") || declared.len() == line.trim_start().len() {
            continue;
        }
        let first = declared.split_once('(').map_or("", |(_, arguments)| arguments);
        let first = if first.is_empty() { lines.peek().copied().unwrap_or_default() } else { first };
        let is_method = ["self", "&self", "mut self", "&mut self"].iter().any(|own| first.trim().starts_with(own));
        let name = word(declared);
        match within {
            None if indent == 0 && is_public(name) => items.push(name.to_string()),
            Some(subject) if indent == 4 && is_public(subject) => {
                let makes = ["init", "try_init", "load"].contains(&name);
                items.extend(
                    (!is_method || makes)
                        .then(|| if is_method { format!("{subject}.{name}") } else { format!("{subject}::{name}") }),
                );
            }
            _ => {}
        }
    }
    items
}

/// What is behind the `<..>` that `text` begins with, if it does.
fn without_generics(text: &str) -> &str {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        depth += i32::from(c == '<') - i32::from(c == '>');
        if depth == 0 {
            return if at == 0 { text } else { &text[at + 1..] };
        }
    }
    text
}

/// The identifier that `text` begins with.
fn word(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}

/// Whether `code` has `name` as a word of its own, with one of `ends` behind it.
fn has(code: &str, name: &str, ends: &[&str]) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let behind = &code[at + name.len()..];
        before.is_none_or(|c| !c.is_alphanumeric() && c != '_') && ends.iter().any(|end| behind.starts_with(end))
    })
}

#[test]
fn every_public_constructor_and_operator_has_an_example() {
    let sources = all_sources();
    let exports = sources.iter().filter(|source| source.is_open);
    let exports = exports.flat_map(|source| source.text.split("\npub use ").skip(1));
    let exports: String = exports.map(|rest| rest.split_inclusive(';').next().unwrap_or_default()).collect();
    let is_exported = |name: &str| has(&exports, name, &[",", "}", ";", "\n"]);
    let examples: Vec<String> = sources.iter().flat_map(|source| examples(&source.text)).collect();
    let items: Vec<String> = sources.iter().flat_map(|source| items(source, is_exported)).collect();

    let is_shown = |item: &String| match item.split_once('.') {
        // On a value of the type, in the same example.
        Some((subject, method)) => {
            examples.iter().any(|code| has(code, subject, &["::"]) && code.contains(&format!(".{method}(")))
        }
        None => examples.iter().any(|code| has(code, item, &["(", "::<"])),
    };
    let missing: Vec<&String> = items.iter().filter(|item| !is_shown(item)).collect();
    assert!(items.len() > 200, "only {} items were found", items.len());
    assert!(missing.is_empty(), "without an example: {missing:#?}");
}
