//! Control flow: conditionals that are decided or become branches, loops, and the bodies of both.
//!
//! A conditional whose condition is known is replaced by its branch. Otherwise a body becomes a graph of its own: what it takes from
//! outside is collected first, constants and known lengths are made again inside, everything else becomes an operand; the symbols
//! of the operands' dims are passed in. A body teaches nothing to the graph outside: what holds in a branch holds only there.

use std::collections::BTreeMap;
use std::sync::Arc;

use narae_isa::{BinaryFunction, Diagnostic, Element, codes};
use onnx_protobuf::GraphProto;

use crate::graph::{Graph, Op, TensorType};
use crate::ir::{Dim, Symbol, SymbolDefinition, Value};
use crate::onnx::builder::{Built, mismatch};
use crate::onnx::call::{Call, NEWEST, Row, onnx};
use crate::onnx::import::{Importer, Scope, no_sequence, undefined};
use crate::onnx::order::free_names;

pub(super) const ROWS: &[Row] = &[onnx("If", 1, NEWEST, "bool", conditional), onnx("Loop", 1, NEWEST, "any", repeat)];

fn conditional(c: &mut Call) -> Built<Vec<Value>> {
    let condition = c.single()?;
    let (yes, no) = (c.attributes.graph("then_branch")?, c.attributes.graph("else_branch")?);
    if yes.output.len() != no.output.len() {
        return Err(mismatch("the branches differ in number of results"));
    }
    if let Some(known) = c.known_ints(condition) {
        return c.importer.inline(if known.first() == Some(&0) { no } else { yes });
    }
    let condition = c.reshape(condition, vec![])?;
    let captures = Captures::collect(c.importer, &[yes, no])?;
    let then_body = captures.branch(c.importer, yes)?;
    let else_body = captures.branch(c.importer, no)?;
    let operands: Vec<Value> =
        [condition].into_iter().chain(captures.operands.iter().map(|(_, value)| *value)).collect();
    let op = Op::If { symbols: captures.symbol_dims(), then_body: Arc::new(then_body), else_body: Arc::new(else_body) };
    c.ops(op, &operands)
}

impl<'m> Importer<'m> {
    /// Imports a body as part of the graph.
    pub(super) fn inline(&mut self, body: &'m GraphProto) -> Built<Vec<Value>> {
        self.scopes.push(Scope::default());
        let results = self.body(body);
        self.scopes.pop();
        results
    }

    /// Initializers, nodes and results of a body in the innermost scope.
    fn body(&mut self, body: &'m GraphProto) -> Built<Vec<Value>> {
        if self.nesting >= self.model.limits.nesting {
            return Err(Diagnostic::new(&codes::E0105, format!("bodies nested deeper than {}", self.nesting)));
        }
        self.nesting += 1;
        let before = self.problems.len();
        let provenance = self.builder.provenance.clone();
        self.initializers(body);
        self.nodes(&body.node);
        self.builder.provenance = provenance;
        self.nesting -= 1;
        let mut results = Vec::with_capacity(body.output.len());
        for output in &body.output {
            match self.lookup(&output.name) {
                Some(Some(value)) => results.push(value),
                _ if self.problems.len() > before => {
                    // The reason stands at the node in the body.
                    return Err(Diagnostic::new(&codes::E0201, "a body of this operator cannot be imported"));
                }
                _ => return Err(undefined(&output.name, "a result of a body")),
            }
        }
        Ok(results)
    }
}

