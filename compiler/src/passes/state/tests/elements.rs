//! What elements are: what is said is held against the evaluator at every index of several lengths; what must not be said is asked for.

use narae_isa::{ReduceFunction, UnaryFunction};

use super::*;
use crate::graph::eval::evaluate_all;
use crate::ir::Symbol;
use crate::passes::state::elements::{Element, Elements, is_hidden};
use crate::passes::state::roles::{Roles, assumed};

use Element::{All, Choice, Integer, Never, Number, Unknown};

/// Batch, sequence and past.
const LENGTHS: &[[usize; 3]] = &[[1, 1, 0], [2, 3, 4], [3, 5, 1], [1, 4, 6], [2, 2, 0]];

/// A decoder with a mask and positions, whose tensors are asked about.
struct Subject {
    decoder: Decoder,
    mask: Value,
    positions: Value,
}

fn subject() -> Subject {
    let mut decoder = Decoder::new();
    let dims = vec![decoder.batch.clone(), decoder.total()];
    let mask = decoder.input("attention_mask", Type::I64, dims);
    let dims = vec![decoder.batch.clone(), decoder.sequence.clone()];
    let positions = decoder.input("position_ids", Type::I64, dims);
    Subject { decoder, mask, positions }
}

impl Subject {
    /// The element of a value at new indices, and these.
    fn element(&self, value: Value) -> (Element, Vec<Dim>) {
        let (graph, roles) = (&self.decoder.graph, self.roles());
        let inputs = |value: Value, indices: &[Dim]| assumed(graph, &roles, value, indices);
        let mut elements = Elements::new(graph, &roles, &inputs);
        let indices = elements.indices(graph.dims(value));
        (elements.at(value, &indices), indices)
    }

    fn roles(&self) -> Roles {
        let Decoder { batch, sequence, past, ids, .. } = &self.decoder;
        Roles {
            caches: vec![],
            ids: *ids,
            mask: Some(self.mask),
            positions: Some(self.positions),
            batch: batch.clone(),
            sequence: sequence.clone(),
            past: past.clone(),
        }
    }

    fn is_unknown(&self, value: Value) {
        assert_eq!(self.element(value).0, Unknown);
    }

    /// The element, which is right for all lengths.
    fn is_known(&self, value: Value) -> Element {
        let (element, indices) = self.element(value);
        assert_ne!(element, Unknown);
        for &lengths in LENGTHS {
            self.holds(value, &element, &indices, lengths);
        }
        element
    }

    fn holds(&self, value: Value, element: &Element, indices: &[Dim], [batch, sequence, past]: [usize; 3]) {
        let graph = &self.decoder.graph;
        let size = |name: &str| match name {
            "batch" => batch,
            "seq" => sequence,
            "past" => past,
            other => panic!("the length {other}"),
        };
        let tensor = |port: &crate::graph::Port| {
            let eval = |dim: &Dim| dim.eval(&|symbol| Some(size(graph.symbols.name(symbol)) as i64)).expect("known");
            let dims: Vec<usize> = graph.dims(port.value).iter().map(|dim| eval(dim) as usize).collect();
            let count: usize = dims.iter().product();
            let number = |at: usize| match port.name.as_str() {
                "attention_mask" => 1.0,
                "position_ids" => (past + at % sequence) as f64,
                _ => 0.0,
            };
            let numbers: Vec<f64> = (0..count).map(number).collect();
            (port.name.clone(), HostTensor::from_f64_as(graph.element(port.value), &dims, &numbers))
        };
        let inputs = graph.inputs().iter().map(tensor).collect();
        let all = evaluate_all(graph, &inputs).expect("the graph runs");
        let found = all[value].as_ref().expect("the value is computed");
        let strides = found.strides();
        for flat in 0..found.len() {
            let place: Vec<i64> =
                found.dims.iter().zip(&strides).map(|(&extent, &stride)| (flat / stride % extent) as i64).collect();
            let point = |symbol: Symbol| {
                let index = indices.iter().position(|index| index.as_symbol() == Some(symbol));
                Some(match index {
                    Some(axis) => place[axis],
                    None => size(graph.symbols.name(symbol)) as i64,
                })
            };
            let said = value_of(element, &point);
            assert_eq!(
                said,
                found.get_f64(flat),
                "{element:?} at {place:?} of {lengths:?}",
                lengths = [batch, sequence, past]
            );
        }
    }
}

