//! Bounds, case by case: every role of a length, every op that limits one, loops and branches, and the bounds that are tried.

use std::sync::Arc;

use narae_isa::{Diagnostic, Diagnostics, Element, HostTensor, codes};

use super::derive::{derive, has_open, open_names};
use super::narrow::narrow;
use super::{Fitted, Maxima, Rest, Unsaid, bind, fit, greatest_length};
use crate::graph::{Graph, Op, Provenance, State, TensorType};
use crate::ir::{Dim, Symbol, SymbolDefinition, Symbols, Value};

fn none() -> Provenance {
    Provenance::none()
}

fn most(graph: &Graph, dim: &Dim) -> Option<i64> {
    graph.symbols.resolve(dim).bounds(&graph.symbols).1
}

/// A graph with these inputs: names, types, and dims that are numbers or names of lengths.
fn with_inputs(inputs: &[(&str, Element, &[&str])]) -> Graph {
    let mut graph = Graph::default();
    for (input, (name, element, dims)) in inputs.iter().enumerate() {
        let dims = dims.iter().enumerate().map(|(axis, dim)| match dim.parse::<i64>() {
            Ok(number) => number.into(),
            Err(_) => match graph.symbols.find(dim) {
                Some(symbol) => symbol.into(),
                None => {
                    graph.symbols.add(dim, SymbolDefinition::Input { input: input as u32, axis: axis as u32 }).into()
                }
            },
        });
        let dims: Vec<Dim> = dims.collect();
        graph.add_input(*name, TensorType::new(*element, dims));
    }
    graph
}

fn upper(graph: &Graph, name: &str) -> Option<i64> {
    graph.symbols.data(graph.symbols.find(name).expect("there is such a length")).upper
}

fn all() -> Maxima {
    Maxima { batch: Some(2), sequence: Some(7), past: Some(50), ..Maxima::default() }
}

#[test]
fn lengths_by_their_places() {
    let i64s = Element::I64;
    let f32s = Element::F32;
    let cases: &[(&[(&str, Element, &[&str])], &[(&str, Option<i64>)])] = &[
        (&[("input_ids", i64s, &["b", "s"])], &[("b", Some(2)), ("s", Some(7))]),
        (&[("x", f32s, &["b", "4"])], &[("b", Some(2))]),
        (&[("x", f32s, &["b"])], &[("b", Some(2))]),
        (
            &[("ids", i64s, &["b", "s"]), ("past.0", f32s, &["b", "2", "p", "8"])],
            &[("b", Some(2)), ("s", Some(7)), ("p", Some(50))],
        ),
        // Both caches of a layer in one.
        (&[("past_0", f32s, &["2", "b", "4", "p", "8"])], &[("b", Some(2)), ("p", Some(50))]),
        (
            &[
                ("ids", i64s, &["b", "s"]),
                ("attention_mask", i64s, &["b", "t"]),
                ("past.0", f32s, &["b", "2", "p", "8"]),
            ],
            &[("t", Some(57)), ("p", Some(50))],
        ),
        // A mask beside no cache covers the sequence.
        (&[("attention_mask", i64s, &["b", "t"])], &[("t", Some(7))]),
        // An image is no cache, nor is a list of numbers.
        (&[("attention_mask", i64s, &["b", "t"]), ("image", f32s, &["b", "3", "8", "8"])], &[("t", Some(7))]),
        (&[("attention_mask", i64s, &["b", "t"]), ("past_lengths", i64s, &["b"])], &[("t", Some(7))]),
        // The surest place: a cache says what the past is.
        (&[("lengths", i64s, &["1", "p"]), ("past.0", f32s, &["b", "2", "p", "8"])], &[("p", Some(50))]),
        (&[("past.0", f32s, &["b", "2", "p", "8"]), ("lengths", i64s, &["1", "p"])], &[("p", Some(50))]),
        (
            &[("mask", i64s, &["b", "t"]), ("ids", i64s, &["b", "t"]), ("past.0", f32s, &["b", "2", "p", "8"])],
            &[("t", Some(7))],
        ),
    ];
    for (inputs, expected) in cases {
        let mut graph = with_inputs(inputs);
        bind(&mut graph, &all()).unwrap_or_else(|problems| panic!("{inputs:?}: {problems}"));
        for (name, most) in *expected {
            assert_eq!(upper(&graph, name), *most, "`{name}` of {inputs:?}");
        }
    }
}

