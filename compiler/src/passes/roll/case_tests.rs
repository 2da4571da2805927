//! Rolling, case by case: what the outside sees of layers, layers that differ, values that skip a layer, orders and periods.
//!
//! Every case is held against the evaluator: whatever rolls computes the same.

use std::collections::BTreeMap;

use narae_isa::{BinaryFunction, Element, HostTensor, UnaryFunction};

use super::order::{Lookups, Order, order};
use super::period::{Stretch, stretches};
use super::relate::relate;
use super::roll;
use crate::compress::Sources;
use crate::graph::attribute::Real;
use crate::graph::eval::evaluate;
use crate::graph::testing::Random;
use crate::graph::verify::verify;
use crate::graph::{Graph, Op, Provenance, TensorType};
use crate::ir::{Dim, SymbolDefinition, Value};

const WIDTH: usize = 32;

struct Model {
    graph: Graph,
    random: Random,
    input: Value,
    /// The stream of the layers: behind a weight.
    x: Value,
}

impl Model {
    fn new() -> Model {
        let mut graph = Graph::new("model", Sources::new());
        let rows = graph.symbols.add("rows", SymbolDefinition::Input { input: 0, axis: 0 });
        let x = graph.add_input("x", TensorType::new(Element::F32, vec![rows.into(), WIDTH.into()]));
        let mut model = Model { graph, random: Random::new(21), input: x, x };
        let weight = model.weight(&[WIDTH, WIDTH]);
        model.x = model.add(Op::MatMul {}, &[x, weight]);
        model
    }

    fn add(&mut self, op: Op, operands: &[Value]) -> Value {
        self.graph.add1(op, operands, &Provenance::none()).expect("the model is well typed")
    }

    fn weight(&mut self, dims: &[usize]) -> Value {
        let values: Vec<f32> =
            self.random.tensor(Element::F32, dims).to_f32_vec().iter().map(|value| value / 16.0).collect();
        self.graph.constant_tensor(HostTensor::from_f32(dims, &values), &Provenance::none()).expect("a constant")
    }

    fn unary(&mut self, function: UnaryFunction, x: Value) -> Value {
        self.add(Op::Unary { function }, &[x])
    }

    fn sum(&mut self, a: Value, b: Value) -> Value {
        self.add(Op::Binary { function: BinaryFunction::Add }, &[a, b])
    }

    /// Norm, product, function, product, sum: five nodes. The rows behind the function are shown.
    fn layer(&mut self, x: Value) -> (Value, Value) {
        self.layer_with(x, 1e-5)
    }

    fn layer_with(&mut self, x: Value, epsilon: f64) -> (Value, Value) {
        let [gain, up, down] = [&[WIDTH][..], &[WIDTH, WIDTH], &[WIDTH, WIDTH]].map(|dims| self.weight(dims));
        let normed = self.add(Op::RmsNorm { epsilon: Real::new(epsilon) }, &[x, gain]);
        let wide = self.add(Op::MatMul {}, &[normed, up]);
        let active = self.unary(UnaryFunction::Tanh, wide);
        let back = self.add(Op::MatMul {}, &[active, down]);
        (self.sum(x, back), active)
    }

    fn output(&mut self, name: &str, value: Value) {
        self.graph.add_output(name, value);
    }

    /// The loops after rolling, as trips and nodes of the body; everything computes what it did.
    fn rolled(self) -> (Graph, Vec<(usize, usize)>) {
        let mut random = Random::new(4);
        let mut inputs = BTreeMap::new();
        for port in self.graph.inputs() {
            let dims: Vec<usize> =
                self.graph.dims(port.value).iter().map(|dim| dim.eval(&|_| Some(3)).expect("known") as usize).collect();
            inputs.insert(port.name.clone(), random.tensor(self.graph.element(port.value), &dims));
        }
        let mut rolled = self.graph.clone();
        roll(&mut rolled).expect("rolls");
        verify(&rolled).expect("a rolled graph is a graph");
        let (want, got) = (evaluate(&self.graph, &inputs).expect("runs"), evaluate(&rolled, &inputs).expect("runs"));
        assert_eq!(want, got);
        let loops = rolled.nodes().filter_map(|(_, node)| match &node.op {
            Op::Loop { trip, body, .. } => Some((*trip, body.node_count())),
            _ => None,
        });
        let loops = loops.collect();
        (rolled, loops)
    }
}

