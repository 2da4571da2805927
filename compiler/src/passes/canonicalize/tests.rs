//! Tests of canonicalisation: values are kept on random graphs; idioms vanish; the cost is linear.

use proptest::prelude::*;

use super::canonicalize;
use crate::compress::{Recipe, Sources};
use crate::graph::eval::evaluate;
use crate::graph::testing::random_graph;
use crate::graph::verify::verify;
use crate::graph::{Graph, Op, Provenance, TensorType};
use crate::ir::{Dim, SymbolDefinition};
use narae_isa::{BinaryFunction, CompareFunction, Element, HostTensor, UnaryFunction};

/// Whether two tensors hold the same values; results of reassociation do not occur here.
fn same(a: &HostTensor, b: &HostTensor) -> bool {
    let equal = |at| {
        let (x, y) = (a.get_f64(at), b.get_f64(at));
        x == y || (x.is_nan() && y.is_nan())
    };
    a.element == b.element && a.dims == b.dims && (0..a.len()).all(equal)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn values_are_kept(seed in any::<u64>()) {
        let (graph, inputs) = random_graph(seed, 40);
        let mut simple = graph.clone();
        canonicalize(&mut simple).map_err(|error| TestCaseError::fail(error.to_string()))?;
        verify(&simple).map_err(|errors| TestCaseError::fail(errors.to_string()))?;
        prop_assert!(simple.node_count() <= graph.node_count() + 8);
        if let Ok(before) = evaluate(&graph, &inputs) {
            let after = evaluate(&simple, &inputs).map_err(|error| TestCaseError::fail(error.to_string()))?;
            for (name, tensor) in before {
                prop_assert!(same(&tensor, &after[&name]), "output {name}");
            }
        }
    }

    #[test]
    fn twice_is_once(seed in any::<u64>()) {
        let (mut graph, _) = random_graph(seed, 40);
        canonicalize(&mut graph).expect("the graph is fine");
        let mut again = graph.clone();
        canonicalize(&mut again).expect("the graph is fine");
        prop_assert_eq!(again.node_count(), graph.node_count());
    }
}

fn token_graph() -> (Graph, crate::ir::Value) {
    let mut graph = Graph::new("g", Sources::new());
    let input = |axis| SymbolDefinition::Input { input: 0, axis };
    let batch = graph.symbols.add("batch", input(0)).into();
    let seq = graph.symbols.add("seq", input(1)).into();
    let x = graph.add_input("x", TensorType::new(Element::F32, vec![batch, seq, 8.into()]));
    (graph, x)
}

#[test]
fn an_expand_target_with_minus_one_folds() {
    // The idiom of torch's expand(-1, …): where(equal(target, -1), ones, target).
    let (mut g, x) = token_graph();
    let p = Provenance::none();
    let dims = g.dims(x).to_vec();
    let shape = g.add1(Op::Dims { dims: dims.clone(), shape: vec![3] }, &[], &p).expect("add");
    let minus = g.constant_tensor(HostTensor::from_i64(&[3], &[-1, -1, -1]), &p).expect("add");
    let ones = g.constant_tensor(HostTensor::from_i64(&[3], &[1, 1, 1]), &p).expect("add");
    let is = g.add1(Op::Compare { function: CompareFunction::Eq }, &[shape, minus], &p).expect("add");
    let target = g.add1(Op::Select {}, &[is, ones, shape], &p).expect("add");
    assert_eq!(g.known_dims(target), Some(dims));
}

#[test]
fn data_symbols_of_known_tensors_are_replaced() {
    let (mut g, x) = token_graph();
    let p = Provenance::none();
    let seq = g.dims(x)[1].clone();
    let length = g.add1(Op::Dims { dims: vec![seq.clone()], shape: vec![1] }, &[], &p).expect("add");
    let two = g.constant_tensor(HostTensor::from_i64(&[1], &[2]), &p).expect("add");
    let double = g.add1(Op::Binary { function: BinaryFunction::Mul }, &[length, two], &p).expect("add");
    let symbol = g.data_symbols(double, 1, "length", (Some(0), None)).remove(0);
    let range = g.add1(Op::Iota { element: Element::I64, dims: vec![symbol], axis: 0 }, &[], &p).expect("add");
    g.add_output("range", range);
    canonicalize(&mut g).expect("canonicalises");
    assert_eq!(g.node_count(), 1);
    assert_eq!(g.dims(g.outputs()[0].value), [&seq * &Dim::from(2)]);
}