/// A cache that is kept on the chip has room for the past and a call: its length is no past.
#[test]
fn the_room_of_a_kept_cache_is_not_bounded_as_a_past() {
    for (name, dims) in [("past.0", &["b", "2", "room", "8"][..]), ("past_0", &["2", "b", "4", "room", "8"])] {
        for kept in [false, true] {
            let mut graph = with_inputs(&[(name, Element::F32, dims), ("ids", Element::I64, &["b", "s"])]);
            let room = graph.symbols.find("room").expect("a length");
            graph.symbols.bound(room, Some(1), Some(57));
            if kept {
                graph.states.push(State { name: name.into(), input: 0, output: 0 });
            }
            bind(&mut graph, &all()).expect("every length has a bound");
            assert_eq!(upper(&graph, "room"), Some(if kept { 57 } else { 50 }), "{name}, kept: {kept}");
        }
    }
}

#[test]
fn a_length_without_a_maximum_names_the_flag() {
    let help = |inputs: &[(&str, Element, &[&str])], name: &str| {
        let problems = bind(&mut with_inputs(inputs), &Maxima::default()).expect_err("nothing was said");
        let wanted = format!("dim `{name}`");
        let found = problems.0.into_iter().find(|problem| problem.message.starts_with(&wanted)).expect("it has none");
        assert_eq!(found.code.id, "E0302");
        let help = found.help.expect("there is advice");
        help.split(", or all lengths").next().expect("it begins with the flag").to_owned()
    };
    let ids: (&str, Element, &[&str]) = ("ids", Element::I64, &["b", "s"]);
    assert_eq!(help(&[ids], "b"), "give it with --max-batch N");
    assert_eq!(help(&[ids], "s"), "give it with --max-seq N");
    let cache: (&str, Element, &[&str]) = ("past", Element::F32, &["1", "2", "p", "8"]);
    let mask: (&str, Element, &[&str]) = ("mask", Element::I64, &["1", "t"]);
    assert_eq!(help(&[cache, mask], "t"), "give it with --max-seq N and --max-past N");
    assert_eq!(help(&[("image", Element::F32, &["1", "3", "h", "8"])], "h"), "give it with --max h=N");
    assert_eq!(help(&[("ids", Element::F32, &["1", "w"])], "w"), "give it with --max w=N");
    assert_eq!(help(&[("past", Element::F32, &["1", "g", "4", "8"])], "g"), "give it with --max g=N");
}

#[test]
fn the_past_has_a_usual_bound_and_others_have_none() {
    let mut graph = with_inputs(&[("past", Element::F32, &["1", "2", "p", "8"])]);
    bind(&mut graph, &Maxima::default()).expect("the past has a bound");
    assert_eq!(upper(&graph, "p"), Some(2048));
    let mut graph = with_inputs(&[("past", Element::F32, &["1", "2", "p", "8"]), ("mask", Element::I64, &["1", "t"])]);
    bind(&mut graph, &Maxima { sequence: Some(3), ..Maxima::default() }).expect("both have");
    assert_eq!(upper(&graph, "t"), Some(2051));
    // What is known already stays.
    let mut graph = with_inputs(&[("past", Element::F32, &["1", "2", "p", "8"])]);
    let past = graph.symbols.find("p").expect("it is there");
    graph.symbols.bound(past, None, Some(9));
    bind(&mut graph, &Maxima::default()).expect("the past has a bound");
    assert_eq!(upper(&graph, "p"), Some(9));
    let mut graph = with_inputs(&[("x", Element::F32, &["1", "w"])]);
    let width = graph.symbols.find("w").expect("it is there");
    graph.symbols.bound(width, None, Some(9));
    bind(&mut graph, &Maxima::default()).expect("the width has a bound");
    assert_eq!(upper(&graph, "w"), Some(9));
}

