//! The parts of rolling, one by one: hashes of nodes, periods of hashes, orders of nodes, relations of operands.

use std::collections::BTreeMap;

use narae_isa::{BinaryFunction, Element, UnaryFunction};

use super::case_tests::{Model, WIDTH, stack};
use super::order::{Lookups, Order, order};
use super::period::{Stretch, node_hash, stretches};
use super::relate::relate;
use crate::graph::attribute::Real;
use crate::graph::{Graph, Op, Provenance, TensorType};
use crate::ir::{Dim, Node, SymbolDefinition, Value};

fn stretch(start: usize, period: usize, count: usize, slack: usize) -> Stretch {
    Stretch { start, period, count, slack }
}

#[test]
fn the_longest_stretch_of_equal_hashes() {
    // a b c, a b c, a b c, x
    let hashes = [1, 2, 3, 1, 2, 3, 1, 2, 3, 9];
    assert_eq!(stretches(&hashes, 1)[0], stretch(0, 3, 3, 0));
    // Two and a half.
    let hashes = [9, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 8];
    assert_eq!(stretches(&hashes, 1)[0], stretch(1, 4, 2, 2));
    // A shorter body than asked for is not looked for.
    assert!(stretches(&hashes, 5).is_empty());
    assert_eq!(stretches(&hashes, 4)[0], stretch(1, 4, 2, 2));
    assert!(stretches(&[1, 2, 3, 4, 5, 6], 1).is_empty());
    assert!(stretches(&[], 1).is_empty());
    assert!(stretches(&[7], 1).is_empty());
    // One node again is no repetition of a longer body.
    assert!(stretches(&[1, 2, 3, 1, 5, 6], 2).is_empty());
    // What covers more comes first; of equal cover the shorter period.
    let hashes = [1, 2, 1, 2, 7, 3, 4, 5, 3, 4, 5];
    let found = stretches(&hashes, 2);
    assert_eq!(found[0], stretch(5, 3, 2, 0));
    assert_eq!(found[1], stretch(0, 2, 2, 0));
    let same = [5; 8];
    assert_eq!(stretches(&same, 1)[0], stretch(0, 1, 8, 0));
    // The first of two equal runs.
    let twice = [1, 2, 1, 2, 9, 1, 2, 1, 2];
    assert_eq!(stretches(&twice, 2).iter().find(|found| found.period == 2), Some(&stretch(0, 2, 2, 0)));
}

/// How many values are carried, shared and given one by one, if nodes one behind the other are iterations of a body of one node.
fn related(model: &Model, nodes: &[Value]) -> Option<(usize, usize, usize)> {
    related_bodies(model, nodes, 1)
}

/// The same of bodies of several nodes.
fn related_bodies(model: &Model, nodes: &[Value], period: usize) -> Option<(usize, usize, usize)> {
    let sequence: Vec<_> = nodes.iter().map(|&value| model.graph.defining(value).expect("a node's").0).collect();
    let order = Order { prologue: vec![], sequence };
    let roles = relate(&model.graph, &order, stretch(0, period, nodes.len() / period, 0))?;
    Some((roles.carried.len(), roles.invariant.len(), roles.iterated.len()))
}

