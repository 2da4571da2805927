//! Large files: opening does not read weights, importing is linear. Bars are about optimised code on a quiet machine: their figures are
//! printed (`cargo test --release -p narae-compiler --test scale -- --nocapture`); asserted are memory and the ratio of two sizes.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests talk to whoever runs them")]

#[path = "support/usage.rs"]
mod usage;

use std::io::Write as _;
use std::time::Instant;

use narae_compiler::onnx::{Limits, Model, import};
use narae_compiler::passes::canonicalize::canonicalize;
use onnx_protobuf::tensor_shape_proto::Dimension;
use onnx_protobuf::{GraphProto, Message, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto};
use usage::{alone, anonymous, computed};

fn value(name: &str) -> ValueInfoProto {
    let mut info = ValueInfoProto { name: name.into(), ..Default::default() };
    let tensor = info.type_.mut_or_insert_default().mut_tensor_type();
    tensor.elem_type = 1;
    for size in ["batch", "seq"] {
        let mut dimension = Dimension::new();
        dimension.set_dim_param(size.into());
        tensor.shape.mut_or_insert_default().dim.push(dimension);
    }
    info
}

fn node(number: usize, op: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        name: format!("/model/layers.{}/{op}_{number}", number / 100),
        op_type: op.into(),
        input: inputs.iter().map(|name| name.to_string()).collect(),
        output: vec![output.to_string()],
        ..Default::default()
    }
}

fn model(nodes: Vec<NodeProto>, initializer: Vec<TensorProto>, output: &str) -> ModelProto {
    let graph = GraphProto {
        node: nodes,
        initializer,
        input: vec![value("x")],
        output: vec![value(output)],
        ..Default::default()
    };
    let opset = OperatorSetIdProto { version: 17, ..Default::default() };
    ModelProto { ir_version: 8, graph: Some(graph).into(), opset_import: vec![opset], ..Default::default() }
}

#[test]
fn two_hundred_megabytes_of_weights_stay_in_the_file() {
    let weight = TensorProto { name: "w".into(), data_type: 1, dims: vec![50, 1 << 20], ..Default::default() };
    let mut bytes = model(vec![node(0, "Relu", &["x"], "y")], vec![], "y").write_to_bytes().expect("encodes");
    // The weight's message is written by hand around a hole in the file: only its first bytes are there.
    let tensor = weight.write_to_bytes().expect("encodes");
    let payload = 50u64 << 22;
    let varint = |mut number: u64| {
        let mut out = Vec::new();
        while number >= 0x80 {
            out.push(number as u8 | 0x80);
            number >>= 7;
        }
        out.push(number as u8);
        out
    };
    let head = [tensor, vec![0x4a], varint(payload)].concat();
    let mut parsed = ModelProto::parse_from_bytes(&bytes).expect("decodes");
    let graph = parsed.graph.take().expect("a graph").write_to_bytes().expect("encodes");
    bytes = parsed.write_to_bytes().expect("encodes");
    let tensor_length = head.len() as u64 + payload;
    let initializer = [vec![0x2a], varint(tensor_length), head].concat();
    let length = graph.len() as u64 + initializer.len() as u64 + payload;
    bytes.extend([vec![0x3a], varint(length), graph, initializer].concat());
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("large.onnx");
    let mut file = std::fs::File::create(&path).expect("a file");
    file.write_all(&bytes).expect("a file");
    file.set_len(bytes.len() as u64 + payload).expect("a file");
    drop(file);
    let before = anonymous();
    let started = Instant::now();
    let model = Model::open(&path, &Limits::default()).expect("the model opens");
    println!("200 MB opened in {:?} (bar: 50 ms)", started.elapsed());
    import(&model).expect("the model imports");
    let grown = anonymous().saturating_sub(before);
    println!("anonymous memory grew by {grown} bytes");
    assert!(grown < 64 << 20, "{grown} bytes of anonymous memory for a model of few nodes");
}

/// Blocks of arithmetic with a computed shape, as exporters write them: at least so many nodes.
fn blocks(count: usize) -> Vec<u8> {
    let mut nodes = Vec::new();
    let mut last = "x".to_string();
    while nodes.len() < count {
        let number = nodes.len();
        let name = |part: &str| format!("{part}_{number}");
        nodes.push(node(number, "Shape", &[&last], &name("shape")));
        nodes.push(node(number, "Sigmoid", &[&last], &name("gate")));
        nodes.push(node(number, "Mul", &[&last, &name("gate")], &name("silu")));
        nodes.push(node(number, "Reshape", &[&name("silu"), &name("shape")], &name("same")));
        nodes.push(node(number, "Add", &[&last, &name("same")], &name("sum")));
        last = name("sum");
    }
    model(nodes, vec![], &last).write_to_bytes().expect("encodes")
}

/// Imports and simplifies; returns the nanoseconds of it.
fn import_blocks(count: usize) -> u64 {
    let bytes = blocks(count);
    let before = computed();
    let model = Model::from_bytes(bytes, &Limits::default()).expect("the model opens");
    let mut graph = import(&model).expect("the model imports");
    canonicalize(&mut graph).expect("the graph simplifies");
    let took = computed() - before;
    assert!(graph.node_count() <= count * 3 / 5 + 1, "the shape arithmetic vanished: {} nodes", graph.node_count());
    took
}

#[test]
fn a_hundred_thousand_nodes_take_four_times_as_long_as_a_quarter_of_them() {
    let _alone = alone();
    let (quarter, whole) = (import_blocks(25_000), import_blocks(100_000));
    println!("100,000 nodes imported and simplified in {} ms (bar: 1 s)", whole / 1_000_000);
    assert!(whole < 8 * quarter, "four times as many nodes took {} times as long", whole / quarter);
}