#[test]
fn all_others_and_shapes_that_are_given() {
    let inputs: &[(&str, Element, &[&str])] =
        &[("ids", Element::I64, &["b", "s"]), ("x", Element::F32, &["1", "2", "h"])];
    let mut graph = with_inputs(inputs);
    bind(&mut graph, &Maxima { sequence: Some(5), rest: Rest::AtMost(40), ..Maxima::default() })
        .expect("all have bounds");
    assert_eq!(["b", "s", "h"].map(|name| upper(&graph, name)), [Some(40), Some(5), Some(40)]);
    // What was said of other axes is not said of this one.
    let mut graph = with_inputs(&[("x", Element::F32, &["1", "40", "h"])]);
    let shapes: Vec<super::Shapes> = vec![[(String::from("x"), vec![1, 40, 6])].into()];
    bind(&mut graph, &Maxima { shapes, ..Maxima::default() }).expect("what was given");
    assert_eq!(upper(&graph, "h"), Some(6));
    // A film has five axes as caches of a layer in one have: the second is no batch.
    let mut graph = with_inputs(&[("film", Element::F32, &["2", "frames", "3", "8", "8"])]);
    bind(&mut graph, &Maxima { rest: Rest::AtMost(40), ..all() }).expect("all have bounds");
    assert_eq!(upper(&graph, "frames"), Some(40));
    // Where lengths may stay open for now, nobody is asked.
    let mut graph = with_inputs(&[("x", Element::F32, &["1", "2", "h"])]);
    let unsaid = Unsaid::Chosen { positions: None };
    bind(&mut graph, &Maxima { unsaid, ..Maxima::default() }).expect("it stays open");
    assert_eq!(upper(&graph, "h"), None);
    let mut graph = with_inputs(&[("past", Element::F32, &["1", "2", "p", "8"])]);
    bind(&mut graph, &Maxima { unsaid, ..Maxima::default() }).expect("it stays open");
    assert_eq!(upper(&graph, "p"), None, "the past as well");
    let shapes = |list: &[&[usize]]| list.iter().map(|dims| [(String::from("x"), dims.to_vec())].into()).collect();
    let mut graph = with_inputs(&inputs[1..]);
    let given = Maxima { shapes: shapes(&[&[1, 2, 6], &[1, 2, 11], &[1, 2, 3]]), ..Maxima::default() };
    bind(&mut graph, &given).expect("the greatest that was given");
    assert_eq!(upper(&graph, "h"), Some(11));
    assert_eq!(greatest_length(&graph, graph.symbols.find("h").expect("there"), &given), Some(11));
}

#[test]
fn what_is_said_of_a_length_is_what_binds_it() {
    let graph = with_inputs(&[("ids", Element::I64, &["b", "s"]), ("past", Element::F32, &["b", "2", "p", "8"])]);
    let of = |name: &str, maxima: &Maxima| greatest_length(&graph, graph.symbols.find(name).expect("there"), maxima);
    assert_eq!(["b", "s", "p"].map(|name| of(name, &Maxima::default())), [None, None, Some(2048)]);
    assert_eq!(["b", "s", "p"].map(|name| of(name, &all())), [Some(2), Some(7), Some(50)]);
    let named = Maxima { lengths: vec![(String::from("s"), 4)], ..all() };
    assert_eq!((of("s", &named), of("p", &named)), (Some(4), Some(50)));
    let named = Maxima { lengths: vec![(String::from("s"), 9)], ..all() };
    assert_eq!(of("s", &named), Some(7));
    let rest = Maxima { rest: Rest::AtMost(12), ..Maxima::default() };
    assert_eq!(of("p", &rest), Some(12));
    assert_eq!(of("p", &Maxima { rest: Rest::AtMost(12), ..all() }), Some(50));
}