/// Hashes only propose: what is no repetition is refused by a comparison of the nodes themselves.
#[test]
fn iterations_are_compared_whatever_their_hashes() {
    let mut model = Model::new();
    let x = model.x;
    let [tanh, sin] = [UnaryFunction::Tanh, UnaryFunction::Sin].map(|function| model.unary(function, x));
    let again = model.unary(UnaryFunction::Tanh, x);
    assert_eq!(related(&model, &[tanh, again]), Some((0, 1, 0)));
    assert_eq!(related(&model, &[tanh, sin]), None, "another function");
    let gain = model.weight(&[WIDTH]);
    let norm = Op::RmsNorm { epsilon: Real::new(1e-5) };
    let [plain, other] = [tanh, sin].map(|x| model.add(norm.clone(), &[x]));
    let [with, gained] = [tanh, sin].map(|x| model.add(norm.clone(), &[x, gain]));
    assert_eq!(related(&model, &[plain, other]), Some((0, 0, 1)));
    assert_eq!(related(&model, &[with, gained]), Some((0, 1, 1)));
    assert_eq!(related(&model, &[plain, with]), None, "an operand more");
    assert_eq!(related(&model, &[with, plain]), None, "an operand less");
    // Both sums are one row, of operands with other numbers of rows.
    let reduce = Op::Reduce { function: narae_isa::ReduceFunction::Sum, axes: vec![0] };
    let rows = [2, 2, 3].map(|rows| model.weight(&[rows, WIDTH]));
    let sums = rows.map(|rows| model.add(reduce.clone(), &[rows]));
    assert_eq!(related(&model, &sums[..2]), Some((0, 0, 1)));
    assert_eq!(related(&model, &sums), None, "an operand of another type");
    // Each finds its own number of elements.
    let counts = [0; 2].map(|_| model.graph.add(Op::NonZero {}, &[x], &Provenance::none()).expect("types fit")[0]);
    assert_eq!(related(&model, &counts), None, "results of other types");
}

#[test]
fn what_is_carried_comes_from_the_iteration_before_in_all_of_them() {
    let mut model = Model::new();
    let first = model.unary(UnaryFunction::Tanh, model.x);
    let second = model.unary(UnaryFunction::Tanh, first);
    let [third, skipping] = [second, first].map(|x| model.unary(UnaryFunction::Tanh, x));
    let outside = model.unary(UnaryFunction::Tanh, model.x);
    assert_eq!(related(&model, &[first, second, third]), Some((1, 0, 0)));
    assert_eq!(related(&model, &[first, second, skipping]), None, "the last one skips an iteration");
    assert_eq!(related(&model, &[first, second, outside]), None, "the last one begins anew");
    assert_eq!(related(&model, &[outside, first, second]), None, "the one behind begins anew");
}

#[test]
fn what_a_node_of_the_same_iteration_gives_it_gives_in_all_of_them() {
    let mut model = Model::new();
    let x = model.x;
    let [first, second] = [0; 2].map(|_| model.unary(UnaryFunction::Tanh, x));
    let [of_first, of_second, of_other, of_none] =
        [first, second, first, x].map(|x| model.unary(UnaryFunction::Sin, x));
    let bodies = |last: Value| related_bodies(&model, &[first, of_first, second, last], 2);
    assert_eq!(bodies(of_second), Some((0, 1, 0)));
    assert_eq!(bodies(of_other), None, "of the iteration before");
    assert_eq!(bodies(of_none), None, "of the outside");
}

#[test]
fn a_value_that_is_used_twice_is_given_once() {
    let mut model = Model::new();
    let (x, other) = (model.x, model.input);
    let [first, second] = [0; 2].map(|_| model.sum(x, x));
    assert_eq!(related(&model, &[first, second]), Some((0, 1, 0)));
    let [first, second] = [x, other].map(|x| model.sum(x, x));
    assert_eq!(related(&model, &[first, second]), Some((0, 0, 1)));
    let first = model.sum(x, x);
    let second = model.sum(first, first);
    assert_eq!(related(&model, &[first, second]), Some((1, 0, 0)));
}

