//! Ranges, held against every value within them, and against graphs that run.

use std::collections::BTreeMap;

use narae_isa::HostTensor;

use super::*;
use crate::compress::Sources;
use crate::graph::eval::evaluate_all;
use crate::graph::testing::Random;
use crate::graph::{Provenance, TensorType};
use crate::ir::SymbolDefinition;

#[test]
fn ranges_hold_at_their_corners_and_between() {
    assert_eq!(binary(BinaryFunction::Mul, (-2.0, 3.0), (-5.0, 1.0), true), Some((-15.0, 10.0)));
    assert_eq!(binary(BinaryFunction::Div, (7.0, 9.0), (2.0, 2.0), true), Some((3.0, 4.0)));
    assert_eq!(binary(BinaryFunction::Div, (7.0, 9.0), (0.0, 2.0), true), Some((0.0, 9.0)));
    assert_eq!(binary(BinaryFunction::Div, (7.0, 9.0), (0.0, 2.0), false), None);
    assert_eq!(binary(BinaryFunction::Pow, (0.0, 49.0), (0.5, 0.5), false), Some((0.0, 7.0)));
    assert_eq!(unary(UnaryFunction::Abs, (-3.0, 2.0)), Some((0.0, 3.0)));
    assert_eq!(convert((0.0, 7.9), Element::I64), Some((0.0, 7.0)));
    assert_eq!(convert((0.0, 300.0), Element::U8), None);
    assert_eq!(compare(CompareFunction::Eq, (4.0, 4.0), (-1.0, -1.0)), (0.0, 0.0));
    assert_eq!(compare(CompareFunction::Le, (0.0, 4.0), (4.0, 5.0)), (1.0, 1.0));
    assert_eq!(compare(CompareFunction::Lt, (0.0, 4.0), (4.0, 5.0)), (0.0, 1.0));
}

/// The integers of a range.
fn within((low, high): Range) -> impl Iterator<Item = f64> + Clone {
    (low as i64..=high as i64).map(|value| value as f64)
}

/// All ranges of integers between -3 and 3.
fn small() -> Vec<Range> {
    (-3..=3).flat_map(|low| (low..=3).map(move |high| (f64::from(low), f64::from(high)))).collect()
}

fn hull_of(values: impl Iterator<Item = f64>) -> Option<Range> {
    values.map(|value| (value, value)).reduce(either)
}

fn holds(what: &str, range: Range, hull: Option<Range>) {
    if let Some(hull) = hull {
        assert!(range.0 <= hull.0 && range.1 >= hull.1, "{what}: {range:?} does not hold {hull:?}");
    }
}

#[test]
fn functions_of_one_number() {
    type Case = (UnaryFunction, fn(f64) -> f64, bool);
    let exact: &[Case] = &[
        (UnaryFunction::Neg, |x| -x, true),
        (UnaryFunction::Abs, f64::abs, false),
        (UnaryFunction::Floor, f64::floor, true),
        (UnaryFunction::Ceil, f64::ceil, true),
        (UnaryFunction::Round, f64::round_ties_even, true),
        (UnaryFunction::Relu, |x| x.max(0.0), true),
        (UnaryFunction::Square, |x| x * x, false),
        (UnaryFunction::Sqrt, f64::sqrt, true),
    ];
    for &(function, f, tight) in exact {
        for range in small() {
            for half in [0.0, 0.5] {
                let range = (range.0 + half, range.1 + half);
                let values = [range.0, range.1].into_iter().chain(within(range).map(move |x| (x + half).min(range.1)));
                let hull = hull_of(values.map(f));
                match unary(function, range) {
                    Some(found) => {
                        holds(&format!("{function:?} of {range:?}"), found, hull);
                        assert!(!tight || Some(found) == hull, "{function:?} of {range:?} is {found:?}, not {hull:?}");
                    }
                    None => assert!(function == UnaryFunction::Sqrt && range.0 < 0.0, "{function:?} of {range:?}"),
                }
            }
        }
    }
    assert_eq!(unary(UnaryFunction::Abs, (0.0, 3.0)), Some((0.0, 3.0)));
    assert_eq!(unary(UnaryFunction::Abs, (2.0, 3.0)), Some((2.0, 3.0)));
    assert_eq!(unary(UnaryFunction::Abs, (-5.0, -1.0)), Some((1.0, 5.0)));
    assert_eq!(unary(UnaryFunction::Square, (2.0, 3.0)), Some((4.0, 9.0)));
    assert_eq!(unary(UnaryFunction::Not, (0.0, 0.0)), Some((0.0, 1.0)));
    assert_eq!(unary(UnaryFunction::Tanh, (0.0, 1.0)), None);
}

