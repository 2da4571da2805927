//! Zero flags over the zoos: every file that `run` accepts compiles with lengths that are chosen for it, and the image passes its own
//! verification. Refused are only files with operators or types that the importer refuses. In eight shards, which run side by side.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests talk to whoever runs them")]

mod support;

use std::path::Path;

use narae::settings::settings;
use narae_compiler::bounds::Unsaid;
use narae_compiler::compile::{Options, compile_graph};
use narae_compiler::onnx::{Limits, Model, import};
use narae_compiler::pipeline::Unobserved;
use narae_isa::{Chip, Diagnostics, Image};
use support::zoo::{Row, Zoo};

const SHARDS: usize = 8;

/// Compiles a file as `narae compile FILE -o OUT` does, and opens what that gives.
fn zero_flags(path: &Path) -> Result<(), Diagnostics> {
    let mut options = Options::new(Chip::built_in("narae-1").expect("a built-in chip"));
    options.maxima.unsaid = Unsaid::Chosen { positions: settings(path)?.positions };
    let graph = import(&Model::open(path, &Limits::default())?)?;
    let (compiled, findings) = compile_graph(graph, &options, &mut Unobserved)?;
    let image = Image::from_bytes("the image", compiled.to_bytes()?)?;
    image.verify()?;
    let open =
        image.metadata().entries.iter().flat_map(|entry| &entry.slots).any(|slot| !slot.computed && slot.max > 1 << 40);
    assert!(!open, "{}: a length without a maximum", path.display());
    let chosen = findings.chosen.as_deref().unwrap_or_default();
    assert!(chosen.is_empty() || chosen.contains("--max"), "{}: {chosen}", path.display());
    Ok(())
}

/// Compiles the rows; how many compiled, and how many the importer refuses.
fn judge(rows: &[Row]) -> (usize, usize) {
    let (mut compiled, mut refused, mut wrong) = (0, 0, Vec::new());
    for row in rows {
        match zero_flags(&row.path) {
            Ok(()) => compiled += 1,
            Err(problems) if problems.exit() == 3 => {
                println!("{}: refused by the importer", row.name);
                refused += 1;
            }
            Err(problems) => wrong.push(format!("{}: {problems}", row.name)),
        }
    }
    assert!(wrong.is_empty(), "{} files:\n{}", wrong.len(), wrong.join("\n"));
    (compiled, refused)
}

fn shard(number: usize) {
    let mut rows = Vec::new();
    for folder in ["models/zoo", "models/zoo2"] {
        match Zoo::named(folder) {
            Some(zoo) => rows.extend(zoo.rows("")),
            None => support::skip(folder),
        }
    }
    let chosen: Vec<Row> = rows.iter().skip(number).step_by(SHARDS).cloned().collect();
    let (compiled, refused) = judge(&chosen);
    println!("shard {number}: {compiled} compiled, {refused} refused");
    assert!(refused <= chosen.len() / 4, "{refused} of {} files were refused", chosen.len());
}

macro_rules! shards {
    ($($name:ident $number:literal,)*) => { $(#[test] fn $name() { shard($number); })* };
}

shards! { shard_0 0, shard_1 1, shard_2 2, shard_3 3, shard_4 4, shard_5 5, shard_6 6, shard_7 7, }

/// Our own small models of one operator each, so that this file means something without `../shared`.
#[test]
fn operators() {
    let rows = Zoo::of_operators().rows("");
    let (compiled, refused) = judge(&rows);
    assert!(compiled >= 20 && refused == 0, "{compiled} compiled, {refused} refused");
}