/// An element as a number.
fn value_of(element: &Element, point: &impl Fn(Symbol) -> Option<i64>) -> f64 {
    let holds = |parts: &[Dim]| parts.iter().all(|part| part.eval(point).expect("known") >= 0);
    match element {
        Integer(dim) => dim.eval(point).expect("known") as f64,
        Number(value) => *value,
        All(parts) => f64::from(u8::from(holds(parts))),
        Never => 0.0,
        Choice(parts, a, b) => value_of(if holds(parts) { a } else { b }, point),
        Unknown => panic!("nothing is known"),
    }
}

impl Subject {
    fn number(&mut self, value: f32) -> Value {
        self.decoder.constant(HostTensor::scalar_f32(value))
    }

    fn whole(&mut self, value: i64) -> Value {
        self.decoder.constant(HostTensor::scalar_i64(value))
    }

    fn truth(&mut self, value: bool) -> Value {
        self.decoder.constant(HostTensor::from_bool(&[], &[value]))
    }

    /// `[S]`
    fn steps(&mut self) -> Value {
        let sequence = self.decoder.sequence.clone();
        self.decoder.iota(vec![sequence], 0)
    }

    /// `i >= at`, `[S]`.
    fn from(&mut self, at: i64) -> Value {
        let (steps, at) = (self.steps(), self.whole(at));
        self.decoder.compare(CompareFunction::Ge, steps, at)
    }

    /// `i < at`, `[S]`.
    fn until(&mut self, at: i64) -> Value {
        let (steps, at) = (self.steps(), self.whole(at));
        self.decoder.compare(CompareFunction::Lt, steps, at)
    }

    /// 2 where `i >= 1`, else -8.
    fn chosen(&mut self) -> Value {
        let condition = self.from(1);
        self.decoder.select(condition, 2.0, -8.0)
    }

    fn unary(&mut self, function: UnaryFunction, value: Value) -> Value {
        self.decoder.add(Op::Unary { function }, &[value])
    }

    fn reduce(&mut self, function: ReduceFunction, axes: &[usize], value: Value) -> Value {
        self.decoder.add(Op::Reduce { function, axes: axes.to_vec() }, &[value])
    }
}

#[test]
fn inputs_of_the_mode() {
    let subject = subject();
    assert_eq!(subject.is_known(subject.mask), Integer(Dim::ONE));
    subject.is_known(subject.positions);
    subject.is_unknown(subject.decoder.ids);
}

#[test]
fn constants_lists_and_indices() {
    let mut subject = subject();
    let whole = subject.whole(7);
    assert_eq!(subject.is_known(whole), Integer(7.into()));
    let number = subject.number(-0.5);
    assert_eq!(subject.is_known(number), Number(-0.5));
    let (yes, no) = (subject.truth(true), subject.truth(false));
    assert_eq!((subject.is_known(yes), subject.is_known(no)), (All(vec![]), Never));
    let list = subject.decoder.constant(HostTensor::from_i64(&[4], &[3, 5, 7, 9]));
    subject.is_known(list);
    let odd = subject.decoder.constant(HostTensor::from_i64(&[4], &[3, 5, 7, 8]));
    subject.is_unknown(odd);
    let none = subject.decoder.constant(HostTensor::from_i64(&[0], &[]));
    subject.is_unknown(none);
    let many = subject.decoder.constant(HostTensor::from_i64(&[1 << 14], &vec![3; 1 << 14]));
    assert_eq!(subject.is_known(many), Integer(3.into()));
    let more = subject.decoder.constant(HostTensor::from_i64(&[(1 << 14) + 1], &vec![3; (1 << 14) + 1]));
    subject.is_unknown(more);
    let past = subject.decoder.past.clone();
    let dims = |dims: Vec<Dim>, shape: Vec<usize>| Op::Dims { dims, shape };
    let positions = dims(vec![past.clone(), &past + &1.into(), &past + &2.into()], vec![1, 3]);
    let positions = subject.decoder.add(positions, &[]);
    subject.is_known(positions);
    let mixed = subject.decoder.add(dims(vec![past.clone(), 4.into()], vec![2]), &[]);
    let known = subject.is_known(mixed);
    assert!(matches!(known, Integer(_)), "two numbers are always a sum: {known:?}");
    let mixed = subject.decoder.add(dims(vec![past.clone(), 4.into(), past], vec![3]), &[]);
    subject.is_unknown(mixed);
    for axis in [0, 1] {
        let total = vec![subject.decoder.sequence.clone(), subject.decoder.total()];
        let iota = subject.decoder.iota(total, axis);
        subject.is_known(iota);
    }
}

