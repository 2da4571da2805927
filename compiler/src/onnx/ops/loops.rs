//! Loops: `Loop`, and `Scan`, which is a loop over the elements of tensors.
//!
//! In: a body that is a graph, first values of what is carried. Out: a `while`, whose body is made like that of a conditional (`control`). Always
//! holds: extents of carried values that the body changes are lengths of their own inside; all others are passed in.

use std::sync::Arc;

use narae_isa::{BinaryFunction, Element};
use onnx_protobuf::GraphProto;

use super::control::{Captures, Inside, add_result};
use crate::graph::{Graph, Op, TensorType};
use crate::ir::{Dim, SymbolDefinition, Value};
use crate::onnx::builder::{Builder, Built, mismatch};
use crate::onnx::call::{Call, NEWEST, Row, onnx};
use crate::onnx::import::Importer;

pub(super) const ROWS: &[Row] = &[onnx("Loop", 1, NEWEST, "any", repeat), onnx("Scan", 9, NEWEST, "any", scan)];

/// A loop before its body is imported.
struct Frame<'m> {
    body: &'m GraphProto,
    trip: Dim,
    /// The condition before the first iteration, unless it is known to hold.
    condition: Option<Value>,
    /// The body's names of the iteration and of the condition, whose new value is then its first output; `None` for a scan.
    control: Option<(&'m str, &'m str)>,
    /// The body's names of carried values, and what these are at first.
    carried: Vec<(&'m str, Value)>,
    scanned: Vec<Scanned<'m>>,
}

/// A tensor of which every iteration takes one element along an axis.
struct Scanned<'m> {
    name: &'m str,
    value: Value,
    axis: usize,
    backwards: bool,
}

/// What came of importing the body.
struct Attempt {
    body: Graph,
    conditional: bool,
    /// Axes of carried values whose extents change from iteration to iteration.
    changing: Vec<(usize, usize)>,
}

fn repeat(c: &mut Call) -> Built<Vec<Value>> {
    let body = c.attributes.graph("body")?;
    let (trip, condition) = (c.optional(0), c.optional(1));
    let initial: Vec<Value> = (2..c.inputs.len()).map(|index| c.input(index)).collect::<Built<_>>()?;
    if body.input.len() != initial.len() + 2 || body.output.len() < initial.len() + 1 {
        return Err(mismatch("the body does not have the inputs and outputs of the loop"));
    }
    let trip = match trip {
        None => Dim::from(i64::MAX),
        Some(trip) => trip_count(c, trip)?,
    };
    let condition = match condition {
        Some(value) if c.known_ints(value).is_some_and(|known| known.first() != Some(&0)) => None,
        Some(value) => Some(c.reshape(value, vec![])?),
        None => None,
    };
    let control = Some((body.input[0].name.as_str(), body.input[1].name.as_str()));
    let carried = body.input[2..].iter().map(|port| port.name.as_str()).zip(initial).collect();
    Frame { body, trip, condition, control, carried, scanned: Vec::new() }.build(c)
}

/// The number of iterations, never below zero.
fn trip_count(c: &mut Call, trip: Value) -> Built<Dim> {
    if let Some([trip]) = c.known(trip).as_deref() {
        return Ok(c.graph.symbols.maximum(trip, &Dim::ZERO));
    }
    let trip = c.convert(trip, Element::I64)?;
    let zero = c.integer(Element::I64, 0)?;
    let trip = c.binary(BinaryFunction::Max, trip, zero)?;
    c.scalar_operand(trip, "trip", Some(0))
}