/// What bodies take from outside.
struct Captures<'m> {
    /// Values made again inside: constants, and integers known as dims.
    known: Vec<(&'m str, Value)>,
    /// Values passed in.
    operands: Vec<(&'m str, Value)>,
    /// Symbols passed in.
    symbols: Vec<Symbol>,
}

impl<'m> Captures<'m> {
    fn collect(importer: &Importer<'m>, bodies: &[&'m GraphProto]) -> Built<Captures<'m>> {
        let mut found: BTreeMap<&'m str, Value> = BTreeMap::new();
        let mut problem = None;
        for body in bodies {
            free_names(body, &mut |name| match importer.lookup(name) {
                Some(Some(value)) if importer.sequences.contains_key(&value) => {
                    problem = problem.take().or(Some(no_sequence("a body uses a Sequence from outside")));
                }
                Some(Some(value)) => {
                    found.insert(name, value);
                }
                Some(None) => {
                    problem =
                        problem.take().or(Some(Diagnostic::new(&codes::E0201, "a value of a body cannot be imported")))
                }
                None => problem = problem.take().or(Some(undefined(name, "a value that a body uses"))),
            });
        }
        if let Some(problem) = problem {
            return Err(problem);
        }
        let mut captures = Captures { known: Vec::new(), operands: Vec::new(), symbols: Vec::new() };
        for (name, value) in found {
            let graph = &importer.builder.graph;
            let known = graph.recipe(value).is_some()
                || (graph.element(value) == Element::I64 && graph.known_dims(value).is_some());
            if known {
                graph.known_dims(value).into_iter().flatten().for_each(|dim| captures.use_symbols(&dim));
                captures.known.push((name, value));
            } else {
                captures.pass(importer, name, value);
            }
        }
        Ok(captures)
    }

    fn pass(&mut self, importer: &Importer<'m>, name: &'m str, value: Value) {
        importer.builder.dims(value).iter().for_each(|dim| self.use_symbols(dim));
        self.operands.push((name, value));
    }

    fn use_symbols(&mut self, dim: &Dim) {
        dim.any_symbol(&mut |symbol| {
            if !self.symbols.contains(&symbol) {
                self.symbols.push(symbol);
            }
            false
        });
    }

    fn symbol_dims(&self) -> Vec<Dim> {
        self.symbols.iter().map(|&symbol| symbol.into()).collect()
    }

    /// The graph of a branch: its inputs are the operands.
    fn branch(&self, importer: &mut Importer<'m>, body: &'m GraphProto) -> Built<Graph> {
        let mut inside = Inside::enter(importer, self, body);
        let bound = inside.bind_captures(self);
        let results = bound.and_then(|()| inside.importer.body(body));
        inside.leave(results, |graph, results| {
            results.iter().zip(&body.output).for_each(|(&value, output)| graph.add_output(output.name.as_str(), value));
        })
    }
}

/// The importer while it builds the graph of a body.
struct Inside<'a, 'm> {
    importer: &'a mut Importer<'m>,
    outer: Graph,
    /// Outer symbol to the one passed in.
    passed: BTreeMap<Symbol, Symbol>,
}

impl<'a, 'm> Inside<'a, 'm> {
    fn enter(importer: &'a mut Importer<'m>, captures: &Captures<'m>, body: &'m GraphProto) -> Inside<'a, 'm> {
        let graph = Graph::new(body.name.as_str(), importer.builder.graph.sources.clone());
        let outer = std::mem::replace(&mut importer.builder.graph, graph);
        let mut passed = BTreeMap::new();
        for (index, &symbol) in (0u32..).zip(&captures.symbols) {
            let row = outer.symbols.data(symbol).clone();
            let definition = SymbolDefinition::Passed { index };
            let symbols = &mut importer.builder.graph.symbols;
            passed.insert(symbol, symbols.add_bounded(&row.name, definition, row.lower, row.upper));
        }
        importer.scopes.push(Scope { opaque: true, ..Scope::default() });
        Inside { importer, outer, passed }
    }

    fn translate(&self, dims: &[Dim]) -> Vec<Dim> {
        let inner = |symbol: Symbol| self.passed.get(&symbol).map(|&symbol| symbol.into());
        dims.iter().map(|dim| self.outer.symbols.resolve(dim).substitute(&inner)).collect()
    }

    fn input(&mut self, name: &str, value: Value) -> Value {
        let ty = self.outer.ty(value);
        let ty = TensorType::new(ty.element, self.translate(&ty.dims));
        self.importer.builder.graph.add_input(name, ty)
    }

    fn bind(&mut self, name: &'m str, value: Value) {
        if let Some(scope) = self.importer.scopes.last_mut() {
            scope.names.insert(name, Some(value));
        }
    }

    fn bind_captures(&mut self, captures: &Captures<'m>) -> Built<()> {
        for &(name, value) in &captures.operands {
            let inner = self.input(name, value);
            self.bind(name, inner);
        }
        for &(name, value) in &captures.known {
            let inner = match self.outer.recipe(value) {
                Some(recipe) => self.importer.builder.constant(recipe.clone())?,
                None => {
                    let dims = self.translate(&self.outer.known_dims(value).unwrap_or_default());
                    let shape = self.outer.ty(value).sizes().unwrap_or_default();
                    self.importer.builder.dims_tensor(dims, shape)?
                }
            };
            self.bind(name, inner);
        }
        Ok(())
    }

