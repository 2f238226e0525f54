//! What the chapters, and the repository's other texts, point at exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn book() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The chapters, each with its name.
fn chapters() -> Vec<(String, String)> {
    let files = fs::read_dir(book()).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    files.map(|path| (path.file_name().unwrap().display().to_string(), fs::read_to_string(path).unwrap())).collect()
}

/// The repository's other texts, each with its path.
fn texts() -> Vec<(PathBuf, String)> {
    let root = book().join("../..");
    let named = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "fixtures/README.md", "benches/RESULTS.md"];
    let examples = fs::read_dir(root.join("examples")).unwrap().map(|entry| entry.unwrap().path());
    let examples = examples.flat_map(|example| [example.join("README.md"), example.join("data/README.md")]);
    let chapters = chapters().into_iter().map(|(name, _)| book().join(name));
    let files = named.iter().map(|name| root.join(name)).chain(examples.filter(|path| path.exists())).chain(chapters);
    files.map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// The text outside of fenced blocks.
fn prose(chapter: &str) -> String {
    let mut fenced = false;
    let mut lines = Vec::new();
    for line in chapter.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            lines.push(line);
        }
    }
    lines.join("\n")
}

/// What stands between `start` and `end`, each time.
fn between<'a>(text: &'a str, start: &'a str, end: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(start).skip(1).filter_map(move |rest| rest.split(end).next())
}

/// The identifier that mdBook gives a heading.
fn identifier(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

#[test]
fn links_lead_somewhere() {
    for (path, text) in texts() {
        let prose = prose(&text);
        for link in between(&prose, "](", ")") {
            if link.starts_with("https://") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let file = if file.is_empty() { path.clone() } else { path.with_file_name(file) };
            assert!(file.exists(), "{} links to {link}, which does not exist", path.display());
            if !heading.is_empty() {
                let target = fs::read_to_string(file).unwrap();
                let mut headings = target.lines().filter_map(|line| line.strip_prefix('#'));
                let found = headings.any(|line| identifier(line.trim_start_matches('#')) == heading);
                assert!(found, "{} links to {link}, where there is no such heading", path.display());
            }
        }
    }
}

#[test]
fn documentation_is_that_of_the_versions_in_use() {
    let lock = include_str!("../../Cargo.lock");
    for (path, text) in texts() {
        for link in between(&text, "https://docs.rs/", ")") {
            let mut parts = link.split('/');
            let (package, version) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let entry = format!("name = \"{package}\"\nversion = \"{version}\"\n");
            assert!(
                lock.contains(&entry),
                "{} links to {package} {version}, which Cargo.lock does not have",
                path.display()
            );
        }
    }
}

#[test]
fn paths_in_the_text_are_those_of_the_repository() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let tops: BTreeSet<String> =
        fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name().display().to_string()).collect();
    for (name, chapter) in chapters() {
        let prose = prose(&chapter);
        let code = prose.split('`').skip(1).step_by(2);
        for path in code.filter(|code| code.contains('/') && !code.contains(' ')) {
            let top = path.split('/').next().unwrap_or_default();
            if tops.contains(top) && top != "runs" {
                assert!(root.join(path).exists(), "{name} names {path}, which does not exist");
            }
        }
    }
}

#[test]
fn every_chapter_is_listed_and_has_a_figure_and_a_listing() {
    let summary = fs::read_to_string(book().join("SUMMARY.md")).unwrap();
    let listed: Vec<&str> = between(&summary, "](", ")").collect();
    for (name, chapter) in chapters() {
        if name == "SUMMARY.md" {
            continue;
        }
        assert!(listed.contains(&name.as_str()), "{name} is not in SUMMARY.md");
        if !["introduction.md", "backends.md"].contains(&name.as_str()) {
            assert!(chapter.contains("](figures/"), "{name} has no figure");
            assert!(
                chapter.contains("{{#include ../listings/"),
                "{name} has no listing that a test of this crate runs"
            );
        }
    }
}