#[test]
fn no_ops_vanish_and_weights_become_recipes() {
    let (mut g, x) = token_graph();
    let p = Provenance::none();
    let sources = g.sources.clone();
    let file = sources.add_bytes(std::path::Path::new("w"), vec![0u8; 4 * 512 * 512].into());
    let weight = g.constant(Recipe::file(Element::F32, vec![512, 512], file, 0), &p).expect("add");
    let turned = g.add1(Op::Transpose { permutation: vec![1, 0] }, &[weight], &p).expect("add");
    let half = g.add1(Op::Convert { to: Element::F16, saturate: false }, &[turned], &p).expect("add");
    let one = g.constant_tensor(HostTensor::scalar_f32(1.0), &p).expect("add");
    let scaled = g.add1(Op::Binary { function: BinaryFunction::Mul }, &[one, x], &p).expect("add");
    let wide = g.add1(Op::Convert { to: Element::F64, saturate: false }, &[scaled], &p).expect("add");
    let narrow = g.add1(Op::Convert { to: Element::F32, saturate: false }, &[wide], &p).expect("add");
    let two = g.constant_tensor(HostTensor::scalar_f32(2.0), &p).expect("add");
    let square = g.add1(Op::Binary { function: BinaryFunction::Pow }, &[narrow, two], &p).expect("add");
    g.add_output("square", square);
    g.add_output("half", half);
    canonicalize(&mut g).expect("canonicalises");
    let ops: Vec<&str> = g.nodes().map(|(_, node)| node.op.name()).collect();
    assert_eq!(ops, ["constant", "unary"]);
    let square = g.nodes().any(|(_, node)| node.op == Op::Unary { function: UnaryFunction::Square });
    assert!(square, "x^2 is a square");
}

#[test]
fn a_hundred_thousand_nodes_are_linear_work() {
    let (mut g, x) = token_graph();
    let p = Provenance::none();
    let mut value = x;
    for index in 0..25_000 {
        let bias = g.constant_tensor(HostTensor::scalar_f32(index as f32), &p).expect("add");
        let sum = g.add1(Op::Binary { function: BinaryFunction::Add }, &[value, bias], &p).expect("add");
        let seen = g.add1(Op::Reshape { dims: g.dims(x).to_vec() }, &[sum], &p).expect("add");
        value = g.add1(Op::Unary { function: UnaryFunction::Tanh }, &[seen], &p).expect("add");
    }
    g.add_output("y", value);
    assert_eq!(g.node_count(), 100_000);
    canonicalize(&mut g).expect("canonicalises");
    assert!(g.node_count() <= 75_000);
}

/// Numbers that a rule could mistake for the neutral one of a function, and elements that show it.
const NUMBERS: [f64; 17] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    2.0,
    0.5,
    1.000_000_1,
    0.999_999_9,
    2.001,
    0.500_1,
    1e-45,
    1e-39,
    1e-30,
    3e38,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
];

/// `x ∘ c` and `c ∘ x` for a constant of so many axes.
fn with_number(function: BinaryFunction, number: f64, element: Element, dims: &[usize], left: bool) -> Graph {
    let mut graph = Graph::new("g", Sources::new());
    let p = Provenance::none();
    let x = graph.add_input("x", TensorType::new(element, vec![NUMBERS.len().into()]));
    let count = dims.iter().product();
    let constant = HostTensor::from_f64_as(element, dims, &vec![number; count]);
    let constant = graph.constant_tensor(constant, &p).expect("add");
    let operands = if left { [constant, x] } else { [x, constant] };
    let y = graph.add1(Op::Binary { function }, &operands, &p).expect("add");
    graph.add_output("y", y);
    graph
}

