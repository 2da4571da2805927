//! What stays wide and what does not, by small graphs; the values themselves are judged by `tests/precision.rs`.

use std::collections::BTreeMap;

use narae_isa::{BinaryFunction, Element, HostTensor, ReduceFunction, UnaryFunction};

use super::{Graph, Kept, Reason};
use crate::compress::{Recipe, Sources};
use crate::graph::eval::evaluate;
use crate::graph::{Op, Provenance, Real, TensorType};
use crate::ir::{Dim, Value};

const NONE: &[Value] = &[];

struct Builder(Graph);

impl Builder {
    fn new() -> Builder {
        Builder(Graph::new("test", Sources::new()))
    }

    fn input(&mut self, name: &str, element: Element, dims: &[usize]) -> Value {
        self.0.add_input(name, TensorType::new(element, dims.iter().map(|&dim| Dim::from(dim)).collect()))
    }

    fn op(&mut self, op: Op, operands: &[Value]) -> Value {
        let name = format!("{}{}", op.name(), self.0.node_count());
        self.0.add1(op, operands, &Provenance::new(name, "Test")).expect("a valid node")
    }

    fn constant(&mut self, dims: &[usize], values: &[f32]) -> Value {
        self.op(Op::Constant { recipe: Recipe::inline(HostTensor::from_f32(dims, values)) }, NONE)
    }

    fn binary(&mut self, function: BinaryFunction, a: Value, b: Value) -> Value {
        self.op(Op::Binary { function }, &[a, b])
    }

    /// A product with a matrix of ones.
    fn linear(&mut self, x: Value, width: usize) -> Value {
        let weight = self.constant(&[width, width], &vec![1.0; width * width]);
        self.op(Op::Linear {}, &[x, weight])
    }

    /// The graph with this output, in another precision.
    fn retyped(mut self, output: Value, target: Element) -> (Graph, Vec<Kept>) {
        self.0.add_output("y", output);
        let kept = self.0.set_precision(target).expect("it retypes");
        crate::graph::verify::verify(&self.0).expect("it is valid");
        (self.0, kept)
    }
}

/// Nodes that compute in f32, by their names; conversions at the ports are none of them.
fn wide(graph: &Graph) -> Vec<&'static str> {
    let narrow_only = |op: &Op| !matches!(op, Op::Convert { .. } | Op::Constant { .. });
    let nodes = graph.nodes().filter(|(_, node)| narrow_only(&node.op));
    nodes.filter(|(_, node)| graph.element(node.results[0]) == Element::F32).map(|(_, node)| node.op.name()).collect()
}

fn said(kept: &[Kept], reason: Reason) -> bool {
    kept.iter().any(|row| row.reason == reason.text() && !row.names.is_empty())
}

#[test]
fn layers_and_their_stream_are_narrow() {
    let mut b = Builder::new();
    let x = b.input("x", Element::F32, &[4, 16]);
    let a = b.linear(x, 16);
    let c = b.linear(a, 16);
    let sum = b.binary(BinaryFunction::Add, a, c);
    let norm = b.op(Op::RmsNorm { epsilon: Real::new(1e-6) }, &[sum]);
    let again = b.binary(BinaryFunction::Add, sum, norm);
    let last = b.linear(again, 16);
    let (graph, kept) = b.retyped(last, Element::F16);
    assert!(wide(&graph).is_empty() && kept.is_empty(), "{kept:?}");
}

#[test]
fn a_mask_of_integers_does_not_widen_the_stream() {
    let mut b = Builder::new();
    let x = b.input("x", Element::F32, &[4, 16]);
    let mask = b.input("mask", Element::I64, &[4, 1]);
    let a = b.linear(x, 16);
    let count = b.op(Op::Convert { to: Element::F32, saturate: false }, &[mask]);
    let hidden = b.binary(BinaryFunction::Mul, a, count);
    let sum = b.binary(BinaryFunction::Add, hidden, a);
    let last = b.linear(sum, 16);
    let (graph, kept) = b.retyped(last, Element::BF16);
    assert_eq!(wide(&graph), ["binary"], "only the product with the mask is wide");
    assert!(said(&kept, Reason::Counted));
}

#[test]
fn a_file_in_the_type_stays_as_it_is() {
    let mut b = Builder::new();
    let x = b.input("x", Element::F16, &[4, 16]);
    let square = b.binary(BinaryFunction::Mul, x, x);
    let softmax = b.op(Op::Softmax { axis: 1, log: false }, &[square]);
    let before = b.0.node_count();
    let (graph, kept) = b.retyped(softmax, Element::F16);
    assert!(graph.node_count() == before && kept.is_empty());
    let mut b = Builder::new();
    let x = b.input("x", Element::F16, &[4, 16]);
    let square = b.binary(BinaryFunction::Mul, x, x);
    let (graph, kept) = b.retyped(square, Element::BF16);
    assert_eq!(wide(&graph), ["binary"], "but not for another narrow type");
    assert!(said(&kept, Reason::Growth));
}

#[test]
fn constants_beyond_the_range_and_infinities() {
    for (number, beyond) in [(-1e9, true), (60_000.0, false), (1e-12, true), (f32::NEG_INFINITY, false)] {
        let mut b = Builder::new();
        let x = b.input("x", Element::F32, &[4, 16]);
        let condition = b.input("c", Element::Bool, &[4, 1]);
        let a = b.linear(x, 16);
        let least = b.constant(&[], &[number]);
        let chosen = b.op(Op::Select {}, &[condition, least, a]);
        let last = b.op(Op::Reduce { function: ReduceFunction::Max, axes: vec![1] }, &[chosen]);
        let (graph, kept) = b.retyped(last, Element::F16);
        assert_eq!(said(&kept, Reason::Range), beyond, "{number}");
        let inputs: BTreeMap<String, HostTensor> = [
            ("x".to_owned(), HostTensor::from_f32(&[4, 16], &[1.0; 64])),
            ("c".to_owned(), HostTensor::from_i64_as(Element::Bool, &[4, 1], &[1, 0, 0, 1])),
        ]
        .into();
        let found = evaluate(&graph, &inputs).expect("it evaluates")["y"].to_f64_vec();
        let near = |value: f64| {
            value == f64::from(number) || (value - f64::from(number)).abs() <= 1e-3 * f64::from(number.abs())
        };
        assert!(near(found[0]) && found[1] == 16.0, "{number}: {found:?}");
    }
}

#[test]
fn a_cosine_is_narrow_again_but_for_rotations() {
    for rotates in [false, true] {
        let mut b = Builder::new();
        let x = b.input("x", Element::F32, &[4, 16]);
        let angle = b.input("angle", Element::F32, &[4, 8]);
        let a = b.linear(x, 16);
        let cos = b.op(Op::Unary { function: UnaryFunction::Cos }, &[angle]);
        let sin = b.op(Op::Unary { function: UnaryFunction::Sin }, &[angle]);
        let last = if rotates {
            b.op(Op::Rope { interleaved: false }, &[a, cos, sin])
        } else {
            let both = b.op(Op::Concat { axis: 1 }, &[cos, sin]);
            b.binary(BinaryFunction::Add, a, both)
        };
        let last = b.linear(last, 16);
        let (graph, _) = b.retyped(last, Element::F16);
        assert_eq!(wide(&graph), ["unary", "unary"]);
        let rope = graph.nodes().find(|(_, node)| matches!(node.op, Op::Rope { .. }));
        assert!(rope.is_none_or(|(_, node)| graph.element(node.operands[1]) == Element::F32));
    }
}