#[test]
fn functions_of_two_integers() {
    type Case = (BinaryFunction, fn(f64, f64) -> f64, fn(Range) -> bool);
    let any: fn(Range) -> bool = |_| true;
    let positive: fn(Range) -> bool = |b| b.0 > 0.0;
    let exact: &[Case] = &[
        (BinaryFunction::Add, |a, b| a + b, any),
        (BinaryFunction::Sub, |a, b| a - b, any),
        (BinaryFunction::Mul, |a, b| a * b, any),
        (BinaryFunction::Min, f64::min, any),
        (BinaryFunction::Max, f64::max, any),
        (BinaryFunction::Div, |a, b| (a / b).trunc(), positive),
        (BinaryFunction::FloorDiv, |a, b| (a / b).floor(), positive),
        (BinaryFunction::Mod, |a, b| a - b * (a / b).floor(), |_| false),
    ];
    for &(function, f, tight) in exact {
        let divides = matches!(function, BinaryFunction::Div | BinaryFunction::FloorDiv | BinaryFunction::Mod);
        for (a, b) in small().into_iter().flat_map(|a| small().into_iter().map(move |b| (a, b))) {
            let pairs = within(a).flat_map(|x| within(b).map(move |y| (x, y))).filter(|(_, y)| !divides || *y != 0.0);
            let hull = hull_of(pairs.map(|(x, y)| f(x, y)));
            let what = format!("{function:?} of {a:?} and {b:?}");
            match binary(function, a, b, true) {
                Some(found) => {
                    holds(&what, found, hull);
                    assert!(!tight(b) || Some(found) == hull, "{what}: {found:?}, not {hull:?}");
                }
                None => assert!(function == BinaryFunction::Mod && b.0 < 0.0, "{what}"),
            }
        }
    }
    assert_eq!(binary(BinaryFunction::Mod, (0.0, 100.0), (0.0, 8.0), true), Some((0.0, 7.0)));
    assert_eq!(binary(BinaryFunction::Mod, (0.0, 100.0), (0.0, 0.0), true), Some((0.0, 0.0)));
    assert_eq!(binary(BinaryFunction::Mod, (0.0, 100.0), (1.0, 2.5), false), Some((0.0, 2.5)));
    assert_eq!(binary(BinaryFunction::Div, (3.0, 9.0), (-2.0, 2.0), true), Some((-9.0, 9.0)));
    assert_eq!(binary(BinaryFunction::Div, (-12.0, 9.0), (0.0, 2.0), true), Some((-12.0, 12.0)));
    assert_eq!(binary(BinaryFunction::Div, (0.0, 9.0), (0.0, 2.0), true), Some((0.0, 9.0)));
    assert_eq!(binary(BinaryFunction::Div, (-1.0, 9.0), (0.5, 2.0), false), Some((-2.0, 18.0)));
    assert_eq!(binary(BinaryFunction::FloorDiv, (-1.0, 9.0), (4.0, 4.0), false), Some((-1.0, 2.0)));
    assert_eq!(binary(BinaryFunction::FloorDiv, (1.0, 9.0), (0.0, 4.0), false), None);
    assert_eq!(binary(BinaryFunction::Pow, (2.0, 3.0), (0.0, 2.0), false), Some((1.0, 9.0)));
    assert_eq!(binary(BinaryFunction::Pow, (0.5, 2.0), (2.0, 3.0), false), Some((0.125, 8.0)));
    assert_eq!(binary(BinaryFunction::Pow, (-1.0, 3.0), (0.0, 2.0), false), None);
    assert_eq!(binary(BinaryFunction::Pow, (1.0, 3.0), (-1.0, 2.0), false), None);
    assert_eq!(binary(BinaryFunction::And, (0.0, 1.0), (0.0, 1.0), true), None);
}

#[test]
fn powers_of_all_small_ranges() {
    let steps = |from: i32, to: i32| (from..=to).map(|quarter| f64::from(quarter) / 4.0);
    let ranges = || (0..=8).flat_map(|low| (low..=8).map(move |high| (low, high)));
    for ((low, high), (least, most)) in ranges().flat_map(|a| ranges().map(move |b| (a, b))) {
        let hull = hull_of(steps(low, high).flat_map(|x| steps(least, most).map(move |y| x.powf(y))));
        let of = |low: i32, high: i32| (f64::from(low) / 4.0, f64::from(high) / 4.0);
        assert_eq!(binary(BinaryFunction::Pow, of(low, high), of(least, most), false), hull);
    }
}