#[test]
fn a_length_is_known_by_any_of_its_names() {
    let mut graph = with_inputs(&[("ids", Element::I64, &["1", "s"]), ("mask", Element::I64, &["1", "m"])]);
    let [s, m] = ["s", "m"].map(|name| graph.symbols.find(name).expect("there"));
    graph.symbols.replace(m, &s.into()).expect("they may be equal");
    for name in ["s", "m"] {
        let named = Maxima { lengths: vec![(String::from(name), 4)], ..all() };
        assert_eq!(greatest_length(&graph, s, &named), Some(4), "{name}");
        let mut bound = graph.clone();
        bind(&mut bound, &named).expect("all have bounds");
        assert_eq!(bound.symbols.interval(s).1, Some(4), "{name}");
        let refused = Maxima { lengths: vec![(String::from(name), 4)], unsaid: Unsaid::Refused, ..Maxima::default() };
        bind(&mut graph.clone(), &refused).expect("the name says it");
    }
}

/// Fixes lengths of a graph: of `x` with nine rows at most, which is cut to its rows, and of the number of its elements that are not zero,
/// which has two names.
fn fixed(lengths: &[(&str, i64)]) -> Result<Graph, Vec<String>> {
    let mut graph = with_inputs(&[("x", Element::F32, &["rows", "columns"])]);
    let rows = graph.symbols.find("rows").expect("there");
    graph.symbols.bound(rows, None, Some(9));
    let x = graph.inputs()[0].value;
    let found = graph.add(Op::NonZero {}, &[x], &none()).expect("types fit");
    let count = graph.dims(found[0])[1].as_symbol().expect("data decides it");
    let other = graph.data_symbols(found[1], 1, "other", (Some(0), None)).remove(0);
    graph.symbols.unify(&other, &count.into()).expect("they may be equal");
    let op = Op::Slice { starts: vec![0.into(); 2], steps: vec![1; 2], dims: vec![rows.into(), 1.into()] };
    let y = graph.add1_or_first(op, &[x]);
    graph.add_output("y", y);
    let fixed = lengths.iter().map(|&(name, most)| (name.to_owned(), most)).collect();
    match super::fix(&mut graph, &Maxima { fixed, ..Maxima::default() }) {
        Ok(()) => Ok(graph),
        Err(problems) => Err(problems.0.iter().map(|problem| format!("{} {problem:?}", problem.code.id)).collect()),
    }
}

#[test]
fn a_length_that_is_fixed_is_a_number_everywhere() {
    let graph = fixed(&[("rows", 4), ("columns", 2)]).expect("both are lengths of an input");
    let dims = |value| graph.dims(value).to_vec();
    assert_eq!(dims(graph.inputs()[0].value), [4.into(), 2.into()]);
    assert_eq!(dims(graph.outputs()[0].value), [4.into(), 1.into()]);
    let (_, node) = graph.nodes().last().expect("a node");
    assert!(matches!(&node.op, Op::Slice { dims, .. } if dims[..] == [4.into(), 1.into()]), "{:?}", node.op);
}

#[test]
fn lengths_that_cannot_be_fixed() {
    let refused = |name: &str, most: i64| fixed(&[(name, most)]).expect_err("it is no length to be fixed").join("\n");
    assert!(refused("row", 4).contains("did you mean `rows`?"), "no such length");
    assert!(refused("rows", 10).contains("contradicts"), "nine at most");
    let graph = fixed(&[]).expect("nothing is fixed");
    let decided = graph.symbols.iter().filter(|(_, row)| !matches!(row.definition, SymbolDefinition::Input { .. }));
    let names: Vec<String> = decided.map(|(_, row)| row.name.clone()).collect();
    assert_eq!(names.len(), 2);
    for name in names {
        // One of the two is the other, by another name.
        assert!(refused(&name, 4).contains("decided by data"), "{name}");
    }
}

