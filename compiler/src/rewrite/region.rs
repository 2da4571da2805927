//! A graph into an e-graph, and the chosen terms back into a graph.
//!
//! In: a graph (a loop's body is one of its own). Out: the same inputs, outputs and symbols with other nodes between them. What
//! is no term (ops with regions or several results) stays: its results are leaves, its operands roots. Always holds: every root of
//! the old graph has its class computed in the new one; provenance covers all ONNX nodes that a new node stands for; constant terms
//! become recipes; a node that uses a length which a tensor defines comes after that tensor.

use std::collections::{BTreeMap, BTreeSet};

use cranelift_entity::{EntityRef, SecondaryMap};
use egg::Id;
use narae_isa::Diagnostic;

use super::analysis::{self, Region, Space};
use super::extract::Choice;
use super::node::{Attr, Head, Term};
use crate::compress::Recipe;
use crate::graph::{Definition, Graph, NodeData, Op, Provenance};
use crate::ir::{Node, SymbolDefinition, Value};
use crate::rewrite::fold;

/// A graph as an e-graph.
pub struct Cut {
    /// The e-graph.
    pub space: Space,
    /// The class of each value of the graph.
    classes: SecondaryMap<Value, Option<Id>>,
    /// Values that must be computed, in order.
    roots: Vec<Value>,
    /// Nodes that are no terms.
    opaque: BTreeSet<Node>,
}

impl Cut {
    /// Reads a graph. Inputs in `constants` are known when the image is written.
    pub fn new(graph: &Graph, constants: &BTreeSet<Value>) -> Cut {
        let space = Space::new(Region::new(graph));
        let mut cut = Cut { space, classes: SecondaryMap::new(), roots: vec![], opaque: BTreeSet::new() };
        for port in graph.inputs() {
            cut.leaf(graph, port.value, constants.contains(&port.value));
        }
        for (node, data) in graph.nodes() {
            cut.node(graph, node, data);
        }
        cut.roots.extend(defining_values(graph));
        cut.roots.extend(graph.outputs().iter().map(|port| port.value));
        cut.space.rebuild();
        cut
    }

    fn leaf(&mut self, graph: &Graph, value: Value, constant: bool) {
        let term = self.space.analysis.leaf(value, graph.ty(value).clone(), constant);
        self.classes[value] = Some(self.space.add(term));
    }

    fn node(&mut self, graph: &Graph, node: Node, data: &NodeData) {
        let term = match &data.op {
            Op::Constant { recipe } => Some(self.space.analysis.constant(recipe)),
            op => {
                let parts = Term::of_op(op, &self.space.analysis.names());
                parts.map(|(head, attributes)| self.term(head, attributes, &data.operands))
            }
        };
        match term {
            Some(term) => self.classes[data.results[0]] = Some(self.space.add(term)),
            None => {
                self.opaque.insert(node);
                self.roots.extend(&data.operands);
                data.results.iter().for_each(|result| self.leaf(graph, *result, false));
            }
        }
    }

    fn term(&mut self, head: Head, attributes: Vec<Attr>, operands: &[Value]) -> Term {
        let mut children: Vec<Id> = attributes.into_iter().map(|attr| self.space.add(Term::attribute(attr))).collect();
        children.extend(operands.iter().map(|operand| self.class(*operand)));
        Term { head, children }
    }

    /// The class of a value.
    pub fn class(&self, value: Value) -> Id {
        let class = self.classes[value].expect("operands are defined before they are used");
        self.space.find(class)
    }

    /// The classes of the roots.
    pub fn roots(&self) -> Vec<Id> {
        self.roots.iter().map(|value| self.class(*value)).collect()
    }

    /// The new graph of the chosen terms.
    pub fn rebuild(&self, graph: &Graph, choice: &Choice) -> Result<Graph, Diagnostic> {
        let mut builder = Builder::new(self, graph, choice);
        for (_, data) in graph.nodes().filter(|(node, _)| self.opaque.contains(node)) {
            builder.opaque(data)?;
        }
        for value in defining_values(graph) {
            builder.emit(self.class(value), &Provenance::none())?;
        }
        for port in graph.outputs() {
            let value = builder.emit(self.class(port.value), &Provenance::none())?;
            builder.new.add_output(port.name.clone(), value);
        }
        builder.finish()
    }
}

/// Values whose contents or extents define symbols.
fn defining_values(graph: &Graph) -> Vec<Value> {
    let source = |definition: SymbolDefinition| match definition {
        SymbolDefinition::Data { value, .. } => Some(value),
        SymbolDefinition::Extent { value, .. } => Some(value),
        SymbolDefinition::Input { .. } | SymbolDefinition::Passed { .. } | SymbolDefinition::Undefined => None,
    };
    let values: BTreeSet<Value> = graph.symbols.iter().filter_map(|(_, row)| source(row.definition)).collect();
    values.into_iter().collect()
}

