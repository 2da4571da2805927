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
    /// The nodes, and the numbers of their bodies, that lead from the outermost graph to the one that holds the constant.
    pub way: Vec<(Node, usize)>,
    /// The constant's node.
    pub node: Node,
    /// The weight as it is, `[N, K]` or the table's `[rows, columns]`.
    pub recipe: Recipe,
    /// What it is to the model.
    pub role: Role,
    /// Names that patterns may match: of the initializer and of the ONNX nodes.
    pub names: Vec<String>,
    /// Position of the layer among the iterations of its loop.
    pub iteration: Option<usize>,
    /// Why the weight must stay as it is, if it must.
    pub exact: Option<&'static str>,
}

/// All sites of a graph and of the bodies in it.
pub fn sites(graph: &Graph) -> Vec<Site> {
    let mut found = Finder { sites: vec![], seen: BTreeSet::new() };
    found.graph(graph, &[], head(graph));
    found.sites
}

fn names(graph: &Graph, node: Node) -> Vec<String> {
    graph.node(node).provenance.origins().iter().map(|origin| origin.name.clone()).collect()
}

/// Where a constant stands.
type Place = (Vec<(Node, usize)>, Node);

struct Finder {
    sites: Vec<Site>,
    seen: BTreeSet<Place>,
}

/// A use of a weight.
struct Use {
    role: Role,
    names: Vec<String>,
    iteration: Option<usize>,
    exact: Option<&'static str>,
}

impl Finder {
    fn graph(&mut self, graph: &Graph, way: &[(Node, usize)], head: Option<Node>) {
        let wide = graph.wide_nodes();
        for (node, data) in graph.nodes() {
            match &data.op {
                Op::Linear {} => {
                    let role = if head == Some(node) { Role::Head } else { Role::Linear };
                    let exact = wide(node).map(|reason| reason.text());
                    let found = Use { role, names: names(graph, node), iteration: None, exact };
                    self.push(graph, way, data.operands[1], found);
                }
                Op::Gather { axis: 0 } if is_embedding(graph, node) => {
                    let exact = wide(node).map(|reason| reason.text());
                    let found = Use { role: Role::Embedding, names: names(graph, node), iteration: None, exact };
                    self.push(graph, way, data.operands[0], found);
                }
                Op::MatMul {} => {
                    if let Some(table) = experts(graph, data.operands[1]) {
                        let found = Use { role: Role::Linear, names: names(graph, node), iteration: None, exact: None };
                        self.push(graph, way, table, found);
                    }
                }
                Op::Loop { trip, carried, invariant, body, .. } => {
                    self.looped(graph, way, &data.operands, (*trip, carried + invariant), body);
                }
                _ => {}
            }
            for (number, body) in data.op.regions().into_iter().enumerate() {
                self.graph(body, &[way, &[(node, number)]].concat(), None);
            }
        }
    }

    fn push(&mut self, graph: &Graph, way: &[(Node, usize)], value: Value, found: Use) {
        let Some((node, data)) = graph.defining(value) else { return };
        let Op::Constant { recipe } = &data.op else { return };
        if recipe.dims().len() != 2 || !self.seen.insert((way.to_vec(), node)) {
            return;
        }
        let Use { role, mut names, iteration, exact } = found;
        names.extend(data.provenance.origins().iter().map(|origin| origin.name.clone()));
        names.dedup();
        self.sites.push(Site { way: way.to_vec(), node, recipe: recipe.clone(), role, names, iteration, exact });
    }

    /// The weights that a loop gives to the linear layers of its body, layer by layer.
    fn looped(
        &mut self,
        graph: &Graph,
        way: &[(Node, usize)],
        operands: &[Value],
        (trip, shared): (usize, usize),
        body: &Graph,
    ) {
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
                let operand = match at.checked_sub(shared) {
                    Some(number) => shared + number * trip + iteration,
                    None => *at,
                };
                if let Some(value) = operands.get(operand) {
                    let (names, iteration) = (names.clone(), Some(iteration));
                    self.push(graph, way, *value, Use { role: Role::Linear, names, iteration, exact: None });
                }
            }
        }
    }
}

