//! The zoo of `../shared/models` through the front end and the reference evaluator: every file, every stored call, by the
//! manifest's tolerances, as imported, after canonicalisation, and after the laws. `NARAE_ZOO=text` limits it to file
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests talk to whoever runs them")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use narae::compiler::graph::Graph;
use narae::compiler::graph::eval::Evaluator;
use narae::compiler::graph::verify::verify;
use narae::compiler::onnx::{Limits, Model, import};
use narae::compiler::passes::canonicalize::canonicalize;
use narae::compiler::rewrite;
use narae::isa::HostTensor;
use narae::npz::{self, Arrays};
use support::compare::{Tolerance, compare_all};

/// Files that cannot be imported, and why: sequences do not exist on the machine.
const REFUSED: &[&str] = &["torch_ts_odd/scripted_split_sequence.onnx", "torch_ts_odd/scripted_loop_sequence.onnx"];

#[derive(Default)]
struct Score {
    files: usize,
    calls: usize,
    passed: usize,
    failed: Vec<String>,
}

fn graph_of(path: &Path) -> Result<Graph, String> {
    let model = Model::open(path, &Limits::default()).map_err(|error| format!("does not open: {error}"))?;
    let graph = import(&model).map_err(|error| {
        let lines: Vec<String> = error.iter().take(5).map(ToString::to_string).collect();
        format!("does not import ({} problems): {}", error.iter().count(), lines.join("; "))
    })?;
    verify(&graph).map_err(|error| format!("does not verify as imported: {error}"))?;
    Ok(graph)
}

/// Runs one call; the largest difference.
fn call(
    evaluator: &mut Evaluator,
    graph: &Graph,
    data: &Arrays,
    tolerance: &dyn Fn(&str) -> Tolerance,
) -> Result<f64, String> {
    let part = |prefix: &str| -> Arrays {
        data.iter()
            .filter_map(|(key, tensor)| key.strip_prefix(prefix).map(|name| (name.to_string(), tensor.clone())))
            .collect()
    };
    let (inputs, want) = (part("in/"), part("out/"));
    let mut operands = Vec::new();
    for port in graph.inputs() {
        let tensor = inputs.get(&port.name).ok_or_else(|| format!("input `{}` is not stored", port.name))?;
        operands.push(tensor.clone());
    }
    let outputs = evaluator.run(operands).map_err(|error| format!("does not run: {error}"))?;
    let got: Arrays = graph.outputs().iter().map(|port| port.name.clone()).zip(outputs).collect();
    compare_all(&got, &want, &inputs, tolerance)
}

fn file(zoo: &Path, entry: &serde_json::Value, score: &mut Score) {
    let name = entry["file"].as_str().expect("a file name");
    score.files += 1;
    let mut graph = match graph_of(&zoo.join(name)) {
        Ok(graph) => graph,
        Err(problem) => {
            println!("{name}: {problem}");
            score.failed.push(format!("{name}: {problem}"));
            return;
        }
    };
    let Some(reference) = entry["ref"].as_str() else {
        println!("{name}: {} nodes, imports; no references", graph.node_count());
        return;
    };
    let tolerance = |output: &str| Tolerance {
        relative: entry["tolerance"]["rtol"].as_f64().unwrap_or(1e-3),
        absolute: entry["tolerance"]["atol"][output].as_f64().unwrap_or(1e-4),
    };
    let calls: Vec<&str> = entry["calls"].as_array().into_iter().flatten().filter_map(|call| call.as_str()).collect();
    let raw = graph.clone();
    let simplified = canonicalize(&mut graph).map_err(|error| error.to_string());
    let mut better = graph.clone();
    let laws = rewrite::recover(&mut better, &rewrite::Options::default()).map_err(|error| error.to_string());
    let laws = laws.and_then(|_| verify(&better).map_err(|error| format!("does not verify: {error}")));
    let mut worst = 0f64;
    let mut problems = BTreeMap::new();
    let mut as_imported = Evaluator::new(&raw);
    let mut as_simplified = Evaluator::new(&graph);
    let mut as_recovered = Evaluator::new(&better);
    for &name in &calls {
        score.calls += 1;
        let data = npz::read_selected(&zoo.join(reference), &format!("{name}/")).expect("references are readable");
        let first = call(&mut as_imported, &raw, &data, &tolerance);
        let second = simplified.clone().and_then(|()| call(&mut as_simplified, &graph, &data, &tolerance));
        let third = laws.clone().and_then(|()| call(&mut as_recovered, &better, &data, &tolerance));
        let both = second.map_err(|error| format!("canonicalised: {error}"));
        let all = both.and_then(|_| third.map_err(|error| format!("recovered: {error}")));
        match first.and_then(|largest| all.map(|_| largest)) {
            Ok(largest) => {
                worst = worst.max(largest);
                score.passed += 1;
            }
            Err(problem) => {
                problems.insert(name, problem);
            }
        }
    }
    println!(
        "{name}: {}/{} calls, largest |Δ| {worst:.2e}, {} nodes, {} canonicalised, {} recovered",
        calls.len() - problems.len(),
        calls.len(),
        raw.node_count(),
        graph.node_count(),
        better.node_count()
    );
    for (call, problem) in &problems {
        println!("    {call}: {}", problem.chars().take(600).collect::<String>());
        score.failed.push(format!("{name} {call}: {problem}"));
    }
}

#[test]
fn every_stored_call_matches() {
    let zoo = shared_or_skip!("models/zoo");
    let text = std::fs::read_to_string(zoo.join("manifest.json")).expect("the zoo has a manifest");
    let manifest: Vec<serde_json::Value> = serde_json::from_str(&text).expect("the manifest is a list");
    let filter = std::env::var("NARAE_ZOO").unwrap_or_else(|_| "llama".to_string());
    let mut score = Score::default();
    for entry in &manifest {
        let name = entry["file"].as_str().expect("a file name");
        if !name.contains(&filter) || REFUSED.contains(&name) {
            continue;
        }
        file(&zoo, entry, &mut score);
    }
    println!("{} files, {} of {} calls match", score.files, score.passed, score.calls);
    assert!(score.failed.is_empty(), "{} failures:\n{}", score.failed.len(), score.failed.join("\n"));
}

#[test]
fn sequences_are_refused_with_all_their_operators() {
    let zoo = shared_or_skip!("models/zoo");
    for name in REFUSED {
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
