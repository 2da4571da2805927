//! Random graphs of what exporters write, right and nearly right: the spellings that laws look for, with other numbers, axes, starts, tables,
//! heads and masks in one case of three.
//!
//! In: a seed. Out: a graph over two lengths, and inputs. Values that grew or vanished (`wild`) go only into elementwise ops and layout, because
//! a fused op computes without the overflows of its parts.

use narae_isa::{BinaryFunction, CompareFunction, ReduceFunction, UnaryFunction};

use super::*;
use crate::graph::Op;
use crate::ir::{Dim, SymbolDefinition};

/// Numbers that laws could mistake.
const NUMBERS: &[f64] = &[
    0.0,
    -0.0,
    1.0,
    1.000_000_2,
    0.999_999_9,
    1.0005,
    0.999,
    -1.0,
    2.0,
    2.0015,
    1.999,
    0.5,
    0.5004,
    3.0,
    49.0,
    255.0,
    0.003_921_569,
    0.125,
    0.353_553_4,
    1e-5,
    std::f64::consts::SQRT_2,
    std::f64::consts::FRAC_1_SQRT_2,
];
/// Numbers that overflow, vanish or are none.
const WILD: &[f64] = &[f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e-39, 1e-30, 1e30, 3e38, -1e20, 1e20];

pub(super) struct Maker<'r> {
    pub(super) graph: Graph,
    pub(super) inputs: BTreeMap<String, HostTensor>,
    random: &'r mut Random,
    element: Element,
    /// Tensors `[b, s, 8]`, and heads `[b, 4, s, 8]`.
    rows: Vec<Value>,
    heads: Vec<Value>,
    /// Anything else, wild things among it.
    rest: Vec<Value>,
    lengths: [Dim; 2],
    sizes: [usize; 2],
}