#[test]
fn unlimited_ends() {
    let (up, down) = ((1.0, f64::INFINITY), (f64::NEG_INFINITY, 4.0));
    assert_eq!(times(up, (0.0, 0.0)), Some((0.0, 0.0)));
    assert_eq!(times((0.0, 0.0), up), Some((0.0, 0.0)));
    assert_eq!(times((0.0, 2.0), ANYTHING), Some(ANYTHING));
    assert_eq!(times(ANYTHING, (0.0, 2.0)), Some(ANYTHING));
    assert_eq!(times(up, (2.0, 3.0)), Some((2.0, f64::INFINITY)));
    assert_eq!(binary(BinaryFunction::Add, up, (2.0, 3.0), true), Some((3.0, f64::INFINITY)));
    assert_eq!(binary(BinaryFunction::Min, up, down, true), Some((f64::NEG_INFINITY, 4.0)));
    assert_eq!(binary(BinaryFunction::Div, up, (1.0, f64::INFINITY), true), None);
    assert_eq!(certain(binary(BinaryFunction::Sub, up, up, true)), ANYTHING);
    assert_eq!(certain(Some((f64::NAN, 1.0))), ANYTHING);
    assert_eq!(certain(Some((1.0, f64::NAN))), ANYTHING);
    assert_eq!(certain(Some((1.0, 2.0))), (1.0, 2.0));
    assert_eq!(certain(None), ANYTHING);
}

#[test]
fn comparisons_of_all_small_ranges() {
    let functions: &[(CompareFunction, fn(f64, f64) -> bool)] = &[
        (CompareFunction::Eq, |a, b| a == b),
        (CompareFunction::Ne, |a, b| a != b),
        (CompareFunction::Lt, |a, b| a < b),
        (CompareFunction::Le, |a, b| a <= b),
        (CompareFunction::Gt, |a, b| a > b),
        (CompareFunction::Ge, |a, b| a >= b),
    ];
    for &(function, f) in functions {
        for (a, b) in small().into_iter().flat_map(|a| small().into_iter().map(move |b| (a, b))) {
            let hull = hull_of(within(a).flat_map(|x| within(b).map(move |y| f64::from(u8::from(f(x, y))))));
            assert_eq!(Some(compare(function, a, b)), hull, "{function:?} of {a:?} and {b:?}");
        }
    }
}

#[test]
fn conversions_and_what_wraps() {
    assert_eq!(convert((-0.9, 3.9), Element::I64), Some((0.0, 3.0)));
    assert_eq!(convert((0.0, 255.0), Element::U8), Some((0.0, 255.0)));
    assert_eq!(convert((0.0, 256.0), Element::U8), None);
    assert_eq!(convert((-1.0, 5.0), Element::U8), None);
    assert_eq!(convert((-1.5, 1e300), Element::F32), Some((-1.5, 1e300)));
    for (range, truth) in [
        ((0.0, 0.0), (0.0, 0.0)),
        ((2.0, 5.0), (1.0, 1.0)),
        ((-3.0, -1.0), (1.0, 1.0)),
        ((0.0, 5.0), (0.0, 1.0)),
        ((-5.0, 0.0), (0.0, 1.0)),
        ((-1.0, 1.0), (0.0, 1.0)),
        ((0.25, 0.5), (1.0, 1.0)),
    ] {
        assert_eq!(convert(range, Element::Bool), Some(truth), "{range:?}");
    }
    assert_eq!(wrapped((0.0, 9.0), Element::Bool), None);
    assert_eq!(wrapped((0.0, 127.0), Element::I8), Some((0.0, 127.0)));
    assert_eq!(wrapped((0.0, 128.0), Element::I8), None);
    assert_eq!(wrapped((-129.0, 0.0), Element::I8), None);
    assert_eq!(wrapped((-128.0, f64::INFINITY), Element::I8), Some((-128.0, f64::INFINITY)));
    assert_eq!(wrapped((0.0, 1e9), Element::F32), Some((0.0, 1e9)));
}

