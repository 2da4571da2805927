//! Dialect 1: pure tensors.
//!
//! A [`Graph`] is a list of nodes in evaluation order. A node applies an [`Op`] to values defined before it (operands point
//! only backwards, so every pass is a loop and cycles cannot be written) and defines new values. A value is a tensor: an element type
//! and dims, which are expressions of the graph's [`Symbols`]. There are no effects, so a value may be computed whenever
//! its operands are known, or never; the meaning of every op is `eval/`.
//!
//! Symbols get their values from the shapes of the inputs, or from the contents of integer tensors (`Data`), in which case the
//! node that uses the symbol must come after the tensor that defines it. Loops and conditionals hold bodies, which are graphs of
//! their own: values never cross the border but as operands and results, and symbols as the op's list `symbols`.
//!
//! Reading order: `ops.rs` (the table), `infer.rs` (types), `eval/` (meaning), `verify.rs` (invariants), `text.rs`.

pub mod attribute;
pub mod contents;
pub mod eval;
pub mod infer;
pub mod names;
pub mod ops;
pub(crate) mod rebuild;
mod recipe_text;
pub mod retype;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod text;
pub mod verify;

use std::sync::Arc;

use cranelift_entity::{PrimaryMap, SecondaryMap};
use narae_isa::{Diagnostic, Element, HostTensor, codes};

pub use self::attribute::Real;
pub use self::ops::Op;
use crate::compress::{Recipe, Sources};
use crate::ir::{Dim, Node, SymbolDefinition, Symbols, Value};

/// The type of a value.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TensorType {
    /// The type of the elements.
    pub element: Element,
    /// The extents, outermost first; empty for a scalar.
    pub dims: Vec<Dim>,
}

impl TensorType {
    /// A type with these dims.
    pub fn new(element: Element, dims: Vec<Dim>) -> TensorType {
        TensorType { element, dims }
    }

    /// The type of a scalar.
    pub fn scalar(element: Element) -> TensorType {
        TensorType { element, dims: Vec::new() }
    }

    /// The extents, if all are known.
    pub fn sizes(&self) -> Option<Vec<usize>> {
        self.dims.iter().map(Dim::as_size).collect()
    }
}

/// Where a value comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Definition {
    /// Input number so-and-so of the graph.
    Input(u32),
    /// Result number `index` of `node`.
    Result {
        /// The node.
        node: Node,
        /// Position among its results.
        index: u32,
    },
}

/// A value of the graph.
#[derive(Clone, Debug)]
pub struct ValueData {
    /// Its type.
    pub ty: TensorType,
    /// Where it comes from.
    pub definition: Definition,
}

/// One ONNX node that something comes from.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Origin {
    /// The name of the ONNX node (or of its first output).
    pub name: String,
    /// The operator, with its domain if not the default one.
    pub op: String,
}

/// The ONNX nodes that a graph node comes from; several after fusion. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Provenance(Arc<Vec<Origin>>);

impl Provenance {
    /// Of one ONNX node.
    pub fn new(name: impl Into<String>, op: impl Into<String>) -> Provenance {
        Provenance(Arc::new(vec![Origin { name: name.into(), op: op.into() }]))
    }

    /// Of no ONNX node.
    pub fn none() -> Provenance {
        Provenance::default()
    }

    /// Of several ONNX nodes.
    pub fn from_origins(mut origins: Vec<Origin>) -> Provenance {
        origins.dedup();
        Provenance(Arc::new(origins))
    }

    /// Of all that either comes from.
    pub fn merge(&self, other: &Provenance) -> Provenance {
        if self == other || other.0.is_empty() {
            return self.clone();
        }
        if self.0.is_empty() {
            return other.clone();
        }
        let mut origins = self.0.as_ref().clone();
        origins.extend(other.0.iter().filter(|origin| !self.0.contains(origin)).cloned());
        Provenance(Arc::new(origins))
    }

    /// The ONNX nodes.
    pub fn origins(&self) -> &[Origin] {
        &self.0
    }

