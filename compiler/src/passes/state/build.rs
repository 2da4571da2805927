//! The new graph, node by node.
//!
//! In: the old graph and its roles. Out: a graph whose inputs are ids, `past_len` and the caches as states. A node whose result is proven
//! to count on from the past becomes that count; appends, attention and rotary embeddings are rewritten (`attention.rs`); everything
//! else is copied. Always holds: a symbol that the data decides is defined by the copy of the tensor that defined it; a copy never
//! sees a cache, and never a length that is gone.

use std::collections::{BTreeMap, BTreeSet};

use cranelift_entity::SecondaryMap;
use narae_isa::{BinaryFunction, Diagnostic, Element as Type};

use super::elements::{Element, Elements};
use super::roles::{Roles, assumed};
use super::{CAPACITY, Options, PAST, refused};
use crate::graph::{Definition, Graph, NodeData, Op, Port, Provenance, State, TensorType};
use crate::ir::{Dim, Node, Symbol, SymbolDefinition, Value};

pub(super) struct Builder<'a> {
    pub(super) old: &'a Graph,
    pub(super) roles: &'a Roles,
    options: &'a Options<'a>,
    pub(super) new: Graph,
    pub(super) map: SecondaryMap<Value, Option<Value>>,
    /// `past_len`, and the positions `[B, S]` once something needs them.
    pub(super) past: Value,
    positions: Option<Value>,
    /// The appended caches, by the node that appends.
    pub(super) appended: BTreeMap<Node, usize>,
    /// The symbols that a value of the old graph defines.
    defines: BTreeMap<Value, Vec<Symbol>>,
}

/// What an integer tensor that depends on the past was proven to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Counted {
    /// The past of each sequence, `[B]`.
    Past,
    /// Positions from the past on, `[B or 1, S]`.
    Positions,
    /// Positions from the past on, `[S]`.
    Row,
}