#[test]
fn lengths_that_must_be_equal_and_never_are() {
    let mut graph = with_inputs(&[("x", Element::F32, &["1", "2", "h"])]);
    let height: Dim = graph.symbols.find("h").expect("there").into();
    graph.symbols.assume(&(&height * &2.into()), &31.into());
    bind(&mut graph, &Maxima { lengths: vec![(String::from("h"), 40)], ..Maxima::default() })
        .expect("within forty they may be");
    let mut graph = with_inputs(&[("x", Element::F32, &["1", "2", "h"])]);
    graph.symbols.assume(&(&height * &2.into()), &31.into());
    let problems = bind(&mut graph, &Maxima { lengths: vec![(String::from("h"), 9)], ..Maxima::default() })
        .expect_err("they never are");
    assert_eq!(problems.0[0].code.id, "E0301");
}

/// A graph with an input of four rows at most, by the op of a test; the length that it introduces is `n`.
fn with_op(op: impl Fn(&Dim, &Dim) -> Op) -> Option<i64> {
    let mut graph = Graph::default();
    let rows = SymbolDefinition::Input { input: 0, axis: 0 };
    let rows = Dim::from(graph.symbols.add_bounded("rows", rows, Some(0), Some(4)));
    let x = graph.add_input("x", TensorType::new(Element::F32, vec![rows.clone(), 3.into()]));
    let count = graph.add_input("count", TensorType::new(Element::I64, vec![]));
    let n = graph.data_symbols(count, 1, "n", (Some(0), None)).remove(0);
    let y = graph.add1_or_first(op(&rows, &n), &[x]);
    graph.add_output("y", y);
    derive(&mut graph);
    most(&graph, &n)
}

trait First {
    fn add1_or_first(&mut self, op: Op, operands: &[Value]) -> Value;
}

impl First for Graph {
    fn add1_or_first(&mut self, op: Op, operands: &[Value]) -> Value {
        self.add(op, operands, &none()).expect("types fit")[0]
    }
}

#[test]
fn ops_that_limit_lengths() {
    let top = |axis| with_op(move |_, n| Op::TopK { axis, largest: true, sorted: true, k: n.clone() });
    assert_eq!((top(0), top(1)), (Some(4), Some(3)));
    let start = with_op(|_, n| Op::Slice {
        starts: vec![n.clone(), 0.into()],
        steps: vec![1; 2],
        dims: vec![0.into(), 3.into()],
    });
    assert_eq!(start, Some(4));
    let count = with_op(|_, n| Op::Slice {
        starts: vec![0.into(), 0.into()],
        steps: vec![1; 2],
        dims: vec![n.clone(), 3.into()],
    });
    assert_eq!(count, Some(4));
    let count = with_op(|rows, n| Op::Slice {
        starts: vec![0.into(), 0.into()],
        steps: vec![1; 2],
        dims: vec![rows.clone(), n.clone()],
    });
    assert_eq!(count, Some(3));
    // Twelve elements at most.
    assert_eq!(with_op(|_, n| Op::Reshape { dims: vec![n.clone(), 2.into()] }), Some(12));
    // Of no elements at all any number of empty rows can be made.
    let mut graph = Graph::default();
    let x = graph.add_input("x", TensorType::new(Element::F32, vec![0.into(), 3.into()]));
    let count = graph.add_input("count", TensorType::scalar(Element::I64));
    let n = graph.data_symbols(count, 1, "n", (Some(0), None)).remove(0);
    graph.add1_or_first(Op::Reshape { dims: vec![n.clone(), 0.into()] }, &[x]);
    derive(&mut graph);
    assert_eq!(most(&graph, &n), None);
    assert_eq!(with_op(|_, n| Op::Broadcast { dims: vec![n.clone(), 4.into(), 3.into()] }), None);
}

#[test]
fn what_is_known_better_bounds_again() {
    let mut graph = with_inputs(&[("x", Element::Bool, &["b", "s"])]);
    let found = graph.add(Op::NonZero {}, &[graph.inputs()[0].value], &none()).expect("types fit");
    graph.add_output("y", found[0]);
    bind(&mut graph, &Maxima { lengths: vec![(String::from("s"), 10)], batch: Some(3), ..Maxima::default() })
        .expect("all have bounds");
    let count = graph.dims(found[0])[1].clone();
    assert_eq!(most(&graph, &count), Some(30));
    let sequence = graph.symbols.find("s").expect("there");
    graph.symbols.replace(sequence, &Dim::ONE).expect("it may be one");
    graph.resolve_symbols();
    assert_eq!(most(&graph, &count), Some(30));
    super::tighten(&mut graph);
    assert_eq!(most(&graph, &count), Some(3));
}

