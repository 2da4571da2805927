//! Bounds of small graphs: what follows, and what does not.

use std::sync::Arc;

use narae_isa::{BinaryFunction, CumulateFunction, Diagnostic, Diagnostics, Element, HostTensor, codes};

use super::narrow::narrow;
use super::{
    Fitted, Maxima, Rest, Unsaid, Usual, bind, candidates, derive::derive, first_that_fits, fit, idle, note, positions,
};
use crate::graph::ops::PoolFunction;
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

/// The greatest value of a length of the body of a loop.
fn inside(graph: &Graph, name: &str) -> Option<i64> {
    let body = graph.nodes().find_map(|(_, node)| node.op.regions().first().map(|body| Arc::clone(body)));
    let body = body.expect("a loop");
    body.symbols.data(body.symbols.find(name).expect("a length of the body")).upper
}

#[test]
fn lengths_of_bodies_are_bounded_by_name_and_with_all_others() {
    let (mut graph, _) = growing(Dim::from(10), Graph::default());
    bind(&mut graph, &Maxima { lengths: vec![(String::from("n"), 5)], ..Maxima::default() }).expect("it has a name");
    assert_eq!(inside(&graph, "n"), Some(5));
    let mut graph = Graph::default();
    let trip = graph.symbols.add("trip", SymbolDefinition::Undefined);
    let (mut graph, _) = growing(trip.into(), graph);
    bind(&mut graph, &Maxima { rest: Rest::AtMost(77), ..Maxima::default() }).expect("all have a bound");
    assert_eq!((inside(&graph, "n"), graph.symbols.interval(trip).1), (Some(77), Some(77)));
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
fn a_maximum_below_what_the_model_needs_is_said() {
    let short = |maxima: Maxima| {
        let mut graph = Graph::default();
        let n = bounded(&mut graph, "n", 0, 40);
        let symbol = n.as_symbol().expect("a symbol");
        graph.symbols.bound(symbol, Some(3), None);
        graph.add_input("x", TensorType::new(Element::F32, vec![n]));
        let problems = bind(&mut graph, &maxima).expect_err("there is no such length");
        assert!(problems.0.iter().all(|problem| problem.code.id == "E0401"));
        problems.0.iter().map(|problem| problem.message.clone()).collect::<Vec<String>>()
    };
    let named = Maxima { lengths: vec![("n".into(), 2)], ..Maxima::default() };
    assert_eq!(short(named), ["the model needs `n` to be at least 3, and its maximum is 2"]);
    let given = Maxima { given: vec![[("x".to_string(), vec![1])].into()], ..Maxima::default() };
    assert_eq!(short(given), ["the model needs `n` to be at least 3, and the inputs have 1"]);
}

#[test]
fn an_extent_that_is_always_negative_is_said() {
    let mut graph = Graph::default();
    let n = bounded(&mut graph, "n", 0, 4);
    let x = graph.add_input("x", TensorType::new(Element::F32, vec![n.clone()]));
    let op = Op::Pool {
        function: PoolFunction::Max,
        kernel: vec![8],
        strides: vec![1],
        before: vec![Dim::ZERO],
        dilations: vec![1],
        dims: vec![&n - &Dim::from(7i64)],
    };
    let wide = graph.add1(Op::Reshape { dims: vec![Dim::ONE, Dim::ONE, n.clone()] }, &[x], &none()).expect("types fit");
    let y = graph.add1(op, &[wide], &none()).expect("types fit");
    graph.add_output("y", y);
    let problems = bind(&mut graph, &Maxima::default()).expect_err("no length has a window");
    assert_eq!(
        problems.iter().next().expect("one").message,
        "an extent is `n - 7`, which is negative within the maxima"
    );
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

/// `table[indices]` of a table of so many rows; `indices` is made of an input of this name.
fn looked_up(rows: usize, input: &str, indices: impl Fn(&mut Graph, Value) -> Value) -> Graph {
    let mut graph = Graph::default();
    let length = graph.symbols.add("sequence", SymbolDefinition::Input { input: 0, axis: 1 });
    let given = graph.add_input(input, TensorType::new(Element::I64, vec![Dim::ONE, length.into()]));
    let table = HostTensor::from_f32(&[rows, 2], &vec![0.0; rows * 2]);
    let table = graph.constant_tensor(table, &none()).expect("types fit");
    let indices = indices(&mut graph, given);
    let y = graph.add1(Op::Gather { axis: 0 }, &[table, indices], &none()).expect("types fit");
    graph.add_output("y", y);
    graph
}

fn scalar(graph: &mut Graph, value: i64) -> Value {
    graph.constant_tensor(HostTensor::scalar_i64(value), &none()).expect("types fit")
}

#[test]
fn tables_that_positions_choose_from_say_how_many_there_are() {
    let plain = |_: &mut Graph, value| value;
    assert_eq!(positions(&looked_up(40, "position_ids", plain)), Some(40));
    let shifted = |graph: &mut Graph, value| {
        let two = scalar(graph, 2);
        let counted = Op::Cumulate { function: CumulateFunction::Sum, axis: 1, exclusive: false, reverse: false };
        let counted = graph.add1(counted, &[value], &none()).expect("types fit");
        graph.add1(Op::Binary { function: BinaryFunction::Add }, &[counted, two], &none()).expect("types fit")
    };
    assert_eq!(positions(&looked_up(40, "attention_mask", shifted)), Some(40), "counted from a mask");
}

#[test]
fn tables_that_something_else_chooses_from_say_nothing() {
    let plain = |_: &mut Graph, value| value;
    for input in ["input_ids", "token_type_ids", "labels"] {
        assert_eq!(positions(&looked_up(40, input, plain)), None, "{input}");
    }
    assert_eq!(positions(&looked_up(4, "position_ids", plain)), None, "a short table");
    let heads = |graph: &mut Graph, _| {
        let op = Op::Iota { element: Element::I64, dims: vec![Dim::from(40)], axis: 0 };
        graph.add1(op, &[], &none()).expect("types fit")
    };
    assert_eq!(positions(&looked_up(40, "position_ids", heads)), None, "a number of heads");
    let mut graph = Graph::default();
    let length = graph.symbols.add("sequence", SymbolDefinition::Input { input: 0, axis: 1 });
    let ids = graph.add_input("position_ids", TensorType::new(Element::I64, vec![Dim::ONE, length.into()]));
    let given = graph.add_input("table", TensorType::new(Element::F32, vec![Dim::from(40), Dim::from(2)]));
    graph.add1(Op::Gather { axis: 0 }, &[given, ids], &none()).expect("types fit");
    assert_eq!(positions(&graph), None, "a table that is given with the call");
    assert_eq!(positions(&looked_up(7, "position_ids", plain)), None, "a row too few");
    assert_eq!(positions(&looked_up(8, "position_ids", plain)), Some(8), "just enough rows");
    let with_ids = |graph: &mut Graph, value| {
        let ids = graph.add_input("input_ids", graph.ty(value).clone());
        graph.add1(Op::Binary { function: BinaryFunction::Add }, &[value, ids], &none()).expect("types fit")
    };
    assert_eq!(positions(&looked_up(40, "position_ids", with_ids)), None, "positions and ids");
    // Buckets of distances: whatever the position, the index stays below a number.
    let bucket = |graph: &mut Graph, value| {
        let most = scalar(graph, 31);
        graph.add1(Op::Binary { function: BinaryFunction::Min }, &[value, most], &none()).expect("types fit")
    };
    assert_eq!(positions(&looked_up(32, "position_ids", bucket)), None);
}

#[test]
fn positions_are_integers_that_choose_rows() {
    let found = |element: Element, dims: &[usize]| {
        let mut graph = Graph::default();
        let length = graph.symbols.add("sequence", SymbolDefinition::Input { input: 0, axis: 1 });
        let given = graph.add_input("position_mask", TensorType::new(element, vec![Dim::ONE, length.into()]));
        let op = Op::Convert { to: Element::I64, saturate: false };
        let indices = if element == Element::I64 { given } else { graph.add1(op, &[given], &none()).expect("fits") };
        let table = HostTensor::from_f32(dims, &vec![0.0; dims.iter().product()]);
        let table = graph.constant_tensor(table, &none()).expect("types fit");
        graph.add1(Op::Gather { axis: 0 }, &[table, indices], &none()).expect("types fit");
        positions(&graph)
    };
    for element in [Element::I64, Element::I32, Element::Bool] {
        assert_eq!(found(element, &[40, 2]), Some(40), "{element}");
    }
    assert_eq!(found(Element::F32, &[40, 2]), None, "numbers that are no integers");
    assert_eq!(found(Element::I64, &[40]), None, "a list of numbers");
}

#[test]
fn a_table_that_is_cut_to_the_length_of_a_call_says_how_long_that_is() {
    let cut = |start: Dim, dim: Dim| {
        let mut graph = Graph::default();
        let mask = HostTensor::from_f32(&[64, 9], &[0.0; 64 * 9]);
        let mask = graph.constant_tensor(mask, &none()).expect("types fit");
        let op = Op::Slice { starts: vec![start, Dim::from(0)], steps: vec![1, 1], dims: vec![dim, Dim::from(9)] };
        let y = graph.add1(op, &[mask], &none());
        graph.add_output("y", y.expect("types fit"));
        graph
    };
    assert_eq!(positions(&cut(Dim::from(3), Dim::from(5))), None, "a part that is always the same");
    let mut graph = Graph::default();
    let length = bounded(&mut graph, "sequence", 0, 16);
    let mask = graph.constant_tensor(HostTensor::from_f32(&[64, 9], &[0.0; 64 * 9]), &none()).expect("types fit");
    let starts = vec![Dim::from(0), Dim::from(0)];
    let op = Op::Slice { starts, steps: vec![1, 1], dims: vec![length, Dim::from(9)] };
    graph.add1(op, &[mask], &none()).expect("types fit");
    assert_eq!(positions(&graph), Some(64), "of the axis that varies only");
    let mut graph = Graph::default();
    let past = bounded(&mut graph, "past", 0, 16);
    let mask = graph.constant_tensor(HostTensor::from_f32(&[64, 9], &[0.0; 64 * 9]), &none()).expect("types fit");
    let op = Op::Slice { starts: vec![past, Dim::from(0)], steps: vec![1, 1], dims: vec![Dim::ONE, Dim::from(9)] };
    graph.add1(op, &[mask], &none()).expect("types fit");
    assert_eq!(positions(&graph), Some(64), "of the axis whose begin varies");
}

#[test]
fn usual_bounds_are_wanted_first_and_end_small() {
    let graph = looked_up(40, "position_ids", |_, value| value);
    let all = candidates(&graph, &Maxima::default(), None);
    assert_eq!(all.first(), Some(&Usual { sequence: 40, past: 40 }), "the table");
    let told = candidates(&Graph::default(), &Maxima::default(), Some(4096));
    assert_eq!(told.first(), Some(&Usual { sequence: 512, past: 4096 }));
    assert_eq!(told.last(), Some(&Usual { sequence: 16, past: 16 }));
    assert_eq!(
        candidates(&Graph::default(), &Maxima::default(), None).first(),
        Some(&Usual { sequence: 512, past: 2048 })
    );
    // What was said is not tried in other ways.
    let said = Maxima { sequence: Some(7), past: Some(9), ..Maxima::default() };
    assert_eq!(candidates(&Graph::default(), &said, None).len(), 1);
}

/// A decoder's inputs: ids, a mask over past and call, a cache, and something of another length.
fn decoder() -> Graph {
    let mut graph = Graph::default();
    let names: [&[&str]; 4] = [&["b", "s"], &["b", "t"], &["b", "", "p", ""], &["", "h"]];
    for (input, (name, dims)) in ["ids", "mask", "past", "other"].into_iter().zip(names).enumerate() {
        let symbols = &mut graph.symbols;
        let dims = dims.iter().enumerate().map(|(axis, &dim)| match symbols.find(dim) {
            _ if dim.is_empty() => Dim::from(8),
            Some(symbol) => symbol.into(),
            None => symbols.add(dim, SymbolDefinition::Input { input: input as u32, axis: axis as u32 }).into(),
        });
        let (dims, element) = (dims.collect(), if input < 2 { Element::I64 } else { Element::F32 });
        graph.add_input(name, TensorType::new(element, dims));
    }
    graph
}

#[test]
fn lengths_that_nobody_gave_are_told_with_their_flags() {
    let graph = decoder();
    let usual = Usual { sequence: 512, past: 2048 };
    let told = |planned: &[(&str, i64)], change: &dyn Fn(&mut Maxima)| {
        let mut maxima = Maxima { unsaid: Unsaid::Usual(usual), ..Maxima::default() };
        change(&mut maxima);
        let planned = |name: &str| planned.iter().find(|(length, _)| *length == name).map(|(_, most)| *most);
        let note = note(&graph, &maxima, planned, None)?;
        Some(note.split_once("all at once: ").expect("flags before lengths").1.to_owned())
    };
    let all = "b 1 (--max-batch N), s 512 (--max-seq N), p 2048 (--max-past N)";
    assert_eq!(told(&[], &|_| ()).as_deref(), Some(all), "what a mask covers follows");
    let planned = told(&[("s", 60), ("h", 4096)], &|_| ());
    let all = "b 1 (--max-batch N), s 60 (--max-seq N), p 2048 (--max-past N), h 4096 (--max h=N)";
    assert_eq!(planned.as_deref(), Some(all), "what programs were planned for");
    let some = told(&[], &|m| (m.batch, m.past) = (Some(2), Some(50)));
    assert_eq!(some.as_deref(), Some("s 512 (--max-seq N)"));
    let named = told(&[], &|m| (m.batch, m.lengths) = (Some(2), vec![("s".into(), 9), ("p".into(), 9)]));
    assert_eq!(named, None, "lengths that were named");
    assert_eq!(told(&[], &|m| (m.batch, m.sequence, m.past) = (Some(2), Some(7), Some(50))), None);
}

#[test]
fn lengths_of_inputs_are_not_told_again_among_those_that_are_computed() {
    let (graph, maxima) = (decoder(), Maxima { batch: Some(1), sequence: Some(2), past: Some(3), ..Maxima::default() });
    let told = |names: &[&str]| {
        let fitted = Fitted { most: 256, names: names.iter().map(|name| format!("`{name}`")).collect() };
        note(&graph, &maxima, |name| (name == "h").then_some(256), Some(&fitted)).expect("something was chosen")
    };
    let computed = told(&["free", "h"]);
    let all = "h 256 (--max h=N), lengths that the model computes 256 (--max NAME=N): `free`";
    assert!(computed.ends_with(&format!(": {all}")), "{computed}");
    assert!(told(&["h"]).ends_with(": h 256 (--max h=N)"));
}

fn too_large() -> Diagnostics {
    Diagnostic::new(&codes::E0402, "too large").into()
}

#[test]
fn the_greatest_bounds_that_fit_are_taken() {
    let all = candidates(&Graph::default(), &Maxima::default(), None);
    let up_to =
        |most: i64| move |usual: Usual| if usual.sequence + usual.past <= most { Ok(()) } else { Err(too_large()) };
    let found = |most| first_that_fits(&all, up_to(most)).map(|(_, usual)| usual);
    assert_eq!(found(1 << 40), Ok(Usual { sequence: 512, past: 2048 }));
    assert_eq!(found(1600), Ok(Usual { sequence: 512, past: 1024 }), "the past gives way first");
    assert_eq!(found(31), Err(too_large()), "nothing fits: the first problem");
    // Lengths that contradict each other may agree where they are smaller; if not, the first problem is told, after one more try.
    let contradicts =
        |most: i64| Diagnostics::from(Diagnostic::new(&codes::E0301, format!("never equal within {most}")));
    let within = |least: i64| {
        let mut tries = 0;
        let found = first_that_fits(&all, |usual: Usual| {
            tries += 1;
            if usual.past <= least { Ok(()) } else { Err(contradicts(usual.past)) }
        });
        (found.map(|(_, usual)| usual), tries)
    };
    assert_eq!(within(1024).0, Ok(Usual { sequence: 512, past: 1024 }));
    assert_eq!(within(0), (Err(contradicts(2048)), 2));
    // What no length mends is tried once.
    let mut tries = 0;
    let other = first_that_fits::<()>(&all, |_| {
        tries += 1;
        Err(Diagnostic::new(&codes::E0201, "an operator").into())
    });
    assert!(other.is_err_and(|problems| problems.0[0].code.id == "E0201") && tries == 1);
}

#[test]
fn lengths_of_a_program_fit_beside_what_was_given() {
    let mut graph = Graph::default();
    let open = graph.symbols.add("open", SymbolDefinition::Undefined);
    let y = graph.add_input("x", TensorType::new(Element::F32, vec![open.into()]));
    graph.add_output("y", y);
    // Caches of 10 GiB are there whatever is chosen; each unit of the length takes 1 MiB.
    let build = |rest: Rest| match rest {
        Rest::AtMost(most) => Ok((most, (10u64 << 30) + ((most as u64) << 20))),
        Rest::Fitting => Err(too_large()),
    };
    let (most, fitted) = fit(&graph, build).expect("something fits");
    assert_eq!((most, fitted.map(|fitted| fitted.names)), (256, Some(vec![String::from("`open`")])));
    // Smaller bounds that contradict the model are no reason to refuse what fits less well.
    let strict = |rest: Rest| match rest {
        Rest::AtMost(most) if most < 1024 => Err(Diagnostic::new(&codes::E0301, "never equal").into()),
        Rest::AtMost(most) => Ok((most, 1u64 << 40)),
        Rest::Fitting => Err(too_large()),
    };
    assert_eq!(fit(&graph, strict).map(|(most, _)| most), Ok(1024));
}

#[test]
fn maxima_that_bound_nothing_are_named() {
    let graph = looked_up(40, "position_ids", |_, value| value);
    let maxima = |change: &dyn Fn(&mut Maxima)| {
        let mut maxima = Maxima::default();
        change(&mut maxima);
        idle(&graph, &maxima)
    };
    assert!(maxima(&|m| m.sequence = Some(3)).is_empty());
    assert!(maxima(&|m| m.batch = Some(3))[0].contains("--max-batch 3"));
    assert!(maxima(&|m| m.past = Some(3))[0].contains("--max-past 3"));
    assert!(maxima(&|m| m.shapes = vec![[(String::from("z"), vec![1])].into()])[0].contains("--max-shape z"));
    let fixed = |m: &mut Maxima| (m.sequence, m.fixed) = (Some(3), vec![(String::from("sequence"), 3)]);
    assert!(maxima(&fixed)[0].contains("--max-seq 3"), "a length that is fixed does not vary");
    assert!(maxima(&|m| m.rest = Rest::AtMost(3)).is_empty());
    let numbers = Maxima { rest: Rest::AtMost(3), ..Maxima::default() };
    assert!(idle(&Graph::default(), &numbers)[0].contains("--max '*=3'"), "there is no length");
}