    /// Restores the outer graph; the inner one with the outputs that `finish` gives it.
    fn leave<T>(self, results: Built<T>, finish: impl FnOnce(&mut Graph, T)) -> Built<Graph> {
        self.importer.scopes.pop();
        let mut graph = std::mem::replace(&mut self.importer.builder.graph, self.outer);
        let results = results?;
        finish(&mut graph, results);
        graph.resolve_symbols();
        Ok(graph)
    }
}

/// What a loop's body is built with, and what came of it.
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
    let mut captures = Captures::collect(c.importer, &[body])?;
    for &value in &initial {
        c.dims(value).iter().for_each(|dim| captures.use_symbols(dim));
    }
    let mut free: Vec<(usize, usize)> = Vec::new();
    let attempt = loop {
        let before = c.importer.problems.len();
        let attempt = attempt(c.importer, &captures, body, &initial, &free, condition.is_some())?;
        if attempt.changing.is_empty() {
            break attempt;
        }
        // Every round frees an axis, and there are few.
        c.importer.problems.truncate(before);
        free.extend(attempt.changing);
    };
    let condition = match (attempt.conditional, condition) {
        (false, _) => None,
        (true, Some(condition)) => Some(condition),
        (true, None) => Some(c.integer(Element::Bool, 1)?),
    };
    let invariants = captures.operands.iter().map(|(_, value)| *value);
    let operands: Vec<Value> = condition.into_iter().chain(initial.iter().copied()).chain(invariants).collect();
    let op = Op::While {
        trip,
        conditional: attempt.conditional,
        carried: initial.len(),
        symbols: captures.symbol_dims(),
        body: Arc::new(attempt.body),
    };
    c.ops(op, &operands)
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

/// Builds the body with the given axes of carried values free to change.
fn attempt<'m>(
    importer: &mut Importer<'m>,
    captures: &Captures<'m>,
    body: &'m GraphProto,
    initial: &[Value],
    free: &[(usize, usize)],
    conditional: bool,
) -> Built<Attempt> {
    let mut inside = Inside::enter(importer, captures, body);
    let iteration =
        inside.importer.builder.graph.add_input(body.input[0].name.as_str(), TensorType::scalar(Element::I64));
    inside.bind(&body.input[0].name, iteration);
    let mut carried = Vec::new();
    for (index, (&value, port)) in initial.iter().zip(&body.input[2..]).enumerate() {
        let ty = inside.outer.ty(value);
        let (element, mut dims) = (ty.element, inside.translate(&ty.dims));
        for &(_, axis) in free.iter().filter(|(other, _)| *other == index) {
            let definition = SymbolDefinition::Input { input: index as u32 + 1, axis: axis as u32 };
            dims[axis] = inside.importer.builder.graph.symbols.add("carried", definition).into();
        }
        let inner = inside.importer.builder.graph.add_input(port.name.as_str(), TensorType::new(element, dims));
        inside.bind(&port.name, inner);
        carried.push(inner);
    }
    let results = bind_and_import(&mut inside, captures, body);
    let mut found = (conditional, Vec::new());
    let graph = inside.leave(results, |graph, results| {
        // The body runs only while the condition holds, so one that hands its own condition on never ends the loop.
        let always = graph.known_dims(results[0]).is_some_and(|known| known.first().is_some_and(|dim| dim.is(1)));
        found.0 |= !always;
        for (index, &inner) in carried.iter().enumerate() {
            let (before, after) = (graph.dims(inner).to_vec(), graph.dims(results[index + 1]).to_vec());
            let differs = |axis: &usize| {
                let (a, b) = (graph.symbols.resolve(&before[*axis]), graph.symbols.resolve(&after[*axis]));
                a != b && !free.contains(&(index, *axis))
            };
            found.1.extend((0..before.len().min(after.len())).filter(differs).map(|axis| (index, axis)));
        }
        let skip = usize::from(!found.0);
        for (&value, output) in results.iter().zip(&body.output).skip(skip) {
            graph.add_output(output.name.as_str(), value);
        }
    })?;
    Ok(Attempt { body: graph, conditional: found.0, changing: found.1 })
}

fn bind_and_import<'m>(
    inside: &mut Inside<'_, 'm>,
    captures: &Captures<'m>,
    body: &'m GraphProto,
) -> Built<Vec<Value>> {
    let holds = inside.importer.builder.integer(Element::Bool, 1)?;
    inside.bind(&body.input[1].name, holds);
    inside.bind_captures(captures)?;
    let mut results = inside.importer.body(body)?;
    results[0] = inside.importer.builder.reshape(results[0], vec![])?;
    Ok(results)
}
