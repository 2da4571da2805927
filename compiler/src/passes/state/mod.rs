//! `--kv-cache state`: a decoder with past and present tensors becomes one that keeps its cache on the chip.
//!
//! In: a recovered graph (layers not rolled yet) with inputs for ids, past keys and values, and possibly a mask and positions. Out: a
//! graph of ids and `past_len [B]`, whose caches are states that `kv_append` updates in place and whose logits are those of the
//! last token or of all. Mask and positions disappear because they are *proven*, by the elements of the tensors (`elements.rs`),
//! to be causal and to count on from the past, under what this mode means: no padding, every sequence starts at its own
//! past. Always holds: what cannot be proven is refused with the node and the reason; the new graph does for each sequence
//! what the old one does for that sequence alone.

pub mod elements;

use std::collections::{BTreeMap, BTreeSet};

use cranelift_entity::SecondaryMap;
use narae_isa::{BinaryFunction, Diagnostic, Element as Type, codes};

use self::elements::{Element, Elements, is_hidden};
use crate::graph::{Definition, Graph, NodeData, Op, Provenance, Real, State, TensorType};
use crate::ir::{Dim, Node, SymbolDefinition, Value};

/// The name of the input that holds the lengths.
pub const PAST: &str = "past_len";

/// What the new graph gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Logits of all tokens, not just of the last one.
    pub all_logits: bool,
    /// The most tokens that a cache holds.
    pub capacity: i64,
    /// The element type of the caches.
    pub element: Option<Type>,
}

/// The pass.
pub fn keep_state(graph: &mut Graph, options: &Options) -> Result<(), Diagnostic> {
    // Every sequence of this mode has the past of its own and nothing else: the mask is as long as that and the new tokens.
    let found = Roles::find(graph)?;
    if let Some(mask) = found.mask {
        let covered = graph.dims(mask).last().cloned().unwrap_or(Dim::ONE);
        let total = &found.past + &found.sequence;
        graph.symbols.unify(&covered, &total).map_err(|_| refused("the mask is not as long as past and new tokens"))?;
        graph.resolve_symbols();
    }
    let roles = Roles::find(graph)?;
    let mut builder = Builder::new(graph, &roles, options);
    builder.run()?;
    *graph = builder.new;
    Ok(())
}

fn refused(message: impl Into<String>) -> Diagnostic {
    Diagnostic::new(&codes::E0409, message).help("use --kv-cache io, which keeps the model's own inputs and outputs")
}

/// A cache: the input, and the node whose result is its output: a concatenation, or rows put where each sequence ends.
struct Cache {
    input: usize,
    /// The past as that node takes it: the input, or its conversion.
    source: Value,
    node: Node,
    new: Value,
    output: usize,
}

/// What the inputs of a decoder are.
struct Roles {
    caches: Vec<Cache>,
    ids: Value,
    mask: Option<Value>,
    positions: Option<Value>,
    batch: Dim,
    sequence: Dim,
    past: Dim,
}

impl Roles {
    fn find(graph: &Graph) -> Result<Roles, Diagnostic> {
        let caches = caches(graph)?;
        let first = graph.inputs()[caches[0].input].value;
        let resolve = |dim: &Dim| graph.symbols.resolve(dim);
        let (batch, past) = (resolve(&graph.dims(first)[0]), resolve(&graph.dims(first)[2]));
        let sequence = resolve(&graph.dims(caches[0].new)[2]);
        if past.as_symbol().is_none() {
            return Err(refused("the length of the past is not an own dynamic dim of the model"));
        }
        let total = &past + &sequence;
        let used: BTreeSet<usize> = caches.iter().map(|cache| cache.input).collect();
        let (mut ids, mut mask, mut positions) = (None, None, None);
        for (at, port) in graph.inputs().iter().enumerate().filter(|(at, _)| !used.contains(at)) {
            let dims: Vec<Dim> = graph.dims(port.value).iter().map(resolve).collect();
            let is = |last: &Dim| dims.len() == 2 && dims[0] == batch && dims[1] == *last;
            let integer = matches!(graph.element(port.value), Type::I64 | Type::I32 | Type::Bool);
            let name = port.name.to_ascii_lowercase();
            let role = match () {
                () if integer && is(&sequence) && name.contains("position") => &mut positions,
                () if integer && (is(&total) || name.contains("mask")) => &mut mask,
                () if integer && is(&sequence) => &mut ids,
                () if graph.use_counts()[cranelift_entity::EntityRef::index(port.value)] == 0 => continue,
                () => {
                    return Err(refused(format!(
                        "input {at} `{}` is neither ids, mask, positions nor past",
                        port.name
                    )));
                }
            };
            if role.replace(port.value).is_some() {
                return Err(refused(format!("`{}` is a second input of its kind", port.name)));
            }
        }
        let ids = ids.ok_or_else(|| refused("no input [batch, sequence] of token ids was found"))?;
        Ok(Roles { caches, ids, mask, positions, batch, sequence, past })
    }
}

