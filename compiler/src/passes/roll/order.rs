//! An order of nodes in which alike layers are equal sequences.
//!
//! First come constants and what does not depend on the layers' stream at all (masks, rotary tables: computed once for all layers, they
//! would otherwise stand inside of the first one); then everything that the main output needs, depth first, operands in order, which walks
//! layer by layer; what only other outputs need stands right behind its latest operand, so that it stays with its layer.

use std::collections::{BTreeMap, BTreeSet};

use cranelift_entity::{EntityRef, SecondaryMap};

use crate::graph::{Definition, Graph, NodeData, Op};
use crate::ir::{Dim, Node, SymbolDefinition, Value};

/// What a table lookup is: an embedding that starts the stream of the layers, or a table of angles that all layers share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lookups {
    /// Lookups whose result has many users are shared.
    SharedAreInvariant,
    /// Every lookup belongs to the stream.
    BelongToLayers,
    /// No lookup belongs to the stream.
    AreInvariant,
}

/// A lookup with so many users is shared by layers: an embedding feeds a norm and a residual sum.
const SHARED_USERS: u32 = 4;
/// Float constants with fewer elements are no weights: scales, frequencies, slopes.
const LEAST_WEIGHT: usize = 1024;

/// The order.
pub(super) struct Order {
    /// Constants and invariants.
    pub(super) prologue: Vec<Node>,
    /// Everything else.
    pub(super) sequence: Vec<Node>,
}

pub(super) fn order(graph: &Graph, lookups: Lookups) -> Order {
    let early = early_nodes(graph, lookups);
    let prologue = graph.nodes().filter(|(node, _)| early[*node]).map(|(node, _)| node).collect();
    let mut walk = Walk { graph, placed: early, sequence: Vec::with_capacity(graph.node_count()) };
    if let Some(node) = main_node(graph) {
        walk.visit(node);
    }
    let sequence = with_the_rest(graph, &walk);
    Order { prologue, sequence }
}

/// The node behind the main output: the one with the longest chain of nodes before it, which goes through all layers.
fn main_node(graph: &Graph) -> Option<Node> {
    let mut depth: SecondaryMap<Value, usize> = SecondaryMap::new();
    for (_, data) in graph.nodes() {
        let deepest = data.operands.iter().map(|&value| depth[value]).max().unwrap_or(0);
        data.results.iter().for_each(|&value| depth[value] = deepest + 1);
    }
    let main = graph.outputs().iter().map(|port| port.value).max_by_key(|&value| depth[value])?;
    graph.defining(main).map(|(node, _)| node)
}

/// The values that a node needs: its operands, and the tensors that define symbols of its dims.
pub(super) fn needs(graph: &Graph, data: &NodeData) -> Vec<Value> {
    let lengths = lengths(graph, data).into_iter().filter(|value| !data.results.contains(value));
    data.operands.iter().copied().chain(lengths).collect()
}

/// The tensors that define symbols of a node's dims, its own results among them.
pub(super) fn lengths(graph: &Graph, data: &NodeData) -> Vec<Value> {
    let mut found = Vec::new();
    let mut add = |dim: &Dim| {
        found.extend(dim.symbols().into_iter().filter_map(|symbol| match graph.symbols.data(symbol).definition {
            SymbolDefinition::Data { value, .. } | SymbolDefinition::Extent { value, .. } => Some(value),
            SymbolDefinition::Input { .. } | SymbolDefinition::Passed { .. } | SymbolDefinition::Undefined => None,
        }));
    };
    data.op.visit_dims(&mut add);
    data.results.iter().for_each(|&value| graph.dims(value).iter().for_each(&mut add));
    found
}