    /// The diagnostic, at the place of the first ONNX node.
    pub fn locate(&self, diagnostic: Diagnostic) -> Diagnostic {
        match self.0.first() {
            Some(origin) if diagnostic.place.is_none() => diagnostic.at_node(origin.name.clone(), origin.op.clone()),
            _ => diagnostic,
        }
    }
}

/// A node of the graph.
#[derive(Clone, Debug)]
pub struct NodeData {
    /// What it computes.
    pub op: Op,
    /// From what.
    pub operands: Vec<Value>,
    /// What it defines.
    pub results: Vec<Value>,
    /// Where it comes from.
    pub provenance: Provenance,
}

/// A named input or output.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Port {
    /// The name in the model.
    pub name: String,
    /// The value.
    pub value: Value,
}

/// An input that is kept between runs: the output of one run is the input of the next, and neither is seen outside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    /// Its name; equal names in several entries of a model are one state.
    pub name: String,
    /// Position among the inputs.
    pub input: usize,
    /// Position among the outputs.
    pub output: usize,
}

/// A graph. See the module's description.
#[derive(Clone, Default, Debug)]
pub struct Graph {
    /// The name of the model's graph.
    pub name: String,
    /// The symbols that dims are made of.
    pub symbols: Symbols,
    /// The files that recipes read.
    pub sources: Sources,
    values: PrimaryMap<Value, ValueData>,
    nodes: PrimaryMap<Node, NodeData>,
    contents: SecondaryMap<Value, Option<contents::Contents>>,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    /// Which inputs and outputs are kept between runs.
    pub states: Vec<State>,
    names: names::Names,
}

impl Graph {
    /// An empty graph that reads from these files.
    pub fn new(name: impl Into<String>, sources: Sources) -> Graph {
        Graph { name: name.into(), sources, ..Graph::default() }
    }

    /// A new input.
    pub fn add_input(&mut self, name: impl Into<String>, ty: TensorType) -> Value {
        let definition = Definition::Input(u32::try_from(self.inputs.len()).expect("inputs are limited on import"));
        let value = self.values.push(ValueData { ty, definition });
        self.inputs.push(Port { name: name.into(), value });
        value
    }

    /// A new output.
    pub fn add_output(&mut self, name: impl Into<String>, value: Value) {
        self.outputs.push(Port { name: name.into(), value });
    }

    /// Appends a node; the types of the results are inferred. Errors are placed at the node's origin.
    pub fn add(&mut self, op: Op, operands: &[Value], provenance: &Provenance) -> Result<Vec<Value>, Diagnostic> {
        for &operand in operands {
            assert!(self.values.is_valid(operand), "operand {operand} of `{}` is not defined before it", op.name());
        }
        let types = operands.iter().map(|&value| self.values[value].ty.clone()).collect();
        let inferred = infer::infer(&op, types, &mut self.symbols).map_err(|problem| provenance.locate(problem))?;
        let node = self.nodes.next_key();
        let mut results = Vec::with_capacity(inferred.types.len());
        for (index, ty) in (0u32..).zip(inferred.types) {
            if ty.dims.iter().any(Dim::is_invalid) {
                let message = format!("the dims of the result of `{}` overflow or are too complicated", op.name());
                return Err(provenance.locate(Diagnostic::new(&codes::E0301, message)));
            }
            results.push(self.values.push(ValueData { ty, definition: Definition::Result { node, index } }));
        }
        for (symbol, source) in inferred.definitions {
            let definition = match source {
                infer::ResultSymbol::Element { result, index } => {
                    SymbolDefinition::Data { value: results[result], index }
                }
                infer::ResultSymbol::Extent { result, axis } => {
                    SymbolDefinition::Extent { value: results[result], axis }
                }
            };
            self.symbols.define(symbol, definition);
        }
        let data =
            NodeData { op, operands: operands.to_vec(), results: results.clone(), provenance: provenance.clone() };
        let known = contents::of_node(self, &data);
        for (&value, contents) in results.iter().zip(known) {
            if contents.is_some() {
                self.contents[value] = contents;
            }
        }
        self.nodes.push(data);
        Ok(results)
    }

