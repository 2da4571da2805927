//! The verifier of graphs. What holds of every graph between passes:
//!
//! Structure
//! - Operands and outputs are values of the graph; an operand is defined before its node.
//! - Every result points back to its node and position; inputs point to their port.
//! - Names of inputs are unique, and so are names of outputs.
//!
//! Types
//! - Result types are those that inference finds, but for the names of fresh symbols.
//! - Dims are valid, and known ones are not negative.
//!
//! Symbols
//! - Every symbol of a dim belongs to the graph, is defined, and was not replaced by something that was learnt about it.
//! - A symbol that a tensor defines (`Data`, `Extent`) is used only by nodes after the tensor (or by its own node's results);
//!   the tensor exists, holds integers, and has that element or axis.
//! - `Input` symbols name an axis of an input; `Passed` symbols exist only in bodies.
//!
//! Bodies
//! - Every body is a verified graph of its own.
//!
//! A violation is a bug of ours, found together with all others: code E0999.

use std::collections::BTreeSet;

use narae_isa::{Diagnostic, Diagnostics, Element, codes};

use super::{Definition, Graph, NodeData, TensorType, infer};
use crate::ir::{Dim, Node, Symbol, SymbolDefinition, Symbols, Value};

/// Checks all invariants of a graph and of the bodies in it.
pub fn verify(graph: &Graph) -> Result<(), Diagnostics> {
    let mut verifier = Verifier { graph, body: false, scratch: graph.symbols.clone(), errors: Vec::new() };
    verifier.run();
    Diagnostics::check(verifier.errors, ())
}

/// The nodes that inference refuses now that their operands' dims are known better than when they were added, as faults of the model.
pub fn refused(graph: &Graph) -> Vec<Diagnostic> {
    let mut scratch = graph.symbols.clone();
    let problem = |(_, data): (_, &NodeData)| {
        let types = data.operands.iter().map(|&value| graph.ty(value).clone()).collect();
        let problem = infer::infer(&data.op, types, &mut scratch).err()?;
        Some(data.provenance.locate(problem))
    };
    graph.nodes().filter_map(problem).collect()
}

/// Whether results of these types can come from an op, before what is known of symbols has been said: element types, ranks and known
/// extents are those that inference finds. `scratch` is a table in which inference may do as it likes.
pub(super) fn could_be(
    op: &super::Op,
    operands: Vec<TensorType>,
    results: &[TensorType],
    scratch: &mut Symbols,
) -> Result<(), String> {
    let inferred = infer::infer(op, operands, scratch).map_err(|problem| problem.message)?;
    if inferred.types.len() != results.len() {
        return Err(format!("`{}` has {} results", op.name(), inferred.types.len()));
    }
    for (found, expected) in results.iter().zip(&inferred.types) {
        let known = |(found, expected): (&Dim, &Dim)| match (found.as_const(), expected.as_const()) {
            (Some(found), Some(expected)) => found == expected,
            _ => true,
        };
        let fits = found.element == expected.element
            && found.dims.len() == expected.dims.len()
            && found.dims.iter().zip(&expected.dims).all(known);
        if !fits {
            return Err(format!("a result of `{}` is {found:?}, by its operands it is {expected:?}", op.name()));
        }
    }
    Ok(())
}

struct Verifier<'a> {
    graph: &'a Graph,
    body: bool,
    /// A copy of the table in which inference may do as it likes.
    scratch: Symbols,
    errors: Vec<Diagnostic>,
}

/// Where a symbol must have been defined: before a node, or by this node at the latest.
#[derive(Clone, Copy)]
enum Until {
    Before(Node),
    With(Node),
}

/// Enough to see what is wrong.
const MAXIMUM_ERRORS: usize = 50;