/// The rows of all experts behind the right side of a product, in the form in which the pass `expose` writes them.
fn experts(graph: &Graph, right: Value) -> Option<Value> {
    let Op::Transpose { .. } = graph.defining(right)?.1.op else { return None };
    let gathered = graph.defining(graph.defining(right)?.1.operands[0])?.1;
    let Op::Gather { axis: 0 } = gathered.op else { return None };
    let table = graph.defining(gathered.operands[0])?.1;
    let Op::Reshape { .. } = table.op else { return None };
    let rows = table.operands[0];
    graph.recipe(rows).filter(|recipe| recipe.element().is_float() && recipe.dims().len() == 2).map(|_| rows)
}

/// The linear layer that makes the logits: its result is an output, but for changes of layout, a bias and a function of each element; and
/// it has the dims of the embedding, or is the last product and much wider than deep. A layer whose operand another one has made
/// narrow (LoRA's second product) is none, and neither is one that is added to the result of another.
fn head(graph: &Graph) -> Option<Node> {
    let (node, data) = graph.nodes().rev().find(|(_, data)| matches!(data.op, Op::Linear {} | Op::Loop { .. }))?;
    let is_last = matches!(data.op, Op::Linear {}).then_some(node);
    let tables: Vec<&[usize]> = graph
        .nodes()
        .filter(|(node, data)| matches!(data.op, Op::Gather { axis: 0 }) && is_embedding(graph, *node))
        .filter_map(|(_, data)| graph.recipe(data.operands[0]).map(Recipe::dims))
        .collect();
    let heads = graph.outputs().iter().flat_map(|port| made_by(graph, port.value));
    let dims = |node: Node| graph.recipe(graph.node(node).operands[1]).map(Recipe::dims);
    let mut heads: Vec<Node> = heads.filter(|node| dims(*node).is_some()).collect();
    heads.sort_unstable();
    heads.dedup();
    let tied = heads.iter().copied().find(|node| dims(*node).is_some_and(|dims| tables.contains(&dims)));
    let vocabulary = |rows: usize| tables.iter().any(|table| table[0] == rows);
    let wide = |node: &Node| {
        dims(*node).is_some_and(|dims| dims[0] >= 4 * dims[1] || vocabulary(dims[0])) && !is_second(graph, *node)
    };
    tied.or_else(|| heads.into_iter().find(|node| is_last == Some(*node)).filter(wide))
}

/// The linear layers whose results a value is, or is the sum of.
fn made_by(graph: &Graph, value: Value) -> Vec<Node> {
    let (mut open, mut found) = (vec![value], vec![]);
    for _ in 0..LONGEST_TAIL {
        let Some(value) = open.pop() else { break };
        let Some((node, data)) = graph.defining(value) else { continue };
        match data.op {
            Op::Linear {} => found.push(node),
            Op::Reshape { .. }
            | Op::Transpose { .. }
            | Op::Slice { .. }
            | Op::Convert { .. }
            | Op::Unary { .. }
            | Op::Softmax { .. }
            | Op::Gather { .. }
            | Op::GatherNd { .. } => open.push(data.operands[0]),
            Op::Binary { .. } | Op::Concat { .. } => open.extend(&data.operands),
            Op::Select {} => open.extend(&data.operands[1..]),
            _ => {}
        }
    }
    found
}

/// Ops that are looked at between a linear layer and an output.
const LONGEST_TAIL: usize = 32;

/// Whether a linear layer reads what another one has made, as it is or scaled.
fn is_second(graph: &Graph, node: Node) -> bool {
    let operand = graph.node(node).operands[0];
    made_by(graph, operand).iter().any(|first| *first != node)
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
