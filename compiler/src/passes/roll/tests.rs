//! Tests of rolling: synthetic layers of every shape that exporters write; values never change.

use std::collections::BTreeMap;

use narae_isa::{BinaryFunction, Element, HostTensor, UnaryFunction};

use super::roll;
use crate::compress::Sources;
use crate::graph::attribute::Real;
use crate::graph::eval::evaluate;
use crate::graph::testing::Random;
use crate::graph::text::{Options, parse, print};
use crate::graph::verify::verify;
use crate::graph::{Graph, Op, Provenance, TensorType};
use crate::ir::{SymbolDefinition, Value};
use crate::passes::canonicalize::canonicalize;

const WIDTH: usize = 32;

/// A decoder of alike layers with a cache, a mask that is computed once, and side outputs.
struct Model {
    graph: Graph,
    random: Random,
}

impl Model {
    fn add(&mut self, op: Op, operands: &[Value]) -> Value {
        let name = format!("node{}", self.graph.node_count());
        self.graph.add1(op, operands, &Provenance::new(name, "Test")).expect("the model is well typed")
    }

    fn weight(&mut self, dims: &[usize]) -> Value {
        let tensor = self.random.tensor(Element::F32, dims);
        let scaled: Vec<f32> = tensor.to_f32_vec().iter().map(|value| value / 8.0).collect();
        self.graph.constant_tensor(HostTensor::from_f32(dims, &scaled), &Provenance::none()).expect("a constant")
    }

    fn binary(&mut self, function: BinaryFunction, a: Value, b: Value) -> Value {
        self.add(Op::Binary { function }, &[a, b])
    }

    fn layer(&mut self, x: Value, bias: Value, past: Value, index: usize) -> Value {
        let gain = self.weight(&[WIDTH]);
        let normed = self.add(Op::RmsNorm { epsilon: Real::new(1e-5) }, &[x, gain]);
        let weight = self.weight(&[WIDTH, WIDTH]);
        let key = self.add(Op::MatMul {}, &[normed, weight]);
        let all = self.add(Op::Concat { axis: 1 }, &[past, key]);
        // The cache leaves in another type, which only the outside sees.
        let stored = self.add(Op::Convert { to: Element::F64, saturate: false }, &[all]);
        self.graph.add_output(format!("present.{index}"), stored);
        let turned = self.add(Op::Transpose { permutation: vec![0, 2, 1] }, &[all]);
        let scores = self.add(Op::MatMul {}, &[normed, turned]);
        let biased = self.binary(BinaryFunction::Add, scores, bias);
        let weights = self.add(Op::Softmax { axis: 2, log: false }, &[biased]);
        let mixed = self.add(Op::MatMul {}, &[weights, all]);
        let first = self.binary(BinaryFunction::Add, x, mixed);
        let up = self.weight(&[WIDTH, 2 * WIDTH]);
        let hidden = self.add(Op::MatMul {}, &[first, up]);
        let active = self.add(Op::Unary { function: UnaryFunction::Silu }, &[hidden]);
        let down = self.weight(&[2 * WIDTH, WIDTH]);
        let back = self.add(Op::MatMul {}, &[active, down]);
        self.binary(BinaryFunction::Add, first, back)
    }
}