    /// Appends a node whose result types the caller knows, and whose symbols exist: what the text form's parser does. The
    /// verifier judges it.
    pub(crate) fn push(
        &mut self,
        op: Op,
        operands: Vec<Value>,
        types: Vec<TensorType>,
        provenance: Provenance,
    ) -> Vec<Value> {
        let node = self.nodes.next_key();
        let value = |(index, ty)| ValueData { ty, definition: Definition::Result { node, index } };
        let results: Vec<Value> = (0u32..).zip(types).map(|pair| self.values.push(value(pair))).collect();
        let data = NodeData { op, operands, results: results.clone(), provenance };
        self.learn_contents(&data);
        self.nodes.push(data);
        results
    }

    fn learn_contents(&mut self, node: &NodeData) {
        let known = contents::of_node(self, node);
        for (&value, contents) in node.results.iter().zip(known) {
            if contents.is_some() {
                self.contents[value] = contents;
            }
        }
    }

    /// Appends a node with one result.
    pub fn add1(&mut self, op: Op, operands: &[Value], provenance: &Provenance) -> Result<Value, Diagnostic> {
        let results = self.add(op, operands, provenance)?;
        assert!(results.len() == 1, "`add1` is for ops with one result");
        Ok(results[0])
    }

    /// Appends a constant.
    pub fn constant(&mut self, recipe: Recipe, provenance: &Provenance) -> Result<Value, Diagnostic> {
        self.add1(Op::Constant { recipe }, &[], provenance)
    }

    /// Appends a small constant held in memory.
    pub fn constant_tensor(&mut self, tensor: HostTensor, provenance: &Provenance) -> Result<Value, Diagnostic> {
        self.constant(Recipe::inline(tensor), provenance)
    }

    /// New symbols for the elements of an integer tensor that only the running program knows. Their values are limited
    /// to `lower..=upper` where given (checked when the program runs).
    pub fn data_symbols(
        &mut self,
        value: Value,
        count: usize,
        name: &str,
        bounds: (Option<i64>, Option<i64>),
    ) -> Vec<Dim> {
        let symbol = |index: usize| {
            let definition = SymbolDefinition::Data { value, index: index as u64 };
            self.symbols.add_bounded(name, definition, bounds.0, bounds.1).into()
        };
        (0..count).map(symbol).collect()
    }

    /// Replaces an op by one with other bodies but the same results.
    pub fn replace_op(&mut self, node: Node, op: Op) {
        self.nodes[node].op = op;
    }

    /// Replaces the recipe of a constant by one of the same type.
    pub fn set_recipe(&mut self, node: Node, recipe: Recipe) {
        let Op::Constant { recipe: old } = &mut self.nodes[node].op else { panic!("only constants have recipes") };
        assert!(old.element() == recipe.element() && old.dims() == recipe.dims(), "a recipe keeps its type");
        *old = recipe;
    }

    /// The same for a constant in a body: `way` leads to it, by nodes and the numbers of their bodies.
    pub fn set_recipe_in(&mut self, way: &[(Node, usize)], node: Node, recipe: Recipe) {
        let Some(((outer, region), rest)) = way.split_first() else { return self.set_recipe(node, recipe) };
        let mut bodies = self.nodes[*outer].op.regions_mut();
        Arc::make_mut(bodies.swap_remove(*region)).set_recipe_in(rest, node, recipe);
    }

    /// The type of a value.
    pub fn ty(&self, value: Value) -> &TensorType {
        &self.values[value].ty
    }

    /// The dims of a value.
    pub fn dims(&self, value: Value) -> &[Dim] {
        &self.values[value].ty.dims
    }

    /// The element type of a value.
    pub fn element(&self, value: Value) -> Element {
        self.values[value].ty.element
    }

    /// The rank of a value.
    pub fn rank(&self, value: Value) -> usize {
        self.values[value].ty.dims.len()
    }