/// Nodes that no weight and no input of a single layer reaches.
fn early_nodes(graph: &Graph, lookups: Lookups) -> SecondaryMap<Node, bool> {
    let uses = graph.use_counts();
    let layer_inputs = inputs_of_layers(graph);
    let mut streaming: SecondaryMap<Value, bool> = SecondaryMap::new();
    for &value in &layer_inputs {
        streaming[value] = true;
    }
    let mut early: SecondaryMap<Node, bool> = SecondaryMap::new();
    for (node, data) in graph.nodes() {
        let lookup = matches!(data.op, Op::Gather { .. }) && graph.recipe(data.operands[0]).is_some();
        let shared = match lookups {
            Lookups::SharedAreInvariant => uses[data.results[0].index()] >= SHARED_USERS,
            Lookups::BelongToLayers => false,
            Lookups::AreInvariant => true,
        };
        let considered = if lookup && shared { &data.operands[1..] } else { &data.operands[..] };
        let of_layer = considered.iter().any(|&value| streaming[value] || is_weight(graph, value))
            || lengths(graph, data).into_iter().any(|value| streaming[value]);
        // A constant has no operands: it is early.
        early[node] = !of_layer;
        for &value in &data.results {
            streaming[value] = of_layer;
        }
    }
    early
}

/// A constant that is large in at least two axes.
fn is_weight(graph: &Graph, value: Value) -> bool {
    graph.recipe(value).is_some_and(|recipe| {
        recipe.count() >= LEAST_WEIGHT && recipe.dims().iter().filter(|&&extent| extent > 1).count() >= 2
    })
}

/// Inputs that exist once per layer: several of one type whose names differ only in numbers.
fn inputs_of_layers(graph: &Graph) -> BTreeSet<Value> {
    let mut families: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for port in graph.inputs() {
        let mut pattern = String::new();
        for character in port.name.chars() {
            let mark = if character.is_ascii_digit() { '#' } else { character };
            if !(mark == '#' && pattern.ends_with('#')) {
                pattern.push(mark);
            }
        }
        // A name without numbers is nobody else's: a family of one.
        pattern = format!("{pattern} {}", graph.element(port.value));
        families.entry(pattern).or_default().push(port.value);
    }
    families.into_values().filter(|family| family.len() > 1).flatten().collect()
}

struct Walk<'a> {
    graph: &'a Graph,
    placed: SecondaryMap<Node, bool>,
    sequence: Vec<Node>,
}

impl Walk<'_> {
    fn defining(&self, value: Value) -> Option<Node> {
        match self.graph.definition(value) {
            Definition::Input(_) => None,
            Definition::Result { node, .. } => Some(node),
        }
    }

    /// Depth-first post-order with an explicit stack.
    fn visit(&mut self, root: Node) {
        let mut stack = vec![(root, needs(self.graph, self.graph.node(root)), 0)];
        while let Some((node, needed, next)) = stack.last_mut() {
            match needed.get(*next).copied() {
                Some(value) => {
                    *next += 1;
                    if let Definition::Result { node: inner, .. } = self.graph.definition(value)
                        && !self.placed[inner]
                    {
                        stack.push((inner, needs(self.graph, self.graph.node(inner)), 0));
                    }
                }
                None => {
                    let node = *node;
                    stack.pop();
                    if !std::mem::replace(&mut self.placed[node], true) {
                        self.sequence.push(node);
                    }
                }
            }
        }
    }
}

/// The sequence with the nodes that only other outputs need, each behind its latest operand.
fn with_the_rest(graph: &Graph, walk: &Walk) -> Vec<Node> {
    let mut position: SecondaryMap<Node, usize> = SecondaryMap::new();
    for (at, &node) in walk.sequence.iter().enumerate() {
        position[node] = at + 1;
    }
    // Position 0 is before everything.
    let mut attached: BTreeMap<usize, Vec<Node>> = BTreeMap::new();
    for (node, data) in graph.nodes().filter(|(node, _)| !walk.placed[*node]) {
        let at =
            needs(graph, data).into_iter().filter_map(|value| walk.defining(value)).map(|other| position[other]).max();
        position[node] = at.unwrap_or(0);
        attached.entry(position[node]).or_default().push(node);
    }
    let mut sequence = attached.remove(&0).unwrap_or_default();
    for (at, &node) in walk.sequence.iter().enumerate() {
        sequence.push(node);
        sequence.extend(attached.remove(&(at + 1)).unwrap_or_default());
    }
    sequence
}