fn scan(c: &mut Call) -> Built<Vec<Value>> {
    let body = c.attributes.graph("body")?;
    let all = c.all()?;
    let count = usize::try_from(c.attributes.required_int("num_scan_inputs")?).unwrap_or(0);
    let states = all.len().checked_sub(count).filter(|_| count > 0);
    let Some(states) = states.filter(|&states| body.input.len() == all.len() && body.output.len() >= states) else {
        return Err(mismatch("the body does not have the inputs and outputs of the scan"));
    };
    let numbers = |name: &str, count: usize| -> Built<Vec<i64>> {
        let list = c.attributes.ints(name)?.map_or_else(|| vec![0; count], <[i64]>::to_vec);
        if list.len() == count { Ok(list) } else { Err(mismatch(format!("`{name}` has {} numbers", list.len()))) }
    };
    let outputs = body.output.len() - states;
    let (axes, directions) = (numbers("scan_input_axes", count)?, numbers("scan_input_directions", count)?);
    let (result_axes, turned) = (numbers("scan_output_axes", outputs)?, numbers("scan_output_directions", outputs)?);
    let mut scanned = Vec::with_capacity(count);
    for (index, port) in body.input[states..].iter().enumerate() {
        let value = all[states + index];
        let axis = c.axis(axes[index], c.rank(value))?;
        scanned.push(Scanned { name: &port.name, value, axis, backwards: directions[index] != 0 });
    }
    let trip = c.dim(scanned[0].value, scanned[0].axis);
    for other in &scanned[1..] {
        let extent = c.dim(other.value, other.axis);
        c.must_equal(&extent, &trip, "the number of scanned elements")?;
    }
    let carried = body.input.iter().map(|port| port.name.as_str()).zip(all[..states].iter().copied()).collect();
    let mut results = Frame { body, trip, condition: None, control: None, carried, scanned }.build(c)?;
    for (index, result) in results[states..].iter_mut().enumerate() {
        *result = placed(c, *result, result_axes[index], turned[index] != 0)?;
    }
    Ok(results)
}

/// What was stacked along the first axis, along another one, or from the end.
fn placed(c: &mut Call, stacked: Value, axis: i64, backwards: bool) -> Built {
    let dims = c.dims(stacked);
    let axis = c.axis(axis, dims.len())?;
    let mut y = stacked;
    if backwards {
        let (mut starts, mut steps) = (vec![Dim::ZERO; dims.len()], vec![1; dims.len()]);
        (starts[0], steps[0]) = (&dims[0] - &Dim::ONE, -1);
        y = c.op(Op::Slice { starts, steps, dims }, &[y])?;
    }
    let mut permutation: Vec<usize> = (1..c.rank(y)).collect();
    permutation.insert(axis, 0);
    c.transpose(y, &permutation)
}

impl<'m> Frame<'m> {
    fn build(&self, c: &mut Call<'_, 'm>) -> Built<Vec<Value>> {
        let mut captures = Captures::collect(c.importer, &[self.body])?;
        for &(_, value) in &self.carried {
            c.dims(value).iter().for_each(|dim| captures.use_symbols(dim));
        }
        for scanned in &self.scanned {
            c.dims(scanned.value).iter().for_each(|dim| captures.use_symbols(dim));
        }
        let attempt = self.settle(c.importer, &captures)?;
        let condition = match (attempt.conditional, self.condition) {
            (false, _) => None,
            (true, Some(condition)) => Some(condition),
            (true, None) => Some(c.integer(Element::Bool, 1)?),
        };
        let carried = self.carried.iter().map(|(_, value)| *value);
        let invariants = captures.operands.iter().map(|(_, value)| *value);
        let scanned = self.scanned.iter().map(|scanned| scanned.value);
        let operands: Vec<Value> = condition.into_iter().chain(carried).chain(invariants).chain(scanned).collect();
        let op = Op::While {
            trip: self.trip.clone(),
            conditional: attempt.conditional,
            carried: self.carried.len(),
            symbols: captures.symbol_dims(),
            body: Arc::new(attempt.body),
        };
        c.ops(op, &operands)
    }

    /// Imports the body until all extents that it changes are free.
    fn settle(&self, importer: &mut Importer<'m>, captures: &Captures<'m>) -> Built<Attempt> {
        let mut free: Vec<(usize, usize)> = Vec::new();
        loop {
            let before = importer.problems.len();
            let attempt = self.attempt(importer, captures, &free)?;
            if attempt.changing.is_empty() {
                return Ok(attempt);
            }
            // Every round frees an axis, and there are few.
            importer.problems.truncate(before);
            free.extend(attempt.changing);
        }
    }

