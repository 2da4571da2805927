//! The zoo through the front end and the reference evaluator: every file, every stored call, by the manifest's tolerances, as
//! imported, after canonicalisation, and after the laws. The evaluator is plain and slow, so only the llamas are tried unless
//! `$NARAE_ZOO` says otherwise (`NARAE_ZOO=` takes all); see `support/zoo.rs`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests talk to whoever runs them")]

mod support;

use std::path::Path;

use narae::compiler::graph::Graph;
use narae::compiler::graph::eval::Evaluator;
use narae::compiler::graph::verify::verify;
use narae::compiler::onnx::{Limits, Model, import};
use narae::compiler::passes::canonicalize::canonicalize;
use narae::compiler::rewrite;
use narae::isa::HostTensor;
use narae::npz::{self, Arrays};
use support::zoo::{Call, REFUSED, Row, Zoo, judge_rows};

fn graph_of(path: &Path) -> Result<Graph, String> {
    let model = Model::open(path, &Limits::default()).map_err(|error| format!("does not open: {error}"))?;
    let graph = import(&model).map_err(|error| {
        let lines: Vec<String> = error.iter().take(5).map(ToString::to_string).collect();
        format!("does not import ({} problems): {}", error.iter().count(), lines.join("; "))
    })?;
    verify(&graph).map_err(|error| format!("does not verify as imported: {error}"))?;
    Ok(graph)
}

/// Runs all calls on one form of the graph; the largest difference.
fn run(stage: &str, graph: &Graph, row: &Row, calls: &[Call]) -> Result<f64, String> {
    let mut evaluator = Evaluator::new(graph);
    let mut worst = 0f64;
    for call in calls {
        let stored = |name: &str| call.inputs.get(name).cloned().ok_or_else(|| format!("input `{name}` is not stored"));
        let operands = graph.inputs().iter().map(|port| stored(&port.name)).collect::<Result<_, String>>()?;
        let outputs = evaluator.run(operands).map_err(|error| format!("{stage}, {}: {error}", call.name))?;
        let got: Arrays = graph.outputs().iter().map(|port| port.name.clone()).zip(outputs).collect();
        worst = worst.max(row.judge(call, &got).map_err(|problem| format!("{stage}, {problem}"))?);
    }
    Ok(worst)
}

fn judge(row: &Row) -> Result<String, String> {
    let mut graph = graph_of(&row.path)?;
    let calls = if row.has_answers() { row.calls()? } else { Vec::new() };
    let worst = run("as imported", &graph, row, &calls)?;
    let imported = graph.node_count();
    canonicalize(&mut graph).map_err(|error| error.to_string())?;
    run("canonicalised", &graph, row, &calls)?;
    let canonical = graph.node_count();
    rewrite::recover(&mut graph, &rewrite::Options::default()).map_err(|error| error.to_string())?;
    verify(&graph).map_err(|error| format!("does not verify after the laws: {error}"))?;
    run("recovered", &graph, row, &calls)?;
    let recovered = graph.node_count();
    Ok(format!(
        "{} calls, max |Δ| {worst:.2e}, {imported} nodes, {canonical} canonicalised, {recovered} recovered",
        calls.len()
    ))
}

#[test]
fn every_stored_call_matches() {
    let Some(zoo) = Zoo::find() else { return support::skip("the zoo") };
    judge_rows(&zoo.rows("llama"), judge);
}

#[test]
fn every_operator_matches() {
    judge_rows(&Zoo::of_operators().rows(""), judge);
}

#[test]
fn sequences_are_refused_with_all_their_operators() {
    let zoo = shared_or_skip!("models/zoo");
    for (name, _) in REFUSED {
        let model = Model::open(zoo.join(name), &Limits::default()).expect("the file is well formed");
        let refused = import(&model).expect_err("sequences do not exist on the machine");
        assert_eq!(refused.exit(), 3, "{refused}");
        assert!(refused.iter().any(|one| one.message.contains("Sequence")), "{refused}");
    }
}

/// Tokens of a window that are evaluated: the evaluator is plain and slow.
const TOKENS: usize = 16;

/// The first `columns` elements of the first `count` rows.
fn rows(array: &HostTensor, count: usize, columns: usize) -> Vec<i64> {
    let width = array.dims[1];
    (0..count).flat_map(|row| (0..columns).map(move |column| array.get_i64(row * width + column))).collect()
}

/// Logits of the first windows of the short anchor, with an empty cache.
fn trained_logits(graph: &Graph, ids: &HostTensor, count: usize) -> HostTensor {
    // The models are causal: the first tokens of a window do not depend on the rest.
    let columns = TOKENS;
    let tokens = rows(ids, count, columns);
    let mut operands = Vec::new();
    for port in graph.inputs() {
        let ty = graph.ty(port.value);
        operands.push(match port.name.as_str() {
            "input_ids" => HostTensor::from_i64(&[count, columns], &tokens),
            "attention_mask" => HostTensor::from_i64(&[count, columns], &vec![1; count * columns]),
            "position_ids" => {
                let positions: Vec<i64> = (0..count).flat_map(|_| 0..columns as i64).collect();
                HostTensor::from_i64(&[count, columns], &positions)
            }
            _ => {
                let heads = ty.dims[1].as_size().expect("the heads are known");
                let size = ty.dims[3].as_size().unwrap_or(32);
                HostTensor::zeros(ty.element, &[count, heads, 0, size])
            }
        });
    }
    let outputs = Evaluator::new(graph).run(operands).expect("the model runs");
    let logits = graph.outputs().iter().position(|port| port.name == "logits").expect("there are logits");
    outputs[logits].clone()
}

#[test]
fn trained_models_match_their_logits() {
    let real = shared_or_skip!("models/real");
    for (name, folder, bound) in [
        ("tinylm/model.onnx", "tinylm", 1e-4),
        ("tinylm/model_fp16.onnx", "tinylm", 2e-2),
        ("tinylm/genai_int4/model.onnx", "tinylm", 0.5),
        ("stories260K/model.onnx", "stories260K", 1e-4),
    ] {
        if !real.join(name).exists() {
            support::skip(name);
            continue;
        }
        let graph = graph_of(&real.join(name)).unwrap_or_else(|problem| panic!("{name}: {problem}"));
        let ids = npz::read_array(&real.join(folder).join("short_ids.npy")).expect("ids");
        let want = npz::read_array(&real.join(folder).join("short_ref_logits.npy")).expect("logits");
        let got = trained_logits(&graph, &ids, 2);
        let (window, part) = (want.len() / want.dims[0], got.len() / 2);
        let (mut largest, mut delta) = (0f64, 0f64);
        for index in 0..got.len() {
            let expected = want.get_f64(index / part * window + index % part);
            largest = largest.max(expected.abs());
            delta = delta.max((got.get_f64(index) - expected).abs());
        }
        println!("{name}: max |Δ| {delta:.2e} of {largest:.2}");
        assert!(delta <= bound * largest, "{name}: {delta} of {largest}");
    }
}
