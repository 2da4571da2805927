//! What elements are: what is said is held against the evaluator at every index of several lengths; what must not be said is asked for.

mod functions;
mod tensors;

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
fn ops_that_are_not_followed() {
    let mut subject = subject();
    let positions = subject.positions;
    let sum = CumulateFunction::Sum;
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

/// A value whose element is found in this many steps.
fn in_steps(subject: &mut Subject, steps: usize) -> Value {
    if steps == 1 {
        return subject.positions;
    }
    if steps.is_multiple_of(2) {
        let value = in_steps(subject, steps - 1);
        return subject.unary(UnaryFunction::Neg, value);
    }
    let value = in_steps(subject, steps / 2);
    subject.decoder.binary(BinaryFunction::Add, value, value)
}

#[test]
fn a_question_has_twenty_thousand_steps() {
    let mut subject = subject();
    let (last, more) = (in_steps(&mut subject, 20_000), in_steps(&mut subject, 20_001));
    assert_ne!(subject.element(last).0, Unknown);
    subject.is_unknown(more);
}

#[test]
fn a_long_chain_is_followed_to_its_five_hundred_and_twelfth_value() {
    for (count, known) in [(511, true), (512, false), (25_000, false)] {
        let mut subject = subject();
        let mut value = subject.positions;
        for _ in 0..count {
            value = subject.unary(UnaryFunction::Neg, value);
        }
        assert_eq!(subject.element(value).0 != Unknown, known, "{count}");
        // One after the other there is no end to them.
        let graph = &subject.decoder.graph;
        let (roles, inputs) = (subject.roles(), |_: Value, _: &[Dim]| Integer(Dim::ZERO));
        let mut elements = Elements::new(graph, &roles, &inputs);
        for _ in 0..3 {
            assert_eq!(elements.at(value, &[Dim::ZERO, Dim::ZERO]) != Unknown, known, "{count}");
        }
    }
}

#[test]
fn what_an_element_hangs_on_is_seen_in_all_its_parts() {
    use crate::passes::state::elements::mentions;
    let subject = subject();
    let [symbol, other] = [&subject.decoder.past, &subject.decoder.batch].map(|dim| dim.as_symbol().expect("a symbol"));
    let (own, far) = (Dim::from(symbol), Dim::from(other));
    let choice = |part: &Dim, a: &Dim, b: &Dim| {
        Choice(vec![part.clone()], Box::new(Integer(a.clone())), Box::new(Integer(b.clone())))
    };
    for (element, expected) in [
        (choice(&own, &far, &far), true),
        (choice(&far, &own, &far), true),
        (choice(&far, &far, &own), true),
        (choice(&far, &far, &far), false),
        (All(vec![far.clone(), own.clone()]), true),
        (All(vec![far.clone()]), false),
        (Integer(&own + &far), true),
        (Number(1.0), false),
    ] {
        assert_eq!(mentions(&element, &[symbol]), expected, "{element:?}");
    }
}