#[test]
fn identities_are_exact() {
    use BinaryFunction::{Add, Div, Max, Min, Mul, Pow, Sub};
    for element in [Element::F32, Element::F16, Element::BF16, Element::F64] {
        let x = HostTensor::from_f64_as(element, &[NUMBERS.len()], &NUMBERS);
        let inputs = std::collections::BTreeMap::from([("x".to_owned(), x)]);
        for function in [Add, Sub, Mul, Div, Pow, Min, Max] {
            for (number, left) in NUMBERS.iter().flat_map(|number| [(*number, true), (*number, false)]) {
                for dims in [&[][..], &[1], &[1, 1], &[2, 1]] {
                    let graph = with_number(function, number, element, dims, left);
                    let mut simple = graph.clone();
                    canonicalize(&mut simple).expect("canonicalises");
                    let [before, after] = [&graph, &simple].map(|graph| evaluate(graph, &inputs).expect("evaluates"));
                    // Equal up to the sign of a zero: x + 0 is x, where -0 + 0 would be 0.
                    assert!(
                        same(&before["y"], &after["y"]),
                        "{function} of {number} {dims:?}, left {left}, in {element}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_power_of_a_half_is_a_root_of_what_is_not_negative() {
    let ops = |make: &dyn Fn(&mut Graph, crate::ir::Value) -> crate::ir::Value| {
        let (mut g, x) = token_graph();
        let p = Provenance::none();
        let base = make(&mut g, x);
        let half = g.constant_tensor(HostTensor::scalar_f32(0.5), &p).expect("add");
        let power = g.add1(Op::Binary { function: BinaryFunction::Pow }, &[base, half], &p).expect("add");
        g.add_output("y", power);
        canonicalize(&mut g).expect("canonicalises");
        g.nodes().any(|(_, node)| node.op == Op::Unary { function: UnaryFunction::Sqrt })
    };
    let p = Provenance::none();
    let unary = |g: &mut Graph, function, x| g.add1(Op::Unary { function }, &[x], &p).expect("add");
    let plus = |g: &mut Graph, x, number: f32| {
        let number = g.constant_tensor(HostTensor::scalar_f32(number), &p).expect("add");
        g.add1(Op::Binary { function: BinaryFunction::Add }, &[x, number], &p).expect("add")
    };
    let mean = |g: &mut Graph, x| {
        let square = unary(g, UnaryFunction::Square, x);
        let function = narae_isa::ReduceFunction::Mean;
        g.add1(Op::Reduce { function, axes: vec![2] }, &[square], &p).expect("add")
    };
    assert!(ops(&|g, x| {
        let mean = mean(g, x);
        plus(g, mean, 1e-5)
    }));
    assert!(ops(&|g, x| g.add1(Op::Binary { function: BinaryFunction::Mul }, &[x, x], &p).expect("add")));
    assert!(ops(&|g, x| unary(g, UnaryFunction::Exp, x)));
    assert!(!ops(&|_, x| x));
    assert!(!ops(&|g, x| unary(g, UnaryFunction::Tanh, x)));
    assert!(!ops(&|g, x| {
        let mean = mean(g, x);
        plus(g, mean, -1e-5)
    }));
    assert!(!ops(&|g, x| plus(g, x, 1.0)));
}

#[test]
fn a_conversion_that_saturates_is_not_passed_over() {
    let (mut g, x) = token_graph();
    let p = Provenance::none();
    let half = g.add1(Op::Convert { to: Element::F16, saturate: false }, &[x], &p).expect("add");
    let wide = g.add1(Op::Convert { to: Element::F32, saturate: true }, &[half], &p).expect("add");
    let back = g.add1(Op::Convert { to: Element::F64, saturate: false }, &[wide], &p).expect("add");
    g.add_output("y", back);
    canonicalize(&mut g).expect("canonicalises");
    let conversions = g.nodes().filter(|(_, node)| matches!(node.op, Op::Convert { .. })).count();
    assert_eq!(conversions, 3, "an infinity becomes the greatest f32 on the way");
}