impl Maker<'_> {
    /// A graph of so many idioms.
    pub(super) fn make(random: &mut Random, count: usize) -> (Graph, BTreeMap<String, HostTensor>) {
        let mut graph = Graph::new("random", Sources::new());
        let input = |input, axis| SymbolDefinition::Input { input, axis };
        let lengths = [Dim::from(graph.symbols.add("b", input(0, 0))), Dim::from(graph.symbols.add("s", input(0, 1)))];
        let sizes = [1 + random.below(3), 1 + random.below(4)];
        let element = random.pick(&[Element::F32, Element::F32, Element::F32, Element::F16, Element::BF16]);
        let (rows, heads, rest) = (vec![], vec![], vec![]);
        let mut maker = Maker { graph, inputs: BTreeMap::new(), random, element, rows, heads, rest, lengths, sizes };
        for number in 0..3 {
            let [b, s] = maker.lengths.clone();
            let rows = maker.input(&format!("x{number}"), vec![b.clone(), s.clone(), 8.into()]);
            let heads = maker.input(&format!("h{number}"), vec![b, 4.into(), s, 8.into()]);
            maker.rows.push(rows);
            maker.heads.push(heads);
        }
        for _ in 0..count {
            maker.idiom();
        }
        maker.finish()
    }

    fn finish(mut self) -> (Graph, BTreeMap<String, HostTensor>) {
        let all: Vec<Value> = [&self.rows[..], &self.heads[..], &self.rest[..]].concat();
        for (number, value) in all.into_iter().rev().enumerate().filter(|(number, _)| number % 2 == 0).take(6) {
            self.graph.add_output(format!("y{number}"), value);
        }
        let last = [self.rows.last(), self.heads.last(), self.rest.last()];
        for (number, value) in last.into_iter().flatten().enumerate() {
            self.graph.add_output(format!("z{number}"), *value);
        }
        (self.graph, self.inputs)
    }

    fn input(&mut self, name: &str, dims: Vec<Dim>) -> Value {
        let [b, s] = self.sizes;
        let size = |dim: &Dim| dim.as_size().unwrap_or(if *dim == self.lengths[0] { b } else { s });
        let sizes: Vec<usize> = dims.iter().map(size).collect();
        let random = &mut *self.random;
        let data = tensor(self.element, &sizes, || if random.chance(12) { 0.0 } else { random.real(-2.0, 2.0) });
        self.inputs.insert(name.to_owned(), data);
        self.graph.add_input(name, TensorType::new(self.element, dims))
    }

    /// An op, if its operands fit whatever the lengths are.
    fn try_op(&mut self, op: Op, operands: &[Value]) -> Option<Value> {
        let before = self.graph.clone();
        let made = self.graph.add1(op, operands, &Provenance::none());
        // An op that fixes a length would make the inputs wrong.
        let free = self.lengths.iter().all(|length| self.graph.symbols.resolve(length).as_const().is_none());
        if made.is_err() || !free {
            self.graph = before;
        }
        made.ok().filter(|_| free)
    }

    fn op(&mut self, op: Op, operands: &[Value]) -> Value {
        self.graph.add1(op, operands, &Provenance::none()).unwrap()
    }

    fn unary(&mut self, function: UnaryFunction, x: Value) -> Value {
        self.op(Op::Unary { function }, &[x])
    }

    fn binary(&mut self, function: BinaryFunction, x: Value, y: Value) -> Value {
        self.op(Op::Binary { function }, &[x, y])
    }

    /// Both orders of what commutes.
    fn either(&mut self, function: BinaryFunction, x: Value, y: Value) -> Value {
        if self.random.chance(2) { self.binary(function, x, y) } else { self.binary(function, y, x) }
    }

    /// A constant of one number with the axes that exporters give it.
    fn number(&mut self, number: f64) -> Value {
        let dims = self.random.pick(&[vec![], vec![], vec![1], vec![1, 1], vec![8]]);
        let element = self.element;
        self.graph.constant_tensor(tensor(element, &dims, || number), &Provenance::none()).unwrap()
    }

    /// The number that is meant, or in one case of three one that is not.
    fn meant(&mut self, number: f64) -> Value {
        let other = self.random.pick(&[number * 1.0005, number * 0.999, number * 1.000_000_3, number + 1.0, -number]);
        let number = if self.random.chance(9) { other } else { number };
        self.number(number)
    }

    fn constant(&mut self, dims: &[usize]) -> Value {
        let random = &mut *self.random;
        let data = tensor(self.element, dims, || random.real(-1.0, 1.0));
        self.graph.constant_tensor(data, &Provenance::none()).unwrap()
    }

    fn row(&mut self) -> Value {
        self.random.pick(&self.rows.clone())
    }

    fn head(&mut self) -> Value {
        self.random.pick(&self.heads.clone())
    }

    fn idiom(&mut self) {
        match self.random.below(13) {
            0 | 1 => self.scaled(),
            2 | 3 => self.norm(),
            4 => self.gelu(),
            5 => self.gelu_tanh(),
            6 => self.gate(),
            7 => self.linear(),
            8 => self.layout(),
            9 => self.rope(),
            10 => self.wild(),
            _ => self.attention(),
        }
    }

    /// A chain of products, quotients and sums with numbers.
    fn scaled(&mut self) {
        let mut x = if self.random.chance(2) { self.row() } else { self.head() };
        for _ in 0..1 + self.random.below(3) {
            let number = self.random.pick(NUMBERS);
            let c = self.number(number);
            let functions = [
                BinaryFunction::Mul,
                BinaryFunction::Mul,
                BinaryFunction::Add,
                BinaryFunction::Div,
                BinaryFunction::Sub,
            ];
            let function = self.random.pick(&functions);
            let zero = number == 0.0 && function == BinaryFunction::Div;
            x = if zero { self.binary(BinaryFunction::Mul, x, c) } else { self.binary(function, x, c) };
        }
        self.rest.push(x);
    }

    /// The same with numbers beyond all bounds, and powers.
    fn wild(&mut self) {
        let mut x = if self.rest.is_empty() || self.random.chance(2) {
            self.row()
        } else {
            self.random.pick(&self.rest.clone())
        };
        for _ in 0..1 + self.random.below(3) {
            let number = if self.random.chance(2) { self.random.pick(WILD) } else { self.random.pick(NUMBERS) };
            let c = self.number(number);
            let functions = [BinaryFunction::Mul, BinaryFunction::Add, BinaryFunction::Div, BinaryFunction::Pow];
            let function = self.random.pick(&functions);
            let Some(next) = self.try_op(Op::Binary { function }, &[x, c]) else { continue };
            x = next;
        }
        self.rest.push(x);
    }

    /// RMSNorm or LayerNorm in the spellings of exporters.
    fn norm(&mut self) {
        let x = self.row();
        let axes = self.random.pick(&[vec![2], vec![2], vec![2], vec![1], vec![1, 2], vec![0]]);
        let other = if self.random.chance(6) { vec![1] } else { axes.clone() };
        let centred = self.random.chance(2);
        let mean =
            |maker: &mut Self, x| maker.op(Op::Reduce { function: ReduceFunction::Mean, axes: other.clone() }, &[x]);
        let x = if centred {
            let mean = mean(self, x);
            self.binary(BinaryFunction::Sub, x, mean)
        } else {
            x
        };
        let two = self.meant(2.0);
        let square = match self.random.below(3) {
            0 => self.unary(UnaryFunction::Square, x),
            1 => self.binary(BinaryFunction::Mul, x, x),
            _ => self.binary(BinaryFunction::Pow, x, two),
        };
        let mean = match self.random.below(3) {
            0 => {
                let sum = self.op(Op::Reduce { function: ReduceFunction::Sum, axes: axes.clone() }, &[square]);
                let count = self.random.pick(&[8.0, 8.0, 4.0, 7.0, 16.0]);
                let element = self.element;
                let count = self.graph.constant_tensor(tensor(element, &[], || count), &Provenance::none()).unwrap();
                self.binary(BinaryFunction::Div, sum, count)
            }
            _ => self.op(Op::Reduce { function: ReduceFunction::Mean, axes }, &[square]),
        };
        let epsilon = self.random.pick(&[1e-5, 1e-5, 1e-3, 0.1]);
        let dims = self.random.pick(&[vec![], vec![1], vec![1, 1, 1], vec![1, 1, 1, 1]]);
        let element = self.element;
        let epsilon = self.graph.constant_tensor(tensor(element, &dims, || epsilon), &Provenance::none()).unwrap();
        let sum = self.either(BinaryFunction::Add, mean, epsilon);
        let root = self.unary(UnaryFunction::Sqrt, sum);
        let one = self.meant(1.0);
        let mut y = match self.random.below(3) {
            0 => self.binary(BinaryFunction::Div, x, root),
            1 => {
                let inverse = self.unary(UnaryFunction::Reciprocal, root);
                self.either(BinaryFunction::Mul, x, inverse)
            }
            _ => {
                let inverse = self.binary(BinaryFunction::Div, one, root);
                self.either(BinaryFunction::Mul, x, inverse)
            }
        };
        for function in [BinaryFunction::Mul, BinaryFunction::Add] {
            if self.random.chance(2) {
                let dims = self.random.pick(&[vec![8], vec![8], vec![1, 1, 8], vec![1], vec![1, 1]]);
                let gain = self.constant(&dims);
                y = self.either(function, y, gain);
            }
        }
        self.keep_rows(y);
    }

    /// Keeps a tensor among those of its kind.
    fn keep_rows(&mut self, value: Value) {
        let [b, s] = self.lengths.clone();
        let is_row = self.graph.dims(value) == [b, s, 8.into()];
        if is_row && !self.random.chance(3) { self.rows.push(value) } else { self.rest.push(value) }
    }

    fn gelu(&mut self) {
        let x = self.row();
        let (half, one) = (self.meant(0.5), self.meant(1.0));
        let inner = if self.random.chance(2) {
            let root = self.meant(std::f64::consts::SQRT_2);
            self.binary(BinaryFunction::Div, x, root)
        } else {
            let root = self.meant(std::f64::consts::FRAC_1_SQRT_2);
            self.either(BinaryFunction::Mul, x, root)
        };
        let erf = self.unary(UnaryFunction::Erf, inner);
        let sum = self.either(BinaryFunction::Add, erf, one);
        let y = self.halved(x, sum, half);
        self.keep_rows(y);
    }

    /// x · h · sum in any order.
    fn halved(&mut self, x: Value, sum: Value, half: Value) -> Value {
        let (first, second) = self.random.pick(&[(x, half), (sum, half), (x, sum)]);
        let third = if first == x && second == half {
            sum
        } else if first == sum {
            x
        } else {
            half
        };
        let product = self.either(BinaryFunction::Mul, first, second);
        self.either(BinaryFunction::Mul, product, third)
    }

    fn gelu_tanh(&mut self) {
        let x = self.row();
        let [half, one, three] = [0.5, 1.0, 3.0].map(|number| self.meant(number));
        let [c, r] = [0.044_715, 0.797_884_560_802_865_4].map(|number| self.meant(number));
        let cube = self.binary(BinaryFunction::Pow, x, three);
        let small = self.either(BinaryFunction::Mul, cube, c);
        let sum = self.either(BinaryFunction::Add, x, small);
        let inner = self.either(BinaryFunction::Mul, sum, r);
        let tanh = self.unary(UnaryFunction::Tanh, inner);
        let sum = self.either(BinaryFunction::Add, tanh, one);
        let y = self.halved(x, sum, half);
        self.keep_rows(y);
    }

    fn gate(&mut self) {
        let (x, up) = (self.row(), self.row());
        let function = self.random.pick(&[UnaryFunction::Sigmoid, UnaryFunction::Sigmoid, UnaryFunction::Tanh]);
        let gate = self.unary(function, x);
        let factor = if self.random.chance(4) { up } else { x };
        let silu = self.either(BinaryFunction::Mul, gate, factor);
        let y = self.either(BinaryFunction::Mul, silu, up);
        self.keep_rows(y);
    }

    fn linear(&mut self) {
        let x = self.row();
        let weight = self.constant(&[8, 8]);
        let mut y = self.op(Op::MatMul {}, &[x, weight]);
        if self.random.chance(2) {
            let dims = self.random.pick(&[vec![8], vec![8], vec![1, 8], vec![1], vec![1, 1, 1, 8]]);
            let bias = self.constant(&dims);
            y = self.either(BinaryFunction::Add, y, bias);
        }
        self.keep_rows(y);
    }

    fn layout(&mut self) {
        let x = self.head();
        let permutation = self.random.pick(&[vec![0, 2, 1, 3], vec![0, 1, 3, 2], vec![2, 0, 1, 3], vec![0, 3, 2, 1]]);
        let mut y = self.op(Op::Transpose { permutation: permutation.clone() }, &[x]);
        match self.random.below(3) {
            0 => y = self.op(Op::Transpose { permutation }, &[y]),
            1 => {
                let dims = self.graph.dims(y).to_vec();
                let joined = vec![&dims[0] * &dims[1], dims[2].clone(), dims[3].clone()];
                let flat = self.op(Op::Reshape { dims: joined }, &[y]);
                let turned = self.op(Op::Transpose { permutation: vec![0, 2, 1] }, &[flat]);
                let end = self.random.pick(&[[2, 3], [3, 2]]).map(|axis| dims[axis].clone());
                y = self.op(Op::Reshape { dims: [&dims[..2], &end].concat() }, &[turned]);
            }
            _ => {}
        }
        let narrow = self.random.pick(&[Element::F16, Element::F32, Element::F64, Element::BF16]);
        if self.random.chance(2) {
            let there = self.op(Op::Convert { to: narrow, saturate: false }, &[y]);
            y = self.op(Op::Convert { to: self.element, saturate: false }, &[there]);
        }
        self.rest.push(y);
    }

    /// A part of the last axis of heads.
    fn part(&mut self, x: Value, start: usize) -> Value {
        let mut dims = self.graph.dims(x).to_vec();
        dims[3] = 4.into();
        let starts = vec![Dim::ZERO, Dim::ZERO, Dim::ZERO, start.into()];
        self.op(Op::Slice { starts, steps: vec![1; 4], dims }, &[x])
    }

    fn rope(&mut self) {
        let x = self.head();
        let starts = self.random.pick(&[(0, 4), (0, 4), (0, 4), (4, 0), (0, 3), (1, 4)]);
        let (first, second) = (self.part(x, starts.0), self.part(x, starts.1));
        let negated = self.unary(UnaryFunction::Neg, second);
        let turned = if self.random.chance(6) { [first, negated] } else { [negated, first] };
        let turned = self.op(Op::Concat { axis: 3 }, &turned);
        let [cos, sin] = [0, 1].map(|_| {
            let (half, other) = (self.constant(&[1, 1, 4]), self.constant(&[1, 1, 4]));
            let other = if self.random.chance(6) { other } else { half };
            self.op(Op::Concat { axis: 2 }, &[half, other])
        });
        let left = self.either(BinaryFunction::Mul, x, cos);
        let right = self.either(BinaryFunction::Mul, turned, sin);
        let y = self.either(BinaryFunction::Add, left, right);
        self.heads.push(y);
    }

    /// Keys or values of two heads, repeated for four: each twice, or all behind each other.
    fn grouped(&mut self) -> Value {
        let x = self.head();
        let mut dims = self.graph.dims(x).to_vec();
        dims[1] = 2.into();
        let two = self.op(Op::Slice { starts: vec![Dim::ZERO; 4], steps: vec![1; 4], dims: dims.clone() }, &[x]);
        let at = if self.random.chance(3) { 1 } else { 2 };
        let mut wide = dims.clone();
        wide.insert(at, Dim::ONE);
        let mut y = self.op(Op::Reshape { dims: wide.clone() }, &[two]);
        wide[at] = 2.into();
        y = self.op(Op::Broadcast { dims: wide }, &[y]);
        dims[1] = 4.into();
        self.op(Op::Reshape { dims }, &[y])
    }

    /// A mask as a bias: no row is empty, so that its softmax is defined.
    fn mask(&mut self) -> Value {
        let [_, s] = self.lengths.clone();
        let iota = |maker: &mut Self, axis: usize| {
            let dims = vec![s.clone(), s.clone()];
            maker.op(Op::Iota { element: Element::I64, dims, axis }, &[])
        };
        let (rows, columns) = (iota(self, 0), iota(self, 1));
        let function = self.random.pick(&[CompareFunction::Le, CompareFunction::Ge, CompareFunction::Eq]);
        let seen = self.op(Op::Compare { function }, &[columns, rows]);
        let hidden = self.random.pick(&[f64::NEG_INFINITY, -1e4, -60000.0]);
        let scalar = |maker: &mut Self, number: f64| {
            let element = maker.element;
            maker.graph.constant_tensor(tensor(element, &[], || number), &Provenance::none()).unwrap()
        };
        let (zero, hidden) = (scalar(self, 0.0), scalar(self, hidden));
        self.op(Op::Select {}, &[seen, zero, hidden])
    }

    fn attention(&mut self) {
        let q = self.head();
        let grouped = self.random.chance(3);
        let [k, v] = [0, 1].map(|_| if grouped { self.grouped() } else { self.head() });
        let scale = self.random.pick(&[0.353_553_4, 1.0, 0.125, -0.5, 0.0]);
        let c = self.meant(scale);
        let q = if self.random.chance(3) { self.either(BinaryFunction::Mul, q, c) } else { q };
        let keys = self.op(Op::Transpose { permutation: vec![0, 1, 3, 2] }, &[k]);
        let mut scores = self.op(Op::MatMul {}, &[q, keys]);
        let element = self.element;
        if self.random.chance(2) {
            let c = self.graph.constant_tensor(tensor(element, &[], || scale), &Provenance::none()).unwrap();
            scores = self.either(BinaryFunction::Mul, scores, c);
        }
        if self.random.chance(5) {
            let cap = self.random.pick(&[30.0, 5.0, -5.0]);
            let [inverse, cap] = [1.0 / cap, cap].map(|number| {
                self.graph.constant_tensor(tensor(element, &[], || number), &Provenance::none()).unwrap()
            });
            let inner = self.either(BinaryFunction::Mul, scores, inverse);
            let tanh = self.unary(UnaryFunction::Tanh, inner);
            scores = self.either(BinaryFunction::Mul, tanh, cap);
        }
        if self.random.chance(2) {
            let mask = self.mask();
            scores = self.either(BinaryFunction::Add, scores, mask);
        }
        let axis = if self.random.chance(6) { 2 } else { 3 };
        let weights = self.op(Op::Softmax { axis, log: false }, &[scores]);
        let y = self.op(Op::MatMul {}, &[weights, v]);
        self.heads.push(y);
    }
}
