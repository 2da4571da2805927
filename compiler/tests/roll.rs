//! Models of the zoo through import, canonicalisation and rolling, before and after recovery: layers become loops, values stay bit for
//! bit, and the text of every stage parses back. `NARAE_ZOO=llama` (the default) limits it to file names with that text.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests talk to whoever runs them")]

use std::path::Path;

use narae_compiler::graph::eval::Evaluator;
use narae_compiler::graph::text::{Options, parse, print};
use narae_compiler::graph::verify::verify;
use narae_compiler::graph::{Graph, Op};
use narae_compiler::ir::{Dim, Symbol};
use narae_compiler::onnx::{Limits, Model, import};
use narae_compiler::passes::canonicalize::canonicalize;
use narae_compiler::passes::roll::roll;
use narae_compiler::rewrite;
use narae_isa::{Element, HostTensor};

/// Trip count and body size of every loop of layers.
fn loops(graph: &Graph) -> Vec<(usize, usize)> {
    let found = graph.nodes().filter_map(|(_, node)| match &node.op {
        Op::Loop { trip, body, .. } => Some((*trip, body.node_count())),
        _ => None,
    });
    found.collect()
}

/// Small inputs that mean something to a language model.
fn inputs(graph: &Graph) -> Vec<HostTensor> {
    let value = |symbol: Symbol| {
        let name = graph.symbols.name(symbol);
        let named = [("batch", 2), ("past", 2), ("seq", 3)];
        Some(named.iter().find(|(part, _)| name.contains(part)).map_or(3, |(_, value)| *value))
    };
    let tensor = |name: &str, element: Element, dims: &[Dim]| {
        let sizes: Vec<usize> = dims.iter().map(|dim| dim.eval(&value).expect("small") as usize).collect();
        let count: usize = sizes.iter().product();
        let number = |at: usize| match name {
            _ if name.contains("mask") => 1.0,
            _ if name.contains("position") => (at % 3) as f64,
            _ if element.is_float() => ((at * 37 % 101) as f64 - 50.0) / 64.0,
            _ => (at % 7) as f64,
        };
        HostTensor::from_f64_as(element, &sizes, &(0..count).map(number).collect::<Vec<f64>>())
    };
    graph.inputs().iter().map(|port| tensor(&port.name, graph.element(port.value), graph.dims(port.value))).collect()
}

fn text_round_trip(graph: &Graph, name: &str) {
    let text = print(graph, Options { locations: true });
    let parsed = parse(&text, &graph.sources).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(print(&parsed, Options { locations: true }) == text, "{name}: the text changes when it is parsed back");
    verify(&parsed).unwrap_or_else(|errors| panic!("{name}: parsed back: {errors}"));
}

fn check(graph: &Graph, name: &str) -> Vec<(usize, usize)> {
    let mut rolled = graph.clone();
    roll(&mut rolled).unwrap_or_else(|error| panic!("{name}: {error}"));
    verify(&rolled).unwrap_or_else(|errors| panic!("{name}: {errors}"));
    text_round_trip(&rolled, name);
    let inputs = inputs(graph);
    if inputs.iter().map(HostTensor::len).sum::<usize>() > 50_000 {
        // Images and sound take minutes in the plain evaluator; `zoo_evaluator` runs them.
        return loops(&rolled);
    }
    let before = Evaluator::new(graph).run(inputs.clone());
    let after = Evaluator::new(&rolled).run(inputs);
    if let Err(problem) = &before {
        println!("{name}: does not run on invented inputs: {}", problem.message);
    }
    assert!(before.is_err() || before == after, "{name}: rolling changed a value");
    loops(&rolled)
}

fn file(path: &Path, name: &str) {
    let model = Model::open(path, &Limits::default()).expect("opens");
    let Ok(mut graph) = import(&model) else {
        return println!("{name}: not imported");
    };
    canonicalize(&mut graph).unwrap_or_else(|error| panic!("{name}: {error}"));
    verify(&graph).unwrap_or_else(|errors| panic!("{name}: {errors}"));
    text_round_trip(&graph, name);
    let plain = check(&graph, name);
    let nodes = graph.node_count();
    rewrite::recover(&mut graph, &rewrite::Options::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
    canonicalize(&mut graph).unwrap_or_else(|error| panic!("{name}: {error}"));
    let recovered = check(&graph, name);
    println!("{name}: {nodes} nodes, {plain:?}; recovered {} nodes, {recovered:?}", graph.node_count());
    if name.contains("llama") {
        assert!(plain.len() == 1 && recovered.len() == 1, "{name}: the layers are one loop");
    }
}

#[test]
fn layers_become_loops_and_values_stay() {
    let Some(zoo) = narae_testing::shared_or_skip("models/zoo") else { return };
    let text = std::fs::read_to_string(zoo.join("manifest.json")).expect("the zoo has a manifest");
    let manifest: Vec<serde_json::Value> = serde_json::from_str(&text).expect("the manifest is a list");
    let filter = std::env::var("NARAE_ZOO").unwrap_or_else(|_| "llama".into());
    for entry in &manifest {
        let name = entry["file"].as_str().expect("a file name");
        if name.contains(&filter) {
            file(&zoo.join(name), name);
        }
    }
}
