//! One image for every length: models whose axes have any extent, 0 included, against onnxruntime's answers.
//!
//! In: `tests/data/lengths` (written by `tests/data/make_lengths.py`): a model, and calls with their answers. Each model is compiled once with
//! `--max '*=9'`, for both chip sheets, and the image answers every call. A model that is marked as `given`, whose declarations do not hold, is
//! compiled for the inputs of each call, as `narae run` does.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests talk to whoever runs them")]

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use narae::npz::{self, Arrays};
use narae::session::{Session, shapes};
use narae_compiler::bounds::Rest;
use narae_compiler::compile::Options;
use narae_isa::{Chip, HostTensor};

/// The models, by their files.
fn models() -> Vec<PathBuf> {
    let folder = support::data("lengths");
    let entries =
        std::fs::read_dir(&folder).expect("the folder of models").map(|entry| entry.expect("an entry").path());
    let mut found: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|ext| ext == "onnx")).collect();
    found.sort();
    found
}

/// The first thing that is wrong with an output: dims, integers, infinities and NaN exactly, the rest to 1e-4 of the range.
fn same(got: &HostTensor, want: &HostTensor) -> Result<(), String> {
    if got.dims != want.dims {
        return Err(format!("dims {:?} instead of {:?}", got.dims, want.dims));
    }
    let range = (0..want.len()).map(|at| want.get_f64(at).abs()).filter(|size| size.is_finite()).fold(0.0, f64::max);
    let allowed = if want.element.is_float() { 1e-4 * range + 1e-5 } else { 0.0 };
    let near = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= allowed;
    match (0..want.len()).find(|&at| !near(got.get_f64(at), want.get_f64(at))) {
        Some(at) => Err(format!("element {at} is {} instead of {}", got.get_f64(at), want.get_f64(at))),
        None => Ok(()),
    }
}

fn answer(session: &mut Session, inputs: &Arrays, want: &Arrays) -> Result<(), String> {
    let got = session.run(None, inputs).map_err(|problem| problem.to_string())?;
    want.iter().try_for_each(|(name, want)| same(&got[name], want).map_err(|what| format!("{name}: {what}")))
}

/// The problems of a model on a chip, and the number of its calls.
fn judge(model: &Path, chip: &str) -> (Vec<String>, usize) {
    let answers = model.with_extension("npz");
    let all = npz::read(&answers).expect("the answers");
    let calls: BTreeSet<&str> = all.keys().filter_map(|key| Some(key.split_once('/')?.0)).collect();
    let mut options = Options::new(Chip::built_in(chip).expect("a built-in chip"));
    options.maxima.rest = Rest::AtMost(9);
    let name = model.file_stem().unwrap_or_default().to_string_lossy();
    let compiled = |options: &Options| Session::compile(model, options).map_err(|problem| problem.to_string());
    let mut one_for_all = (!all.contains_key("given")).then(|| compiled(&options));
    let side = |call: &str, side: &str| npz::read_selected(&answers, &format!("{call}/{side}/")).expect("the call");
    let problems = calls.iter().filter_map(|call| {
        let (inputs, want) = (side(call, "in"), side(call, "out"));
        let dims = || inputs.iter().map(|(name, x)| format!("{name} {:?}", x.dims)).collect::<Vec<_>>().join(", ");
        let mut own = one_for_all.is_none().then(|| {
            let mut options = options.clone();
            options.maxima.given.push(shapes(&inputs));
            compiled(&options)
        });
        let session = one_for_all.as_mut().or(own.as_mut()).expect("one of the two");
        let found =
            session.as_mut().map_err(|problem| problem.clone()).and_then(|session| answer(session, &inputs, &want));
        found.err().map(|what| format!("{name}, {chip}, {}: {what}", dims()))
    });
    (problems.collect(), calls.len())
}