#[test]
fn integers_of_ranges() {
    assert_eq!(Ranges::all((-1.5, 2.5)).at(0), (Some(-1), Some(2)));
    assert_eq!(Ranges::all(ANYTHING).at(3), (None, None));
    assert_eq!(Ranges::all((0.0, 8.9e15)).at(0), (Some(0), Some(8_900_000_000_000_000)));
    assert_eq!(Ranges::all((-1e16, 1e16)).at(0), (None, None));
    // 2^53 may stand for 2^53 + 1; below it every integer has a float of its own.
    let last = (1i64 << 53) - 1;
    assert_eq!(Ranges::all((-last as f64, last as f64)).at(0), (Some(-last), Some(last)));
    assert_eq!(Ranges::all((-(last + 1) as f64, (last + 1) as f64)).at(0), (None, None));
    let list: Ranges = [(0.0, 1.0), (4.0, 9.0)].into_iter().collect();
    assert_eq!((list.at(0), list.at(1), list.at(2)), ((Some(0), Some(1)), (Some(4), Some(9)), (None, None)));
    assert_eq!(list.hull(), (0.0, 9.0));
    let other: Ranges = [(-1.0, 0.0), (5.0, 6.0)].into_iter().collect();
    assert_eq!(list.either(&other), [(-1.0, 1.0), (4.0, 9.0)].into_iter().collect());
    assert_eq!(list.either(&Ranges::all((20.0, 21.0))), Ranges::all((0.0, 21.0)));
    assert_eq!(list.either(&Ranges::all((2.0, 3.0))), Ranges::all((0.0, 9.0)));
}

/// A graph of integers and floats whose lengths and elements have ranges; `seed` chooses the ops.
struct Flow {
    graph: Graph,
    random: Random,
    lengths: [i64; 2],
}

impl Flow {
    fn new(seed: u64) -> Flow {
        let mut graph = Graph::new("flow", Sources::new());
        let mut random = Random::new(seed);
        // Extremes of nothing are outside of every range: nothing is asked of them.
        let lengths = [1 + random.below(3) as i64, 1 + random.below(5) as i64];
        for (axis, (name, most)) in [("a", 3), ("b", 5)].into_iter().enumerate() {
            let definition = SymbolDefinition::Input { input: 0, axis: axis as u32 };
            graph.symbols.add_bounded(name, definition, Some(0), Some(most));
        }
        let dims: Vec<Dim> = ["a", "b"].map(|name| graph.symbols.find(name).expect("there").into()).to_vec();
        graph.add_input("x", TensorType::new(Element::I64, dims));
        Flow { graph, random, lengths }
    }

    fn add(&mut self, op: Op, operands: &[Value]) -> Option<Value> {
        let before = self.graph.clone();
        let notes = before.symbols.notes().len();
        match self.graph.add(op, operands, &Provenance::none()) {
            Ok(results)
                if self.graph.symbols.notes().len() == notes && self.graph.symbols.assumptions().count() == 0 =>
            {
                Some(results[0])
            }
            _ => {
                self.graph = before;
                None
            }
        }
    }