/// `layers` of them, one behind the other; what every one of them gives, and shows of its inside.
fn stack(model: &mut Model, layers: usize) -> (Vec<Value>, Vec<Value>) {
    let (mut all, mut insides, mut x) = (vec![], vec![], model.x);
    for _ in 0..layers {
        let (next, inside) = model.layer(x);
        all.push(next);
        insides.push(inside);
        x = next;
    }
    (all, insides)
}

fn loop_of(graph: &Graph) -> (usize, usize, usize, usize) {
    let found = graph.nodes().find_map(|(_, node)| match &node.op {
        Op::Loop { carried, invariant, body, .. } => {
            Some((*carried, *invariant, body.outputs().len(), node.operands.len()))
        }
        _ => None,
    });
    found.expect("there is a loop")
}

#[test]
fn only_the_end_is_seen() {
    let mut model = Model::new();
    let (all, _) = stack(&mut model, 4);
    model.output("y", all[3]);
    let (graph, loops) = model.rolled();
    assert_eq!(loops, [(4, 5)]);
    // One carried value; three weights of four layers; nothing else leaves.
    assert_eq!(loop_of(&graph), (1, 0, 1, 1 + 3 * 4));
}

#[test]
fn the_outside_sees_carried_values_of_every_layer() {
    for seen in [&[0][..], &[2], &[0, 1, 2, 3], &[3, 1]] {
        let mut model = Model::new();
        let (all, _) = stack(&mut model, 4);
        for &layer in seen {
            model.output(&format!("hidden{layer}"), all[layer]);
        }
        model.output("y", all[3]);
        let (graph, loops) = model.rolled();
        assert_eq!(loops, [(4, 5)], "{seen:?}");
        let early = usize::from(seen.iter().any(|&layer| layer < 3));
        assert_eq!(loop_of(&graph).2, 1 + early, "{seen:?}");
    }
}

#[test]
fn nodes_behind_the_loop_see_carried_values() {
    let mut model = Model::new();
    let (all, _) = stack(&mut model, 4);
    let scaled = model.unary(UnaryFunction::Neg, all[3]);
    let head = model.weight(&[WIDTH, WIDTH]);
    let head = model.add(Op::MatMul {}, &[scaled, head]);
    let mixed = model.add(Op::Binary { function: BinaryFunction::Mul }, &[head, all[1]]);
    model.output("y", mixed);
    assert_eq!(model.rolled().1, [(4, 5)]);
}

#[test]
fn the_outside_sees_the_inside_of_layers() {
    for seen in [&[0][..], &[3], &[1, 2]] {
        let mut model = Model::new();
        let (all, insides) = stack(&mut model, 4);
        model.output("y", all[3]);
        for &layer in seen {
            model.output(&format!("inside{layer}"), insides[layer]);
        }
        let (graph, loops) = model.rolled();
        assert_eq!(loops, [(4, 5)], "{seen:?}");
        assert_eq!(loop_of(&graph).2, 2, "{seen:?}");
    }
}

