//! The weights of a graph that have a choice of format, and what each is to the model.
//!
//! In: a recovered graph (layers in a loop or not). Out: one site per weight constant of a linear layer and per embedding table,
//! in the order of the graph. Always holds: a constant that two nodes use is one site, the first user's; a weight that is
//! computed at run time is no site.

use std::collections::{BTreeMap, BTreeSet};

use cranelift_entity::EntityRef;

use super::policy::Role;
use super::recipe::Recipe;
use crate::graph::{Graph, Op};
use crate::ir::{Node, Value};

/// One weight with a choice.
#[derive(Clone, Debug)]
pub struct Site {
    /// The constant's node in the outermost graph.
    pub node: Node,
    /// The weight as it is, `[N, K]` or the table's `[rows, columns]`.
    pub recipe: Recipe,
    /// What it is to the model.
    pub role: Role,
    /// Names that patterns may match: of the initializer and of the ONNX nodes.
    pub names: Vec<String>,
    /// Position of the layer among the iterations of its loop.
    pub iteration: Option<usize>,
}

/// All sites of a graph.
pub fn sites(graph: &Graph) -> Vec<Site> {
    let mut found = Finder { graph, sites: vec![], seen: BTreeSet::new() };
    let head = head(graph);
    for (node, data) in graph.nodes() {
        match &data.op {
            Op::Linear {} => {
                let role = if head == Some(node) { Role::Head } else { Role::Linear };
                found.push(data.operands[1], role, names(graph, node), None);
            }
            Op::Gather { axis: 0 } if is_embedding(graph, node) => {
                found.push(data.operands[0], Role::Embedding, names(graph, node), None);
            }
            Op::Loop { trip, carried, invariant, body, .. } => {
                found.looped(&data.operands, *trip, *carried, *invariant, body)
            }
            _ => {}
        }
    }
    found.sites
}

fn names(graph: &Graph, node: Node) -> Vec<String> {
    graph.node(node).provenance.origins().iter().map(|origin| origin.name.clone()).collect()
}

struct Finder<'a> {
    graph: &'a Graph,
    sites: Vec<Site>,
    seen: BTreeSet<Node>,
}

impl Finder<'_> {
    fn push(&mut self, value: Value, role: Role, mut names: Vec<String>, iteration: Option<usize>) {
        let Some((node, data)) = self.graph.defining(value) else { return };
        let Op::Constant { recipe } = &data.op else { return };
        if recipe.dims().len() != 2 || !self.seen.insert(node) {
            return;
        }
        names.extend(data.provenance.origins().iter().map(|origin| origin.name.clone()));
        names.dedup();
        self.sites.push(Site { node, recipe: recipe.clone(), role, names, iteration });
    }

    /// The weights that a loop gives to the linear layers of its body, layer by layer.
    fn looped(&mut self, operands: &[Value], trip: usize, carried: usize, invariant: usize, body: &Graph) {
        let inputs: BTreeMap<Value, usize> =
            body.inputs().iter().enumerate().map(|(at, port)| (port.value, at)).collect();
        let mut uses: Vec<(usize, Vec<String>)> = vec![];
        for (node, data) in body.nodes().filter(|(_, data)| matches!(data.op, Op::Linear {})) {
            if let Some(at) = inputs.get(&data.operands[1]) {
                uses.push((*at, names(body, node)));
            }
        }
        for iteration in 0..trip {
            for (at, names) in &uses {
                let shared = carried + invariant;
                let operand = match at.checked_sub(shared) {
                    Some(number) => shared + number * trip + iteration,
                    None => *at,
                };
                if let Some(value) = operands.get(operand) {
                    self.push(*value, Role::Linear, names.clone(), Some(iteration));
                }
            }
        }
    }
}

/// The linear layer that makes the logits: the last one, if nothing is multiplied after it and it is much wider than deep.
fn head(graph: &Graph) -> Option<Node> {
    let (node, data) = graph.nodes().rev().find(|(_, data)| matches!(data.op, Op::Linear {} | Op::Loop { .. }))?;
    if !matches!(data.op, Op::Linear {}) {
        return None;
    }
    let weight = graph.recipe(data.operands[1])?;
    let [n, k] = *weight.dims() else { return None };
    let vocabulary = graph.nodes().any(|(node, data)| {
        matches!(data.op, Op::Gather { axis: 0 })
            && is_embedding(graph, node)
            && graph.recipe(data.operands[0]).is_some_and(|table| table.dims()[0] == n)
    });
    (vocabulary || n >= 4 * k).then_some(node)
}

/// Rows of a constant matrix, indexed by ids, that flow into the model's residual stream (tables of rotary embeddings do not).
fn is_embedding(graph: &Graph, node: Node) -> bool {
    let data = graph.node(node);
    let [table, _] = data.operands[..] else { return false };
    let Some(recipe) = graph.recipe(table) else { return false };
    if recipe.dims().len() != 2 || !recipe.element().is_float() {
        return false;
    }
    // Followed forward through layout, a rotary table ends in a rotation.
    let mut reached = vec![false; graph.value_count()];
    reached[data.results[0].index()] = true;
    for (_, user) in graph.nodes() {
        if !user.operands.iter().any(|operand| reached[operand.index()]) {
            continue;
        }
        match user.op {
            Op::Rope { .. } => return false,
            Op::Reshape { .. } | Op::Transpose { .. } | Op::Slice { .. } | Op::Concat { .. } | Op::Convert { .. } => {
                user.results.iter().for_each(|result| reached[result.index()] = true);
            }
            Op::RmsNorm { .. } | Op::LayerNorm { .. } | Op::Linear {} => return true,
            _ => {}
        }
    }
    true
}
