//! Control flow: conditionals that are decided or become branches, and the bodies of conditionals and loops.
//!
//! A conditional whose condition is known is replaced by its branch. Otherwise, and in a loop, a body becomes a graph of its own: what it takes from
//! outside is collected first, constants and known lengths are made again inside, everything else becomes an operand; the symbols
//! of the operands' dims are passed in. A body teaches nothing to the graph outside: what holds in a branch holds only there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use narae_isa::{Diagnostic, Element, codes};
use onnx_protobuf::GraphProto;

use crate::graph::{Graph, Op, TensorType};
use crate::ir::{Dim, Symbol, SymbolDefinition, Value};
use crate::onnx::builder::{Builder, Built, mismatch};
use crate::onnx::call::{Call, NEWEST, Row, onnx};
use crate::onnx::import::{Importer, Scope, no_sequence, undefined};
use crate::onnx::order::free_names;

use super::decide::{self, Cause};

pub(super) const ROWS: &[Row] = &[onnx("If", 1, NEWEST, "bool", conditional)];

fn conditional(c: &mut Call) -> Built<Vec<Value>> {
    let condition = c.single()?;
    let (yes, no) = (c.attributes.graph("then_branch")?, c.attributes.graph("else_branch")?);
    if yes.output.len() != no.output.len() {
        return Err(mismatch("the branches differ in number of results"));
    }
    if let Some(known) = c.known_ints(condition) {
        return c.importer.inline(if known.first() == Some(&0) { no } else { yes });
    }
    let before = c.importer.problems.len();
    let captures = Captures::collect(c.importer, &[yes, no])?;
    let bodies = captures.branch(c.importer, yes).and_then(|then| Ok((then, captures.branch(c.importer, no)?)));
    let (then_body, else_body) = match bodies {
        Ok((then_body, else_body)) if alike(&then_body, &else_body) => (then_body, else_body),
        // Only one of them can be part of the program.
        other => return only_branch(c, condition, (yes, no), (before, other.err())),
    };
    let condition = c.reshape(condition, vec![])?;
    let operands: Vec<Value> =
        [condition].into_iter().chain(captures.operands.iter().map(|(_, value)| *value)).collect();
    let op = Op::If { symbols: captures.symbol_dims(), then_body: Arc::new(then_body), else_body: Arc::new(else_body) };
    c.ops(op, &operands)
}

/// Whether the results of two branches have the same element types and ranks.
fn alike(a: &Graph, b: &Graph) -> bool {
    let kinds = |graph: &Graph| -> Vec<(Element, usize)> {
        graph.outputs().iter().map(|port| (graph.element(port.value), graph.rank(port.value))).collect()
    };
    kinds(a) == kinds(b)
}