#[test]
fn layers_of_other_attributes_or_weights_are_others() {
    let mut model = Model::new();
    let mut x = model.x;
    for layer in 0..5 {
        x = model.layer_with(x, if layer == 3 { 1e-6 } else { 1e-5 }).0;
    }
    model.output("y", x);
    // Three alike, one that differs, one behind it.
    assert_eq!(model.rolled().1, [(3, 5)]);
    // A weight that is an input in one of them is a value like any other.
    let mut model = Model::new();
    let own = model.graph.add_input("w", TensorType::new(Element::F32, vec![WIDTH.into(), WIDTH.into()]));
    let mut x = model.x;
    for layer in 0..4 {
        let (gain, up) = (model.weight(&[WIDTH]), if layer == 0 { own } else { model.weight(&[WIDTH, WIDTH]) });
        let normed = model.add(Op::RmsNorm { epsilon: Real::new(1e-5) }, &[x, gain]);
        let wide = model.add(Op::MatMul {}, &[normed, up]);
        let active = model.unary(UnaryFunction::Tanh, wide);
        let twice = model.unary(UnaryFunction::Exp, active);
        x = model.sum(x, twice);
    }
    model.output("y", x);
    assert_eq!(model.rolled().1, [(3, 5)]);
}

#[test]
fn a_body_of_four_nodes_is_no_loop() {
    for (extra, expected) in [(false, vec![]), (true, vec![(4, 5)])] {
        let mut model = Model::new();
        let mut x = model.x;
        for _ in 0..4 {
            let up = model.weight(&[WIDTH, WIDTH]);
            let wide = model.add(Op::MatMul {}, &[x, up]);
            let active = model.unary(UnaryFunction::Tanh, wide);
            let other = if extra { model.unary(UnaryFunction::Cos, active) } else { active };
            let scaled = model.unary(UnaryFunction::Sin, other);
            x = model.sum(x, scaled);
        }
        model.output("y", x);
        assert_eq!(model.rolled().1, expected);
    }
}

#[test]
fn repetitions_without_work_are_no_layers() {
    let mut model = Model::new();
    let mut x = model.x;
    for _ in 0..6 {
        for function in
            [UnaryFunction::Tanh, UnaryFunction::Sin, UnaryFunction::Cos, UnaryFunction::Exp, UnaryFunction::Tanh]
        {
            x = model.unary(function, x);
        }
    }
    model.output("y", x);
    assert_eq!(model.rolled().1, []);
}

#[test]
fn two_values_are_carried_and_may_change_places() {
    for swapped in [false, true] {
        let mut model = Model::new();
        let other = model.graph.add_input("z", model.graph.ty(model.x).clone());
        let (mut a, mut b) = (model.x, other);
        for _ in 0..4 {
            let (next, _) = model.layer(a);
            let sum = model.sum(b, next);
            (a, b) = if swapped { (sum, next) } else { (next, sum) };
        }
        model.output("a", a);
        model.output("b", b);
        let (graph, loops) = model.rolled();
        assert_eq!(loops, [(4, 6)], "swapped: {swapped}");
        assert_eq!(loop_of(&graph).0, 2);
    }
}

#[test]
fn one_result_may_start_from_two_values() {
    // The layer takes what the one before gave as two operands; the first layer takes two different ones.
    let mut model = Model::new();
    let other = model.graph.add_input("z", model.graph.ty(model.x).clone());
    let (mut a, mut b) = (model.x, other);
    for _ in 0..3 {
        let up = model.weight(&[WIDTH, WIDTH]);
        let wide = model.add(Op::MatMul {}, &[a, up]);
        let active = model.unary(UnaryFunction::Tanh, wide);
        let turned = model.unary(UnaryFunction::Sin, active);
        let again = model.unary(UnaryFunction::Cos, turned);
        let next = model.sum(b, again);
        (a, b) = (next, next);
    }
    model.output("y", a);
    let (graph, loops) = model.rolled();
    assert_eq!(loops, [(3, 5)]);
    assert_eq!(loop_of(&graph).0, 2);
}

#[test]
fn what_skips_a_layer_is_not_carried() {
    let mut model = Model::new();
    let (mut x, mut before) = (model.x, model.x);
    for _ in 0..6 {
        let (next, _) = model.layer(x);
        let sum = model.sum(next, before);
        (before, x) = (x, sum);
    }
    model.output("y", x);
    let (_, loops) = model.rolled();
    // Whatever rolls computes the same (see `rolled`); single layers do not.
    assert!(loops.iter().all(|&(trip, _)| trip < 6), "{loops:?}");
}