impl<'a> Builder<'a> {
    pub(super) fn new(old: &'a Graph, roles: &'a Roles, options: &'a Options<'a>) -> Builder<'a> {
        let mut new = Graph::new(old.name.clone(), old.sources.clone());
        new.symbols = old.symbols.clone();
        let mut map = SecondaryMap::new();
        let port = |value: Value| old.inputs().iter().find(|port| port.value == value).map_or("ids", |port| &port.name);
        map[roles.ids] = Some(new.add_input(port(roles.ids), old.ty(roles.ids).clone()));
        let past = new.add_input(PAST, TensorType::new(Type::I64, vec![roles.batch.clone()]));
        let room = Some(options.room(old, roles));
        let capacity = new.symbols.add_bounded(CAPACITY, SymbolDefinition::Undefined, Some(1), room);
        let mut appended = BTreeMap::new();
        for (number, cache) in roles.caches.iter().enumerate() {
            let input = &old.inputs()[cache.input];
            let mut ty = old.ty(cache.source).clone();
            ty.dims[2] = capacity.into();
            ty.element = options.element.unwrap_or(ty.element);
            let value = new.add_input(&input.name, ty);
            map[cache.source] = Some(value);
            new.states.push(State { name: input.name.clone(), input: 2 + number, output: 1 + number });
            appended.insert(cache.node, number);
        }
        let defines = defines(old);
        let mut builder = Builder { old, roles, options, new, map, past, positions: None, appended, defines };
        builder.define_lengths();
        builder
    }

    /// Lengths are read off the inputs that remain; those that tensors define wait for the copies of these.
    fn define_lengths(&mut self) {
        let all: Vec<Symbol> = self.new.symbols.iter().map(|(symbol, _)| symbol).collect();
        all.into_iter().for_each(|symbol| self.new.symbols.define(symbol, SymbolDefinition::Undefined));
        for input in 0..self.new.inputs().len() {
            let dims = self.new.dims(self.new.inputs()[input].value).to_vec();
            for (axis, dim) in dims.iter().enumerate() {
                let symbol = self.new.symbols.resolve(dim).as_symbol();
                let open = symbol.filter(|s| self.new.symbols.data(*s).definition == SymbolDefinition::Undefined);
                if let Some(symbol) = open {
                    let definition = SymbolDefinition::Input { input: input as u32, axis: axis as u32 };
                    self.new.symbols.define(symbol, definition);
                }
            }
        }
    }

    pub(super) fn run(&mut self) -> Result<(), Diagnostic> {
        let outputs: BTreeSet<usize> = self.roles.caches.iter().map(|cache| cache.output).collect();
        let rest: Vec<usize> = (0..self.old.outputs().len()).filter(|at| !outputs.contains(at)).collect();
        let [logits] = rest[..] else {
            return Err(refused(format!("{} outputs besides the caches were found, not just the logits", rest.len())));
        };
        let logits: Port = self.old.outputs()[logits].clone();
        let cut = if self.options.all_logits { None } else { self.before_head(logits.value) };
        let needed = self.needed(logits.value);
        for (node, data) in self.old.nodes() {
            if data.results.iter().any(|result| needed[*result]) {
                self.node(node, data).map_err(|problem| data.provenance.locate(problem))?;
            }
            for result in data.results.iter().filter(|result| cut == Some(**result)) {
                self.last_token(*result, &data.provenance)?;
            }
        }
        let value = self.operand(logits.value, &Provenance::none())?;
        self.new.add_output(logits.name, value);
        for cache in &self.roles.caches {
            let value = self.mapped(self.old.node(cache.node).results[0])?;
            self.new.add_output(&self.old.outputs()[cache.output].name, value);
        }
        Ok(())
    }

    /// The graph, if it still works for every batch and every number of tokens.
    pub(super) fn finish(self) -> Result<Graph, Diagnostic> {
        for (what, dim) in [("batch", &self.roles.batch), ("sequence", &self.roles.sequence)] {
            if self.new.symbols.resolve(dim) != *dim {
                let found = self.new.symbols.resolve(dim).display(&self.new.symbols).to_string();
                return Err(refused(format!(
                    "with a past of its own for each sequence the {what} could only be {found}"
                )));
            }
        }
        Ok(self.new)
    }

    pub(super) fn mapped(&self, value: Value) -> Result<Value, Diagnostic> {
        let from = || match self.old.definition(value) {
            Definition::Input(at) => format!("the input `{}`", self.old.inputs()[at as usize].name),
            Definition::Result { node, .. } => format!("the result of `{}`", self.old.node(node).op.name()),
        };
        self.map[value].ok_or_else(|| refused(format!("{} is used in a way that is not causal attention", from())))
    }

    /// The value in front of the row-wise ops that make the logits, if nothing else needs it and what follows it.
    fn before_head(&self, logits: Value) -> Option<Value> {
        use cranelift_entity::EntityRef;
        let uses = self.old.use_counts();
        let mut value = logits;
        while let Some((_, node)) = self.old.defining(value) {
            let by_rows = match node.op {
                Op::Linear {} | Op::RmsNorm { .. } | Op::LayerNorm { .. } | Op::Convert { .. } => true,
                // One number for all rows.
                Op::Binary { .. } => self.old.rank(node.operands[1]) == 0,
                _ => false,
            };
            if !by_rows || uses[node.operands[0].index()] != 1 {
                break;
            }
            value = node.operands[0];
        }
        let dims: Vec<Dim> = self.old.dims(value).iter().map(|dim| self.old.symbols.resolve(dim)).collect();
        let rows = dims.len() == 3 && dims[0] == self.roles.batch && dims[1] == self.roles.sequence;
        (rows && value != logits).then_some(value)
    }

    /// Keeps the last token of a value `[B, S, D]` from here on.
    fn last_token(&mut self, value: Value, provenance: &Provenance) -> Result<(), Diagnostic> {
        let whole = self.mapped(value)?;
        let mut dims = self.new.dims(whole).to_vec();
        let starts = vec![Dim::ZERO, &self.roles.sequence - &Dim::ONE, Dim::ZERO];
        dims[1] = Dim::ONE;
        let last = self.new.add1(Op::Slice { starts, steps: vec![1; 3], dims }, &[whole], provenance)?;
        self.map[value] = Some(last);
        Ok(())
    }

    /// Values that the logits and the caches need, without what is proven. Tensors that define lengths are needed where these are.
    fn needed(&self, logits: Value) -> SecondaryMap<Value, bool> {
        let mut needed: SecondaryMap<Value, bool> = SecondaryMap::new();
        needed[logits] = true;
        for cache in &self.roles.caches {
            needed[self.old.node(cache.node).results[0]] = true;
        }
        for (node, data) in self.old.nodes().rev() {
            if !data.results.iter().any(|result| needed[*result]) || self.counted(data.results[0]).is_some() {
                continue;
            }
            let operands = match &data.op {
                Op::Attention { .. } if self.over_caches(data) => self.kept_operands(data),
                _ if self.appended.contains_key(&node) => vec![data.operands[1]],
                _ => data.operands.clone(),
            };
            operands.into_iter().for_each(|operand| needed[operand] = true);
            self.lengths_of(data).into_iter().for_each(|value| needed[value] = true);
        }
        needed
    }

    /// The tensors whose elements or extents are lengths in a node.
    fn lengths_of(&self, data: &NodeData) -> Vec<Value> {
        let mut found = vec![];
        let mut add = |dim: &Dim| {
            for symbol in self.old.symbols.resolve(dim).symbols() {
                match self.old.symbols.data(symbol).definition {
                    SymbolDefinition::Data { value, .. } | SymbolDefinition::Extent { value, .. } => found.push(value),
                    SymbolDefinition::Input { .. } | SymbolDefinition::Passed { .. } | SymbolDefinition::Undefined => {}
                }
            }
        };
        data.op.visit_dims(&mut add);
        data.results.iter().for_each(|&value| self.old.dims(value).iter().for_each(&mut add));
        found
    }

    /// What an integer tensor counts, if it depends on the past and is proven to.
    pub(super) fn counted(&self, value: Value) -> Option<Counted> {
        // Others are never counted; that is not found out each time.
        if !self.old.element(value).is_integer() {
            return None;
        }
        let inputs = |value: Value, indices: &[Dim]| assumed(self.old, self.roles, value, indices);
        let mut elements = Elements::new(self.old, self.roles, &inputs);
        let dims: Vec<Dim> = self.old.dims(value).iter().map(|dim| self.old.symbols.resolve(dim)).collect();
        let indices = elements.indices(&dims);
        let Element::Integer(found) = elements.at(value, &indices) else { return None };
        let is = |dim: &Dim| found == *dim;
        let rows = dims.last() == Some(&self.roles.sequence);
        match dims.len() {
            1 if dims[0] == self.roles.batch && is(&self.roles.past) => Some(Counted::Past),
            1 if rows && is(&(&self.roles.past + &indices[0])) => Some(Counted::Row),
            2 if rows && is(&(&self.roles.past + &indices[1])) && (dims[0].is(1) || dims[0] == self.roles.batch) => {
                Some(Counted::Positions)
            }
            _ => None,
        }
    }

    /// `past_len[b] + s`, as `[B, S]`.
    pub(super) fn positions(&mut self, provenance: &Provenance) -> Result<Value, Diagnostic> {
        if let Some(positions) = self.positions {
            return Ok(positions);
        }
        let (batch, sequence) = (self.roles.batch.clone(), self.roles.sequence.clone());
        let past = self.new.add1(Op::Reshape { dims: vec![batch, Dim::ONE] }, &[self.past], provenance)?;
        let steps = Op::Iota { element: Type::I64, dims: vec![Dim::ONE, sequence], axis: 1 };
        let steps = self.new.add1(steps, &[], provenance)?;
        let sum = self.new.add1(Op::Binary { function: BinaryFunction::Add }, &[past, steps], provenance)?;
        self.positions = Some(sum);
        Ok(sum)
    }

    fn node(&mut self, node: Node, data: &NodeData) -> Result<(), Diagnostic> {
        if let Some(counted) = self.counted(data.results[0]) {
            let value = match counted {
                Counted::Past => Some(self.past),
                Counted::Positions => Some(self.positions(&data.provenance)?),
                // A row for all sequences cannot hold a past for each; its users are asked (see `row_table`).
                Counted::Row => None,
            };
            if let Some(value) = value {
                let element = self.old.element(data.results[0]);
                let value = self.converted(value, element, &data.provenance)?;
                self.map[data.results[0]] = Some(value);
            }
            return Ok(());
        }
        if let Some(&number) = self.appended.get(&node) {
            return self.append(&self.roles.caches[number], data);
        }
        match &data.op {
            Op::Attention { .. } if self.over_caches(data) => self.attention(data),
            Op::Gather { axis: 0 } if self.counted(data.operands[1]) == Some(Counted::Row) => Ok(()),
            Op::Rope { .. } => self.rope(data),
            _ => self.copy(data),
        }
    }

    fn converted(&mut self, value: Value, element: Type, provenance: &Provenance) -> Result<Value, Diagnostic> {
        if self.new.element(value) == element {
            return Ok(value);
        }
        self.new.add1(Op::Convert { to: element, saturate: false }, &[value], provenance)
    }

    /// What an operand that is no cache became. The positions input is what this mode says that it is.
    pub(super) fn operand(&mut self, value: Value, provenance: &Provenance) -> Result<Value, Diagnostic> {
        if let Some(cache) = self.cache_of(value) {
            let name = &self.old.inputs()[self.roles.caches[cache].input].name;
            return Err(refused(format!("the cache `{name}` is used by something else than attention")));
        }
        if self.roles.positions == Some(value) {
            let positions = self.positions(provenance)?;
            return self.converted(positions, self.old.element(value), provenance);
        }
        self.mapped(value)
    }

    /// The cache that a value is, before or after new rows.
    fn cache_of(&self, value: Value) -> Option<usize> {
        let before = self.roles.caches.iter().position(|cache| cache.source == value);
        before.or_else(|| self.appended.get(&self.old.defining(value)?.0).copied())
    }

    pub(super) fn copy(&mut self, data: &NodeData) -> Result<(), Diagnostic> {
        let mut op = data.op.clone();
        let mut gone = None;
        let mut resolved = |dim: &Dim| {
            let dim = self.old.symbols.resolve(dim);
            gone = gone.or_else(|| dim.symbols().into_iter().find(|symbol| self.is_gone(*symbol)));
            dim
        };
        op.map_dims(&mut resolved);
        if op.defines_symbols() {
            data.results.iter().flat_map(|result| self.old.dims(*result)).for_each(|dim| {
                resolved(dim);
            });
        }
        if let Some(symbol) = gone.filter(|symbol| !self.defined_here(data, *symbol)) {
            return Err(self.depends(data, symbol));
        }
        let mut operands = Vec::with_capacity(data.operands.len());
        for operand in &data.operands {
            operands.push(self.operand(*operand, &data.provenance)?);
        }
        self.widen(data, &mut op, &operands)?;
        // A shape that named the batch or the sequence keeps them; where the last token was cut out before, S is 1.
        let results = if op.defines_symbols() {
            // Dims elsewhere name the symbols that this node defines, so its results keep their types.
            let types = data.results.iter().map(|&value| self.resolved_type(value)).collect();
            self.new.push(op, operands, types, data.provenance.clone())
        } else {
            self.new.add(op, &operands, &data.provenance)?
        };
        for (&old, new) in data.results.iter().zip(results) {
            self.map[old] = Some(new);
            self.define(old, new);
        }
        Ok(())
    }

    /// The symbols that a tensor of the old graph defined are defined by its copy.
    fn define(&mut self, old: Value, new: Value) {
        for &symbol in self.defines.get(&old).map_or(&[][..], Vec::as_slice) {
            let definition = match self.old.symbols.data(symbol).definition {
                SymbolDefinition::Data { index, .. } => SymbolDefinition::Data { value: new, index },
                SymbolDefinition::Extent { axis, .. } => SymbolDefinition::Extent { value: new, axis },
                other => unreachable!("{other:?} does not depend on a tensor"),
            };
            self.new.symbols.define(symbol, definition);
        }
    }

    fn resolved_type(&self, value: Value) -> TensorType {
        let ty = self.old.ty(value);
        TensorType::new(ty.element, self.dims(value))
    }

    /// The resolved dims of a value of the old graph.
    pub(super) fn dims(&self, value: Value) -> Vec<Dim> {
        self.old.dims(value).iter().map(|dim| self.old.symbols.resolve(dim)).collect()
    }

    /// Whether nothing defines a symbol any more: the past of all sequences, or what a tensor defined that is proven or refused.
    fn is_gone(&self, symbol: Symbol) -> bool {
        self.new.symbols.data(symbol).definition == SymbolDefinition::Undefined
    }

    fn defined_here(&self, data: &NodeData, symbol: Symbol) -> bool {
        data.results.iter().any(|result| self.defines.get(result).is_some_and(|symbols| symbols.contains(&symbol)))
    }

    fn depends(&self, data: &NodeData, symbol: Symbol) -> Diagnostic {
        let name = data.op.name();
        if self.roles.past.as_symbol() == Some(symbol) {
            return refused(format!("`{name}` depends on one past length for all sequences"));
        }
        let length = self.old.symbols.name(symbol);
        refused(format!("`{name}` depends on the length `{length}`, which is not there when caches are on the chip"))
    }
}

/// The symbols that tensors define, by the tensor.
fn defines(graph: &Graph) -> BTreeMap<Value, Vec<Symbol>> {
    let mut found: BTreeMap<Value, Vec<Symbol>> = BTreeMap::new();
    for (symbol, row) in graph.symbols.iter() {
        if let SymbolDefinition::Data { value, .. } | SymbolDefinition::Extent { value, .. } = row.definition {
            found.entry(value).or_default().push(symbol);
        }
    }
    found
}