/// The pairs of past and present.
fn caches(graph: &Graph) -> Result<Vec<Cache>, Diagnostic> {
    let mut found = vec![];
    for (input, port) in graph.inputs().iter().enumerate() {
        if graph.rank(port.value) != 4 || !graph.element(port.value).is_float() {
            continue;
        }
        let same = |value: Value, other: Value| value == other || converted_from(graph, value) == Some(other);
        let appended = graph.nodes().find_map(|(node, data)| {
            let source = continued(graph, data)?;
            same(source, port.value).then_some((node, data, source))
        });
        let Some((node, data, source)) = appended else {
            return Err(refused(format!("the past `{}` is not continued along its third axis", port.name)));
        };
        let output = graph.outputs().iter().position(|output| same(output.value, data.results[0]));
        let Some(output) = output else {
            return Err(refused(format!("the past `{}` has no present among the outputs", port.name)));
        };
        found.push(Cache { input, source, node, new: data.operands[1], output });
    }
    if found.is_empty() { Err(refused("the model has no inputs of past keys and values")) } else { Ok(found) }
}

/// The past that a node continues, if it is such a node.
fn continued(graph: &Graph, data: &NodeData) -> Option<Value> {
    match &data.op {
        Op::Concat { axis: 2 } if data.operands.len() == 2 => Some(data.operands[0]),
        Op::KvAppend {} => {
            let grown = graph.defining(data.operands[0]).map(|(_, grown)| grown);
            Some(match grown {
                Some(NodeData { op: Op::Pad { .. }, operands, .. }) => operands[0],
                _ => data.operands[0],
            })
        }
        _ => None,
    }
}

/// What a value is a conversion of.
fn converted_from(graph: &Graph, value: Value) -> Option<Value> {
    let (_, node) = graph.defining(value)?;
    matches!(node.op, Op::Convert { .. }).then(|| node.operands[0])
}

/// What the elements of the inputs are in this mode.
fn assumed(roles: &Roles, value: Value, indices: &[Dim]) -> Element {
    if roles.mask == Some(value) {
        return Element::Integer(Dim::ONE);
    }
    if roles.positions == Some(value) {
        return Element::Integer(&roles.past + &indices[1]);
    }
    Element::Unknown
}

struct Builder<'a> {
    old: &'a Graph,
    roles: &'a Roles,
    options: &'a Options,
    new: Graph,
    map: SecondaryMap<Value, Option<Value>>,
    /// `past_len`, and the positions `[B, S]` once something needs them.
    past: Value,
    positions: Option<Value>,
    /// The appended caches, by the concatenation that they replace.
    appended: BTreeMap<Node, usize>,
}

/// What an integer tensor that depends on the past was proven to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Counted {
    /// The past of each sequence, `[B]`.
    Past,
    /// Positions from the past on, `[B or 1, S]`.
    Positions,
    /// Positions from the past on, `[S]`.
    Row,
}