#[test]
fn hashes_tell_nodes_apart_but_not_their_weights() {
    let mut model = Model::new();
    let (x, input) = (model.x, model.input);
    let weights = [&[WIDTH, WIDTH][..], &[WIDTH, WIDTH], &[WIDTH, 2 * WIDTH]].map(|dims| model.weight(dims));
    let products = weights.map(|weight| model.add(Op::MatMul {}, &[x, weight]));
    let computed = model.unary(UnaryFunction::Tanh, weights[0]);
    let computed = model.add(Op::MatMul {}, &[x, computed]);
    let of_input = model.add(Op::MatMul {}, &[input, weights[0]]);
    let functions = [UnaryFunction::Tanh, UnaryFunction::Sin].map(|function| model.unary(function, x));
    let rows = [2, 3].map(|rows| model.weight(&[rows, WIDTH]));
    let reduce = Op::Reduce { function: narae_isa::ReduceFunction::Sum, axes: vec![0] };
    let sums = rows.map(|rows| model.add(reduce.clone(), &[rows]));
    let counts = [0; 2].map(|_| model.graph.add(Op::NonZero {}, &[x], &Provenance::none()).expect("types fit")[0]);
    let hash = |value: Value| node_hash(&model.graph, model.graph.defining(value).expect("a node's").0);
    assert_eq!(hash(products[0]), hash(products[1]), "another weight");
    assert_eq!(hash(products[0]), hash(of_input), "an input or what is computed");
    assert_ne!(hash(products[0]), hash(products[2]), "a weight of another type");
    assert_ne!(hash(products[0]), hash(computed), "no weight");
    assert_ne!(hash(functions[0]), hash(functions[1]), "another op");
    assert_ne!(hash(sums[0]), hash(sums[1]), "an operand of another type");
    assert_ne!(hash(counts[0]), hash(counts[1]), "a result of another type");
}

/// Numbers that are nowhere else.
fn fresh(next: &mut u64, count: usize) -> Vec<u64> {
    (0..count).map(|_| std::mem::replace(next, *next + 1)).collect()
}

#[test]
fn stretches_that_cover_most_come_first() {
    let mut next = 0;
    // Twice 128 nodes, and three times 64.
    let (long, short) = (fresh(&mut next, 128), fresh(&mut next, 64));
    let hashes = [&long[..], &long, &short, &short, &short].concat();
    assert_eq!(stretches(&hashes, 5)[..2], [stretch(0, 128, 2, 0), stretch(256, 64, 3, 0)]);
}

#[test]
fn a_long_body_is_found_among_many_distances() {
    let mut next = 0;
    let mut hashes = vec![];
    // Pairs of equal nodes at distances of all kinds.
    for distance in 5..80 {
        let pair = fresh(&mut next, distance);
        hashes.extend_from_slice(&pair);
        hashes.push(pair[0]);
    }
    let (start, body) = (hashes.len(), fresh(&mut next, 100));
    hashes.extend([&body[..], &body, &body].concat());
    assert_eq!(stretches(&hashes, 5)[0], stretch(start, 100, 3, 0));
}

/// The order of a graph: everything comes behind what it needs, lengths included.
fn checked_order(graph: &Graph, lookups: Lookups) -> Order {
    let order = order(graph, lookups);
    let all: Vec<Node> = order.prologue.iter().chain(&order.sequence).copied().collect();
    assert_eq!(all.len(), graph.node_count(), "every node once");
    let place: BTreeMap<Node, usize> = all.iter().enumerate().map(|(at, &node)| (node, at)).collect();
    for &node in &all {
        let data = graph.node(node);
        let mut needed = data.operands.clone();
        let mut add = |dim: &Dim| {
            needed.extend(dim.symbols().into_iter().filter_map(|symbol| match graph.symbols.data(symbol).definition {
                SymbolDefinition::Data { value, .. } | SymbolDefinition::Extent { value, .. } => Some(value),
                _ => None,
            }));
        };
        data.op.visit_dims(&mut add);
        data.results.iter().for_each(|&value| graph.dims(value).iter().for_each(&mut add));
        for (before, _) in needed.iter().filter_map(|&value| graph.defining(value)) {
            assert!(before == node || place[&before] < place[&node], "{} is too early", data.op.name());
        }
    }
    order
}