    /// Builds the body with the given axes of carried values free to change.
    fn attempt(&self, importer: &mut Importer<'m>, captures: &Captures<'m>, free: &[(usize, usize)]) -> Built<Attempt> {
        let mut inside = Inside::enter(importer, captures, &self.body.name);
        let name = self.control.map_or("scan.iteration", |(iteration, _)| iteration);
        let iteration = inside.builder().graph.add_input(name, TensorType::scalar(Element::I64));
        if let Some((name, _)) = self.control {
            inside.bind(name, iteration);
        }
        let carried = self.bind_carried(&mut inside, free);
        let results = self.bind_and_import(&mut inside, captures, iteration);
        let mut found = (self.condition.is_some(), Vec::new());
        let body = inside.leave(results, |graph, results| {
            // The body runs only while the condition holds, so one that hands its own condition on never ends the loop.
            let always = graph.known_dims(results[0]).is_some_and(|known| known.first().is_some_and(|dim| dim.is(1)));
            found.0 |= !always;
            found.1 = changing(graph, &carried, &results[1..], free);
            let first = usize::from(self.control.is_some());
            let outputs = self.body.output.iter().map(|output| output.name.as_str());
            let named = results[1 - first..].iter().zip(outputs);
            for (&value, name) in named.skip(first.min(usize::from(!found.0))) {
                add_result(graph, name, value);
            }
        })?;
        Ok(Attempt { body, conditional: found.0, changing: found.1 })
    }

    fn bind_carried(&self, inside: &mut Inside<'_, 'm>, free: &[(usize, usize)]) -> Vec<Value> {
        let mut carried = Vec::with_capacity(self.carried.len());
        for (index, &(name, value)) in self.carried.iter().enumerate() {
            let mut ty = inside.type_of(value);
            for &(_, axis) in free.iter().filter(|(other, _)| *other == index) {
                let definition = SymbolDefinition::Input { input: index as u32 + 1, axis: axis as u32 };
                ty.dims[axis] = inside.builder().graph.symbols.add("carried", definition).into();
            }
            let inner = inside.builder().graph.add_input(name, ty);
            inside.bind(name, inner);
            carried.push(inner);
        }
        carried
    }

    /// The results of the body: the condition, carried values, what is stacked.
    fn bind_and_import(
        &self,
        inside: &mut Inside<'_, 'm>,
        captures: &Captures<'m>,
        iteration: Value,
    ) -> Built<Vec<Value>> {
        let holds = inside.builder().integer(Element::Bool, 1)?;
        if let Some((_, condition)) = self.control {
            inside.bind(condition, holds);
        }
        inside.bind_captures(captures)?;
        for scanned in &self.scanned {
            let all = inside.input(scanned.name, scanned.value);
            let element = scanned.element(inside.builder(), all, iteration)?;
            inside.bind(scanned.name, element);
        }
        let mut results = inside.import(self.body)?;
        match self.control {
            Some(_) => results[0] = inside.builder().reshape(results[0], vec![])?,
            None => results.insert(0, holds),
        }
        Ok(results)
    }
}

impl Scanned<'_> {
    /// The element of an iteration.
    fn element(&self, b: &mut Builder, all: Value, iteration: Value) -> Built {
        let mut index = iteration;
        if self.backwards {
            let last = &b.dim(all, self.axis) - &Dim::ONE;
            let last = b.dim_scalar(last)?;
            index = b.sub(last, iteration)?;
        }
        b.gather(all, index, self.axis)
    }
}

/// Axes of carried values, not yet free, whose extents are other ones after an iteration.
fn changing(graph: &Graph, before: &[Value], after: &[Value], free: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (index, (&before, &after)) in before.iter().zip(after).enumerate() {
        let (before, after) = (graph.dims(before), graph.dims(after));
        let differs = |axis: &usize| {
            let (a, b) = (graph.symbols.resolve(&before[*axis]), graph.symbols.resolve(&after[*axis]));
            a != b && !free.contains(&(index, *axis))
        };
        found.extend((0..before.len().min(after.len())).filter(differs).map(|axis| (index, axis)));
    }
    found
}