fn all_on(chip: &str) {
    let models = models();
    assert!(models.len() >= 30, "{} models", models.len());
    let (mut problems, mut calls) = (Vec::new(), 0);
    for model in &models {
        let (found, count) = judge(model, chip);
        problems.extend(found);
        calls += count;
    }
    println!("{chip}: {calls} calls of {} models, {} problems", models.len(), problems.len());
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

fn model(name: &str) -> PathBuf {
    support::data("lengths").join(name).with_extension("onnx")
}

fn nines() -> Options {
    let mut options = Options::new(Chip::built_in("narae-1").expect("a built-in chip"));
    options.maxima.rest = Rest::AtMost(9);
    options
}

/// A tensor of ones.
fn ones(dims: &[usize]) -> HostTensor {
    HostTensor::from_f32(dims, &vec![1.0; dims.iter().product()])
}

#[test]
fn lengths_that_a_branch_decides_are_held_against_what_was_taken_for_granted() {
    let mut session = Session::compile(&model("added_branches"), &nines()).expect("it compiles");
    let mut run = |truth: bool, rows: usize| {
        let condition = HostTensor::from_i64_as(narae_isa::Element::Bool, &[], &[i64::from(truth)]);
        let named = |name: &str, x: HostTensor| (name.to_string(), x);
        let inputs = [named("c", condition), named("x", ones(&[3, 4])), named("w", ones(&[rows, 4]))];
        session.run(None, &Arrays::from(inputs))
    };
    assert!(run(true, 2).is_ok(), "the other branch is not taken");
    let refused = run(false, 2).expect_err("3 rows and 2 rows cannot be added").to_string();
    assert!(refused.contains("E0603"), "{refused}");
    assert!(run(false, 3).is_ok(), "and the next call starts anew");
}

#[test]
fn lengths_that_nodes_need_are_refused_with_a_code() {
    let cases: [(&str, &[usize], &str); 4] = [
        ("pads", &[2, 2, 3], "reflected elements that are not there"),
        ("split_in_two", &[2, 1, 3], "a part that is longer than the whole"),
        ("windows_without_pads", &[2, 3, 1], "a window that is longer than the axis"),
        ("gathers", &[2, 0, 3], "the last of none"),
    ];
    for (name, dims, why) in cases {
        let mut session =
            Session::compile(&model(name), &nines()).unwrap_or_else(|problem| panic!("{name}: {problem}"));
        let refused = session.run(None, &Arrays::from([("x".to_string(), ones(dims))])).expect_err(why).to_string();
        assert!(refused.contains("error[E06") && !refused.contains("E0608"), "{name}: {refused}");
    }
}

#[test]
fn a_branch_is_chosen_by_lengths_that_are_fixed_and_refused_otherwise() {
    let path = model("branch_by_a_length");
    let refused = Session::compile(&path, &nines()).err().expect("two ranks").to_string();
    assert!(refused.contains("E0303") && refused.contains("--dim k=N"), "{refused}");
    for (length, rank) in [(1, 2), (3, 3)] {
        let mut options = nines();
        options.maxima.fixed.push(("k".to_string(), length));
        let mut session = Session::compile(&path, &options).expect("the length is fixed");
        let x = ones(&[2, length as usize, 4]);
        let got = session.run(None, &Arrays::from([("x".to_string(), x)])).expect("it runs");
        assert_eq!(got["y"].dims.len(), rank, "k = {length}");
    }
}

#[test]
fn what_is_said_of_a_length_reaches_the_importer() {
    let mut options = nines();
    options.maxima.lengths.push(("P".to_string(), 3));
    let imported = narae::session::import_for(&model("conditionals"), &options).expect("it imports");
    let branches =
        |graph: &narae_compiler::graph::Graph| graph.nodes().filter(|(_, node)| node.op.name() == "if").count();
    assert_eq!(branches(&imported), 0, "`P > 3` never holds where P is at most 3");
    let imported = narae::session::import_for(&model("conditionals"), &nines()).expect("it imports");
    assert_eq!(branches(&imported), 1, "otherwise the run decides");
}

#[test]
fn a_name_that_holds_is_believed_and_one_that_does_not_is_noted() {
    let notes = |given: &[(&str, &[usize])]| {
        let mut options = nines();
        options.maxima.given.push(given.iter().map(|(name, dims)| ((*name).to_string(), dims.to_vec())).collect());
        let graph = narae::session::import_for(&model("claim_two_sizes"), &options).expect("it imports");
        let lengths =
            graph.inputs().iter().map(|port| graph.dims(port.value)[0].clone()).collect::<BTreeSet<_>>().len();
        (lengths, graph.symbols.notes().join("; "))
    };
    assert_eq!(notes(&[("a", &[3, 4]), ("b", &[3, 4])]), (1, String::new()));
    let (lengths, said) = notes(&[("a", &[2, 4]), ("b", &[5, 4])]);
    assert_eq!(lengths, 2);
    assert!(said.contains("`n`") && said.contains("contradict"), "{said}");
}

#[test]
fn every_length_on_narae_1() {
    all_on("narae-1");
}

#[test]
fn every_length_on_narae_edge() {
    all_on("narae-edge");
}