    fn value(&mut self) -> Value {
        let all: Vec<Value> = self.graph.values().map(|(value, _)| value).collect();
        let recent = all.len().saturating_sub(10);
        let from = if self.random.below(2) == 0 { 0 } else { recent };
        all[from + self.random.below(all.len() - from)]
    }

    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.random.below(all.len())]
    }

    fn step(&mut self) {
        let (x, y, z) = (self.value(), self.value(), self.value());
        let rank = self.graph.rank(x);
        let axis = self.random.below(rank.max(1));
        let a: Dim = self.graph.symbols.find("a").expect("there").into();
        let b: Dim = self.graph.symbols.find("b").expect("there").into();
        let op = match self.random.below(24) {
            0 => Op::Dims { dims: vec![a.clone(), &b + &1.into(), &a * &b], shape: vec![3] },
            1 => {
                let numbers: Vec<i64> = (0..3).map(|_| self.random.below(9) as i64 - 4).collect();
                Op::Constant { recipe: crate::compress::Recipe::inline(HostTensor::from_i64(&[3], &numbers)) }
            }
            2 => {
                let numbers: Vec<f32> = (0..3).map(|_| self.random.below(17) as f32 / 4.0 - 2.0).collect();
                Op::Constant { recipe: crate::compress::Recipe::inline(HostTensor::from_f32(&[3], &numbers)) }
            }
            3 => Op::Iota { element: Element::I64, dims: vec![a, b], axis: self.random.below(2) },
            4 | 5 => {
                use UnaryFunction::{Abs, Ceil, Floor, Neg, Not, Relu, Round, Sqrt, Square};
                Op::Unary { function: self.pick(&[Abs, Ceil, Floor, Neg, Not, Relu, Round, Sqrt, Square]) }
            }
            6..=8 => {
                use BinaryFunction::{Add, Div, FloorDiv, Max, Min, Mod, Mul, Sub};
                Op::Binary { function: self.pick(&[Add, Div, FloorDiv, Max, Min, Mod, Mul, Sub]) }
            }
            9 => Op::Compare { function: self.pick(CompareFunction::ALL) },
            10 => Op::Select {},
            11 => Op::Convert {
                to: self.pick(&[Element::I64, Element::F32, Element::I8, Element::Bool]),
                saturate: false,
            },
            12 | 13 => {
                use ReduceFunction::{Max, Mean, Min, Prod, Sum};
                Op::Reduce { function: self.pick(&[Max, Mean, Min, Prod, Sum]), axes: vec![axis] }
            }
            14 => Op::Cumulate {
                axis,
                function: CumulateFunction::Sum,
                exclusive: self.random.below(2) == 0,
                reverse: false,
            },
            15 => Op::Concat { axis },
            16 => Op::Gather { axis },
            17 => Op::Slice {
                starts: vec![self.random.below(2).into(); rank],
                steps: vec![1 + self.random.below(2) as i64; rank],
                dims: vec![1.into(); rank],
            },
            18 => Op::Reshape { dims: vec![Dim::product(self.graph.dims(x))] },
            19 => Op::Transpose { permutation: (0..rank).rev().collect() },
            20 => Op::TopK { axis, largest: true, sorted: true, k: 1.into() },
            21 => Op::ArgReduce { function: crate::graph::ops::ArgFunction::Max, axis, last: false },
            22 => Op::NonZero {},
            _ => Op::Broadcast { dims: [&[2.into()], self.graph.dims(x)].concat() },
        };
        let operands = match op.arity().most {
            0 => vec![],
            1 => vec![x],
            2 => vec![x, y],
            _ if matches!(op, Op::Select {}) => vec![z, x, y],
            _ => vec![x, y],
        };
        // Sums of truth values are no numbers.
        let sums = matches!(op, Op::Binary { .. } | Op::Reduce { .. } | Op::Cumulate { .. } | Op::Unary { .. });
        if sums && operands.iter().any(|&operand| self.graph.element(operand) == Element::Bool) {
            return;
        }
        self.add(op, &operands);
    }

    /// The ranges of all values, as `derive` finds them.
    fn ranges(&self) -> BTreeMap<Value, Ranges> {
        let mut found = BTreeMap::new();
        for (_, node) in self.graph.nodes() {
            let of = |index: usize| found.get(&node.operands[index]).cloned().unwrap_or_else(Ranges::unknown);
            let ranges = of_node(&self.graph, node, &of);
            for (&value, ranges) in node.results.iter().zip(ranges) {
                found.extend(ranges.map(|ranges| (value, ranges)));
            }
        }
        found
    }

    fn check(&mut self) {
        let [a, b] = self.lengths.map(|length| length as usize);
        let x = self.random.tensor(Element::I64, &[a, b]);
        let inputs = [(String::from("x"), x)].into();
        // Divisions by zero and indices out of range end a run: nothing was promised for it.
        let Ok(tensors) = evaluate_all(&self.graph, &inputs) else { return };
        for (value, ranges) in self.ranges() {
            let Some(tensor) = &tensors[value] else { continue };
            for at in 0..tensor.len() {
                let (range, number) = (ranges.get(at), tensor.get_f64(at));
                let name = self.graph.defining(value).map_or("input", |(_, node)| node.op.name());
                let holds = number.is_nan() || range.0 <= number && number <= range.1;
                let op = self.graph.defining(value).map(|(_, node)| &node.op);
                assert!(holds, "{name} {op:?}: element {at} of {:?} is {number}, its range is {range:?}", tensor.dims);
            }
        }
    }
}

#[test]
fn elements_of_random_graphs_are_within_their_ranges() {
    for seed in 0..400 {
        let mut flow = Flow::new(seed);
        for _ in 0..24 {
            flow.step();
        }
        flow.check();
    }
}

