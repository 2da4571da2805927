//! Programs of real exporters' files are right after lowering and after placement, in large and in small memories.
//!
//! `NARAE_ZOO=llama` selects files whose name contains the text (default: `llama`; `NARAE_ZOO=` takes all). Without the shared folder
//! the test says so and passes.
#![allow(clippy::print_stdout, reason = "tests talk to whoever runs them")]

use std::path::{Path, PathBuf};

use narae_compiler::bounds::{self, Maxima, Rest};
use narae_compiler::compile::{Options, optimise};
use narae_compiler::lower::graph_to_tile;
use narae_compiler::onnx::{Limits, Model, import};
use narae_compiler::passes::place;
use narae_compiler::pipeline::Unobserved;
use narae_compiler::tile::{text, verify};
use narae_isa::Diagnostics;
use narae_isa::chip::Chip;

fn files(folder: &Path, filter: &str, found: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).expect("the folder is readable");
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, filter, found);
        } else if path.extension().is_some_and(|end| end == "onnx") && path.to_string_lossy().contains(filter) {
            found.push(path);
        }
    }
}

/// `Ok(false)` for a file that is refused before it is a program.
fn check(path: &Path) -> Result<bool, Diagnostics> {
    let maxima =
        Maxima { batch: Some(2), sequence: Some(16), past: Some(32), rest: Rest::AtMost(64), ..Maxima::default() };
    let options = Options { maxima, ..Options::new(Chip::built_in("narae-edge").expect("a built-in chip")) };
    let lowered = || {
        let mut graph = import(&Model::open(path, &Limits::default())?)?;
        bounds::fix(&mut graph, &options.maxima)?;
        let (graph, _) = optimise(graph, &options, &mut Unobserved)?;
        let sources = graph.sources.clone();
        Ok::<_, Diagnostics>((graph_to_tile::lower(&graph, "main")?, sources))
    };
    let (program, sources) = match lowered() {
        Ok(found) => found,
        Err(problems) => {
            println!("{}: {problems}", path.display());
            return Ok(false);
        }
    };
    verify::lowered(&program)?;
    for sram in [4 << 20, 256 << 10] {
        let Ok(placed) = place::place(&program, sram) else { continue };
        verify::placed(&placed)?;
        let printed = text::print(&placed, &sources, text::Options { locations: true });
        let parsed = text::parse(&printed, &sources).map_err(|problem| Diagnostics(vec![problem]))?;
        assert!(parsed == placed, "{}: the program parses back to itself", path.display());
    }
    Ok(true)
}

#[test]
fn programs_of_the_zoo_are_right() {
    let Some(folder) = narae_testing::shared_or_skip("models/zoo") else { return };
    let filter = std::env::var("NARAE_ZOO").unwrap_or_else(|_| "llama".into());
    let mut found = Vec::new();
    files(&folder, &filter, &mut found);
    found.sort();
    let mut wrong = Vec::new();
    let mut checked = 0;
    for path in &found {
        match check(path) {
            Ok(right) => checked += usize::from(right),
            Err(problems) => {
                let first = problems.0.first().map(|one| format!("{one} {:?}", one.notes)).unwrap_or_default();
                wrong.push(format!("{}: {} problems, first {first}", path.display(), problems.0.len()));
            }
        }
    }
    println!("{checked} of {} files became programs that were checked", found.len());
    assert!(!found.is_empty() && checked == found.len(), "{} files were refused", found.len() - checked);
    assert!(wrong.is_empty(), "{} programs are wrong:\n{}", wrong.len(), wrong.join("\n"));
}