/// `while`: what is carried becomes `step` of it and a row of `n`.
fn carried(step: impl Fn(&mut Graph, Value, Value) -> Value, trip: i64, start: i64) -> Option<i64> {
    let mut body = Graph::default();
    body.add_input("i", TensorType::scalar(Element::I64));
    let length = body.symbols.add("n", SymbolDefinition::Input { input: 1, axis: 0 });
    let value = body.add_input("c", TensorType::new(Element::F32, vec![length.into()]));
    let row = body.add_input("s", TensorType::new(Element::F32, vec![5.into()]));
    let next = step(&mut body, value, row);
    body.add_output("c", next);
    let mut graph = Graph::default();
    let symbol = SymbolDefinition::Input { input: 0, axis: 0 };
    let first = Dim::from(graph.symbols.add_bounded("start", symbol, Some(0), Some(start)));
    let first = graph.add_input("start", TensorType::new(Element::F32, vec![first]));
    let row = graph.add_input("row", TensorType::new(Element::F32, vec![5.into()]));
    let op = Op::While { trip: trip.into(), conditional: false, carried: 1, symbols: vec![], body: Arc::new(body) };
    let result = graph.add(op, &[first, row], &none()).expect("types fit")[0];
    graph.add_output("y", result);
    derive(&mut graph);
    most(&graph, &graph.dims(result)[0])
}

#[test]
fn what_loops_carry() {
    let concat = |body: &mut Graph, value, row| body.add1_or_first(Op::Concat { axis: 0 }, &[value, row]);
    assert_eq!(carried(concat, 3, 4), Some(4 + 3 * 5));
    assert_eq!(carried(concat, 0, 4), Some(4));
    // It does not look at what was before.
    assert_eq!(carried(|_, _, row| row, 7, 4), Some(5));
    assert_eq!(carried(|_, _, row| row, 7, 9), Some(9));
    assert_eq!(carried(|_, value, _| value, 7, 9), Some(9));
    // It becomes shorter each time.
    let shorter = |body: &mut Graph, value, _| {
        let length = &body.dims(value)[0].clone() - &Dim::ONE;
        body.add1_or_first(Op::Slice { starts: vec![0.into()], steps: vec![1], dims: vec![length] }, &[value])
    };
    assert_eq!(carried(shorter, 3, 6), Some(6));
    // It doubles: nothing bounds that but the trips.
    let twice = |body: &mut Graph, value, _| body.add1_or_first(Op::Concat { axis: 0 }, &[value, value]);
    assert_eq!(carried(twice, 3, 6), None);
}

#[test]
fn what_branches_give() {
    let branch = |rows: i64| {
        let mut body = Graph::default();
        let zero = body.constant_tensor(HostTensor::scalar_f32(0.0), &none()).expect("a constant");
        let result = body.add1_or_first(Op::Broadcast { dims: vec![rows.into()] }, &[zero]);
        body.add_output("y", result);
        Arc::new(body)
    };
    let mut graph = Graph::default();
    let condition = graph.add_input("c", TensorType::scalar(Element::Bool));
    let op = Op::If { symbols: vec![], then_body: branch(3), else_body: branch(8) };
    let result = graph.add(op, &[condition], &none()).expect("types fit")[0];
    graph.add_output("y", result);
    assert!(has_open(&graph));
    assert_eq!(open_names(&graph).len(), 1);
    derive(&mut graph);
    assert_eq!(most(&graph, &graph.dims(result)[0]), Some(8));
    assert!(!has_open(&graph));
}