/// The branch that the lengths of the calls that will be made decide for, where both cannot be kept: their results differ in rank, or one cannot
/// be imported, which was reported since there were `before` problems.
fn only_branch<'m>(
    c: &mut Call<'_, 'm>,
    condition: Value,
    (yes, no): (&'m GraphProto, &'m GraphProto),
    (before, problem): (usize, Option<Diagnostic>),
) -> Built<Vec<Value>> {
    let cause = decide::cause(&c.graph, condition);
    if let Cause::Lengths(lengths) = &cause
        && let Some(holds) = decide::by_given_lengths(c, condition, lengths)?
    {
        c.importer.problems.truncate(before);
        return c.importer.inline(if holds { yes } else { no });
    }
    if let Some(problem) = problem {
        return Err(problem);
    }
    let found = mismatch("the results of the branches differ in element type or rank");
    Err(match cause {
        Cause::Lengths(lengths) => {
            let names: Vec<&str> = lengths.iter().map(|&symbol| c.graph.symbols.name(symbol)).collect();
            let flags: Vec<String> = names.iter().map(|name| format!("--dim {name}=N")).collect();
            let which = format!("which of them is taken depends on {}", names.join(", "));
            found.note(which).help(format!("fix what decides: {}", flags.join(" ")))
        }
        Cause::Data => found.note("which of them is taken is decided by data when the program runs"),
    })
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
#[derive(Default)]
pub(super) struct Captures<'m> {
    /// Values made again inside: constants, and integers known as dims.
    known: Vec<(&'m str, Value)>,
    /// Values passed in.
    pub operands: Vec<(&'m str, Value)>,
    /// Symbols passed in.
    symbols: Vec<Symbol>,
}

impl<'m> Captures<'m> {
    pub fn collect(importer: &Importer<'m>, bodies: &[&'m GraphProto]) -> Built<Captures<'m>> {
        let mut found: BTreeMap<&'m str, Value> = BTreeMap::new();
        let mut problem = None;
        for body in bodies {
            let mut names = BTreeSet::new();
            if let Some(twice) = body.input.iter().find(|input| !names.insert(input.name.as_str())) {
                let message = format!("a body has two inputs named `{}`", twice.name);
                return Err(Diagnostic::new(&codes::E0109, message));
            }
            free_names(body, &mut |name| match importer.lookup(name) {
                None if importer.is_omitted(name) => {}
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
        let mut captures = Captures::default();
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

    pub fn use_symbols(&mut self, dim: &Dim) {
        dim.any_symbol(&mut |symbol| {
            if !self.symbols.contains(&symbol) {
                self.symbols.push(symbol);
            }
            false
        });
    }

    pub fn symbol_dims(&self) -> Vec<Dim> {
        self.symbols.iter().map(|&symbol| symbol.into()).collect()
    }

    /// The graph of a branch: its inputs are the operands.
    fn branch(&self, importer: &mut Importer<'m>, body: &'m GraphProto) -> Built<Graph> {
        let mut inside = Inside::enter(importer, self, &body.name);
        let bound = inside.bind_captures(self);
        let results = bound.and_then(|()| inside.importer.body(body));
        inside.leave(results, |graph, results| {
            results.iter().zip(&body.output).for_each(|(&value, output)| add_result(graph, &output.name, value));
        })
    }
}

/// Appends a result of a body. ONNX lets a body list one result twice; the outputs of a graph have names of their own.
pub(super) fn add_result(graph: &mut Graph, name: &str, value: Value) {
    let taken = |name: &str| graph.outputs().iter().any(|port| port.name == name);
    let again = (2..).map(|number| format!("{name}.{number}"));
    let name = std::iter::once(name.to_owned()).chain(again).find(|name| !taken(name));
    graph.add_output(name.unwrap_or_else(|| unreachable!("there are more numbers than outputs")), value);
}

/// The importer while it builds the graph of a body.
pub(super) struct Inside<'a, 'm> {
    importer: &'a mut Importer<'m>,
    outer: Graph,
    /// Outer symbol to the one passed in.
    passed: BTreeMap<Symbol, Symbol>,
}

impl<'a, 'm> Inside<'a, 'm> {
    pub fn enter(importer: &'a mut Importer<'m>, captures: &Captures<'m>, name: &str) -> Inside<'a, 'm> {
        let graph = Graph::new(name, importer.builder.graph.sources.clone());
        let outer = std::mem::replace(&mut importer.builder.graph, graph);
        let mut passed = BTreeMap::new();
        for (index, &symbol) in (0u32..).zip(&captures.symbols) {
            let row = outer.symbols.data(symbol).clone();
            let definition = SymbolDefinition::Passed { index };
            let symbols = &mut importer.builder.graph.symbols;
            passed.insert(symbol, symbols.add_bounded(&row.name, definition, row.lower, row.upper));
        }
        let omitted = importer.omitted().collect();
        importer.scopes.push(Scope { opaque: true, omitted, ..Scope::default() });
        Inside { importer, outer, passed }
    }

    fn translate(&self, dims: &[Dim]) -> Vec<Dim> {
        let inner = |symbol: Symbol| self.passed.get(&symbol).map(|&symbol| symbol.into());
        dims.iter().map(|dim| self.outer.symbols.resolve(dim).substitute(&inner)).collect()
    }

    /// Where the body is built.
    pub fn builder(&mut self) -> &mut Builder {
        &mut self.importer.builder
    }

    /// Imports the body's nodes.
    pub fn import(&mut self, body: &'m GraphProto) -> Built<Vec<Value>> {
        self.importer.body(body)
    }

    /// The type of a value outside, in the symbols inside.
    pub fn type_of(&self, value: Value) -> TensorType {
        let ty = self.outer.ty(value);
        TensorType::new(ty.element, self.translate(&ty.dims))
    }

    /// A new input of the body with the type of a value outside.
    pub fn input(&mut self, name: &str, value: Value) -> Value {
        let ty = self.type_of(value);
        self.importer.builder.graph.add_input(name, ty)
    }

    pub fn bind(&mut self, name: &'m str, value: Value) {
        if let Some(scope) = self.importer.scopes.last_mut() {
            scope.names.insert(name, Some(value));
        }
    }

    pub fn bind_captures(&mut self, captures: &Captures<'m>) -> Built<()> {
        for &(name, value) in &captures.operands {
            let inner = self.input(name, value);
            self.bind(name, inner);
        }
        for &(name, value) in &captures.known {
            let inner = match self.outer.recipe(value) {
                Some(recipe) => {
                    // Inside it keeps its name: patterns of --quant and reports know it by that.
                    let origin =
                        self.outer.defining(value).map(|(_, node)| node.provenance.clone()).unwrap_or_default();
                    let here = std::mem::replace(&mut self.importer.builder.provenance, origin);
                    let inner = self.importer.builder.constant(recipe.clone());
                    self.importer.builder.provenance = here;
                    inner?
                }
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
    pub fn leave<T>(self, results: Built<T>, finish: impl FnOnce(&mut Graph, T)) -> Built<Graph> {
        self.importer.scopes.pop();
        let mut graph = std::mem::replace(&mut self.importer.builder.graph, self.outer);
        let results = results?;
        finish(&mut graph, results);
        graph.resolve_symbols();
        Ok(graph)
    }
}