#[test]
fn conversions() {
    let mut subject = subject();
    let convert = |subject: &mut Subject, value: Value, to: Type| subject.decoder.convert(value, to);
    for (value, truth) in [(0, Never), (1, All(vec![])), (-3, All(vec![]))] {
        let value = subject.whole(value);
        let value = convert(&mut subject, value, Type::Bool);
        assert_eq!(subject.is_known(value), truth);
    }
    for (value, truth) in [(0.0, Never), (0.25, All(vec![])), (f32::NEG_INFINITY, All(vec![]))] {
        let value = subject.number(value);
        let value = convert(&mut subject, value, Type::Bool);
        assert_eq!(subject.is_known(value), truth);
    }
    // A length of one at least is true, an index is not always.
    let sequence = subject.decoder.sequence.clone();
    let sequence = subject.decoder.integer(sequence);
    let sequence = convert(&mut subject, sequence, Type::Bool);
    assert_eq!(subject.is_known(sequence), All(vec![]));
    let steps = subject.steps();
    let steps = convert(&mut subject, steps, Type::Bool);
    subject.is_unknown(steps);
    let mask = subject.mask;
    let mask = convert(&mut subject, mask, Type::Bool);
    assert_eq!(subject.is_known(mask), All(vec![]));
    let whole = subject.whole(3);
    let whole = convert(&mut subject, whole, Type::F32);
    assert_eq!(subject.is_known(whole), Number(3.0));
    let steps = subject.steps();
    let float = convert(&mut subject, steps, Type::F32);
    subject.is_unknown(float);
    let number = subject.number(-4.0);
    let number = convert(&mut subject, number, Type::I64);
    assert_eq!(subject.is_known(number), Integer((-4).into()));
    for odd in [0.5, f32::NAN, f32::INFINITY, f32::MAX] {
        let number = subject.number(odd);
        let number = convert(&mut subject, number, Type::I64);
        subject.is_unknown(number);
    }
    for to in [Type::I64, Type::F32] {
        let condition = subject.from(2);
        let number = convert(&mut subject, condition, to);
        assert!(matches!(subject.is_known(number), Choice(..)));
        let no = subject.truth(false);
        let no = convert(&mut subject, no, to);
        subject.is_known(no);
    }
    let chosen = subject.chosen();
    let truth = convert(&mut subject, chosen, Type::Bool);
    assert_eq!(subject.is_known(truth), All(vec![]));
    let whole = convert(&mut subject, chosen, Type::I64);
    subject.is_known(whole);
    let same = convert(&mut subject, whole, Type::I32);
    subject.is_known(same);
}

#[test]
fn functions_of_one() {
    let mut subject = subject();
    let (yes, no, some) = (subject.truth(true), subject.truth(false), subject.from(2));
    for (value, expected) in [(yes, Some(Never)), (no, Some(All(vec![]))), (some, None)] {
        let turned = subject.unary(UnaryFunction::Not, value);
        let found = subject.is_known(turned);
        assert!(expected.is_none_or(|expected| expected == found));
    }
    let (from, until) = (subject.from(1), subject.until(3));
    let both = subject.decoder.binary(BinaryFunction::And, from, until);
    subject.is_known(both);
    let turned = subject.unary(UnaryFunction::Not, both);
    subject.is_unknown(turned);
    let steps = subject.steps();
    let number = subject.number(2.5);
    for value in [steps, number] {
        let turned = subject.unary(UnaryFunction::Neg, value);
        subject.is_known(turned);
        let other = subject.unary(UnaryFunction::Abs, value);
        subject.is_unknown(other);
    }
}