/// The range of each element of an op on lists of integers with these ranges; `None` is anything.
fn ranges_of(op: Op, operands: &[(&[usize], &[Range])]) -> Vec<Option<Vec<Range>>> {
    let mut graph = Graph::default();
    let inputs: Vec<Value> = operands
        .iter()
        .enumerate()
        .map(|(at, (dims, _))| {
            let dims = dims.iter().map(|&dim| dim.into()).collect();
            graph.add_input(format!("x{at}"), TensorType::new(Element::I64, dims))
        })
        .collect();
    graph.add(op, &inputs, &Provenance::none()).expect("types fit");
    let (_, node) = graph.nodes().last().expect("a node");
    let of = |index: usize| operands[index].1.iter().copied().collect();
    of_node(&graph, node, &of).into_iter().map(|ranges| ranges.map(|ranges| ranges.0.to_vec())).collect()
}

#[test]
fn lists_are_followed_element_by_element() {
    let list: &[Range] = &[(0.0, 1.0), (2.0, 5.0), (7.0, 7.0), (-3.0, 9.0)];
    let one = |op: Op| ranges_of(op, &[(&[4], list)]).remove(0).expect("there is a range");
    let slice = |start: i64, step: i64, count: usize| Op::Slice {
        starts: vec![start.into()],
        steps: vec![step],
        dims: vec![count.into()],
    };
    assert_eq!(one(slice(1, 1, 2)), [list[1], list[2]]);
    assert_eq!(one(slice(3, -2, 2)), [list[3], list[1]]);
    assert_eq!(one(slice(0, 3, 2)), [list[0], list[3]]);
    assert_eq!(one(Op::Reshape { dims: vec![2.into(), 2.into()] }), list);
    assert_eq!(one(Op::Transpose { permutation: vec![0] }), list);
    let reduce = |function| Op::Reduce { function, axes: vec![0] };
    assert_eq!(one(reduce(ReduceFunction::Sum)), [(6.0, 22.0)]);
    assert_eq!(one(reduce(ReduceFunction::Min)), [(-3.0, 1.0)]);
    assert_eq!(one(reduce(ReduceFunction::Max)), [(7.0, 9.0)]);
    assert_eq!(one(reduce(ReduceFunction::Mean)), [(-3.0, 9.0)]);
    assert_eq!(one(reduce(ReduceFunction::Any)), [(0.0, 1.0)]);
    let few: &[Range] = &[(2.0, 3.0), (-1.0, 4.0)];
    assert_eq!(ranges_of(reduce(ReduceFunction::Prod), &[(&[2], few)])[0], Some(vec![(-3.0, 12.0)]));
    assert_eq!(ranges_of(reduce(ReduceFunction::Sum), &[(&[2, 2], &[(-1.0, 4.0)])])[0], Some(vec![(-4.0, 16.0)]));
    assert_eq!(ranges_of(reduce(ReduceFunction::Prod), &[(&[2, 2], &[(-1.0, 4.0)])])[0], None);
    let concat = ranges_of(Op::Concat { axis: 0 }, &[(&[2], few), (&[1], &[(9.0, 9.0)])]).remove(0);
    assert_eq!(concat, Some(vec![few[0], few[1], (9.0, 9.0)]));
    let concat = ranges_of(Op::Concat { axis: 1 }, &[(&[1, 2], few), (&[1, 1], &[(9.0, 9.0)])]).remove(0);
    assert_eq!(concat, Some(vec![(-1.0, 9.0)]));
}

#[test]
fn pairs_of_elements_meet_where_both_have_one_for_each() {
    let (few, more): ([Range; 2], [Range; 2]) = ([(0.0, 1.0), (5.0, 6.0)], [(10.0, 10.0), (20.0, 30.0)]);
    let sum = |operands: &[(&[usize], &[Range])]| {
        ranges_of(Op::Binary { function: BinaryFunction::Add }, operands).remove(0).expect("there is a range")
    };
    assert_eq!(sum(&[(&[2], &few), (&[2], &more)]), [(10.0, 11.0), (25.0, 36.0)]);
    assert_eq!(sum(&[(&[2], &few), (&[], &more[..1])]), [(10.0, 11.0), (15.0, 16.0)]);
    // Each of two elements meets three others.
    assert_eq!(sum(&[(&[2], &few), (&[3, 2], &more[1..])]), [(20.0, 36.0)]);
    assert_eq!(sum(&[(&[3, 2], &more[1..]), (&[2], &few)]), [(20.0, 36.0)]);
    assert_eq!(sum(&[(&[3, 1], &[few[0], few[1], more[0]]), (&[1, 2], &more)]), [(10.0, 40.0)]);
}