/// The growing new graph.
struct Builder<'a> {
    cut: &'a Cut,
    old: &'a Graph,
    choice: &'a Choice,
    new: Graph,
    done: BTreeMap<Id, Value>,
    constants: BTreeMap<Recipe, Value>,
    origins: BTreeMap<Id, Vec<Node>>,
    failed: Option<Diagnostic>,
}

impl<'a> Builder<'a> {
    fn new(cut: &'a Cut, old: &'a Graph, choice: &'a Choice) -> Builder<'a> {
        let new = old.rebuild();
        let mut done = BTreeMap::new();
        for (before, after) in old.inputs().iter().zip(new.inputs()) {
            done.insert(cut.class(before.value), after.value);
        }
        let mut origins: BTreeMap<Id, Vec<Node>> = BTreeMap::new();
        for (node, data) in old.nodes().filter(|(node, _)| !cut.opaque.contains(node)) {
            origins.entry(cut.class(data.results[0])).or_default().push(node);
        }
        Builder { cut, old, choice, new, done, constants: BTreeMap::new(), origins, failed: None }
    }

    fn finish(mut self) -> Result<Graph, Diagnostic> {
        if let Some(diagnostic) = self.failed.take() {
            return Err(diagnostic);
        }
        let rows: Vec<_> = self.old.symbols.iter().map(|(symbol, row)| (symbol, row.definition)).collect();
        for (symbol, definition) in rows {
            let moved = |builder: &Builder<'_>, value: Value| builder.done.get(&builder.cut.class(value)).copied();
            let definition = match definition {
                SymbolDefinition::Data { value, index } => {
                    moved(&self, value).map(|value| SymbolDefinition::Data { value, index })
                }
                SymbolDefinition::Extent { value, axis } => {
                    moved(&self, value).map(|value| SymbolDefinition::Extent { value, axis })
                }
                SymbolDefinition::Input { .. } | SymbolDefinition::Passed { .. } | SymbolDefinition::Undefined => None,
            };
            if let Some(definition) = definition {
                self.new.symbols.define(symbol, definition);
            }
        }
        self.new.carry_names(self.old, |value| self.done.get(&self.cut.class(value)).copied());
        Ok(self.new)
    }

    /// A node that is no term, with its operands before it.
    fn opaque(&mut self, data: &NodeData) -> Result<(), Diagnostic> {
        self.lengths(&data.op)?;
        let mut operands = Vec::with_capacity(data.operands.len());
        for operand in &data.operands {
            operands.push(self.emit(self.cut.class(*operand), &data.provenance)?);
        }
        let results = if data.op.defines_symbols() {
            // Dims elsewhere name the symbols that this node defines, so its results keep their types.
            let types = data.results.iter().map(|&value| self.old.ty(value).clone()).collect();
            self.new.push(data.op.clone(), operands, types, data.provenance.clone())
        } else {
            self.new.add(data.op.clone(), &operands, &data.provenance)?
        };
        assert!(results.len() == data.results.len(), "an opaque op keeps its results");
        for (before, after) in data.results.iter().zip(results) {
            self.done.insert(self.cut.class(*before), after);
        }
        Ok(())
    }

    /// The tensors that define the lengths which an op uses come before it.
    fn lengths(&mut self, op: &Op) -> Result<(), Diagnostic> {
        let mut values = BTreeSet::new();
        op.visit_dims(&mut |dim| {
            for symbol in dim.symbols() {
                match self.old.symbols.data(symbol).definition {
                    SymbolDefinition::Data { value, .. } | SymbolDefinition::Extent { value, .. } => {
                        values.insert(value);
                    }
                    SymbolDefinition::Input { .. } | SymbolDefinition::Passed { .. } | SymbolDefinition::Undefined => {}
                }
            }
        });
        for value in values {
            self.emit(self.cut.class(value), &Provenance::none())?;
        }
        Ok(())
    }

    /// The value of a class: its chosen term after its operands, without recursion (chains are as long as a model is deep).
    fn emit(&mut self, root: Id, fallback: &Provenance) -> Result<Value, Diagnostic> {
        let mut pending = vec![(root, fallback.clone())];
        while let Some((id, fallback)) = pending.last().cloned() {
            if self.done.contains_key(&id) {
                pending.pop();
                continue;
            }
            let provenance = self.provenance(id, &fallback);
            if let Some(recipe) = self.recipe(id) {
                // Under whatever changes of layout: patterns of --quant know a weight by the name that the file gives it.
                let named = provenance.merge(&self.sources(id));
                self.constant(id, recipe, &named)?;
                pending.pop();
                continue;
            }
            let term = self.chosen(id).clone();
            let operands: Vec<Id> = term.operands().iter().map(|child| self.cut.space.find(*child)).collect();
            let open: Vec<Id> = operands.iter().copied().filter(|child| !self.done.contains_key(child)).collect();
            if !open.is_empty() {
                pending.extend(open.into_iter().rev().map(|child| (child, provenance.clone())));
                continue;
            }
            let op = self.op(&term);
            self.lengths(&op)?;
            let operands: Vec<Value> = operands.iter().map(|child| self.done[child]).collect();
            let value = self.new.add1(op, &operands, &provenance)?;
            self.done.insert(id, value);
            pending.pop();
        }
        Ok(self.done[&root])
    }

    fn chosen(&self, id: Id) -> &Term {
        self.choice.get(&id).expect("every class that a root needs has an extractable term")
    }

    fn op(&self, term: &Term) -> Op {
        let space = &self.cut.space;
        let attributes: Vec<Attr> = term.children[..term.head.attributes()]
            .iter()
            .map(|child| analysis::attribute(space, *child).expect("the first children are attributes").clone())
            .collect();
        Term::to_op(&term.head, &attributes, &space.analysis.names()).expect("a term with a type is an op")
    }

    /// The recipe of a constant class.
    fn recipe(&self, id: Id) -> Option<Recipe> {
        let space = &self.cut.space;
        if !analysis::facts(space, id)?.constant {
            return None;
        }
        let term = self.chosen(id);
        match &term.head {
            Head::Constant(number) => Some(space.analysis.recipe(*number).clone()),
            Head::Value(_) | Head::Attribute(_) => None,
            _ => {
                let operands: Option<Vec<Recipe>> =
                    term.operands().iter().map(|child| self.recipe(space.find(*child))).collect();
                fold::recipe(&self.op(term), &operands?)
            }
        }
    }

    fn constant(&mut self, id: Id, recipe: Recipe, provenance: &Provenance) -> Result<(), Diagnostic> {
        let value = match self.constants.get(&recipe) {
            Some(value) => *value,
            None => {
                let value = self.new.constant(recipe.clone(), provenance)?;
                self.constants.insert(recipe, value);
                value
            }
        };
        self.done.insert(id, value);
        Ok(())
    }

    /// Where the constants come from that a constant class is made of.
    fn sources(&self, id: Id) -> Provenance {
        let (mut pending, mut found) = (vec![id], Provenance::none());
        for _ in 0..MAXIMUM_ORIGINS {
            let Some(id) = pending.pop() else { break };
            let nodes = self.origins.get(&id).into_iter().flatten();
            found = nodes.fold(found, |found, node| found.merge(&self.old.node(*node).provenance));
            pending.extend(self.chosen(id).operands().iter().rev().map(|child| self.cut.space.find(*child)));
        }
        found
    }

    /// All ONNX nodes that a class stands for: those of its old nodes, and of what these used and the new term does not.
    fn provenance(&self, id: Id, fallback: &Provenance) -> Provenance {
        let Some(nodes) = self.origins.get(&id) else { return fallback.clone() };
        let term = self.chosen(id);
        let stop: BTreeSet<Id> = term.operands().iter().map(|child| self.cut.space.find(*child)).collect();
        let mut origin = Provenance::none();
        let mut pending: Vec<Node> = nodes.first().copied().into_iter().collect();
        let mut seen = BTreeSet::new();
        while let Some(node) = pending.pop() {
            if !seen.insert(node) || seen.len() > MAXIMUM_ORIGINS {
                continue;
            }
            let data = self.old.node(node);
            origin = origin.merge(&data.provenance);
            for operand in &data.operands {
                let class = self.cut.class(*operand);
                let constant = analysis::facts(&self.cut.space, class).is_some_and(|facts| facts.constant);
                if stop.contains(&class) || constant || self.done.contains_key(&class) || self.choice_uses(class) {
                    continue;
                }
                if let Definition::Result { node, .. } = self.old.definition(*operand) {
                    pending.push(node);
                }
            }
        }
        origin
    }

    /// Leaves end the walk back.
    fn choice_uses(&self, class: Id) -> bool {
        matches!(self.choice.get(&class), Some(Term { head: Head::Value(_), .. }))
    }
}

/// A fused op stands for fewer nodes than this.
const MAXIMUM_ORIGINS: usize = 64;

/// The index of a value, for maps that are lists.
#[must_use]
pub fn position(value: Value) -> usize {
    value.index()
}
