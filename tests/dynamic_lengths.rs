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

#[test]
fn every_length_on_narae_1() {
    all_on("narae-1");
}

#[test]
fn every_length_on_narae_edge() {
    all_on("narae-edge");
}