#[test]
fn truth_values_of_two() {
    use BinaryFunction::{And, Or, Xor};
    let mut subject = subject();
    let (yes, no) = (subject.truth(true), subject.truth(false));
    let (from, until) = (subject.from(1), subject.until(3));
    let odd = subject.decoder.convert(subject.decoder.ids, Type::Bool);
    let known = |subject: &mut Subject, function, a, b| {
        let found = subject.decoder.binary(function, a, b);
        subject.is_known(found)
    };
    assert_eq!(known(&mut subject, And, no, odd), Never);
    assert_eq!(known(&mut subject, And, odd, no), Never);
    assert_eq!(known(&mut subject, Or, yes, odd), All(vec![]));
    assert_eq!(known(&mut subject, Or, odd, yes), All(vec![]));
    for pair in [[from, until], [yes, from], [from, yes]] {
        known(&mut subject, And, pair[0], pair[1]);
    }
    for pair in [[no, from], [from, no], [from, yes]] {
        known(&mut subject, Or, pair[0], pair[1]);
    }
    for (function, a, b) in [(Or, from, until), (And, from, odd), (And, odd, yes), (Or, odd, from), (Xor, from, until)]
    {
        let found = subject.decoder.binary(function, a, b);
        subject.is_unknown(found);
    }
    // Or with what is never true is the other, unknown too.
    let found = subject.decoder.binary(Or, odd, no);
    subject.is_unknown(found);
    // What is never true together is seen where bounds tell.
    let (late, never) = (subject.from(1), subject.from(-1));
    known(&mut subject, And, late, never);
    let far = subject.until(0);
    assert_eq!(subject.is_known(far), Never);
}

#[test]
fn integers_of_two() {
    use BinaryFunction::{Add, Div, FloorDiv, Max, Min, Mod, Mul, Sub};
    let mut subject = subject();
    let (steps, positions) = (subject.steps(), subject.positions);
    let three = subject.whole(3);
    let minus = subject.whole(-3);
    for function in [Add, Sub, Mul, Min, Max] {
        for pair in [[steps, positions], [positions, steps], [steps, three], [minus, steps]] {
            let found = subject.decoder.binary(function, pair[0], pair[1]);
            subject.is_known(found);
        }
    }
    let negative = subject.unary(UnaryFunction::Neg, positions);
    for function in [Div, FloorDiv, Mod] {
        let found = subject.decoder.binary(function, positions, three);
        subject.is_known(found);
        for pair in [[negative, three], [positions, minus]] {
            let found = subject.decoder.binary(function, pair[0], pair[1]);
            subject.is_unknown(found);
        }
    }
    let power = subject.decoder.binary(BinaryFunction::Pow, positions, three);
    subject.is_unknown(power);
}

#[test]
fn numbers_of_two() {
    use BinaryFunction::{Add, Div, Max, Min, Mul, Pow, Sub};
    let mut subject = subject();
    let (a, b) = (subject.number(2.0), subject.number(-4.0));
    let chosen = subject.chosen();
    for function in [Add, Sub, Mul, Div, Min, Max] {
        for pair in [[a, b], [b, a], [chosen, a], [b, chosen]] {
            let found = subject.decoder.binary(function, pair[0], pair[1]);
            subject.is_known(found);
        }
    }
    let power = subject.decoder.binary(Pow, a, b);
    subject.is_unknown(power);
    // Choices by two conditions.
    let other = {
        let condition = subject.until(3);
        subject.decoder.select(condition, 0.5, 8.0)
    };
    let sum = subject.decoder.binary(Add, chosen, other);
    subject.is_known(sum);
    let ids = subject.decoder.convert(subject.decoder.ids, Type::F32);
    let sum = subject.decoder.binary(Add, chosen, ids);
    subject.is_unknown(sum);
}