fn decoder(layers: usize, present_first: bool) -> (Graph, BTreeMap<String, HostTensor>) {
    let mut model = Model { graph: Graph::new("decoder", Sources::new()), random: Random::new(7) };
    let graph = &mut model.graph;
    let input = |input, axis| SymbolDefinition::Input { input, axis };
    let batch: crate::ir::Dim = graph.symbols.add("batch", input(0, 0)).into();
    let seq: crate::ir::Dim = graph.symbols.add("seq", input(0, 1)).into();
    let past: crate::ir::Dim = graph.symbols.add("past", input(2, 1)).into();
    let ids = graph.add_input("ids", TensorType::new(Element::I64, vec![batch.clone(), seq.clone()]));
    let mask = graph.add_input("mask", TensorType::new(Element::F32, vec![batch.clone(), &past + &seq]));
    let cache = TensorType::new(Element::F32, vec![batch, past, WIDTH.into()]);
    let caches: Vec<Value> = (0..layers).map(|index| graph.add_input(format!("past.{index}"), cache.clone())).collect();
    let table = model.weight(&[40, WIDTH]);
    let mut x = model.add(Op::Gather { axis: 0 }, &[table, ids]);
    let mut bias = None;
    for (index, &past) in caches.iter().enumerate() {
        // The first layer's place in the file is where exporters compute the mask.
        let bias = *bias.get_or_insert_with(|| {
            let scale =
                model.graph.constant_tensor(HostTensor::scalar_f32(-3.0), &Provenance::none()).expect("a scalar");
            let scaled = model.binary(BinaryFunction::Mul, mask, scale);
            let dims = model.graph.dims(scaled).to_vec();
            model.add(Op::Reshape { dims: vec![dims[0].clone(), 1.into(), dims[1].clone()] }, &[scaled])
        });
        x = model.layer(x, bias, past, index);
    }
    let head = model.weight(&[WIDTH, 40]);
    let logits = model.add(Op::MatMul {}, &[x, head]);
    model.graph.add_output("logits", logits);
    let mut graph = model.graph;
    if present_first {
        graph = parse(&print(&graph, Options { locations: true }), &Sources::new()).expect("round trip");
    }
    let mut random = Random::new(3);
    let mut inputs = BTreeMap::new();
    let ids: Vec<i64> = (0..6).map(|_| random.below(40) as i64).collect();
    inputs.insert("ids".to_string(), HostTensor::from_i64(&[2, 3], &ids));
    inputs.insert("mask".to_string(), random.tensor(Element::F32, &[2, 7]));
    for index in 0..layers {
        inputs.insert(format!("past.{index}"), random.tensor(Element::F32, &[2, 4, WIDTH]));
    }
    (graph, inputs)
}

fn loops(graph: &Graph) -> Vec<(usize, usize)> {
    let found = graph.nodes().filter_map(|(_, node)| match &node.op {
        Op::Loop { trip, body, .. } => Some((*trip, body.node_count())),
        _ => None,
    });
    found.collect()
}

#[test]
fn layers_roll_and_values_stay() {
    for layers in [2, 3, 12] {
        let (graph, inputs) = decoder(layers, layers == 3);
        let mut rolled = graph.clone();
        canonicalize(&mut rolled).expect("canonicalises");
        roll(&mut rolled).expect("rolls");
        verify(&rolled).expect("a rolled graph is a graph");
        assert_eq!(loops(&rolled), [(layers, 14)], "{layers} layers");
        assert_eq!(evaluate(&graph, &inputs).expect("runs"), evaluate(&rolled, &inputs).expect("runs"));
        canonicalize(&mut rolled).expect("canonicalises with a loop");
        verify(&rolled).expect("still a graph");
        assert_eq!(evaluate(&graph, &inputs).expect("runs"), evaluate(&rolled, &inputs).expect("runs"));
        let text = print(&rolled, Options::default());
        assert_eq!(print(&parse(&text, &Sources::new()).expect("parses"), Options::default()), text);
    }
}

#[test]
fn one_layer_and_different_layers_do_not_roll() {
    let (mut one, _) = decoder(1, false);
    roll(&mut one).expect("nothing to do");
    assert_eq!(loops(&one), []);
}

#[test]
fn node_count_does_not_depend_on_layers() {
    let count = |layers| {
        let (mut graph, _) = decoder(layers, false);
        canonicalize(&mut graph).expect("canonicalises");
        roll(&mut graph).expect("rolls");
        graph.nodes().filter(|(_, node)| !matches!(node.op, Op::Constant { .. })).count()
    };
    assert_eq!(count(2), count(12));
}
