//! The figures of the book. A test compares them with the files in `book/src/figures`; with `MAMBA_BOOK_FIGURES=write`
//! it writes them instead.

mod charts;
mod diagrams;
mod orders;
mod picture;
mod recurrence;

use std::path::Path;
use std::{env, fs};

/// Every figure by the name of its file.
fn all() -> Vec<(&'static str, String)> {
    vec![
        ("loss.svg", include_str!("../../../examples/language/loss.svg").to_string()),
        ("layer.svg", diagrams::layer()),
        ("four-tokens.svg", recurrence::four_tokens()),
        ("tree.svg", recurrence::tree()),
        ("spans.svg", recurrence::spans()),
        ("backward.svg", recurrence::backward()),
        ("traffic.svg", charts::traffic()),
        ("roofline.svg", charts::roofline()),
        ("dispatch.svg", diagrams::dispatch()),
        ("state-size.svg", charts::state_size()),
        ("orders.svg", orders::orders()),
        ("variates.svg", diagrams::variates()),
        ("strands.svg", diagrams::strands()),
        ("rounding.svg", charts::rounding()),
        ("layout.svg", diagrams::layout()),
        ("lengths.svg", charts::lengths()),
        ("crates.svg", diagrams::crates()),
    ]
}

#[test]
fn the_figures_are_what_the_program_draws() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/figures");
    for (name, svg) in all() {
        let file = folder.join(name);
        if env::var("MAMBA_BOOK_FIGURES").is_ok_and(|value| value == "write") {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&file, &svg).unwrap();
        }
        let drawn = fs::read_to_string(&file).unwrap_or_default();
        assert!(drawn == svg, "{name} is out of date: run the test with MAMBA_BOOK_FIGURES=write");
    }
}