/// All pairs of two lengths with which a dim is within its limits are still there, and none is needlessly.
fn narrowed(dim: impl Fn(&Dim, &Dim) -> Dim, limit: i64, exact: bool) {
    const FAR: i64 = 40;
    let mut symbols = Symbols::default();
    let [a, b]: [Symbol; 2] =
        ["a", "b"].map(|name| symbols.add_bounded(name, SymbolDefinition::Undefined, Some(0), Some(FAR)));
    let dim = dim(&a.into(), &b.into());
    narrow(&mut symbols, &dim, limit);
    let mut greatest = [-1, -1];
    for x in 0..=FAR {
        for y in 0..=FAR {
            let value = dim.eval(&|symbol| Some(if symbol == a { x } else { y })).expect("known");
            if (0..=limit).contains(&value) {
                greatest = [greatest[0].max(x), greatest[1].max(y)];
            }
        }
    }
    let found = [a, b].map(|symbol| symbols.interval(symbol).1.expect("it had one"));
    assert!(found[0] >= greatest[0] && found[1] >= greatest[1], "{dim:?}: {found:?} cuts off {greatest:?}");
    assert!(!exact || found == greatest, "{dim:?}: {found:?}, not {greatest:?}");
}

#[test]
fn a_limit_that_is_never_kept_says_nothing() {
    let mut symbols = Symbols::default();
    let a = symbols.add("a", SymbolDefinition::Undefined);
    narrow(&mut symbols, &(&Dim::from(a) + &10.into()), 5);
    assert_eq!(symbols.interval(a).1, None);
}

/// What follows from the extent of an output helps to see what follows from another one's.
#[test]
fn outputs_and_the_model_bound_lengths_by_turns() {
    let mut graph = Graph::default();
    let length =
        |graph: &mut Graph, value: Value, name: &str| graph.data_symbols(value, 1, name, (Some(0), None)).remove(0);
    let [n, q] = ["n", "q"].map(|name| {
        let given = graph.add_input(name, TensorType::scalar(Element::I64));
        length(&mut graph, given, name)
    });
    let computed = |graph: &mut Graph, dim: Dim, name: &str| {
        let value = graph.add1_or_first(Op::Dims { dims: vec![dim], shape: vec![] }, &[]);
        length(graph, value, name)
    };
    let p = computed(&mut graph, &Dim::from(30) - &n, "p");
    let r = computed(&mut graph, &q + &Dim::ONE, "r");
    let zero = graph.constant_tensor(HostTensor::scalar_f32(0.0), &none()).expect("a constant");
    for (name, dim) in [("first", n.clone()), ("second", &p * &q), ("third", r.clone())] {
        let y = graph.add1_or_first(Op::Broadcast { dims: vec![dim] }, &[zero]);
        graph.add_output(name, y);
    }
    let shapes = vec![[(String::from("first"), vec![10]), (String::from("second"), vec![100])].into()];
    bind(&mut graph, &Maxima { shapes, ..Maxima::default() }).expect("no length of an input is open");
    // At most 10 of n leave at least 20 of p, with which at most 5 of q fit.
    assert_eq!([n, q, r].map(|dim| most(&graph, &dim)), [Some(10), Some(5), Some(6)]);
}

#[test]
fn narrowing_cuts_off_nothing_that_is_possible() {
    for limit in [0, 1, 7, 20, 39] {
        narrowed(|a, b| a + b, limit, true);
        narrowed(|a, b| &(a * &3.into()) + b, limit, true);
        narrowed(|a, _| a + &5.into(), limit.max(5), true);
        narrowed(|a, b| a - b, limit, false);
        narrowed(|a, b| a * b, limit, false);
        narrowed(|a, b| &(a * a) + b, limit, false);
        narrowed(|a, b| a.floor_div(&4.into()).maximum(b), limit, false);
        narrowed(|a, b| a.minimum(b), limit, false);
    }
}