#[test]
fn sums_of_masks() {
    let mut subject = subject();
    let (from, until) = (subject.from(1), subject.until(3));
    let mask = |subject: &mut Subject, condition, shown, hidden| subject.decoder.select(condition, shown, hidden);
    let (a, b) = (mask(&mut subject, from, 0.0, -1e5), mask(&mut subject, until, 0.0, f32::MIN));
    let sum = subject.decoder.binary(BinaryFunction::Add, a, b);
    let (element, _) = subject.element(sum);
    let Choice(parts, shown, hidden) = element else { panic!("{element:?}") };
    assert_eq!((parts.len(), *shown), (2, Number(0.0)));
    assert!(is_hidden(&hidden));
    // Where one of them only lowers, the sum says what each part is.
    for (shown, hidden) in [(0.0, -1.0), (1.0, -1e5)] {
        let other = mask(&mut subject, until, shown, hidden);
        let sum = subject.decoder.binary(BinaryFunction::Add, a, other);
        subject.is_known(sum);
        let sum = subject.decoder.binary(BinaryFunction::Add, other, a);
        subject.is_known(sum);
    }
}

#[test]
fn what_is_hidden() {
    for (value, hidden) in [
        (-1e4, true),
        (-9_999.9, false),
        (f64::NEG_INFINITY, true),
        (-1.0, false),
        (0.0, false),
        (f64::NAN, false),
        (1e9, false),
    ] {
        assert_eq!(is_hidden(&Number(value)), hidden, "{value}");
    }
    for other in [Never, Unknown, All(vec![]), Integer((-100_000).into())] {
        assert!(!is_hidden(&other));
    }
}

#[test]
fn comparisons() {
    let mut subject = subject();
    let (steps, positions) = (subject.steps(), subject.positions);
    let (keys, queries) = (subject.decoder.key_positions(), subject.decoder.queries());
    let numbers = [-1.0, 0.5, 2.0].map(|value| subject.number(value));
    let chosen = subject.chosen();
    let three = subject.whole(3);
    for &function in CompareFunction::ALL {
        let equal = matches!(function, CompareFunction::Eq | CompareFunction::Ne);
        for pair in [[keys, queries], [steps, three], [three, steps]] {
            let found = subject.decoder.compare(function, pair[0], pair[1]);
            if equal { subject.is_unknown(found) } else { drop(subject.is_known(found)) }
        }
        // A difference that is a number decides: positions are not steps but for the past.
        let next = subject.whole(1);
        let next = subject.decoder.binary(BinaryFunction::Add, positions, next);
        for pair in [[positions, next], [next, positions], [positions, positions]] {
            let found = subject.decoder.compare(function, pair[0], pair[1]);
            subject.is_known(found);
        }
        for pair in [[0, 1], [1, 0], [2, 2]] {
            let found = subject.decoder.compare(function, numbers[pair[0]], numbers[pair[1]]);
            subject.is_known(found);
        }
        for pair in [[chosen, numbers[1]], [numbers[1], chosen], [chosen, numbers[2]], [numbers[2], chosen]] {
            let found = subject.decoder.compare(function, pair[0], pair[1]);
            let both = subject.element(found).0;
            if both != Unknown {
                subject.is_known(found);
            }
        }
        let ids = subject.decoder.ids;
        let found = subject.decoder.compare(function, ids, positions);
        subject.is_unknown(found);
    }
    let less = subject.decoder.compare(CompareFunction::Lt, chosen, numbers[1]);
    subject.is_known(less);
}

#[test]
fn selections() {
    let mut subject = subject();
    let (from, until, yes, no) = (subject.from(1), subject.until(3), subject.truth(true), subject.truth(false));
    let odd = subject.decoder.convert(subject.decoder.ids, Type::Bool);
    let select = |subject: &mut Subject, condition, a, b| subject.decoder.add(Op::Select {}, &[condition, a, b]);
    let (two, five) = (subject.number(2.0), subject.number(5.0));
    let ids = subject.decoder.convert(subject.decoder.ids, Type::F32);
    for (condition, a, b) in [(yes, two, ids), (no, ids, two), (from, two, five), (from, two, two)] {
        let found = select(&mut subject, condition, a, b);
        subject.is_known(found);
    }
    for (condition, a, b) in [(odd, two, five), (from, ids, two), (from, two, ids)] {
        let found = select(&mut subject, condition, a, b);
        subject.is_unknown(found);
    }
    // Truth values: only what stays a conjunction.
    for (condition, a, b) in [(from, until, no), (from, no, yes), (from, yes, no), (from, until, until)] {
        let found = select(&mut subject, condition, a, b);
        subject.is_known(found);
    }
    for (condition, a, b) in [(from, until, yes), (from, yes, until), (from, no, until)] {
        let found = select(&mut subject, condition, a, b);
        subject.is_unknown(found);
    }
    let both = subject.decoder.binary(BinaryFunction::And, from, until);
    let found = select(&mut subject, both, no, yes);
    subject.is_unknown(found);
    // What is shown comes first, whoever wrote it: only for one condition.
    let zero = subject.number(0.0);
    let found = select(&mut subject, from, two, zero);
    assert!(matches!(subject.is_known(found), Choice(_, shown, _) if *shown == Number(0.0)));
    let found = select(&mut subject, both, two, zero);
    assert!(matches!(subject.is_known(found), Choice(_, shown, _) if *shown == Number(2.0)));
}