#[test]
fn values_that_all_layers_share_are_invariant_and_others_iterated() {
    let mut model = Model::new();
    let shared = model.graph.add_input("shared", model.graph.ty(model.x).clone());
    let each: Vec<Value> =
        (0..3).map(|layer| model.graph.add_input(format!("own.{layer}"), model.graph.ty(model.x).clone())).collect();
    let mut x = model.x;
    for own in each {
        let (next, _) = model.layer(x);
        let sum = model.sum(next, shared);
        let sum = model.sum(sum, own);
        // The same list of values twice is one list.
        x = model.sum(sum, own);
    }
    model.output("y", x);
    let (graph, loops) = model.rolled();
    assert_eq!(loops, [(3, 8)]);
    let (carried, invariant, outputs, operands) = loop_of(&graph);
    assert_eq!((carried, invariant, outputs, operands), (1, 1, 1, 1 + 1 + 3 * 3 + 3));
}

#[test]
fn two_kinds_of_layers_are_two_loops() {
    let mut model = Model::new();
    let (all, _) = stack(&mut model, 3);
    let mut x = all[2];
    for _ in 0..3 {
        let (next, _) = model.layer_with(x, 1e-3);
        x = model.unary(UnaryFunction::Sin, next);
    }
    model.output("y", x);
    let mut loops = model.rolled().1;
    loops.sort_unstable();
    assert_eq!(loops, [(3, 5), (3, 6)]);
}

#[test]
fn lengths_are_passed_into_the_body() {
    let mut model = Model::new();
    let rows = model.graph.dims(model.x)[0].clone();
    let mut x = model.x;
    for _ in 0..3 {
        let (next, _) = model.layer(x);
        let split = model.add(Op::Reshape { dims: vec![rows.clone(), 4.into(), 8.into()] }, &[next]);
        let turned = model.unary(UnaryFunction::Tanh, split);
        x = model.add(Op::Reshape { dims: vec![rows.clone(), WIDTH.into()] }, &[turned]);
    }
    model.output("y", x);
    let (graph, loops) = model.rolled();
    assert_eq!(loops, [(3, 8)]);
    let body =
        graph.nodes().find_map(|(_, node)| node.op.regions().first().map(|body| (*body).clone())).expect("a body");
    assert_eq!(
        body.symbols.iter().map(|(_, row)| row.definition).collect::<Vec<_>>(),
        [SymbolDefinition::Passed { index: 0 }]
    );
}

#[test]
fn lengths_that_a_layer_defines_keep_it_apart() {
    let mut model = Model::new();
    let mut x = model.x;
    for _ in 0..3 {
        let (next, _) = model.layer(x);
        let found = model.graph.add(Op::NonZero {}, &[next], &Provenance::none()).expect("types fit");
        let count = model.add(Op::Convert { to: Element::F32, saturate: false }, &[found[1]]);
        let few = model.graph.dims(found[0])[1].clone();
        let one = model.weight(&[]);
        let ones = model.add(Op::Broadcast { dims: vec![few] }, &[one]);
        let sum = model.add(Op::Reduce { function: narae_isa::ReduceFunction::Sum, axes: vec![0] }, &[ones]);
        let sum = model.add(Op::Binary { function: BinaryFunction::Mul }, &[sum, count]);
        x = model.sum(next, sum);
    }
    model.output("y", x);
    model.rolled();
}

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
    let sequence: Vec<_> = nodes.iter().map(|&value| model.graph.defining(value).expect("a node's").0).collect();
    let order = Order { prologue: vec![], sequence };
    let roles = relate(&model.graph, &order, stretch(0, 1, nodes.len(), 0))?;
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
}
