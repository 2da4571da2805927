//! Bounds of the lengths of bodies: of loops of layers, of loops with state, of branches.

use std::sync::Arc;

use narae_isa::Element;

use super::derive::{derive, has_open, open_names};
use super::{Maxima, bind};
use crate::graph::{Graph, Op, Provenance, TensorType};
use crate::ir::{Dim, SymbolDefinition, Value};

fn add(graph: &mut Graph, op: Op, operands: &[Value]) -> Vec<Value> {
    graph.add(op, operands, &Provenance::none()).expect("types fit")
}

fn floats(dims: &[Dim]) -> TensorType {
    TensorType::new(Element::F32, dims.to_vec())
}

/// The greatest value of a length of the last body of a graph.
fn inside(graph: &Graph, name: &str) -> Option<i64> {
    let bodies = graph.nodes().flat_map(|(_, node)| node.op.regions());
    let body = bodies.last().expect("a body");
    body.symbols.data(body.symbols.find(name).expect("a length of the body")).upper
}

fn most(graph: &Graph, dim: &Dim) -> Option<i64> {
    graph.symbols.resolve(dim).bounds(&graph.symbols).1
}

/// A graph with an input of so many rows at most; the input.
fn with_rows(rows: Option<i64>) -> (Graph, Value) {
    let mut graph = Graph::default();
    let definition = SymbolDefinition::Input { input: 0, axis: 0 };
    let rows = graph.symbols.add_bounded("rows", definition, Some(0), rows);
    let x = graph.add_input("x", floats(&[rows.into(), 2.into()]));
    (graph, x)
}

/// The coordinates of what is not zero: as many as `nonzero` says.
fn search(body: &mut Graph, x: Value) -> Value {
    add(body, Op::NonZero {}, &[x])[0]
}

#[test]
fn lengths_that_are_passed_into_a_body() {
    let (mut graph, x) = with_rows(None);
    let rows = graph.dims(x)[0].clone();
    let mut body = Graph::default();
    let passed = body.symbols.add("passed", SymbolDefinition::Passed { index: 0 });
    let carried = body.add_input("x", floats(&[passed.into(), 2.into()]));
    let next = add(&mut body, Op::Unary { function: narae_isa::UnaryFunction::Tanh }, &[carried])[0];
    body.add_output("x", next);
    let op = Op::Loop { trip: 3, carried: 1, invariant: 0, symbols: vec![rows], body: Arc::new(body) };
    add(&mut graph, op, &[x]);
    bind(&mut graph, &Maxima { batch: Some(12), ..Maxima::default() }).expect("the length has a bound");
    assert_eq!(inside(&graph, "passed"), Some(12));
}

/// A loop with state: the carried value stays as it is; `k` numbers are stacked (9 if known, else an input says it), and coordinates.
fn with_state(rows: i64, trip: i64, known: bool) -> (Graph, Vec<Value>) {
    let (mut graph, x) = with_rows(Some(rows));
    let mut body = Graph::default();
    body.add_input("i", TensorType::scalar(Element::I64));
    let own = body.symbols.add("own", SymbolDefinition::Input { input: 1, axis: 0 });
    let carried = body.add_input("c", floats(&[own.into(), 2.into()]));
    let k = body.add_input("k", TensorType::scalar(Element::I64));
    let k = body.data_symbols(k, 1, "k", (Some(0), None)).remove(0);
    let zero = body.constant_tensor(narae_isa::HostTensor::scalar_f32(0.0), &Provenance::none()).expect("a constant");
    let numbers = add(&mut body, Op::Broadcast { dims: vec![k] }, &[zero])[0];
    let found = search(&mut body, carried);
    body.add_output("c", carried);
    body.add_output("numbers", numbers);
    body.add_output("found", found);
    let nine = Op::Dims { dims: vec![9.into()], shape: vec![] };
    let k = if known { add(&mut graph, nine, &[])[0] } else { graph.add_input("k", TensorType::scalar(Element::I64)) };
    let op = Op::While { trip: trip.into(), conditional: false, carried: 1, symbols: vec![], body: Arc::new(body) };
    let results = add(&mut graph, op, &[x, k]);
    for (index, &result) in results.iter().enumerate() {
        graph.add_output(format!("y{index}"), result);
    }
    (graph, results)
}

