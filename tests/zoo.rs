//! Every llama of the zoo, from every exporter: one image per file answers all stored calls within the manifest's tolerances
//! (`--precision f32 --quant none --kv-cache io`). The two bf16 files have no answers: they compile and match our own evaluator.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests talk to whoever runs them")]

mod support;

use std::path::Path;

use narae::npz::{self, Arrays};
use narae::session::{Reference, Session};
use narae_compiler::bounds::Rest;
use narae_compiler::compile::{Options, Precision};
use narae_isa::{Chip, Element, HostTensor};
use serde_json::Value;
use support::compare::{Tolerance, compare_all};

/// What `run` on an ONNX file uses, with room for the longest stored call; unnamed lengths of a file get the same room.
fn options() -> Options {
    let mut options = Options::new(Chip::built_in("narae-1").expect("a built-in chip"));
    options.precision = Precision::F32;
    options.maxima.batch = Some(2);
    options.maxima.sequence = Some(32);
    options.maxima.past = Some(64);
    options.maxima.rest = Rest::AtMost(96);
    options
}

/// The entries of the manifest whose file name contains `llama`.
fn llamas(zoo: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(zoo.join("manifest.json")).expect("the manifest");
    let all: Vec<Value> = serde_json::from_str(&text).expect("the manifest is JSON");
    all.into_iter().filter(|entry| entry["file"].as_str().is_some_and(|file| file.contains("llama"))).collect()
}

fn tolerance(entry: &Value, output: &str) -> Tolerance {
    let of = &entry["tolerance"];
    Tolerance { relative: of["rtol"].as_f64().unwrap_or(0.0), absolute: of["atol"][output].as_f64().unwrap_or(0.0) }
}

/// Runs all stored calls of one file through `run`; the largest |Δ|, or what went wrong.
fn judge(entry: &Value, zoo: &Path, mut run: impl FnMut(&Arrays) -> Result<Arrays, String>) -> Result<f64, String> {
    let answers = zoo.join(entry["ref"].as_str().ok_or("no reference file")?);
    let mut largest = 0f64;
    for call in entry["calls"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let read = |side: &str| npz::read_selected(&answers, &format!("{call}/{side}/")).map_err(|e| e.to_string());
        let (inputs, want) = (read("in")?, read("out")?);
        let got = run(&inputs).map_err(|e| format!("{call}: {e}"))?;
        let delta =
            compare_all(&got, &want, &inputs, |output| tolerance(entry, output)).map_err(|e| format!("{call}: {e}"))?;
        largest = largest.max(delta);
    }
    Ok(largest)
}

/// Judges every file that has answers and prints the table; fails with all problems at once.
fn judge_all(make: impl Fn(&Path) -> Result<Box<dyn FnMut(&Arrays) -> Result<Arrays, String>>, String>) {
    let Some(zoo) = support::shared("models/zoo") else { return support::skip("models/zoo") };
    let mut problems = Vec::new();
    for entry in llamas(&zoo).iter().filter(|entry| entry["ref"].is_string()) {
        let file = entry["file"].as_str().unwrap_or_default();
        match make(&zoo.join(file)).and_then(|run| judge(entry, &zoo, run)) {
            Ok(delta) => println!("{file:60} max |Δ| {delta:.2e}"),
            Err(problem) => problems.push(format!("{file}: {problem}")),
        }
    }
    assert!(problems.is_empty(), "{} files differ:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn the_chip_gives_the_stored_answers() {
    judge_all(|path| {
        let mut session = Session::compile(path, &options()).map_err(|e| e.to_string())?;
        Ok(Box::new(move |inputs| session.run(None, inputs).map_err(|e| e.to_string())))
    });
}

/// Some tokens and an empty past for the declared inputs of a model without answers.
fn made_up_inputs(entry: &Value) -> Arrays {
    let mut inputs = Arrays::new();
    for input in entry["inputs"].as_array().into_iter().flatten() {
        let name = input["name"].as_str().unwrap_or_default();
        let tensor = match name {
            "input_ids" => HostTensor::from_i64(&[1, 9], &[3, 141, 59, 26, 5, 358, 97, 93, 238]),
            "attention_mask" => HostTensor::from_i64(&[1, 9], &[1; 9]),
            _ => HostTensor::zeros(Element::BF16, &[1, 2, 0, 32]),
        };
        inputs.insert(name.to_string(), tensor);
    }
    inputs
}

#[test]
fn the_bf16_files_match_our_evaluator() {
    let Some(zoo) = support::shared("models/zoo") else { return support::skip("models/zoo") };
    let bf16: Vec<Value> = llamas(&zoo).into_iter().filter(|entry| !entry["ref"].is_string()).collect();
    assert_eq!(bf16.len(), 2);
    for entry in bf16 {
        let path = zoo.join(entry["file"].as_str().unwrap_or_default());
        let inputs = made_up_inputs(&entry);
        let want = Reference::open(&path).and_then(|reference| reference.run(&inputs)).expect("the evaluator runs");
        let got = Session::compile(&path, &options())
            .and_then(|mut session| session.run(None, &inputs))
            .expect("the chip runs");
        // bf16 keeps 8 bits: two roundings of a value near 4 differ by up to 2^-6.
        let delta =
            compare_all(&got, &want, &inputs, |_| Tolerance { relative: 2e-2, absolute: 3e-2 }).expect("within bf16");
        println!("{}: max |Δ| {delta:.2e}", path.display());
    }
}

/// The same on the small models of the repository, so that this file means something without `../shared`.
#[test]
fn our_own_small_models() {
    for (name, relative, absolute) in
        [("llama2_primitive", 1e-3, 1e-4), ("llama2_fused23", 1e-3, 1e-4), ("llama2_primitive_fp16", 1e-2, 3e-2)]
    {
        let mut session = Session::compile(&support::data(&format!("{name}.onnx")), &options()).expect("it compiles");
        for call in [
            "set0/call0",
            "set0/call1",
            "set0/call2",
            "set0/call3",
            "set1/call0",
            "set1/call1",
            "set1/call2",
            "set1/call3",
        ] {
            let answers = support::data(&format!("{name}.npz"));
            let read = |side: &str| npz::read_selected(&answers, &format!("{call}/{side}/")).expect("our own answers");
            let (inputs, want) = (read("in"), read("out"));
            let got = session.run(None, &inputs).expect("the call runs");
            compare_all(&got, &want, &inputs, |_| Tolerance { relative, absolute })
                .unwrap_or_else(|e| panic!("{name} {call}: {e}"));
        }
    }
}