#[test]
fn lengths_come_before_what_they_are_lengths_of() {
    // A part of the stream begins where something that is computed behind it says.
    let mut model = Model::new();
    let count = model.unary(UnaryFunction::Tanh, model.x);
    let count = model.add(Op::Convert { to: Element::I64, saturate: false }, &[count]);
    let start = model.graph.data_symbols(count, 1, "start", (Some(0), Some(1))).remove(0);
    let first = vec![0.into(), 0.into()];
    let slice = |starts| Op::Slice { starts, steps: vec![1; 2], dims: vec![1.into(), WIDTH.into()] };
    let part = model.add(slice(vec![start, 0.into()]), &[model.x]);
    let other = model.add(slice(first), &[count]);
    let other = model.add(Op::Convert { to: Element::F32, saturate: false }, &[other]);
    let sum = model.sum(part, other);
    model.output("y", sum);
    checked_order(&model.graph, Lookups::BelongToLayers);
    // Two searches that find as many elements: the length of the second one is that of the first.
    let mut model = Model::new();
    let [tanh, sin] = [UnaryFunction::Tanh, UnaryFunction::Sin].map(|function| model.unary(function, model.x));
    let [early, late] =
        [tanh, sin].map(|x| model.graph.add(Op::NonZero {}, &[x], &Provenance::none()).expect("types fit")[0]);
    let [known, learnt] = [early, late].map(|value| model.graph.dims(value)[1].clone());
    model.graph.symbols.unify(&learnt, &known).expect("they may be equal");
    model.graph.resolve_symbols();
    assert_eq!(model.graph.dims(late), model.graph.dims(early));
    let sum = model.sum(late, early);
    model.output("y", sum);
    checked_order(&model.graph, Lookups::BelongToLayers);
}

#[test]
fn lookups_in_what_is_computed_are_never_early() {
    for lookups in [Lookups::SharedAreInvariant, Lookups::BelongToLayers, Lookups::AreInvariant] {
        let mut model = Model::new();
        let ids = model.graph.add_input("ids", TensorType::new(Element::I64, vec![Dim::from(3)]));
        let rows = model.add(Op::Gather { axis: 0 }, &[model.x, ids]);
        let all = [0; 6].map(|_| model.unary(UnaryFunction::Sin, rows));
        let sum = all.into_iter().reduce(|a, b| model.sum(a, b)).expect("six");
        model.output("y", sum);
        assert!(checked_order(&model.graph, lookups).prologue.len() == 1, "only the weight of the stream is early");
    }
}

#[test]
fn the_walk_follows_operands_from_the_deepest_output() {
    let mut model = Model::new();
    let mut x = model.x;
    for layer in 0..4 {
        // Every other layer was written in another order.
        let functions = [UnaryFunction::Tanh, UnaryFunction::Sin];
        let [first, second] = if layer % 2 == 0 {
            functions.map(|function| model.unary(function, x))
        } else {
            let second = model.unary(functions[1], x);
            [model.unary(functions[0], x), second]
        };
        x = model.sum(first, second);
    }
    model.output("y", x);
    let shallow = model.unary(UnaryFunction::Cos, model.x);
    model.output("shallow", shallow);
    let order = checked_order(&model.graph, Lookups::BelongToLayers);
    let names: Vec<String> = order.sequence.iter().map(|&node| format!("{:?}", model.graph.node(node).op)).collect();
    let layers = &names[2..];
    assert_eq!(layers.len(), 4 * 3);
    assert!(layers.chunks(3).all(|layer| layer == &layers[..3]), "{names:?}");
}

#[test]
fn the_order_walks_layer_by_layer() {
    let mut model = Model::new();
    let (all, insides) = stack(&mut model, 3);
    model.output("inside", insides[1]);
    let side = model.unary(UnaryFunction::Exp, insides[0]);
    model.output("side", side);
    model.output("y", all[2]);
    let order = order(&model.graph, Lookups::BelongToLayers);
    let name = |node| model.graph.node(node).op.name();
    assert!(order.prologue.iter().all(|&node| name(node) == "constant"));
    let names: Vec<&str> = order.sequence.iter().map(|&node| name(node)).collect();
    let layer = ["rms_norm", "matmul", "unary", "matmul", "binary"];
    // What only another output needs stands behind what it is made from.
    let first = ["rms_norm", "matmul", "unary", "unary", "matmul", "binary"];
    assert_eq!(names, [&["matmul"][..], &first, &layer, &layer].concat());
    let position: BTreeMap<_, usize> = order.sequence.iter().enumerate().map(|(at, &node)| (node, at)).collect();
    for (node, data) in model.graph.nodes().filter(|(node, _)| position.contains_key(node)) {
        for &operand in &data.operands {
            if let Some((before, _)) = model.graph.defining(operand)
                && let Some(at) = position.get(&before)
            {
                assert!(*at < position[&node]);
            }
        }
    }
}