#[test]
fn layout() {
    let mut subject = subject();
    let (sequence, total, batch) =
        (subject.decoder.sequence.clone(), subject.decoder.total(), subject.decoder.batch.clone());
    let causal = subject.decoder.causal();
    let turned = subject.decoder.add(Op::Transpose { permutation: vec![1, 0] }, &[causal]);
    subject.is_known(turned);
    let four = subject
        .decoder
        .add(Op::Broadcast { dims: vec![batch.clone(), 1.into(), sequence.clone(), total.clone()] }, &[causal]);
    subject.is_known(four);
    let moved = subject.decoder.add(Op::Transpose { permutation: vec![3, 0, 2, 1] }, &[four]);
    subject.is_known(moved);
    let wide = subject.decoder.reshape(causal, vec![1.into(), sequence.clone(), 1.into(), total.clone()]);
    subject.is_known(wide);
    let back = subject.decoder.reshape(wide, vec![sequence.clone(), total.clone()]);
    subject.is_known(back);
    // The axes run together: only what is the same everywhere is known.
    let flat = subject.decoder.reshape(causal, vec![&sequence * &total]);
    subject.is_unknown(flat);
    let mask = subject.mask;
    let flat = subject.decoder.reshape(mask, vec![&batch * &total]);
    assert_eq!(subject.is_known(flat), Integer(Dim::ONE));
    let iota = subject.decoder.iota(vec![sequence.clone(), sequence.clone()], 0);
    let both = subject.decoder.reshape(iota, vec![&sequence * &sequence]);
    subject.is_unknown(both);
    let total_row = subject.decoder.key_positions();
    let slice = |subject: &mut Subject, start: Dim, step: i64, count: Dim| {
        subject.decoder.add(Op::Slice { starts: vec![start], steps: vec![step], dims: vec![count] }, &[total_row])
    };
    let past = subject.decoder.past.clone();
    let new = slice(&mut subject, past, 1, sequence.clone());
    subject.is_known(new);
    let last = &total - &Dim::ONE;
    let reversed = slice(&mut subject, last, -1, total);
    subject.is_known(reversed);
}

#[test]
fn concatenations() {
    let mut subject = subject();
    let (past, sequence) = (subject.decoder.past.clone(), subject.decoder.sequence.clone());
    let total = subject.decoder.total();
    let old = subject.decoder.iota(vec![past.clone()], 0);
    let new = subject.steps();
    let parts = subject.decoder.add(Op::Concat { axis: 0 }, &[old, new]);
    // Some position of either: not told apart.
    subject.is_unknown(parts);
    let slice = |subject: &mut Subject, start: Dim, count: Dim| {
        subject.decoder.add(Op::Slice { starts: vec![start], steps: vec![1], dims: vec![count] }, &[parts])
    };
    let second = slice(&mut subject, past.clone(), sequence.clone());
    subject.is_known(second);
    let first = slice(&mut subject, 0.into(), past);
    subject.is_known(first);
    let whole = slice(&mut subject, 0.into(), total);
    subject.is_unknown(whole);
    let (a, b) = (subject.whole(1), subject.whole(2));
    let pair = [a, b].map(|value| subject.decoder.reshape(value, vec![1.into()]));
    let pair = subject.decoder.add(Op::Concat { axis: 0 }, &pair);
    for at in 0..2 {
        let one =
            subject.decoder.add(Op::Slice { starts: vec![at.into()], steps: vec![1], dims: vec![1.into()] }, &[pair]);
        assert_eq!(subject.is_known(one), Integer((at + 1).into()));
    }
}