/// The bounds that were tried, and the one that was chosen, where a program of a bound has so many bytes.
fn tried(
    open: bool,
    bytes: impl Fn(Rest) -> Result<u64, Diagnostics>,
) -> (Vec<Rest>, Result<(Rest, Option<String>), Diagnostics>) {
    let mut graph = Graph::default();
    let x = graph.add_input("x", TensorType::new(Element::Bool, vec![4.into()]));
    if open {
        graph.data_symbols(x, 1, "free", (Some(0), None));
    }
    let mut all = vec![];
    let result = fit(&graph, |rest| {
        all.push(rest);
        bytes(rest).map(|bytes| (rest, bytes))
    });
    let said = |fitted: Fitted| format!("{}: {}", fitted.most, fitted.names.join(", "));
    (all, result.map(|(rest, fitted)| (rest, fitted.map(said))))
}

fn at_most(rest: Rest) -> i64 {
    match rest {
        Rest::AtMost(most) => most,
        Rest::Fitting => i64::MAX,
    }
}

fn too_large() -> Diagnostics {
    Diagnostic::new(&codes::E0402, "too large").into()
}

#[test]
fn the_greatest_bound_that_fits() {
    const SMALL: u64 = 1 << 28;
    let (all, found) = tried(false, |_| Ok(u64::MAX));
    assert_eq!((all, found.expect("it is built").0), (vec![Rest::Fitting], Rest::Fitting));
    let (all, found) = tried(true, |_| Ok(SMALL));
    let (rest, note) = found.expect("it fits");
    assert_eq!((all, rest), (vec![Rest::AtMost(4096)], Rest::AtMost(4096)));
    assert!(note.expect("it says so").contains("4096: `free`"));
    // Beside what the smallest bound takes, which no bound makes smaller.
    let beyond = |bytes: u64| move |rest| Ok(if at_most(rest) > 256 { bytes } else { 5 });
    assert_eq!(tried(true, beyond(SMALL + 5)).1.expect("it fits").0, Rest::AtMost(4096));
    assert_eq!(tried(true, beyond(SMALL + 6)).1.expect("it fits").0, Rest::AtMost(256));
    assert_eq!(tried(true, |_| Ok(3 * SMALL)).1.expect("no bound makes it smaller").0, Rest::AtMost(4096));
    let grows = |rest| Ok(at_most(rest) as u64 * SMALL);
    assert_eq!(tried(true, grows).1.expect("it is built").0, Rest::AtMost(16));
    // A bound with which nothing is built takes nothing.
    let contradicting = || Diagnostics::from(Diagnostic::new(&codes::E0301, "a contradiction"));
    let (_, found) = tried(true, |rest| if at_most(rest) < 64 { Err(contradicting()) } else { Ok(SMALL + 1) });
    assert_eq!(found.expect("a greater one is built").0, Rest::AtMost(64));
    // What exceeds the chip with a great bound may fit with a small one; any other problem stays.
    let (_, found) = tried(true, |rest| if at_most(rest) > 64 { Err(too_large()) } else { Ok(5) });
    assert_eq!(found.expect("it fits").0, Rest::AtMost(64));
    let unknown = || Diagnostics::from(Diagnostic::new(&codes::E0201, "an operator"));
    let (_, found) = tried(true, |rest| if at_most(rest) > 1024 { Ok(3 * SMALL) } else { Err(unknown()) });
    assert_eq!(found.expect_err("no bound mends it").0[0].code.id, "E0201");
    let (all, found) = tried(true, |_| Err(too_large()));
    assert_eq!(found.expect_err("none fits").0[0].code.id, "E0402");
    assert!(all.len() > 1, "a smaller one is tried");
    let other = || Diagnostics::from(Diagnostic::new(&codes::E0301, "another"));
    let (all, found) = tried(true, |_| Err(other()));
    assert_eq!((all.len(), found.expect_err("it is another problem").0[0].code.id), (1, "E0301"));
    let (all, _) = tried(true, |_| Err(Diagnostics([too_large().0, other().0].concat())));
    assert_eq!(all.len(), 1);
    let (all, _) = tried(true, |_| Err(Diagnostic::new(&codes::E0403, "too large").into()));
    assert!(all.len() > 1, "a smaller one is tried");
}
