//! Random graphs for property tests: valid by construction, small, with symbolic dims and data of every kind.
//!
//! In: a seed. Out: a graph, and inputs for it. The same seed gives the same graph on any machine.

use std::collections::BTreeMap;

use narae_isa::{
    BinaryFunction, CompareFunction, CumulateFunction, Element, HostTensor, ReduceFunction, ScatterFunction,
    UnaryFunction,
};

use super::attribute::Real;
use super::ops::{ArgFunction, PadMode, PoolFunction};
use super::{Graph, Op, Provenance, TensorType};
use crate::compress::{Recipe, Sources};
use crate::ir::{Dim, SymbolDefinition, Value};

/// A small generator of pseudo-random numbers (SplitMix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())].clone()
    }

    pub(crate) fn tensor(&mut self, element: Element, dims: &[usize]) -> HostTensor {
        let count: usize = dims.iter().product();
        let values: Vec<f64> = (0..count)
            .map(|_| match element {
                Element::Bool => self.below(2) as f64,
                _ if element.is_float() => (self.below(401) as f64 - 200.0) / 64.0,
                _ => self.below(7) as f64,
            })
            .collect();
        HostTensor::from_f64_as(element, dims, &values)
    }
}

/// A random graph of about `size` nodes with inputs that fit it.
pub(crate) fn random_graph(seed: u64, size: usize) -> (Graph, BTreeMap<String, HostTensor>) {
    let mut random = Random::new(seed);
    let mut graph = Graph::new("random", Sources::new());
    let mut inputs = BTreeMap::new();
    let extents = [1 + random.below(3), random.below(5)];
    let input = |input, axis| SymbolDefinition::Input { input, axis };
    let batch = Dim::from(graph.symbols.add("batch", input(0, 0)));
    let sequence = Dim::from(graph.symbols.add("seq", input(0, 1)));
    let types = [
        (Element::F32, vec![batch.clone(), sequence.clone(), 8usize.into()]),
        (Element::I64, vec![batch.clone(), sequence.clone()]),
        (Element::F32, vec![8usize.into(), 6usize.into()]),
        (Element::Bool, vec![sequence.clone()]),
        (Element::F16, vec![4usize.into(), batch.clone(), 2usize.into()]),
        (Element::F32, vec![1usize.into(), 3usize.into(), 6usize.into(), &sequence + &Dim::from(5usize)]),
    ];
    for (index, (element, dims)) in types.into_iter().enumerate() {
        let sizes: Vec<usize> = dims
            .iter()
            .map(|dim| {
                dim.eval(&|symbol| extents.get(symbol.as_u32() as usize).map(|&e| e as i64)).expect("bound") as usize
            })
            .collect();
        inputs.insert(format!("in{index}"), random.tensor(element, &sizes));
        graph.add_input(format!("in{index}"), TensorType::new(element, dims));
    }
    let mut attempts = 0;
    while graph.node_count() < size && attempts < size * 20 {
        attempts += 1;
        let values: Vec<Value> = graph.values().map(|(value, _)| value).collect();
        let recent = values.len().saturating_sub(12);
        let value = |random: &mut Random| {
            let from = if random.chance(2) { 0 } else { recent };
            values[from + random.below(values.len() - from)]
        };
        let provenance = Provenance::new(format!("node \"{attempts}\"/ü"), "Random");
        let x = value(&mut random);
        // A few attempts do not fit; the graph is as it was then, but for symbols that unified.
        let (op, operands) = random_op(&mut random, &graph, x, value);
        let before = graph.clone();
        if graph.add(op, &operands, &provenance).is_err() || graph.symbols.notes().len() > before.symbols.notes().len()
        {
            graph = before;
        }
    }
    let last: Vec<Value> = graph.values().map(|(value, _)| value).collect();
    for (index, value) in last.iter().rev().take(4).enumerate() {
        graph.add_output(format!("out{index}"), *value);
    }
    (graph, inputs)
}

