//! Writes docs/validation.md: `cargo run --release --example validation [FOLDER OF ../shared/dram]`.
//!
//! The figures come from `narae_sim::dram::validation` and `narae_sim::validation`, which the tests hold too; this program adds the speeds (bars D7,
//! N5, N6), which depend on the machine, and puts the page together.
#![expect(clippy::print_stderr, reason = "a program that reports what it does")]

mod checker;
mod clock;
mod speed;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use narae_sim::dram::validation::{self as memory, Bar, Chapter};
use narae_sim::validation as chip;

fn main() -> ExitCode {
    match write_page() {
        Ok(path) => {
            eprintln!("wrote {}", path.display());
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn write_page() -> Result<PathBuf, String> {
    let given = std::env::args_os().nth(1).map(PathBuf::from);
    let folder = given
        .or_else(|| narae_testing::shared("dram"))
        .ok_or("no ../shared/dram; name the folder or set NARAE_SHARED")?;
    let mut chapters = Vec::new();
    for (name, write) in PARTS {
        eprintln!("{name} …");
        chapters.push(write(&folder)?);
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/validation.md");
    std::fs::write(&path, page(&chapters)).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

/// A chapter from the folder with the anchor's data.
type Write = fn(&Path) -> Result<Chapter, String>;

const PARTS: [(&str, Write); 4] = [
    ("memory model", memory::chapter),
    ("chip", |_| Ok(chip::chapter())),
    ("speed", |_| speed::chapter()),
    ("cost of the checker", |_| checker::chapter()),
];

fn page(chapters: &[Chapter]) -> String {
    let mut bars: Vec<&Bar> = chapters.iter().flat_map(|chapter| &chapter.bars).collect();
    bars.sort_by(|a, b| a.name.cmp(&b.name));
    let missed = bars.iter().filter(|bar| !bar.met).count();
    let mut page = format!(
        "# Validation\n\nWritten by `cargo run --release --example validation`. Every bar of the simulator with its figure, misses included: {} bars, {missed} missed.\n\n\
         D: the LPDDR model against Ramulator 2.1 (stored cases). N: the chip's timing. E: energy. Speeds are CPU time on the machine that wrote the page; everything else is \
         the same on any machine, and held by tests.\n\n## Bars\n\n| bar | wanted | found | |\n|---|---|---|---|\n",
        bars.len(),
    );
    page.extend(bars.into_iter().map(Bar::row));
    page.push_str(memory::NOT_PROVEN);
    page.extend(chapters.iter().map(|chapter| chapter.details.as_str()));
    page
}
