//! Bounds of small graphs: what follows, and what does not.

use std::sync::Arc;

use narae_isa::{BinaryFunction, Element, HostTensor};

use super::narrow::narrow;
use super::{Maxima, bind, derive::derive};
use crate::graph::{Graph, Op, Provenance, TensorType};
use crate::ir::{Dim, Symbol, SymbolDefinition, Symbols, Value};

fn bounded(graph: &mut Graph, name: &str, axis: u32, most: i64) -> Dim {
    let definition = SymbolDefinition::Input { input: 0, axis };
    graph.symbols.add_bounded(name, definition, Some(0), Some(most)).into()
}

fn most(graph: &Graph, dim: &Dim) -> Option<i64> {
    graph.symbols.resolve(dim).bounds(&graph.symbols).1
}

fn none() -> Provenance {
    Provenance::none()
}

#[test]
fn coordinates_are_as_many_as_elements() {
    let mut graph = Graph::default();
    let dims = vec![bounded(&mut graph, "a", 0, 5), bounded(&mut graph, "b", 1, 7)];
    let x = graph.add_input("x", TensorType::new(Element::Bool, dims));
    let found = graph.add(Op::NonZero {}, &[x], &none()).expect("types fit");
    graph.add_output("y", found[0]);
    derive(&mut graph);
    assert_eq!(most(&graph, &graph.dims(found[0])[1]), Some(35));
}

/// `carried = concat(carried, step)` for a given number of iterations.
fn growing(trip: Dim, mut graph: Graph) -> (Graph, Value) {
    let scalar = |element| TensorType::new(element, vec![]);
    let mut body = Graph::default();
    body.add_input("i", scalar(Element::I64));
    let length = body.symbols.add("n", SymbolDefinition::Input { input: 1, axis: 0 });
    let carried = body.add_input("c", TensorType::new(Element::F32, vec![length.into()]));
    let step = body.add_input("s", TensorType::new(Element::F32, vec![Dim::from(3)]));
    let longer = body.add1(Op::Concat { axis: 0 }, &[carried, step], &none()).expect("types fit");
    body.add_output("c", longer);
    let start = bounded(&mut graph, "start", 0, 4);
    let start = graph.add_input("start", TensorType::new(Element::F32, vec![start]));
    let step = graph.add_input("step", TensorType::new(Element::F32, vec![Dim::from(3)]));
    let op = Op::While { trip, conditional: false, carried: 1, symbols: vec![], body: Arc::new(body) };
    let result = graph.add1(op, &[start, step], &none()).expect("types fit");
    graph.add_output("y", result);
    (graph, result)
}

#[test]
fn a_carried_value_grows_once_per_iteration() {
    let (mut graph, result) = growing(Dim::from(10), Graph::default());
    derive(&mut graph);
    assert_eq!(most(&graph, &graph.dims(result)[0]), Some(4 + 10 * 3));
}

#[test]
fn what_may_grow_for_ever_has_no_bound() {
    let mut graph = Graph::default();
    let trip = graph.symbols.add("trip", SymbolDefinition::Undefined);
    let (mut graph, result) = growing(trip.into(), graph);
    derive(&mut graph);
    assert_eq!(most(&graph, &graph.dims(result)[0]), None);
}

/// `broadcast(x, n)` with `n = max(min(input, length of x), 0)`, read when the program runs.
fn clamped() -> (Graph, Dim) {
    let mut graph = Graph::default();
    let length = bounded(&mut graph, "length", 0, 12);
    let x = graph.add_input("x", TensorType::new(Element::F32, vec![length.clone()]));
    let n = graph.add_input("n", TensorType::new(Element::I64, vec![]));
    let length = graph.add1(Op::Dims { dims: vec![length], shape: vec![] }, &[], &none()).expect("types fit");
    let zero = graph.constant_tensor(HostTensor::scalar_i64(0), &none()).expect("types fit");
    let mut binary =
        |function, a, b| graph.add1(Op::Binary { function }, &[a, b], &none()).expect("both are i64 scalars");
    let few = binary(BinaryFunction::Min, n, length);
    let few = binary(BinaryFunction::Max, few, zero);
    let count = graph.data_symbols(few, 1, "count", (Some(0), None)).remove(0);
    let dims = vec![count.clone(), graph.dims(x)[0].clone()];
    let y = graph.add1(Op::Broadcast { dims }, &[x], &none()).expect("types fit");
    graph.add_output("y", y);
    (graph, count)
}

#[test]
fn a_length_keeps_the_range_of_the_number_that_it_is() {
    let (mut graph, count) = clamped();
    derive(&mut graph);
    assert_eq!(most(&graph, &count), Some(12));
}

#[test]
fn what_the_user_says_of_an_output_bounds_the_lengths_in_it() {
    let (mut graph, count) = clamped();
    let shapes = vec![[(String::from("y"), vec![7, 12])].into()];
    bind(&mut graph, &Maxima { shapes, ..Maxima::default() }).expect("all lengths have bounds");
    assert_eq!(most(&graph, &count), Some(7));
}

#[test]
fn a_length_can_be_named() {
    let (mut graph, count) = clamped();
    let maxima = |name: &str| Maxima { lengths: vec![(name.into(), 3)], ..Maxima::default() };
    bind(&mut graph, &maxima("count")).expect("all lengths have bounds");
    assert_eq!(most(&graph, &count), Some(3));
    let problems = bind(&mut graph, &maxima("nobody")).expect_err("there is no such length");
    assert_eq!(problems.0[0].code.id, "E0401");
}

/// Two lengths from zero.
fn lengths() -> (Symbols, Symbol, Symbol) {
    let mut symbols = Symbols::default();
    let [a, b] = ["a", "b"].map(|name| symbols.add(name, SymbolDefinition::Undefined));
    (symbols, a, b)
}

#[test]
fn a_sum_bounds_its_parts() {
    let (mut symbols, a, b) = lengths();
    narrow(&mut symbols, &(&(&Dim::from(a) * &3.into()) + &b.into()), 20);
    assert_eq!((symbols.interval(a).1, symbols.interval(b).1), (Some(6), Some(20)));
}

#[test]
fn a_product_with_what_may_be_zero_bounds_nothing() {
    let (mut symbols, a, b) = lengths();
    let product = &Dim::from(a) * &b.into();
    narrow(&mut symbols, &product, 20);
    assert_eq!(symbols.interval(a).1, None);
    symbols.bound(b, Some(4), None);
    narrow(&mut symbols, &product, 20);
    assert_eq!(symbols.interval(a).1, Some(5));
}

#[test]
fn an_extent_is_never_below_zero() {
    let (mut symbols, a, _) = lengths();
    narrow(&mut symbols, &(&Dim::from(9) - &a.into()), 100);
    assert_eq!(symbols.interval(a).1, Some(9));
}