    /// Where a value comes from.
    pub fn definition(&self, value: Value) -> Definition {
        self.values[value].definition
    }

    /// The node that defines a value as its result number `index`.
    pub fn defining(&self, value: Value) -> Option<(Node, &NodeData)> {
        match self.values[value].definition {
            Definition::Input(_) => None,
            Definition::Result { node, .. } => Some((node, &self.nodes[node])),
        }
    }

    /// The recipe of a constant.
    pub fn recipe(&self, value: Value) -> Option<&Recipe> {
        match &self.defining(value)?.1.op {
            Op::Constant { recipe } => Some(recipe),
            _ => None,
        }
    }

    /// The elements of a small integer tensor as expressions of symbols, if known, as they were when the node was added.
    fn contents(&self, value: Value) -> Option<&contents::Contents> {
        self.contents[value].as_ref()
    }

    /// The elements, row-major, of a small tensor of integers or bools as expressions of symbols, if they are known: the
    /// way to follow shape arithmetic.
    pub fn known_dims(&self, value: Value) -> Option<Vec<Dim>> {
        let whole = self.contents(value).filter(|_| !self.element(value).is_float())?;
        Some(whole.elements.iter().map(|dim| self.symbols.resolve(dim)).collect())
    }

    /// The same for floats too: dims, and the number that each is divided by.
    pub fn known_quotients(&self, value: Value) -> Option<(Vec<Dim>, i64)> {
        let contents = self.contents(value)?;
        Some((contents.elements.iter().map(|dim| self.symbols.resolve(dim)).collect(), contents.divisor))
    }

    /// A node.
    pub fn node(&self, node: Node) -> &NodeData {
        &self.nodes[node]
    }

    /// All nodes in order.
    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = (Node, &NodeData)> + ExactSizeIterator {
        self.nodes.iter()
    }

    /// All values in order.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = (Value, &ValueData)> + ExactSizeIterator {
        self.values.iter()
    }

    /// Number of nodes.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// Number of values.
    pub fn value_count(&self) -> usize {
        self.values.len()
    }

    /// The inputs in the model's order.
    pub fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    /// The outputs in the model's order.
    pub fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    /// Puts everything that was learnt about symbols into all dims.
    pub fn resolve_symbols(&mut self) {
        let symbols = &self.symbols;
        for (_, value) in self.values.iter_mut() {
            symbols.resolve_all(&mut value.ty.dims);
        }
        for (_, node) in self.nodes.iter_mut() {
            node.op.map_dims(&mut |dim| symbols.resolve(dim));
        }
    }

    /// How often each value is an operand or an output, by the index of the value.
    pub fn use_counts(&self) -> Vec<u32> {
        use cranelift_entity::EntityRef;
        let mut counts = vec![0u32; self.values.len()];
        let operands = self.nodes.values().flat_map(|node| node.operands.iter());
        for value in operands.chain(self.outputs.iter().map(|port| &port.value)) {
            counts[value.index()] += 1;
        }
        counts
    }
}

/// Graphs are equal as values where an op holds one: same structure, same symbols' names and definitions.
impl PartialEq for Graph {
    fn eq(&self, other: &Graph) -> bool {
        let symbols = |graph: &Graph| -> Vec<(String, SymbolDefinition)> {
            graph.symbols.iter().map(|(_, row)| (row.name.clone(), row.definition)).collect()
        };
        self.inputs == other.inputs
            && self.outputs == other.outputs
            && self.nodes.len() == other.nodes.len()
            && self.values.len() == other.values.len()
            && self.nodes.values().zip(other.nodes.values()).all(|(a, b)| a.op == b.op && a.operands == b.operands)
            && self.values.values().zip(other.values.values()).all(|(a, b)| a.ty == b.ty)
            && symbols(self) == symbols(other)
    }
}

impl Eq for Graph {}

impl std::hash::Hash for Graph {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        for node in self.nodes.values() {
            node.op.hash(state);
            node.operands.hash(state);
        }
        self.outputs.iter().for_each(|port| port.value.hash(state));
    }
}
