//! What the chapters point at exists.

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
    for (name, chapter) in chapters() {
        let prose = prose(&chapter);
        for link in between(&prose, "](", ")") {
            if link.starts_with("https://") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let file = if file.is_empty() { name.as_str() } else { file };
            assert!(book().join(file).exists(), "{name} links to {link}, which does not exist");
            if !heading.is_empty() {
                let target = fs::read_to_string(book().join(file)).unwrap();
                let mut headings = target.lines().filter_map(|line| line.strip_prefix('#'));
                let found = headings.any(|line| identifier(line.trim_start_matches('#')) == heading);
                assert!(found, "{name} links to {link}, where there is no such heading");
            }
        }
    }
}

#[test]
fn documentation_is_that_of_the_versions_in_use() {
    let lock = include_str!("../../Cargo.lock");
    for (name, chapter) in chapters() {
        for link in between(&chapter, "https://docs.rs/", ")") {
            let mut parts = link.split('/');
            let (package, version) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let entry = format!("name = \"{package}\"\nversion = \"{version}\"\n");
            assert!(lock.contains(&entry), "{name} links to {package} {version}, which Cargo.lock does not have");
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
            assert!(chapter.contains("{{#include "), "{name} has no listing");
        }
    }
}