#[test]
fn lookups() {
    let mut subject = subject();
    let keys = subject.decoder.key_positions();
    let positions = subject.positions;
    let picked = subject.decoder.add(Op::Gather { axis: 0 }, &[keys, positions]);
    subject.is_known(picked);
    let causal = subject.decoder.causal();
    let rows = subject.steps();
    let same = subject.decoder.add(Op::Gather { axis: 0 }, &[causal, rows]);
    subject.is_known(same);
    let columns = subject.decoder.add(Op::Gather { axis: 1 }, &[causal, positions]);
    subject.is_known(columns);
    // From the end.
    let last = subject.whole(-1);
    let one = subject.decoder.add(Op::Gather { axis: 0 }, &[keys, last]);
    subject.is_known(one);
    let backwards = subject.unary(UnaryFunction::Neg, keys);
    let minus = subject.decoder.binary(BinaryFunction::Add, backwards, last);
    let reversed = subject.decoder.add(Op::Gather { axis: 0 }, &[keys, minus]);
    subject.is_known(reversed);
    // An index that is not known finds only what is the same everywhere.
    let ids = subject.decoder.ids;
    let somewhere = subject.decoder.add(Op::Gather { axis: 0 }, &[keys, ids]);
    assert!(matches!(subject.element(somewhere).0, Integer(_)), "an index in range, of which nothing else is known");
    let table = subject.decoder.constant(HostTensor::from_f32(&[VOCABULARY], &[3.5; VOCABULARY]));
    let same = subject.decoder.add(Op::Gather { axis: 0 }, &[table, ids]);
    assert_eq!(subject.is_known(same), Number(3.5));
    let table = subject.decoder.weight(&[VOCABULARY]);
    let other = subject.decoder.add(Op::Gather { axis: 0 }, &[table, ids]);
    subject.is_unknown(other);
}

#[test]
fn lookups_by_grids() {
    let mut subject = subject();
    let (batch, total) = (subject.decoder.batch.clone(), subject.decoder.total());
    let dims = vec![batch.clone(), total.clone(), 1.into()];
    let (rows, columns) = (subject.decoder.iota(dims.clone(), 0), subject.decoder.iota(dims, 1));
    let grid = subject.decoder.add(Op::Concat { axis: 2 }, &[rows, columns]);
    let table = subject.decoder.iota(vec![batch.clone(), total.clone()], 1);
    let picked = subject.decoder.add(Op::GatherNd { batch: 0 }, &[table, grid]);
    subject.is_known(picked);
    let mask = subject.mask;
    let ones = subject.decoder.add(Op::GatherNd { batch: 0 }, &[mask, grid]);
    assert_eq!(subject.is_known(ones), Integer(Dim::ONE));
    // The first axis in common.
    let own = subject.decoder.add(Op::GatherNd { batch: 1 }, &[table, columns]);
    subject.is_known(own);
    // Rows of what has more axes than the grid names.
    let dims = vec![total.clone(), 1.into()];
    let places = subject.decoder.iota(dims, 0);
    let wide = subject.decoder.iota(vec![total.clone(), batch], 1);
    let rows = subject.decoder.add(Op::GatherNd { batch: 0 }, &[wide, places]);
    subject.is_known(rows);
    let wide = subject.decoder.iota(vec![total, 3.into()], 0);
    let rows = subject.decoder.add(Op::GatherNd { batch: 0 }, &[wide, places]);
    subject.is_known(rows);
}