impl<'a> Builder<'a> {
    fn new(old: &'a Graph, roles: &'a Roles, options: &'a Options) -> Builder<'a> {
        let mut new = Graph::new(old.name.clone(), old.sources.clone());
        new.symbols = old.symbols.clone();
        let mut map = SecondaryMap::new();
        let port = |value: Value| old.inputs().iter().find(|port| port.value == value).map_or("ids", |port| &port.name);
        map[roles.ids] = Some(new.add_input(port(roles.ids), old.ty(roles.ids).clone()));
        let past = new.add_input(PAST, TensorType::new(Type::I64, vec![roles.batch.clone()]));
        let capacity =
            new.symbols.add_bounded("capacity", SymbolDefinition::Undefined, Some(1), Some(options.capacity));
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
        let mut builder = Builder { old, roles, options, new, map, past, positions: None, appended };
        builder.define_lengths();
        builder
    }

    /// Lengths are read off the inputs that remain.
    fn define_lengths(&mut self) {
        let rows: Vec<_> = self.new.symbols.iter().map(|(symbol, row)| (symbol, row.definition)).collect();
        for (symbol, definition) in rows {
            if let SymbolDefinition::Input { .. } = definition {
                self.new.symbols.define(symbol, SymbolDefinition::Undefined);
            }
        }
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

    fn run(&mut self) -> Result<(), Diagnostic> {
        let outputs: BTreeSet<usize> = self.roles.caches.iter().map(|cache| cache.output).collect();
        let rest: Vec<usize> = (0..self.old.outputs().len()).filter(|at| !outputs.contains(at)).collect();
        let [logits] = rest[..] else {
            return Err(refused(format!("{} outputs besides the caches were found, not just the logits", rest.len())));
        };
        let logits = self.old.outputs()[logits].clone();
        let cut = if self.options.all_logits { None } else { self.before_head(logits.value) };
        let needed = self.needed(logits.value)?;
        for (node, data) in self.old.nodes() {
            if data.results.iter().any(|result| needed[*result]) {
                self.node(node, data).map_err(|problem| data.provenance.locate(problem))?;
            }
            for result in data.results.iter().filter(|result| cut == Some(**result)) {
                self.last_token(*result, &data.provenance)?;
            }
        }
        let value = self.mapped(logits.value)?;
        self.new.add_output(logits.name, value);
        for cache in &self.roles.caches {
            let value = self.mapped(self.old.node(cache.node).results[0])?;
            self.new.add_output(&self.old.outputs()[cache.output].name, value);
        }
        Ok(())
    }

    fn mapped(&self, value: Value) -> Result<Value, Diagnostic> {
        let from = || match self.old.definition(value) {
            Definition::Input(at) => format!("the input `{}`", self.old.inputs()[at as usize].name),
            Definition::Result { node, .. } => format!("the result of `{}`", self.old.node(node).op.name()),
        };
        self.map[value].ok_or_else(|| refused(format!("{} is used in a way that is not causal attention", from())))
    }

    /// The value in front of the row-wise ops that make the logits.
    fn before_head(&self, logits: Value) -> Option<Value> {
        let mut value = logits;
        while let Some((_, node)) = self.old.defining(value) {
            match node.op {
                Op::Linear {} | Op::RmsNorm { .. } | Op::LayerNorm { .. } | Op::Convert { .. } => {
                    value = node.operands[0]
                }
                Op::Binary { .. }
                    if self.old.recipe(node.operands[1]).is_some() && self.old.rank(node.operands[1]) == 0 =>
                {
                    value = node.operands[0];
                }
                _ => break,
            }
        }
        let rows = self.old.rank(value) == 3 && value != logits && self.old.defining(value).is_some();
        rows.then_some(value)
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

    /// Values that the logits and the caches need, without what is proven.
    fn needed(&mut self, logits: Value) -> Result<SecondaryMap<Value, bool>, Diagnostic> {
        let mut needed: SecondaryMap<Value, bool> = SecondaryMap::new();
        needed[logits] = true;
        for cache in &self.roles.caches {
            needed[self.old.node(cache.node).results[0]] = true;
        }
        let nodes: Vec<(Node, &NodeData)> = self.old.nodes().collect();
        for (node, data) in nodes.into_iter().rev() {
            if !data.results.iter().any(|result| needed[*result]) || self.counted(data.results[0]).is_some() {
                continue;
            }
            let operands = match &data.op {
                Op::Attention { .. } => self.kept_operands(data),
                _ if self.appended.contains_key(&node) => vec![data.operands[1]],
                _ => data.operands.clone(),
            };
            operands.into_iter().for_each(|operand| needed[operand] = true);
        }
        Ok(needed)
    }

    /// The operands of attention without bias and lengths.
    fn kept_operands(&self, data: &NodeData) -> Vec<Value> {
        let Op::Attention { bias, lengths, sinks, .. } = data.op else { return data.operands.clone() };
        let mut kept = data.operands[..3].to_vec();
        if sinks {
            kept.push(data.operands[3 + usize::from(bias) + usize::from(lengths)]);
        }
        kept
    }

    /// What an integer tensor counts, if it depends on the past and is proven to.
    fn counted(&self, value: Value) -> Option<Counted> {
        if self.old.element(value).is_float() || self.old.element(value) == Type::Bool {
            return None;
        }
        let inputs = |value: Value, indices: &[Dim]| assumed(self.roles, value, indices);
        let mut elements = Elements::new(self.old, &inputs);
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
    fn positions(&mut self, provenance: &Provenance) -> Result<Value, Diagnostic> {
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
                // A row for all sequences cannot hold a past for each; its users are asked (see `rows`).
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
            Op::Attention { .. } => self.attention(data),
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

    /// The positions input is what this mode says that it is.
    fn operand(&mut self, value: Value, provenance: &Provenance) -> Result<Value, Diagnostic> {
        if self.roles.positions == Some(value) && self.map[value].is_none() {
            let positions = self.positions(provenance)?;
            let positions = self.converted(positions, self.old.element(value), provenance)?;
            self.map[value] = Some(positions);
        }
        self.mapped(value)
    }

    fn copy(&mut self, data: &NodeData) -> Result<(), Diagnostic> {
        let mut op = data.op.clone();
        let past = self.roles.past.as_symbol();
        let mut bound = false;
        op.map_dims(&mut |dim| {
            let dim = self.old.symbols.resolve(dim);
            bound |= dim.any_symbol(&mut |symbol| Some(symbol) == past);
            dim
        });
        if bound {
            return Err(refused(format!("`{}` depends on one past length for all sequences", data.op.name())));
        }
        let mut operands = Vec::with_capacity(data.operands.len());
        for operand in &data.operands {
            operands.push(self.operand(*operand, &data.provenance)?);
        }
        // A shape that named the batch or the sequence keeps them; where the last token was cut out before, S is 1.
        let results = self.new.add(op, &operands, &data.provenance)?;
        data.results.iter().zip(results).for_each(|(old, new)| self.map[*old] = Some(new));
        Ok(())
    }

    fn append(&mut self, cache: &Cache, data: &NodeData) -> Result<(), Diagnostic> {
        if let Some(&past) = data.operands.get(2).filter(|_| matches!(data.op, Op::KvAppend {}))
            && self.counted(past) != Some(Counted::Past)
        {
            return Err(refused("new rows are not proven to follow the past of their sequence"));
        }
        let (cache, new) = (self.mapped(cache.source)?, self.operand(cache.new, &data.provenance)?);
        let value = self.new.add1(Op::KvAppend {}, &[cache, new, self.past], &data.provenance)?;
        self.map[data.results[0]] = Some(value);
        Ok(())
    }

    /// Tables of one row of positions for all sequences get a row for each.
    fn rope(&mut self, data: &NodeData) -> Result<(), Diagnostic> {
        let x = self.operand(data.operands[0], &data.provenance)?;
        let mut operands = vec![x];
        for table in &data.operands[1..] {
            let value = match self.map[*table] {
                Some(value) => value,
                None => match self.row_table(*table, &data.provenance)? {
                    Some(value) => value,
                    None => self.operand(*table, &data.provenance)?,
                },
            };
            operands.push(value);
        }
        let value = self.new.add1(data.op.clone(), &operands, &data.provenance)?;
        self.map[data.results[0]] = Some(value);
        Ok(())
    }

    /// Rows of a constant table at positions `[S]`, for each sequence at its own: `[B, 1, S, R / 2]`.
    fn row_table(&mut self, table: Value, provenance: &Provenance) -> Result<Option<Value>, Diagnostic> {
        let Some((_, node)) = self.old.defining(table) else { return Ok(None) };
        let rows = matches!(node.op, Op::Gather { axis: 0 }) && self.counted(node.operands[1]) == Some(Counted::Row);
        if !rows || self.old.rank(table) != 2 {
            return Ok(None);
        }
        let source = self.operand(node.operands[0], provenance)?;
        let positions = self.positions(provenance)?;
        let gathered = self.new.add1(Op::Gather { axis: 0 }, &[source, positions], provenance)?;
        let mut dims = self.new.dims(gathered).to_vec();
        dims.insert(1, Dim::ONE);
        let value = self.new.add1(Op::Reshape { dims }, &[gathered], provenance)?;
        self.map[table] = Some(value);
        Ok(Some(value))
    }

    fn attention(&mut self, data: &NodeData) -> Result<(), Diagnostic> {
        let Op::Attention { scale, causal, window, softcap, bias, lengths, sinks } = data.op else {
            return self.copy(data);
        };
        let continued =
            |value: Value| self.old.defining(value).is_some_and(|(node, _)| self.appended.contains_key(&node));
        if !continued(data.operands[1]) || !continued(data.operands[2]) {
            return self.copy(data);
        }
        let mut rest = data.operands[3..].iter();
        let bias = if bias { rest.next().copied() } else { None };
        let lengths = if lengths { rest.next().copied() } else { None };
        if let Some(lengths) = lengths
            && self.counted(lengths) != Some(Counted::Past)
        {
            return Err(refused("the lengths of attention are not proven to be those of the past"));
        }
        let (causal, window) = self.visible(bias, causal, window, data)?;
        let mut operands = vec![];
        for operand in self.kept_operands(data) {
            operands.push(self.operand(operand, &data.provenance)?);
        }
        operands.insert(3, self.past);
        let op = Op::Attention {
            scale,
            causal,
            window,
            softcap: Real::new(softcap.get()),
            bias: false,
            lengths: true,
            sinks,
        };
        let value = self.new.add1(op, &operands, &data.provenance)?;
        self.map[data.results[0]] = Some(value);
        Ok(())
    }

    /// What a bias hides, as flags of attention.
    fn visible(
        &self,
        bias: Option<Value>,
        causal: bool,
        window: usize,
        data: &NodeData,
    ) -> Result<(bool, usize), Diagnostic> {
        let Some(bias) = bias else {
            let all = causal || self.roles.sequence.is(1);
            return if all {
                Ok((true, window))
            } else {
                Err(refused("attention sees later tokens: it is not causal"))
            };
        };
        let inputs = |value: Value, indices: &[Dim]| assumed(self.roles, value, indices);
        let mut elements = Elements::new(self.old, &inputs);
        let (q, k) = (self.old.dims(data.operands[0]), self.old.dims(data.operands[1]));
        let whole = [q[0].clone(), q[1].clone(), q[2].clone(), k[2].clone()];
        let indices = elements.indices(&whole);
        let dims = self.old.dims(bias);
        let own: Vec<Dim> = dims
            .iter()
            .zip(&indices[4 - dims.len()..])
            .map(|(dim, index)| if dim.is(1) { Dim::ZERO } else { index.clone() })
            .collect();
        let behind = &(&self.roles.past + &indices[2]) - &indices[3];
        let unproven = || refused("the mask is not proven to be causal");
        match elements.at(bias, &own) {
            Element::Choice(parts, shown, hidden) if *shown == Element::Number(0.0) && is_hidden(&hidden) => {
                match &parts[..] {
                    [only] if *only == behind => Ok((true, window)),
                    [a, b] if *a == behind || *b == behind => {
                        let other = if *a == behind { b } else { a };
                        let width = (other + &behind).as_const().and_then(|last| usize::try_from(last + 1).ok());
                        width.map(|width| (true, width)).ok_or_else(unproven)
                    }
                    _ => Err(unproven()),
                }
            }
            Element::Number(value) if value == 0.0 && causal => Ok((true, window)),
            other => Err(unproven().note(format!("an element of the mask is {other:?}"))),
        }
    }
}
