//! Every file of the zoo through the whole road: compiled once, then all stored calls on the simulator, by the manifest's
//! tolerances (`--precision f32 --quant none --kv-cache io`). Files without answers compile and match our own evaluator. See
//! `support/zoo.rs` for how to choose the zoo and its files.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests talk to whoever runs them")]

mod support;

use std::path::Path;

use narae::npz::{self, Arrays};
use narae::session::{Reference, Session, import};
use narae_compiler::compile::{Options, Precision};
use narae_compiler::onnx::Limits;
use narae_isa::Chip;
use support::compare::{Tolerance, compare_all};
use support::zoo::{Row, Zoo, judge_rows, own_tolerance};

/// All floats f32, room for these calls, and the graph verified after every pass.
fn options(calls: &[&Arrays]) -> Options {
    let mut options = Options::new(Chip::built_in("narae-1").expect("a built-in chip"));
    options.precision = Precision::F32;
    options.verify_each = true;
    let shapes = |inputs: &&Arrays| inputs.iter().map(|(name, tensor)| (name.clone(), tensor.dims.clone())).collect();
    options.maxima.shapes = calls.iter().map(shapes).collect();
    options
}

fn shown(problems: narae_isa::Diagnostics) -> String {
    problems.to_string()
}

/// One image answers all stored calls.
fn against_answers(row: &Row) -> Result<String, String> {
    let calls = row.calls()?;
    let inputs: Vec<&Arrays> = calls.iter().map(|call| &call.inputs).collect();
    let mut session = Session::compile(&row.path, &options(&inputs)).map_err(shown)?;
    let mut worst = 0f64;
    for call in &calls {
        let got = session.run(None, &call.inputs).map_err(|problems| format!("{}: {problems}", call.name))?;
        worst = worst.max(row.judge(call, &got)?);
    }
    Ok(format!("{} calls, max |Δ| {worst:.2e}", calls.len()))
}

fn against_the_evaluator(row: &Row) -> Result<String, String> {
    let inputs = row.made_up_inputs(&import(&row.path, &Limits::default()).map_err(shown)?);
    let want =
        Reference::open(&row.path, &Limits::default()).and_then(|reference| reference.run(&inputs)).map_err(shown)?;
    let mut session = Session::compile(&row.path, &options(&[&inputs])).map_err(shown)?;
    let got = session.run(None, &inputs).map_err(shown)?;
    let delta = compare_all(&got, &want, &inputs, own_tolerance(&want))?;
    Ok(format!("as our evaluator, max |Δ| {delta:.2e}"))
}

#[test]
fn zoo_files_run_as_instructions() {
    let Some(zoo) = Zoo::find() else { return support::skip("the zoo") };
    judge_rows(&zoo.rows(""), |row| match row.has_answers() {
        true => against_answers(row),
        false => against_the_evaluator(row),
    });
}

#[test]
fn operators_run_as_instructions() {
    judge_rows(&Zoo::of_operators().rows(""), against_answers);
}

fn stored(path: &Path, call: &str) -> (Arrays, Arrays) {
    let read = |side: &str| npz::read_selected(path, &format!("{call}/{side}/")).expect("our own answers");
    (read("in"), read("out"))
}

/// The same on the small models of the repository, so that this file means something without `../shared`.
#[test]
fn our_own_small_models() {
    for (name, relative, absolute) in
        [("llama2_primitive", 1e-3, 1e-4), ("llama2_fused23", 1e-3, 1e-4), ("llama2_primitive_fp16", 1e-2, 3e-2)]
    {
        let answers = support::data(&format!("{name}.npz"));
        let names = (0..2).flat_map(|set| (0..4).map(move |call| format!("set{set}/call{call}")));
        let calls: Vec<(Arrays, Arrays)> = names.map(|call| stored(&answers, &call)).collect();
        let inputs: Vec<&Arrays> = calls.iter().map(|(inputs, _)| inputs).collect();
        let path = support::data(&format!("{name}.onnx"));
        let mut session = Session::compile(&path, &options(&inputs)).expect("it compiles");
        for (inputs, want) in &calls {
            let got = session.run(None, inputs).expect("the call runs");
            compare_all(&got, want, inputs, |_| Tolerance { relative, absolute })
                .unwrap_or_else(|problem| panic!("{name}: {problem}"));
        }
    }
}
