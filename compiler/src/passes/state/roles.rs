//! What the inputs and outputs of a decoder are: ids, mask, positions, pasts with their presents.
//!
//! In: a graph. Out: its [`Roles`], or why it is no decoder whose cache can be kept. Always holds: all caches have the batch and the
//! past in common and are continued by as many rows as there are new tokens; every input that is used has one role.

use std::collections::BTreeSet;

use cranelift_entity::EntityRef;
use narae_isa::{Diagnostic, Element as Type};

use super::elements::Element;
use super::refused;
use crate::graph::{Graph, NodeData, Op, Port};
use crate::ir::{Dim, Node, Value};

/// A cache: the input, and the node whose result is its output: a concatenation, or rows put where each sequence ends.
pub(super) struct Cache {
    pub(super) input: usize,
    /// The past as that node takes it: the input, or its conversion.
    pub(super) source: Value,
    pub(super) node: Node,
    pub(super) new: Value,
    pub(super) output: usize,
}

/// What the inputs of a decoder are.
pub(super) struct Roles {
    pub(super) caches: Vec<Cache>,
    pub(super) ids: Value,
    pub(super) mask: Option<Value>,
    pub(super) positions: Option<Value>,
    pub(super) batch: Dim,
    pub(super) sequence: Dim,
    pub(super) past: Dim,
}

impl Roles {
    pub(super) fn find(graph: &Graph) -> Result<Roles, Diagnostic> {
        let caches = caches(graph)?;
        let first = graph.inputs()[caches[0].input].value;
        let resolve = |dim: &Dim| graph.symbols.resolve(dim);
        let (batch, past) = (resolve(&graph.dims(first)[0]), resolve(&graph.dims(first)[2]));
        let sequence = resolve(&graph.dims(caches[0].new)[2]);
        if past.as_symbol().is_none() {
            return Err(refused("the length of the past is not an own dynamic dim of the model"));
        }
        for cache in &caches {
            fits(graph, cache, &batch, &sequence)?;
        }
        let mut roles = Roles { caches, ids: first, mask: None, positions: None, batch, sequence, past };
        roles.ids = roles.others(graph)?;
        Ok(roles)
    }

    /// Gives every input beside the pasts its role; the ids.
    fn others(&mut self, graph: &Graph) -> Result<Value, Diagnostic> {
        let used: BTreeSet<usize> = self.caches.iter().map(|cache| cache.input).collect();
        let uses = graph.use_counts();
        let mut ids = None;
        for (at, port) in graph.inputs().iter().enumerate().filter(|(at, _)| !used.contains(at)) {
            let role = match self.kind(graph, port) {
                Some(Kind::Positions) => &mut self.positions,
                Some(Kind::Mask) => &mut self.mask,
                Some(Kind::Ids) => &mut ids,
                None if uses[port.value.index()] == 0 => continue,
                None => {
                    let message = format!("input {at} `{}` is neither ids, mask, positions nor past", port.name);
                    return Err(refused(message));
                }
            };
            if role.replace(port.value).is_some() {
                return Err(refused(format!("`{}` is a second input of its kind", port.name)));
            }
        }
        ids.ok_or_else(|| refused("no input [batch, sequence] of token ids was found"))
    }

    fn kind(&self, graph: &Graph, port: &Port) -> Option<Kind> {
        if !matches!(graph.element(port.value), Type::I64 | Type::I32 | Type::Bool) {
            return None;
        }
        let dims: Vec<Dim> = graph.dims(port.value).iter().map(|dim| graph.symbols.resolve(dim)).collect();
        let is = |last: &Dim| dims.len() == 2 && dims[0] == self.batch && dims[1] == *last;
        let name = port.name.to_ascii_lowercase();
        if is(&self.sequence) && name.contains("position") {
            Some(Kind::Positions)
        } else if is(&(&self.past + &self.sequence)) || name.contains("mask") {
            Some(Kind::Mask)
        } else {
            is(&self.sequence).then_some(Kind::Ids)
        }
    }
}

/// What an input beside the pasts is.
enum Kind {
    Ids,
    Mask,
    Positions,
}

/// Whether a cache has the common batch, as many new rows as all, and rows of a fixed size. The length is common since `unify_pasts`.
fn fits(graph: &Graph, cache: &Cache, batch: &Dim, sequence: &Dim) -> Result<(), Diagnostic> {
    let port = &graph.inputs()[cache.input];
    let is = |dim: &Dim, wanted: &Dim| graph.symbols.resolve(dim) == *wanted;
    let dims = graph.dims(port.value);
    if !is(&dims[0], batch) {
        return Err(refused(format!("the past `{}` has another batch than the others", port.name)));
    }
    if !is(&graph.dims(cache.new)[2], sequence) {
        return Err(refused(format!("the past `{}` is not continued by as many rows as the others", port.name)));
    }
    if dims[1].as_size().is_none() || dims[3].as_size().is_none() {
        return Err(refused(format!("heads and width of the past `{}` are not fixed", port.name)));
    }
    Ok(())
}

/// In this mode all caches of a sequence are equally long, whatever the model calls their lengths.
pub(super) fn unify_pasts(graph: &mut Graph) -> Result<(), Diagnostic> {
    let inputs: Vec<usize> = caches(graph)?.iter().map(|cache| cache.input).collect();
    let length = |graph: &Graph, input: usize| graph.dims(graph.inputs()[input].value)[2].clone();
    let first = length(graph, inputs[0]);
    for &input in &inputs[1..] {
        let other = length(graph, input);
        let unified = graph.symbols.unify(&other, &first);
        unified.map_err(|_| refused(format!("the past `{}` has another length", graph.inputs()[input].name)))?;
    }
    Ok(())
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
                // Room behind the past, and nothing before it.
                Some(NodeData { op: Op::Pad { before, .. }, operands, .. })
                    if before.iter().all(|before| before.is(0)) =>
                {
                    operands[0]
                }
                _ => data.operands[0],
            })
        }
        _ => None,
    }
}

/// What a value is a conversion of.
pub(super) fn converted_from(graph: &Graph, value: Value) -> Option<Value> {
    let (_, node) = graph.defining(value)?;
    matches!(node.op, Op::Convert { .. }).then(|| node.operands[0])
}

/// What the elements of the inputs are in this mode.
pub(super) fn assumed(graph: &Graph, roles: &Roles, value: Value, indices: &[Dim]) -> Element {
    if roles.mask == Some(value) {
        let bool = graph.element(value) == Type::Bool;
        return if bool { Element::All(vec![]) } else { Element::Integer(Dim::ONE) };
    }
    if roles.positions == Some(value) {
        return Element::Integer(&roles.past + &indices[1]);
    }
    Element::Unknown
}