#[test]
fn what_loops_with_state_find_and_stack() {
    let (mut graph, results) = with_state(6, 5, true);
    derive(&mut graph);
    // The number is 9 in every iteration; of 6 rows of two there are 12 coordinates.
    let of = |name| inside(&graph, name);
    assert_eq!([of("own"), of("k"), of("nonzero")], [Some(6), Some(9), Some(12)]);
    let dims = |value: Value| graph.dims(value).iter().map(|dim| most(&graph, dim)).collect::<Vec<_>>();
    assert_eq!(dims(results[0]), [Some(6), Some(2)]);
    assert_eq!(dims(results[1]), [Some(5), Some(9)]);
    assert_eq!(dims(results[2]), [Some(5), Some(2), Some(12)]);
}

#[test]
fn what_is_carried_grows_by_a_length_of_the_body() {
    let mut graph = Graph::default();
    let mut body = Graph::default();
    body.add_input("i", TensorType::scalar(Element::I64));
    let own = body.symbols.add("own", SymbolDefinition::Input { input: 1, axis: 0 });
    let carried = body.add_input("c", floats(&[own.into()]));
    let k = body.add_input("k", TensorType::scalar(Element::I64));
    let k = body.data_symbols(k, 1, "k", (Some(0), None)).remove(0);
    let zero = body.constant_tensor(narae_isa::HostTensor::scalar_f32(0.0), &Provenance::none()).expect("a constant");
    let numbers = add(&mut body, Op::Broadcast { dims: vec![k] }, &[zero])[0];
    let longer = add(&mut body, Op::Concat { axis: 0 }, &[carried, numbers])[0];
    body.add_output("c", longer);
    let start = graph.add_input("start", floats(&[6.into()]));
    let nine = add(&mut graph, Op::Dims { dims: vec![9.into()], shape: vec![] }, &[])[0];
    let op = Op::While { trip: 5.into(), conditional: false, carried: 1, symbols: vec![], body: Arc::new(body) };
    let result = add(&mut graph, op, &[start, nine])[0];
    derive(&mut graph);
    assert_eq!(most(&graph, &graph.dims(result)[0]), Some(6 + 5 * 9));
}

#[test]
fn what_is_said_of_a_stack_holds_in_every_iteration() {
    let (mut graph, _) = with_state(6, 5, false);
    let shapes = vec![[(String::from("y1"), vec![5, 4])].into()];
    bind(&mut graph, &Maxima { shapes, ..Maxima::default() }).expect("all lengths have bounds");
    assert_eq!(inside(&graph, "k"), Some(4));
}

#[test]
fn branches_take_what_they_are_given() {
    let (mut graph, x) = with_rows(Some(7));
    let condition = graph.add_input("condition", TensorType::scalar(Element::Bool));
    let branch = || {
        let mut body = Graph::default();
        let own = body.symbols.add("own", SymbolDefinition::Input { input: 0, axis: 0 });
        let taken = body.add_input("x", floats(&[own.into(), 2.into()]));
        let found = search(&mut body, taken);
        body.add_output("found", found);
        Arc::new(body)
    };
    let op = Op::If { symbols: vec![], then_body: branch(), else_body: branch() };
    let result = add(&mut graph, op, &[condition, x])[0];
    // One name for the two branches, and the length of the result.
    assert_eq!(open_names(&graph), ["`extent`", "`nonzero`", "`own`"]);
    derive(&mut graph);
    assert_eq!((inside(&graph, "own"), inside(&graph, "nonzero")), (Some(7), Some(14)));
    assert_eq!(most(&graph, &graph.dims(result)[1]), Some(14));
    assert!(!has_open(&graph));
}

#[test]
fn a_length_may_be_open_in_a_body_alone() {
    let (mut graph, x) = with_rows(Some(7));
    let mut body = Graph::default();
    let carried = body.add_input("x", floats(&[2.into(), 2.into()]));
    let nine = add(&mut body, Op::Dims { dims: vec![9.into()], shape: vec![] }, &[])[0];
    body.data_symbols(nine, 1, "k", (Some(0), None));
    body.add_output("x", carried);
    let fixed = Op::Slice { starts: vec![0.into(); 2], steps: vec![1; 2], dims: vec![2.into(); 2] };
    let x = add(&mut graph, fixed, &[x])[0];
    let op = Op::Loop { trip: 3, carried: 1, invariant: 0, symbols: vec![], body: Arc::new(body) };
    add(&mut graph, op, &[x]);
    assert!(has_open(&graph));
    assert_eq!(open_names(&graph), ["`k`"]);
    derive(&mut graph);
    assert_eq!(inside(&graph, "k"), Some(9));
    assert!(!has_open(&graph));
}
