//! The hostile corpus: files made here, byte by byte, none of which may get further than a coded refusal.
//!
//! Every case is refused with the expected code, with a byte offset, a file or a node, quickly, and without a panic.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests talk to whoever runs them")]

mod folders;
mod structure;
#[path = "../support/usage.rs"]
mod usage;
mod wire;
mod write;

use narae_compiler::graph::Graph;
use narae_compiler::onnx::{Limits, Model, import, needs};
use narae_isa::{Diagnostics, Place};
use usage::{alone, computed, peak_growth};

/// Time of the thread that a refusal may take here: 100 ms is the bar of optimised code, debug builds are some ten times slower.
const PATIENCE: u64 = if cfg!(debug_assertions) { 1_000_000_000 } else { 100_000_000 };

/// Memory that a refusal may take.
const ROOM: u64 = 64 << 20;

/// A file that must be refused: its name, the code, and what opens it.
struct Case<'a, T> {
    name: &'a str,
    code: &'a str,
    open: Box<dyn FnOnce() -> Result<T, Diagnostics> + 'a>,
}

impl<T> Case<'_, T> {
    /// Opens it; the nanoseconds and bytes that it took.
    fn check(self) -> Result<(u64, u64), String> {
        let Case { name, code, open } = self;
        let before = computed();
        let (result, bytes) = peak_growth(open);
        let took = computed() - before;
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
        if took > PATIENCE || bytes > ROOM {
            return Err(format!("{name}: took {took} ns and {bytes} bytes"));
        }
        Ok((took, bytes))
    }
}

/// Checks all; prints the slowest and the largest.
fn check_all<'a, T>(what: &str, cases: impl Iterator<Item = Case<'a, T>>) {
    let _alone = alone();
    let results: Vec<_> = cases.map(Case::check).collect();
    let passed = || results.iter().flatten();
    let milliseconds = passed().map(|(took, _)| took / 1_000_000).max().unwrap_or(0);
    let mebibytes = passed().map(|(_, bytes)| bytes >> 20).max().unwrap_or(0);
    println!("{} {what} refused, each in at most {milliseconds} ms and {mebibytes} MiB", passed().count());
    let problems: Vec<String> = results.into_iter().filter_map(Result::err).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn damaged_bytes_are_refused_with_an_offset() {
    let folder = tempfile::tempdir().expect("a folder");
    // One file after the other: opened as every model is, so that what the reader keeps of it is measured.
    let path = folder.path().join("damaged.onnx");
    let case = |(name, code, bytes): (_, _, Vec<u8>)| {
        std::fs::write(&path, bytes).expect("a file");
        Case { name, code, open: Box::new(|| Model::open(&path, &Limits::default())) }
    };
    check_all("damaged files", wire::cases().into_iter().map(case));
}

fn open_and_import(bytes: Vec<u8>) -> Result<Graph, Diagnostics> {
    import(&Model::from_bytes(bytes, &Limits::default())?)
}

#[test]
fn lies_about_the_graph_are_refused_at_a_place() {
    let cases = structure::cases();
    let open = |bytes| Box::new(|| open_and_import(bytes)) as Box<_>;
    check_all("lying files", cases.into_iter().map(|(name, code, bytes)| Case { name, code, open: open(bytes) }));
}

#[test]
fn external_data_stays_in_the_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let cases = folders::cases(folder.path());
    let open = |path| Box::new(move || import(&Model::open(&path, &Limits::default())?)) as Box<dyn FnOnce() -> _>;
    check_all("folders", cases.into_iter().map(|(name, code, path)| Case { name, code, open: open(path) }));
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

/// The checker and onnxruntime take it: an output that is listed twice is one result.
#[test]
fn an_output_listed_twice_is_one() {
    let mut graph = structure::graph(vec![structure::node("Relu", &["x"], &["y"])], vec![]);
    graph.output = vec![structure::value("y", 1, &[2, 3]), structure::value("y", 1, &[2, 3])];
    let imported = open_and_import(structure::bytes(&structure::model(graph))).expect("it imports");
    assert_eq!(imported.outputs().len(), 1);
    narae_compiler::graph::verify::verify(&imported).expect("it is whole");
}

/// onnxruntime warns and goes on, too: exporters write such declarations, and nothing depends on them.
#[test]
fn a_contradicted_shape_of_an_output_is_a_note() {
    let notes = |dims: &[i64]| {
        let mut graph = structure::graph(vec![structure::node("Relu", &["x"], &["y"])], vec![]);
        graph.input = vec![structure::value("x", 1, &[2, 3])];
        graph.output = vec![structure::value("y", 1, dims)];
        let bytes = structure::bytes(&structure::model(graph));
        open_and_import(bytes).expect("it imports").symbols.notes().to_vec()
    };
    assert!(notes(&[2, 3]).is_empty());
    assert_eq!(notes(&[2, 4]), ["output `y` is declared [2, 4], but its nodes make [2, 3], which holds"]);
    assert_eq!(notes(&[2, 3, 1]), ["output `y` is declared [2, 3, 1], but its nodes make [2, 3], which holds"]);
}
