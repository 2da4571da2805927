//! A fixed sample of the campaigns of `tests/differential` (random graphs against onnxruntime), with stored answers: whole programs, on the chip.
//!
//! In: `tests/data/differential/{static,dynamic,found}.npz`, written by `tests/differential/sample.py`: models as bytes, inputs and answers of
//! every call, and how far each output may be off; `found` holds what the campaigns found and what was mended since, made small. Out: nothing, or every case that differs. Always holds: shapes, types, integers, truths, NaN and
//! infinities are compared exactly; one image of a dynamic graph answers all lengths, 0, 1 and the maximum among them.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests talk to whoever runs them")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use narae::compiler::bounds::Rest;
use narae::compiler::compile::{Options, Precision, compile_graph};
use narae::compiler::onnx::{Limits, Model, import};
use narae::compiler::pipeline::Unobserved;
use narae::isa::chip::Chip;
use narae::isa::image::Image;
use narae::isa::{Diagnostics, HostTensor};
use narae::npz::{self, Arrays};
use narae::sim::Machine;
use rayon::prelude::*;

/// Cases at least; fewer means that the sample was not written whole.
const LEAST: usize = 40;

/// A model of the sample.
#[derive(Default)]
struct Case {
    model: Vec<u8>,
    maxima: Vec<(String, i64)>,
    calls: BTreeMap<String, Call>,
}

#[derive(Default)]
struct Call {
    inputs: Arrays,
    answers: Arrays,
    /// How far each answer may be off, in the order of their names.
    slack: Vec<f64>,
}

/// The cases of a file: its arrays are `CASE/model`, `CASE/max/LENGTH`, `CASE/callN/{in,out,slack}/NAME`.
fn cases(file: &str) -> BTreeMap<String, Case> {
    let arrays = npz::read(&support::data(file)).expect("the sample is there");
    let mut found: BTreeMap<String, Case> = BTreeMap::new();
    for (key, tensor) in arrays {
        let parts: Vec<&str> = key.split('/').collect();
        let case = found.entry(parts[0].to_string()).or_default();
        match parts[1..] {
            ["model"] => case.model = tensor.bytes,
            ["max", name] => case.maxima.push((name.to_string(), tensor.get_i64(0))),
            [call, "slack"] => case.calls.entry(call.to_string()).or_default().slack = tensor.to_f64_vec(),
            [call, side, name] => {
                let call = case.calls.entry(call.to_string()).or_default();
                let arrays = if side == "in" { &mut call.inputs } else { &mut call.answers };
                arrays.insert(name.to_string(), tensor);
            }
            _ => panic!("an array named {key}"),
        }
    }
    found
}

fn said(stage: &str, problems: &Diagnostics) -> String {
    let text = problems.to_string();
    format!("{stage}: {}", text.lines().take(3).map(str::trim).collect::<Vec<_>>().join(" "))
}

fn judge(name: &str, case: &Case, optimisation: u8) -> Result<(), String> {
    let model =
        Model::from_bytes(case.model.clone(), &Limits::default()).map_err(|problems| said("open", &problems))?;
    let graph = import(&model).map_err(|problems| said("import", &problems))?;
    let mut options = Options::new(Chip::load("narae-1").expect("the sheet is built in"));
    options.precision = Precision::Auto;
    options.optimisation = optimisation;
    options.maxima.lengths = case.maxima.iter().filter(|(name, _)| name != "*").cloned().collect();
    if let Some((_, most)) = case.maxima.iter().find(|(name, _)| name == "*") {
        options.maxima.rest = Rest::AtMost(*most);
    }
    let (compiled, _) =
        compile_graph(graph, &options, &mut Unobserved).map_err(|problems| said("compile", &problems))?;
    let bytes = compiled.to_bytes().map_err(|problems| said("encode", &problems))?;
    let image = Image::from_bytes(name, bytes).map_err(|problems| said("image", &problems))?;
    let limits = narae::sim::Limits::default();
    let mut machine = Machine::new(Arc::new(image), limits).map_err(|problems| said("machine", &problems))?;
    for (number, call) in &case.calls {
        let outcome = machine.run("main", &call.inputs).map_err(|problems| said(number, &problems))?;
        for ((output, want), &slack) in call.answers.iter().zip(&call.slack) {
            let got = outcome.outputs.get(output).ok_or_else(|| format!("{number}: `{output}` is missing"))?;
            close(got, want, slack).map_err(|problem| format!("{number}: `{output}`: {problem}"))?;
        }
    }
    Ok(())
}

fn close(got: &HostTensor, want: &HostTensor, slack: f64) -> Result<(), String> {
    if got.dims != want.dims || got.element != want.element {
        return Err(format!("{}{:?} instead of {}{:?}", got.element, got.dims, want.element, want.dims));
    }
    for index in 0..want.len() {
        let (a, b) = (got.get_f64(index), want.get_f64(index));
        let same = if want.element.is_float() {
            a == b || (a.is_nan() && b.is_nan()) || (a.is_finite() && b.is_finite() && (a - b).abs() <= slack)
        } else {
            got.element_bytes(index) == want.element_bytes(index)
        };
        if !same {
            return Err(format!("element {index} is {a} instead of {b} (±{slack:e})"));
        }
    }
    Ok(())
}

fn campaign(file: &str, least: usize) {
    let cases = cases(file);
    assert!(cases.len() >= least, "{file} holds only {} cases", cases.len());
    let numbered: Vec<(usize, (&String, &Case))> = cases.iter().enumerate().collect();
    let wrong: Vec<String> = numbered
        .into_par_iter()
        .filter_map(|(number, (name, case))| {
            // Every case fully optimised; every fourth also as it is written.
            let levels: &[u8] = if number % 4 == 0 { &[2, 0] } else { &[2] };
            let problem = levels.iter().find_map(|&level| Some((level, judge(name, case, level).err()?)));
            problem.map(|(level, problem)| format!("{name} at -O{level}: {problem}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {} cases differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn static_graphs_equal_onnxruntime() {
    campaign("differential/static.npz", LEAST);
}

#[test]
fn dynamic_graphs_equal_onnxruntime_at_every_length() {
    let cases = cases("differential/dynamic.npz");
    assert!(cases.values().all(|case| case.calls.len() == 6), "every dynamic case has six calls");
    campaign("differential/dynamic.npz", LEAST);
}

#[test]
fn what_differed_once_does_not_differ_again() {
    campaign("differential/found.npz", 5);
}

#[test]
fn a_wrong_answer_is_seen() {
    let two = HostTensor::from_f32(&[2], &[1.0, f32::INFINITY]);
    assert!(close(&two, &two, 0.0).is_ok());
    assert!(close(&HostTensor::from_f32(&[2], &[1.25, f32::INFINITY]), &two, 0.5).is_ok());
    assert!(close(&HostTensor::from_f32(&[2], &[1.75, f32::INFINITY]), &two, 0.5).is_err());
    assert!(close(&HostTensor::from_f32(&[2], &[1.0, f32::MAX]), &two, 0.5).is_err());
    assert!(close(&HostTensor::from_f32(&[2], &[f32::NAN, f32::INFINITY]), &two, 0.5).is_err());
    assert!(close(&HostTensor::from_f32(&[1, 2], &[1.0, f32::INFINITY]), &two, 0.5).is_err());
    assert!(close(&HostTensor::from_i64(&[1], &[3]), &HostTensor::from_i64(&[1], &[4]), 5.0).is_err());
}