#[test]
fn reductions() {
    use ReduceFunction::{All as Each, Any, Max, Mean, Min, Prod, Sum};
    let mut subject = subject();
    let (mask, positions) = (subject.mask, subject.positions);
    let sum = subject.reduce(Sum, &[1], mask);
    assert_eq!(subject.is_known(sum), Integer(subject.decoder.total()));
    let all = subject.reduce(Sum, &[0, 1], mask);
    subject.is_known(all);
    for function in [Sum, Max, Min] {
        // Over the batch each position is the same, over the sequence it is not.
        let same = subject.reduce(function, &[0], positions);
        subject.is_known(same);
        let other = subject.reduce(function, &[1], positions);
        if function == Sum {
            subject.is_unknown(other)
        } else {
            drop(subject.is_known(other))
        }
        let turned = subject.unary(UnaryFunction::Neg, positions);
        let other = subject.reduce(function, &[0, 1], turned);
        if function == Sum {
            subject.is_unknown(other)
        } else {
            drop(subject.is_known(other))
        }
        let twice = subject.decoder.binary(BinaryFunction::Add, positions, positions);
        let other = subject.reduce(function, &[1], twice);
        subject.is_unknown(other);
    }
    for function in [Mean, Prod] {
        let found = subject.reduce(function, &[0], mask);
        subject.is_unknown(found);
    }
    let (batch, sequence, past) =
        (subject.decoder.batch.clone(), subject.decoder.sequence.clone(), subject.decoder.past.clone());
    let from = subject.from(2);
    let wide = subject.decoder.add(Op::Broadcast { dims: vec![batch.clone(), sequence] }, &[from]);
    for function in [Each, Any, Max, Min] {
        let same = subject.reduce(function, &[0], wide);
        subject.is_known(same);
        let other = subject.reduce(function, &[1], wide);
        subject.is_unknown(other);
    }
    // Of a past without tokens a maximum is no element of it.
    let seven = subject.whole(7);
    let wide = subject.decoder.add(Op::Broadcast { dims: vec![batch, past] }, &[seven]);
    let most = subject.reduce(Max, &[1], wide);
    subject.is_unknown(most);
    let sum = subject.reduce(Sum, &[1], wide);
    subject.is_known(sum);
    let chosen = subject.number(2.0);
    let found = subject.reduce(Sum, &[], chosen);
    subject.is_unknown(found);
}

#[test]
fn ops_that_are_not_followed() {
    let mut subject = subject();
    let positions = subject.positions;
    let sum = narae_isa::CumulateFunction::Sum;
    let sums =
        subject.decoder.add(Op::Cumulate { function: sum, axis: 1, exclusive: false, reverse: false }, &[positions]);
    subject.is_unknown(sums);
    let found = subject.decoder.graph.add(Op::NonZero {}, &[positions], &Provenance::none()).expect("types fit");
    let (element, _) = subject.element(found[1]);
    assert_eq!(element, Unknown);
}

#[test]
fn the_signs_of_dims() {
    let subject = subject();
    let (graph, roles) = (&subject.decoder.graph, subject.roles());
    let inputs = |_: Value, _: &[Dim]| Unknown;
    let mut elements = Elements::new(graph, &roles, &inputs);
    let (sequence, past) = (&subject.decoder.sequence, &subject.decoder.past);
    let (i, j) = (elements.index(sequence), elements.index(past));
    let few = elements.index(&4.into());
    let zero = Dim::ZERO;
    for (dim, expected) in [
        (zero.clone(), Some(true)),
        (Dim::from(-1), Some(false)),
        (past.clone(), Some(true)),
        (past - &1.into(), None),
        (&zero - past, None),
        (&Dim::from(-1) - past, Some(false)),
        (&(sequence - &1.into()) - &i, Some(true)),
        (sequence - &i, Some(true)),
        (&(sequence - &2.into()) - &i, None),
        (&(past - &j) - &1.into(), Some(true)),
        (past - &i, None),
        (&Dim::from(3) - &few, Some(true)),
        (&Dim::from(2) - &few, None),
        (&few - &4.into(), Some(false)),
        (&few - &3.into(), None),
        // Falls by one first and rises then: at its end it is not below zero, but in between.
        (&(&(&few * &few) - &(&few * &2.into())) - &zero, None),
        // Falls by two.
        (&(sequence * &2.into()) - &(&i * &2.into()), None),
        // Both indices at once.
        (&(&(sequence + past) - &i) - &j, None),
    ] {
        assert_eq!(elements.decide(&dim), expected, "{dim:?}");
    }
}

#[test]
fn a_question_ends() {
    // Two operands each that are the same: 2^40 paths.
    let mut subject = subject();
    let mut value = subject.positions;
    for _ in 0..40 {
        value = subject.decoder.binary(BinaryFunction::Add, value, value);
    }
    subject.is_unknown(value);
    let mut value = subject.positions;
    for _ in 0..8 {
        value = subject.decoder.binary(BinaryFunction::Add, value, value);
    }
    subject.is_known(value);
}
