//! Every model of the zoo through import, canonicalisation and rolling: layers become loops, values stay bit for bit, and the text of
//! every stage parses back. `NARAE_ZOO=llama` limits it to file names with that text.

mod support;

use std::path::Path;

use narae::compiler::compress::Sources;
use narae::compiler::graph::eval::Evaluator;
use narae::compiler::graph::text::{Options, parse, print};
use narae::compiler::graph::verify::verify;
use narae::compiler::graph::{Graph, Op};
use narae::compiler::onnx::{Limits, Model, import};
use narae::compiler::passes::canonicalize::canonicalize;
use narae::compiler::passes::roll::roll;
use narae::isa::HostTensor;
use narae::npz;

/// Trip count and body size of every loop of layers.
fn loops(graph: &Graph) -> Vec<(usize, usize)> {
    let found = graph.nodes().filter_map(|(_, node)| match &node.op {
        Op::Loop { trip, body, .. } => Some((*trip, body.node_count())),
        _ => None,
    });
    found.collect()
}

/// The inputs of a stored call in the graph's order.
fn inputs(graph: &Graph, zoo: &Path, entry: &serde_json::Value) -> Option<Vec<HostTensor>> {
    let (reference, call) = (entry["ref"].as_str()?, entry["calls"][0].as_str()?);
    let data = npz::read_selected(&zoo.join(reference), &format!("{call}/in/")).expect("references are readable");
    graph.inputs().iter().map(|port| data.get(&format!("in/{}", port.name)).or_else(|| data.get(&port.name)).cloned()).collect()
}

fn text_round_trip(graph: &Graph, name: &str) {
    let text = print(graph, Options { locations: true });
    let parsed = parse(&text, &graph.sources).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(print(&parsed, Options { locations: true }) == text, "{name}: the text changes when it is parsed back");
    verify(&parsed).unwrap_or_else(|errors| panic!("{name}: parsed back: {errors}"));
}

#[test]
fn layers_become_loops_and_values_stay() {
    let zoo = shared_or_skip!("models/zoo");
    let text = std::fs::read_to_string(zoo.join("manifest.json")).expect("the zoo has a manifest");
    let manifest: Vec<serde_json::Value> = serde_json::from_str(&text).expect("the manifest is a list");
    let filter = std::env::var("NARAE_ZOO").unwrap_or_else(|_| "llama".into());
    for entry in &manifest {
        let name = entry["file"].as_str().expect("a file name");
        if !name.contains(&filter) {
            continue;
        }
        let model = Model::open(zoo.join(name), &Limits::default()).expect("opens");
        let Ok(mut graph) = import(&model) else {
            println!("{name}: not imported");
            continue;
        };
        canonicalize(&mut graph).unwrap_or_else(|error| panic!("{name}: {error}"));
        verify(&graph).unwrap_or_else(|errors| panic!("{name}: {errors}"));
        let mut rolled = graph.clone();
        roll(&mut rolled).unwrap_or_else(|error| panic!("{name}: {error}"));
        verify(&rolled).unwrap_or_else(|errors| panic!("{name}: {errors}"));
        text_round_trip(&graph, name);
        text_round_trip(&rolled, name);
        println!("{name}: {} nodes, rolled {}: {:?}", graph.node_count(), rolled.node_count(), loops(&rolled));
        if let Some(inputs) = inputs(&graph, &zoo, entry) {
            let before = Evaluator::new(&graph).run(inputs.clone());
            let after = Evaluator::new(&rolled).run(inputs);
            assert!(before == after, "{name}: rolling changed a value");
        }
        if name.contains("llama") {
            assert_eq!(loops(&rolled).len(), 1, "{name}: the layers are one loop");
        }
    }
    let _ = Sources::new();
}
