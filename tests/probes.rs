//! The probe table: eight small graphs that front ends stumble over, through the whole road. In: models and onnxruntime's answers in
//! `tests/data/probes` (written by `tests/data/make_probes.py`). Each probe is compiled once, for the lengths of all its calls, and the
//! image answers every call on the simulator.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests talk to whoever runs them")]

mod support;

use std::collections::BTreeSet;
use std::path::PathBuf;

use narae::npz::{self, Arrays};
use narae::session::Session;
use narae_compiler::compile::{Options, Precision};
use narae_isa::Chip;
use support::compare::{Tolerance, compare_all};
use support::{data, narae};

/// A few units in the last place of numbers around one.
const TOLERANCE: Tolerance = Tolerance { relative: 5e-7, absolute: 2e-6 };

struct Probe {
    model: PathBuf,
    answers: PathBuf,
    calls: Vec<String>,
}

impl Probe {
    fn open(name: &str) -> Probe {
        let (model, answers) = (data(&format!("probes/{name}.onnx")), data(&format!("probes/{name}.npz")));
        let all = npz::read(&answers).expect("the probe's answers");
        let call = |key: &String| key.split('/').take(2).collect::<Vec<_>>().join("/");
        let calls = all.keys().map(call).collect::<BTreeSet<_>>().into_iter().collect();
        Probe { model, answers, calls }
    }

    fn side(&self, call: &str, side: &str) -> Arrays {
        npz::read_selected(&self.answers, &format!("{call}/{side}/")).expect("the call's arrays")
    }
}

/// Compiles once, answers all calls; the largest |Δ|.
fn answers(name: &str) -> f64 {
    let probe = Probe::open(name);
    let mut options = Options::new(Chip::built_in("narae-1").expect("a built-in chip"));
    options.precision = Precision::F32;
    for call in &probe.calls {
        let inputs = probe.side(call, "in");
        options.maxima.shapes.push(inputs.iter().map(|(name, tensor)| (name.clone(), tensor.dims.clone())).collect());
    }
    let mut session = Session::compile(&probe.model, &options).unwrap_or_else(|found| panic!("{name}: {found}"));
    let mut largest = 0f64;
    for call in &probe.calls {
        let inputs = probe.side(call, "in");
        let got = session.run(None, &inputs).unwrap_or_else(|found| panic!("{name} {call}: {found}"));
        let found = compare_all(&got, &probe.side(call, "out"), &inputs, |_| TOLERANCE);
        largest = largest.max(found.unwrap_or_else(|found| panic!("{name} {call}: {found}")));
    }
    println!("{name}: {} calls, max |Δ| {largest:.1e}", probe.calls.len());
    largest
}

#[test]
fn mlp_and_attention_block() {
    answers("mlp");
    answers("attention_block");
}

#[test]
fn matmul_nbits() {
    answers("matmul_nbits");
}

#[test]
fn grouped_query_attention_of_a_prompt() {
    answers("gqa_prompt"); // no past at all; an empty one is the first call of the next
}

#[test]
fn grouped_query_attention_with_a_growing_past() {
    answers("gqa");
    answers("gqa_rotary");
}

#[test]
fn skip_layer_normalizations() {
    answers("skip_norms");
}

#[test]
fn attention_and_rms_normalization_of_opset_23() {
    answers("attention23");
}

#[test]
fn int4_in_blocks() {
    answers("int4_dequantize");
}

#[test]
fn int8_between_quantize_and_dequantize() {
    assert_eq!(answers("qdq_int8"), 0.0, "the last step is a code of 8 bits, so nothing is left to rounding");
}

#[test]
fn every_probe_is_in_the_table_and_misses_nothing() {
    let own = std::fs::read_to_string(support::root().join("tests/probes.rs")).expect("this file");
    for entry in std::fs::read_dir(data("probes")).expect("the probes").flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "onnx") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            assert!(own.contains(&format!("answers(\"{name}\")")), "{name} is not run");
            let run = narae(&["ops".into(), path.into_os_string()]).ok();
            assert!(run.stderr.contains("nothing is missing"), "{name}: {}", run.stdout);
        }
    }
}