#[test]
fn few_elements_are_followed_and_many_are_one() {
    let list = |count: usize| (0..count).map(|at| (at as f64, at as f64)).collect::<Vec<Range>>();
    let (few, many) = (list(MAXIMUM_ELEMENTS), list(MAXIMUM_ELEMENTS + 1));
    let negated = |list: &[Range]| {
        let sum = Op::Binary { function: BinaryFunction::Add };
        ranges_of(sum, &[(&[list.len()], list), (&[1], &[(1.0, 1.0)])]).remove(0).expect("there is a range")
    };
    assert_eq!(negated(&few), few.iter().map(|(low, high)| (low + 1.0, high + 1.0)).collect::<Vec<_>>());
    assert_eq!(negated(&many), [(1.0, 129.0)]);
    let total = |list: &[Range]| {
        let sum = Op::Reduce { function: ReduceFunction::Sum, axes: vec![0] };
        ranges_of(sum, &[(&[list.len()], list)]).remove(0).expect("there is a range")
    };
    assert_eq!(total(&few), [(8128.0, 8128.0)]);
    assert_eq!(total(&many), [(0.0, 128.0 * 129.0)]);
    let half = &few[..MAXIMUM_ELEMENTS / 2];
    let concat = |a: &[Range], b: &[Range]| {
        let concat = Op::Concat { axis: 0 };
        ranges_of(concat, &[(&[a.len()], a), (&[b.len()], b)]).remove(0).expect("there is a range")
    };
    assert_eq!(concat(half, half), [half, half].concat());
    assert_eq!(concat(&few, half), [(0.0, 127.0)]);
}

#[test]
fn small_constants_are_what_they_are() {
    let found = |count: usize| {
        let numbers: Vec<f32> = (0..count).map(|at| at as f32 - 1.5).collect();
        let mut graph = Graph::default();
        graph.constant_tensor(HostTensor::from_f32(&[count], &numbers), &Provenance::none()).expect("a constant");
        let (_, node) = graph.nodes().last().expect("a node");
        of_node(&graph, node, &|_| Ranges::unknown()).remove(0).map(|ranges| ranges.0.to_vec())
    };
    let near = |range: Range, number: f64| range.0 <= number && number <= range.1 && range.1 - range.0 < 1e-3;
    for count in [1, 2, MAXIMUM_ELEMENTS] {
        let list = found(count).expect("they are known");
        assert_eq!(list.len(), count);
        assert!(list.iter().enumerate().all(|(at, &range)| near(range, at as f64 - 1.5)), "{list:?}");
    }
    let all = found(MAXIMUM_ELEMENTS + 1).expect("their range is known");
    let close = |end: f64, number: f64| (end - number).abs() < 1e-3;
    assert!(all.len() == 1 && close(all[0].0, -1.5) && close(all[0].1, 126.5), "{all:?}");
    assert_eq!(found(0), None, "there is nothing to know");
}

#[test]
fn elements_that_are_chosen_by_known_indices() {
    let list: &[Range] = &[(0.0, 1.0), (2.0, 5.0), (7.0, 7.0), (-3.0, 9.0)];
    let chosen = |dims: &[usize], indices: &[i64]| {
        let mut graph = Graph::default();
        let dims = dims.iter().map(|&dim| dim.into()).collect();
        let x = graph.add_input("x", TensorType::new(Element::I64, dims));
        let indices = HostTensor::from_i64(&[indices.len()], indices);
        let indices = graph.constant_tensor(indices, &Provenance::none()).expect("a constant");
        graph.add(Op::Gather { axis: 0 }, &[x, indices], &Provenance::none()).expect("types fit");
        let (_, node) = graph.nodes().last().expect("a node");
        let of = |index: usize| if index == 0 { list.iter().copied().collect() } else { Ranges::unknown() };
        of_node(&graph, node, &of).remove(0).expect("there is a range").0.to_vec()
    };
    assert_eq!(chosen(&[4], &[2, 0]), [list[2], list[0]]);
    assert_eq!(chosen(&[4], &[-1, 1, -4]), [list[3], list[1], list[0]]);
    assert_eq!(chosen(&[2, 2], &[0]), [(-3.0, 9.0)], "rows");
    // Columns and rows exchanged are other lists.
    let turned = ranges_of(Op::Transpose { permutation: vec![1, 0] }, &[(&[2, 2], list)]);
    assert_eq!(turned, [Some(vec![(-3.0, 9.0)])]);
}

