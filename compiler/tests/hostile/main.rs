//! The hostile corpus: files made here, byte by byte, none of which may get further than a coded refusal.
//!
//! Every case is refused with the expected code, with a byte offset, a file or a node, quickly, and without a panic.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests talk to whoever runs them")]

mod folders;
mod structure;
mod wire;
mod write;

use narae_compiler::graph::Graph;
use narae_compiler::onnx::{Limits, Model, import, needs};
use narae_isa::{Diagnostics, Place};
use std::time::{Duration, Instant};

/// How long a refusal may take in a debug build on a busy machine; release builds are held to 100 ms by the benchmark.
const PATIENCE: Duration = Duration::from_secs(5);

fn check<T>(name: &str, code: &str, result: Result<T, Diagnostics>, started: Instant) -> Result<(), String> {
    let took = started.elapsed();
    let Err(found) = result else { return Err(format!("{name}: accepted")) };
    let Some(first) = found.iter().find(|one| one.code.id == code).or(found.0.first()) else {
        return Err(format!("{name}: refused without a reason"));
    };
    if first.code.id != code {
        return Err(format!("{name}: expected {code}, found {first}"));
    }
    if !matches!(first.place, Some(Place::Byte { .. } | Place::Node { .. } | Place::File { .. })) {
        return Err(format!("{name}: no place in {first}"));
    }
    if took > PATIENCE {
        return Err(format!("{name}: took {took:?}"));
    }
    Ok(())
}

#[test]
fn damaged_bytes_are_refused_with_an_offset() {
    let cases = wire::cases();
    let mut problems = Vec::new();
    let mut slowest = Duration::ZERO;
    let count = cases.len();
    for (name, code, bytes) in cases {
        let started = Instant::now();
        let result = Model::from_bytes(bytes, &Limits::default());
        slowest = slowest.max(started.elapsed());
        problems.extend(check(name, code, result, started).err());
    }
    println!("{count} damaged files refused, the slowest in {slowest:?}");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

fn open_and_import(bytes: Vec<u8>) -> Result<Graph, Diagnostics> {
    import(&Model::from_bytes(bytes, &Limits::default())?)
}

#[test]
fn lies_about_the_graph_are_refused_at_a_place() {
    let cases = structure::cases();
    let mut problems = Vec::new();
    let mut slowest = (Duration::ZERO, "");
    let count = cases.len();
    for (name, code, bytes) in cases {
        let started = Instant::now();
        let result = open_and_import(bytes);
        slowest = slowest.max((started.elapsed(), name));
        problems.extend(check(name, code, result, started).err());
    }
    println!("{count} lying files refused, the slowest in {slowest:?}");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn external_data_stays_in_the_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let cases = folders::cases(folder.path());
    let count = cases.len();
    let mut problems = Vec::new();
    for (name, code, path) in cases {
        let started = Instant::now();
        let result = Model::open(&path, &Limits::default()).and_then(|model| import(&model));
        problems.extend(check(name, code, result, started).err());
    }
    println!("{count} folders refused");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn links_inside_and_the_cache_of_hugging_face_load() {
    let folder = tempfile::tempdir().expect("a folder");
    for path in folders::good(folder.path()) {
        let loaded = Model::open(&path, &Limits::default()).and_then(|model| import(&model));
        loaded.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

#[test]
fn files_that_are_no_files() {
    let folder = tempfile::tempdir().expect("a folder");
    for path in [folder.path().join("missing.onnx"), folder.path().to_path_buf(), "/dev/zero".into()] {
        let refused = Model::open(&path, &Limits::default()).expect_err("there is no model");
        assert_eq!(refused.0[0].code.id, "E0101", "{refused}");
    }
}

/// Every problem of a model comes in one report.
#[test]
fn all_problems_come_at_once() {
    let nodes = vec![
        structure::node("Frobnicate", &["x"], &["a"]),
        structure::node("Relu", &["a"], &["b"]),
        structure::node("Twiddle", &["b", "x"], &["y"]),
    ];
    let bytes = structure::bytes(&structure::model(structure::graph(nodes, vec![])));
    let model = Model::from_bytes(bytes, &Limits::default()).expect("the file is well formed");
    let missing: Vec<String> =
        needs(&model).into_iter().filter(|need| need.refusal.is_some()).map(|need| need.name).collect();
    assert_eq!(missing, ["Frobnicate", "Twiddle"]);
    let refused = import(&model).expect_err("unknown operators");
    assert_eq!(refused.iter().filter(|one| one.code.id == "E0201").count(), 2, "{refused}");
    assert_eq!(refused.exit(), 3);
}