impl Verifier<'_> {
    fn report(&mut self, node: Option<&NodeData>, message: String) {
        if self.errors.len() < MAXIMUM_ERRORS {
            let problem = Diagnostic::new(&codes::E0999, format!("graph `{}`: {message}", self.graph.name));
            self.errors.push(node.map_or(problem.clone(), |node| node.provenance.locate(problem)));
        }
    }

    fn run(&mut self) {
        self.ports();
        self.symbol_table();
        for (node, data) in self.graph.nodes() {
            self.node(node, data);
        }
    }

    fn ports(&mut self) {
        let graph = self.graph;
        let mut names = BTreeSet::new();
        for (index, port) in (0u32..).zip(graph.inputs()) {
            if !names.insert(port.name.as_str()) {
                self.report(None, format!("two inputs are named `{}`", port.name));
            }
            if !self.is_value(port.value) || graph.definition(port.value) != Definition::Input(index) {
                return self.report(None, format!("input `{}` is not the value of its port", port.name));
            }
            self.ty(None, graph.ty(port.value), Until::Before(Node::from_u32(0)), port.value);
        }
        let mut names = BTreeSet::new();
        for port in graph.outputs() {
            if !names.insert(port.name.as_str()) {
                self.report(None, format!("two outputs are named `{}`", port.name));
            }
            if !self.is_value(port.value) {
                self.report(None, format!("output `{}` is not a value of the graph", port.name));
            }
        }
    }

    fn is_value(&self, value: Value) -> bool {
        (value.as_u32() as usize) < self.graph.value_count()
    }

    fn symbol_table(&mut self) {
        let graph = self.graph;
        for (_, row) in graph.symbols.iter().filter(|(_, row)| row.replacement.is_none()) {
            let fits = match row.definition {
                SymbolDefinition::Input { input, axis } => {
                    let port = graph.inputs().get(input as usize);
                    port.is_some_and(|port| (axis as usize) < graph.rank(port.value))
                }
                SymbolDefinition::Data { value, index } => {
                    self.is_value(value) && graph.element(value) == Element::I64 && {
                        let count = Dim::product(graph.dims(value)).as_const();
                        count.is_none_or(|count| i64::try_from(index).is_ok_and(|index| index < count))
                    }
                }
                SymbolDefinition::Extent { value, axis } => self.is_value(value) && (axis as usize) < graph.rank(value),
                SymbolDefinition::Passed { .. } => self.body,
                // Its use is an error, its existence is not.
                SymbolDefinition::Undefined => true,
            };
            if !fits {
                self.report(None, format!("the definition of symbol `{}` does not exist", row.name));
            }
        }
    }

    fn node(&mut self, node: Node, data: &NodeData) {
        let first = data.results.first().copied();
        let before = |value: Value| first.is_none_or(|first| value < first);
        for &operand in &data.operands {
            if !self.is_value(operand) || !before(operand) {
                return self
                    .report(Some(data), format!("operand {operand} of `{}` is not defined before it", data.op.name()));
            }
        }
        for (index, &result) in (0u32..).zip(&data.results) {
            let definition = Definition::Result { node, index };
            if !self.is_value(result) || self.graph.definition(result) != definition {
                return self
                    .report(Some(data), format!("result {result} of `{}` belongs to another node", data.op.name()));
            }
            let until = if data.op.defines_symbols() { Until::With(node) } else { Until::Before(node) };
            self.ty(Some(data), self.graph.ty(result), until, result);
        }
        let mut dims = Vec::new();
        data.op.visit_dims(&mut |dim| dims.push(dim.clone()));
        for dim in dims {
            self.dim(Some(data), &dim, Until::Before(node));
        }
        self.inferred(data);
        for body in data.op.regions() {
            let scratch = body.symbols.clone();
            let mut inner = Verifier { graph: body, body: true, scratch, errors: Vec::new() };
            inner.run();
            self.errors.append(&mut inner.errors);
        }
    }

    fn ty(&mut self, data: Option<&NodeData>, ty: &TensorType, until: Until, value: Value) {
        for dim in &ty.dims {
            self.dim(data, dim, until);
            if dim.as_const().is_some_and(|extent| extent < 0) {
                self.report(data, format!("an extent of {value} is negative"));
            }
        }
    }

    fn dim(&mut self, data: Option<&NodeData>, dim: &Dim, until: Until) {
        if dim.is_invalid() {
            return self.report(data, "a dim is invalid".into());
        }
        for symbol in dim.symbols() {
            self.symbol(data, symbol, until);
        }
    }

    /// A symbol that is used where what defines it stands no later than this.
    fn symbol(&mut self, data: Option<&NodeData>, symbol: Symbol, until: Until) {
        if !self.graph.symbols.contains(symbol) {
            return self.report(data, format!("the symbol {symbol} does not exist"));
        }
        let row = self.graph.symbols.data(symbol);
        if row.replacement.is_some() {
            return self.report(data, format!("the symbol `{}` was replaced, but is still used", row.name));
        }
        match row.definition {
            SymbolDefinition::Undefined => self.report(data, format!("the symbol `{}` is not defined", row.name)),
            SymbolDefinition::Data { value, .. } | SymbolDefinition::Extent { value, .. } => {
                let early = match self.graph.definition(value) {
                    Definition::Input(_) => false,
                    Definition::Result { node: defining, .. } => match until {
                        Until::Before(node) => defining >= node,
                        Until::With(node) => defining > node,
                    },
                };
                if early || (data.is_none() && matches!(self.graph.definition(value), Definition::Result { .. })) {
                    self.report(data, format!("the symbol `{}` is used before {value} defines it", row.name));
                }
            }
            SymbolDefinition::Input { .. } | SymbolDefinition::Passed { .. } => {}
        }
    }

    fn inferred(&mut self, data: &NodeData) {
        let types = data.operands.iter().map(|&value| self.graph.ty(value).clone()).collect();
        let inferred = match infer::infer(&data.op, types, &mut self.scratch) {
            Ok(inferred) => inferred,
            Err(problem) => return self.report(Some(data), format!("inference refuses a node: {}", problem.message)),
        };
        if inferred.types.len() != data.results.len() {
            return self.report(Some(data), format!("`{}` has a wrong number of results", data.op.name()));
        }
        for (&value, expected) in data.results.iter().zip(&inferred.types) {
            let found = self.graph.ty(value);
            let fits = found.element == expected.element
                && found.dims.len() == expected.dims.len()
                && found.dims.iter().zip(&expected.dims).all(|(found, expected)| {
                    // Fresh symbols have no counterpart; everything else is equal once facts are put in.
                    expected.any_symbol(&mut |symbol| !self.graph.symbols.contains(symbol))
                        || self.scratch.resolve(found) == self.scratch.resolve(expected)
                });
            if !fits {
                let message = format!("{value} of `{}` is {found:?}, inference says {expected:?}", data.op.name());
                self.report(Some(data), message);
            }
        }
    }
}
