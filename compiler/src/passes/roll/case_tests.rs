//! Rolling, case by case: what the outside sees of layers, layers that differ, values that skip a layer.
//!
//! Every case is held against the evaluator: whatever rolls computes the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use narae_isa::{BinaryFunction, Element, HostTensor, UnaryFunction};

use super::roll;
use crate::compress::Sources;
use crate::graph::attribute::Real;
use crate::graph::eval::evaluate;
use crate::graph::names::{Named, Tensor};
use crate::graph::testing::Random;
use crate::graph::verify::verify;
use crate::graph::{Graph, Op, Origin, Provenance, TensorType};
use crate::ir::{SymbolDefinition, Value};

pub(super) const WIDTH: usize = 32;

pub(super) struct Model {
    pub(super) graph: Graph,
    random: Random,
    pub(super) input: Value,
    /// The stream of the layers: behind a weight.
    pub(super) x: Value,
}

impl Model {
    pub(super) fn new() -> Model {
        let mut graph = Graph::new("model", Sources::new());
        let rows = graph.symbols.add("rows", SymbolDefinition::Input { input: 0, axis: 0 });
        let x = graph.add_input("x", TensorType::new(Element::F32, vec![rows.into(), WIDTH.into()]));
        let mut model = Model { graph, random: Random::new(21), input: x, x };
        let weight = model.weight(&[WIDTH, WIDTH]);
        model.x = model.add(Op::MatMul {}, &[x, weight]);
        model
    }

    pub(super) fn add(&mut self, op: Op, operands: &[Value]) -> Value {
        self.graph.add1(op, operands, &Provenance::none()).expect("the model is well typed")
    }

    pub(super) fn weight(&mut self, dims: &[usize]) -> Value {
        let values: Vec<f32> =
            self.random.tensor(Element::F32, dims).to_f32_vec().iter().map(|value| value / 16.0).collect();
        self.graph.constant_tensor(HostTensor::from_f32(dims, &values), &Provenance::none()).expect("a constant")
    }

    pub(super) fn unary(&mut self, function: UnaryFunction, x: Value) -> Value {
        self.add(Op::Unary { function }, &[x])
    }

    pub(super) fn sum(&mut self, a: Value, b: Value) -> Value {
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

    pub(super) fn output(&mut self, name: &str, value: Value) {
        self.graph.add_output(name, value);
    }

    /// The loops after rolling, as trips and nodes of the body; everything computes what it did.
    pub(super) fn rolled(self) -> (Graph, Vec<(usize, usize)>) {
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
pub(super) fn stack(model: &mut Model, layers: usize) -> (Vec<Value>, Vec<Value>) {
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
fn lengths_have_numbers_of_their_own_in_the_body() {
    // The second length of the model is the first of the body.
    let mut model = Model::new();
    let other = SymbolDefinition::Input { input: 1, axis: 0 };
    let others: crate::ir::Dim = model.graph.symbols.add("others", other).into();
    let z = model.graph.add_input("z", TensorType::new(Element::F32, vec![others.clone(), WIDTH.into()]));
    let weight = model.weight(&[WIDTH, WIDTH]);
    let mut x = model.add(Op::MatMul {}, &[z, weight]);
    for _ in 0..3 {
        let (next, _) = model.layer(x);
        let split = model.add(Op::Reshape { dims: vec![others.clone(), 4.into(), 8.into()] }, &[next]);
        let turned = model.unary(UnaryFunction::Tanh, split);
        x = model.add(Op::Reshape { dims: vec![others.clone(), WIDTH.into()] }, &[turned]);
    }
    model.output("y", x);
    assert_eq!(model.rolled().1, [(3, 8)]);
}

#[test]
fn values_of_a_body_are_the_tensors_of_all_layers() {
    let mut model = Model::new();
    let (all, insides) = stack(&mut model, 3);
    model.output("y", all[2]);
    model.graph.keep_names();
    for (number, &inside) in (0..).zip(&insides) {
        let node = Origin { name: format!("tanh{number}"), op: "Tanh".into() };
        let tensor = Arc::new(Tensor { number, name: format!("inside{number}"), node });
        model.graph.name(inside, Named { tensor, iteration: None });
    }
    let (graph, _) = model.rolled();
    let body = graph.nodes().find_map(|(_, node)| node.op.regions().first().map(|body| Arc::clone(body)));
    let body = body.expect("a loop");
    let (_, tanh) = body.nodes().find(|(_, node)| matches!(node.op, Op::Unary { .. })).expect("a function");
    let names = body.names(tanh.results[0]).iter().map(|named| (named.tensor.name.as_str(), named.iteration));
    let expected = [("inside0", Some(0)), ("inside1", Some(1)), ("inside2", Some(2))];
    assert_eq!(names.collect::<Vec<_>>(), expected);
}

#[test]
fn what_is_as_long_as_layers_say_stays_behind_them() {
    let mut model = Model::new();
    let (all, _) = stack(&mut model, 3);
    let found = model.graph.add(Op::NonZero {}, &[all[2]], &Provenance::none()).expect("types fit")[0];
    let few = model.graph.dims(found)[1].clone();
    let one = model.weight(&[]);
    // No operand of it comes from the layers, but its length does.
    let ones = model.add(Op::Broadcast { dims: vec![few] }, &[one]);
    model.output("y", ones);
    assert_eq!(model.rolled().1, [(3, 5)]);
}

#[test]
fn a_number_that_is_a_length_alone_leaves_the_loop() {
    for layer in 0..3 {
        let mut model = Model::new();
        let (mut x, mut numbers) = (model.x, vec![]);
        for _ in 0..3 {
            let (next, inside) = model.layer(x);
            let all = Op::Reduce { function: narae_isa::ReduceFunction::Max, axes: vec![0, 1] };
            let number = model.add(all, &[inside]);
            numbers.push(model.add(Op::Convert { to: Element::I64, saturate: false }, &[number]));
            let back = model.add(Op::Convert { to: Element::F32, saturate: false }, &[numbers[numbers.len() - 1]]);
            x = model.sum(next, back);
        }
        // No operand outside of the loop is the number, but a length is.
        let count = model.graph.data_symbols(numbers[layer], 1, "count", (Some(0), Some(9))).remove(0);
        let one = model.weight(&[]);
        let ones = model.add(Op::Broadcast { dims: vec![count] }, &[one]);
        let sum = model.add(Op::Reduce { function: narae_isa::ReduceFunction::Sum, axes: vec![0] }, &[ones]);
        let y = model.sum(x, sum);
        model.output("y", y);
        assert_eq!(model.rolled().1, [(3, 9)], "layer {layer}");
    }
}

#[test]
fn layers_that_find_as_many_elements_as_the_first_are_no_loop() {
    // The length would be passed into the loop whose first iteration finds it.
    let mut model = Model::new();
    let (mut x, mut all) = (model.x, vec![]);
    for _ in 0..3 {
        let (next, _) = model.layer(x);
        let found = model.graph.add(Op::NonZero {}, &[next], &Provenance::none()).expect("types fit");
        all.push(found[0]);
        x = next;
    }
    let first = model.graph.dims(all[0])[1].clone();
    for &found in &all[1..] {
        let dim = model.graph.dims(found)[1].clone();
        model.graph.symbols.unify(&dim, &first).expect("they may be equal");
    }
    model.graph.resolve_symbols();
    (0..3).for_each(|layer| model.output(&format!("found{layer}"), all[layer]));
    let mut y = x;
    for _ in 0..3 {
        y = model.unary(UnaryFunction::Sin, y);
    }
    model.output("y", y);
    assert_eq!(model.rolled().1, []);
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