/// Lookups in a large table, with so many users of the result; which nodes come first in every order.
fn early_lookups(users: usize, lookups: Lookups) -> bool {
    let mut model = Model::new();
    let table = model.weight(&[40, WIDTH]);
    let ids = model.graph.add_input("ids", TensorType::new(Element::I64, vec![Dim::from(3)]));
    let rows = model.add(Op::Gather { axis: 0 }, &[table, ids]);
    let all: Vec<Value> = (0..users).map(|_| model.unary(UnaryFunction::Sin, rows)).collect();
    let up = model.weight(&[WIDTH, WIDTH]);
    let mut sum = model.add(Op::MatMul {}, &[rows, up]);
    for value in all.into_iter().skip(1) {
        sum = model.sum(sum, value);
    }
    model.output("y", sum);
    let order = order(&model.graph, lookups);
    order.prologue.iter().any(|&node| matches!(model.graph.node(node).op, Op::Gather { .. }))
}

#[test]
fn lookups_are_of_layers_or_of_all() {
    // One more user is the product.
    for users in [1, 2, 3, 4, 6] {
        assert!(!early_lookups(users, Lookups::BelongToLayers));
        assert!(early_lookups(users, Lookups::AreInvariant));
        assert_eq!(early_lookups(users, Lookups::SharedAreInvariant), users + 1 >= 4, "{users}");
    }
}

#[test]
fn what_no_weight_reaches_comes_first() {
    let early = |dims: &[usize]| {
        let mut model = Model::new();
        let constant = model.weight(dims);
        let scaled = model.add(Op::Binary { function: BinaryFunction::Mul }, &[model.input, constant]);
        let up = model.weight(&[WIDTH, WIDTH]);
        let product = model.add(Op::MatMul {}, &[scaled, up]);
        model.output("y", product);
        let order = order(&model.graph, Lookups::BelongToLayers);
        order.prologue.iter().any(|&node| matches!(model.graph.node(node).op, Op::Binary { .. }))
    };
    // A scale, a row of 1024 elements; a table of 1024 in two axes is a weight, one less is none.
    assert!(early(&[]));
    assert!(early(&[WIDTH]));
    assert!(early(&[32, 1, WIDTH]) != early(&[32, 1, 1, WIDTH]) || !early(&[32, 1, WIDTH]));
    assert!(!early(&[32, 1, WIDTH]));
    assert!(early(&[31, 1, WIDTH]));
    // Many elements along one axis are a row all the same.
    assert!(early(&[1024, 1, 1]));
}

#[test]
fn inputs_of_layers_are_several_whose_names_differ_in_numbers() {
    let early = |names: &[&str]| {
        let mut model = Model::new();
        let ty = model.graph.ty(model.x).clone();
        let inputs: Vec<Value> = names.iter().map(|name| model.graph.add_input(*name, ty.clone())).collect();
        let first = model.unary(UnaryFunction::Cos, inputs[0]);
        let up = model.weight(&[WIDTH, WIDTH]);
        let product = model.add(Op::MatMul {}, &[first, up]);
        model.output("y", product);
        let order = order(&model.graph, Lookups::BelongToLayers);
        order.prologue.iter().any(|&node| matches!(model.graph.node(node).op, Op::Unary { .. }))
    };
    assert!(!early(&["past.0.key", "past.1.key"]));
    assert!(!early(&["past.9.key", "past.10.key"]));
    assert!(early(&["past.0.key"]));
    assert!(early(&["past.0.key", "past.1.value"]));
    assert!(early(&["key", "value"]));
    assert!(early(&["key", "key2"]), "a name without a number");
    assert!(!early(&["key1", "key2"]));
}