#[test]
fn floats_have_the_room_of_their_rounding() {
    for (element, large, rounded) in
        [(Element::F16, 2048.0, 2048.0), (Element::BF16, 256.0, 256.0), (Element::F32, 16_777_216.0, 16_777_216.0)]
    {
        let mut graph = Graph::default();
        let inputs = ["a", "b"].map(|name| graph.add_input(name, TensorType::scalar(element)));
        let op = Op::Binary { function: BinaryFunction::Add };
        graph.add(op, &inputs, &Provenance::none()).expect("types fit");
        let (_, node) = graph.nodes().last().expect("a node");
        let of = |index: usize| Ranges::all(if index == 0 { (large, large) } else { (1.0, 1.0) });
        let (low, high) = of_node(&graph, node, &of).remove(0).expect("there is a range").hull();
        // The sum is between two numbers of the type, and rounds to the even one.
        assert!(low <= rounded && high >= large + 1.0, "{element}: {low} to {high}");
    }
}

#[test]
fn indices_and_counts() {
    let list: &[Range] = &[(2.0, 3.0)];
    let dims: &[usize] = &[3, 5];
    let of = |op: Op| ranges_of(op, &[(dims, list)]);
    let top = of(Op::TopK { axis: 1, largest: true, sorted: true, k: 2.into() });
    assert_eq!(top, [Some(vec![(2.0, 3.0)]), Some(vec![(0.0, 4.0)])]);
    assert_eq!(of(Op::NonZero {}), [Some(vec![(0.0, 4.0)]), Some(vec![(0.0, 15.0)])]);
    let arg = Op::ArgReduce { function: crate::graph::ops::ArgFunction::Max, axis: 0, last: false };
    assert_eq!(of(arg), [Some(vec![(0.0, 2.0)])]);
    let sum = Op::Cumulate { axis: 1, function: CumulateFunction::Sum, exclusive: false, reverse: false };
    assert_eq!(of(sum), [Some(vec![(0.0, 15.0)])]);
    assert_eq!(of(Op::Transpose { permutation: vec![1, 0] }), [Some(vec![(2.0, 3.0)])]);
    assert_eq!(of(Op::Broadcast { dims: vec![2.into(), 3.into(), 5.into()] }), [Some(vec![(2.0, 3.0)])]);
    let iota = ranges_of(Op::Iota { element: Element::I64, dims: vec![4.into(), 1000.into()], axis: 1 }, &[]);
    assert_eq!(iota, [Some(vec![(0.0, 999.0)])]);
    let none = ranges_of(Op::Iota { element: Element::I64, dims: vec![0.into(), 200.into()], axis: 0 }, &[]);
    assert_eq!(none, [Some(vec![(0.0, 0.0)])]);
}

#[test]
fn a_choice_takes_the_side_that_is_decided() {
    let sides: [&[Range]; 2] = [&[(1.0, 2.0)], &[(5.0, 6.0)]];
    let select = |condition: Range| {
        let mut graph = Graph::default();
        let ty = |element| TensorType::new(element, vec![3.into()]);
        let inputs = [Element::Bool, Element::I64, Element::I64]
            .map(|element| graph.add_input(format!("{element}{}", graph.inputs().len()), ty(element)));
        graph.add(Op::Select {}, &inputs, &Provenance::none()).expect("types fit");
        let (_, node) = graph.nodes().last().expect("a node");
        let of = |index: usize| match index {
            0 => Ranges::all(condition),
            side => sides[side - 1].iter().copied().collect(),
        };
        of_node(&graph, node, &of).remove(0).expect("a range").hull()
    };
    assert_eq!(select((1.0, 1.0)), (1.0, 2.0));
    assert_eq!(select((0.0, 0.0)), (5.0, 6.0));
    assert_eq!(select((0.0, 1.0)), (1.0, 6.0));
    // Rows of conditions meet each of the two elements.
    let mut graph = Graph::default();
    let types = [(Element::Bool, vec![3.into(), 1.into()]), (Element::I64, vec![2.into()]), (Element::I64, vec![])];
    let inputs = types
        .map(|(element, dims)| graph.add_input(format!("x{}", graph.inputs().len()), TensorType::new(element, dims)));
    graph.add(Op::Select {}, &inputs, &Provenance::none()).expect("types fit");
    let (_, node) = graph.nodes().last().expect("a node");
    let lists: [&[Range]; 3] = [&[(1.0, 1.0), (0.0, 0.0), (1.0, 1.0)], &[(1.0, 2.0), (3.0, 4.0)], &[(9.0, 9.0)]];
    let of = |index: usize| lists[index].iter().copied().collect();
    assert_eq!(of_node(&graph, node, &of), [Some(Ranges::all((1.0, 9.0)))]);
}