fn random_op(
    random: &mut Random,
    graph: &Graph,
    x: Value,
    mut other: impl FnMut(&mut Random) -> Value,
) -> (Op, Vec<Value>) {
    let ty = graph.ty(x).clone();
    let rank = ty.dims.len();
    let axis = random.below(rank);
    let dims = ty.dims.clone();
    let one = |op: Op| (op, vec![x]);
    match random.below(30) {
        0 => {
            let shape = [random.below(3), 1 + random.below(4)];
            let element = random.pick(&[Element::F32, Element::I64, Element::Bool, Element::F16]);
            (Op::Constant { recipe: Recipe::inline(random.tensor(element, &shape)) }, vec![])
        }
        1 => (Op::Dims { shape: vec![dims.len()], dims }, vec![]),
        2 => (Op::Iota { element: random.pick(&[Element::I64, Element::F32]), dims, axis }, vec![]),
        3 => one(Op::Unary {
            function: random.pick(&[UnaryFunction::Neg, UnaryFunction::Tanh, UnaryFunction::Not, UnaryFunction::Silu]),
        }),
        4..=6 => {
            let functions = [
                BinaryFunction::Add,
                BinaryFunction::Mul,
                BinaryFunction::Sub,
                BinaryFunction::Max,
                BinaryFunction::And,
            ];
            (Op::Binary { function: random.pick(&functions) }, vec![x, other(random)])
        }
        7 => (Op::Compare { function: random.pick(CompareFunction::ALL) }, vec![x, other(random)]),
        8 => (Op::Select {}, vec![other(random), x, other(random)]),
        9 if ty.element == Element::F32 && random.chance(4) => {
            one(Op::Bits { from: Element::F32, to: Element::I32, element: Element::I32 })
        }
        9 => one(Op::Convert {
            to: random.pick(&[Element::F32, Element::F16, Element::I64, Element::Bool]),
            saturate: false,
        }),
        10 => one(Op::Reduce {
            function: random.pick(&[ReduceFunction::Sum, ReduceFunction::Max, ReduceFunction::Prod]),
            axes: vec![axis],
        }),
        11 => one(Op::ArgReduce { function: ArgFunction::Max, axis, last: random.chance(2) }),
        12 => one(Op::Cumulate {
            function: CumulateFunction::Sum,
            axis,
            exclusive: random.chance(2),
            reverse: random.chance(2),
        }),
        13 => one(Op::Softmax { axis, log: random.chance(3) }),
        14 | 15 => {
            let mut permutation: Vec<usize> = (0..rank).collect();
            permutation.rotate_left(axis);
            one(Op::Transpose { permutation })
        }
        16 | 17 => {
            let mut dims = dims;
            if random.chance(2) && rank >= 2 {
                let joined = &dims[0] * &dims[1];
                dims.splice(0..2, [joined]);
            } else {
                dims.insert(axis, Dim::ONE);
            }
            one(Op::Reshape { dims })
        }
        18 => one(Op::Broadcast { dims: [vec![Dim::from(2usize)], dims].concat() }),
        19 | 20 => {
            let mut counts = dims.clone();
            let (mut starts, mut steps) = (vec![Dim::ZERO; rank], vec![1; rank]);
            if rank > 0 {
                counts[axis] = dims[axis].ceil_div(&2usize.into());
                steps[axis] = 2;
                if random.chance(2) {
                    steps[axis] = -1;
                    counts[axis] = dims[axis].clone();
                    starts[axis] = &dims[axis] - &Dim::ONE;
                }
            }
            one(Op::Slice { starts, steps, dims: counts })
        }
        21 => {
            let before: Vec<Dim> = (0..rank).map(|_| random.below(2).into()).collect();
            let all = dims.iter().zip(&before).map(|(dim, before)| &(dim + before) + &Dim::ONE).collect();
            one(Op::Pad { before, dims: all, mode: PadMode::Constant })
        }
        22 | 23 => (Op::Concat { axis }, vec![x, other(random), x]),
        24 => (Op::Gather { axis }, vec![x, other(random)]),
        25 => one(Op::TopK { axis, largest: true, sorted: true, k: Dim::from(random.below(2)) }),
        26 => one(Op::NonZero {}),
        27 => (Op::MatMul {}, vec![x, other(random)]),
        28 => one(Op::RmsNorm { epsilon: Real::new(1e-5) }),
        _ if rank > 2 => one(Op::Pool {
            function: PoolFunction::Max,
            kernel: vec![2; rank - 2],
            strides: vec![1; rank - 2],
            before: vec![Dim::ZERO; rank - 2],
            dilations: vec![1; rank - 2],
            dims: dims[2..].to_vec(),
        }),
        _ => (Op::ScatterElements { axis, function: ScatterFunction::Add }, vec![x, other(random), other(random)]),
    }
}
