//! What happened to a graph, in data and in words; and the fingerprint of a layer's term.
//!
//! In: runs of the e-graph, and recovered graphs. Out: reports that `narae explain` and `--report` print; a hash per decoder layer that
//! is equal for equal layers whatever exporter wrote them. Always holds: hashes depend on ops, attributes, types of leaves and
//! lengths up to renaming, never on names, on the order of nodes or on the contents of weights.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::graph::attribute::{Attribute, Names};
use crate::graph::{Graph, NodeData, Op};
use crate::ir::{Dim, Symbol, Value};

/// What happened to one region.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionReport {
    /// Which region: the graph's name, or the loop inside of it.
    pub name: String,
    /// Nodes before and after.
    pub nodes: (usize, usize),
    /// Size of the saturated e-graph: terms and classes.
    pub saturated: (usize, usize),
    /// Rounds until nothing changed.
    pub iterations: usize,
    /// How often each law added something.
    pub laws: BTreeMap<String, usize>,
    /// Ops of the new graph.
    pub ops: BTreeMap<String, usize>,
    /// Fingerprint of each layer's term.
    pub layers: Vec<u64>,
    /// What a user should know: a stop other than saturation, laws that made ill-typed terms.
    pub notes: Vec<String>,
}

/// What happened to a graph: one entry per region.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The regions, the outermost first.
    pub regions: Vec<RegionReport>,
}

/// How many of each op a graph has; functions count by their names.
pub fn histogram(graph: &Graph) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for (_, node) in graph.nodes() {
        *counts.entry(label(&node.op)).or_default() += 1;
    }
    counts
}

fn label(op: &Op) -> String {
    match op {
        Op::Unary { function } => function.name().to_owned(),
        Op::Binary { function } => function.name().to_owned(),
        Op::Compare { function } => function.name().to_owned(),
        Op::Reduce { function, .. } => format!("reduce-{}", function.name()),
        other => other.name().to_owned(),
    }
}

/// 64-bit FNV-1a, which is the same on every machine and in every version.
#[derive(Clone, Copy)]
struct Fingerprint(u64);

impl Fingerprint {
    fn new() -> Fingerprint {
        Fingerprint(0xcbf2_9ce4_8422_2325)
    }

    fn text(mut self, text: &str) -> Fingerprint {
        for byte in text.bytes().chain([0xff]) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        self
    }

    fn number(self, number: u64) -> Fingerprint {
        self.text(&number.to_string())
    }
}

/// The fingerprint of each decoder layer: from the operand of one layer's first norm to that of the next.
pub fn layers(graph: &Graph) -> Vec<u64> {
    let borders = borders(graph);
    borders.windows(2).map(|pair| layer(graph, pair[0], pair[1])).collect()
}

/// The operands of the norms in front of attention, and of the last norm.
fn borders(graph: &Graph) -> Vec<Value> {
    let mut borders: Vec<Value> = vec![];
    for (_, node) in graph.nodes() {
        if matches!(node.op, Op::Attention { .. })
            && let Some(norm) = norm_before(graph, node.operands[0])
            && !borders.contains(&norm)
        {
            borders.push(norm);
        }
    }
    let last = graph.nodes().rev().find(|(_, node)| is_norm(graph, &node.op, &node.operands));
    borders.extend(last.map(|(_, node)| node.operands[0]).filter(|last| !borders.contains(last)));
    borders
}

fn is_norm(graph: &Graph, op: &Op, operands: &[Value]) -> bool {
    matches!(op, Op::RmsNorm { .. } | Op::LayerNorm { .. }) && graph.rank(operands[0]) == 3
}

/// The operand of the nearest norm of whole rows on the way back.
fn norm_before(graph: &Graph, from: Value) -> Option<Value> {
    let mut pending = vec![from];
    let mut seen = BTreeSet::new();
    while let Some(value) = pending.pop() {
        let Some((_, node)) = graph.defining(value).filter(|_| seen.insert(value)) else { continue };
        if is_norm(graph, &node.op, &node.operands) {
            return Some(node.operands[0]);
        }
        pending.extend(node.operands.iter().rev());
    }
    None
}

fn layer(graph: &Graph, input: Value, output: Value) -> u64 {
    let mut inside = BTreeSet::from([input]);
    for (_, node) in graph.nodes() {
        if node.operands.iter().any(|operand| inside.contains(operand)) {
            inside.extend(&node.results);
        }
    }
    let mut walk = Walk { graph, input, inside, known: BTreeMap::new(), symbols: BTreeMap::new() };
    walk.number_symbols(output);
    walk.hash(output)
}

struct Walk<'a> {
    graph: &'a Graph,
    input: Value,
    inside: BTreeSet<Value>,
    known: BTreeMap<Value, u64>,
    symbols: BTreeMap<Symbol, i64>,
}

impl Walk<'_> {
    /// Lengths get their numbers in the order in which the dims of the layer's output and input name them.
    fn number_symbols(&mut self, output: Value) {
        let mut pending: Vec<Value> = vec![output, self.input];
        pending.extend(self.inside.iter());
        for value in pending {
            for dim in self.dims(value) {
                for symbol in dim.symbols() {
                    let next = 1009 + 2 * self.symbols.len() as i64;
                    self.symbols.entry(symbol).or_insert(next);
                }
            }
        }
    }

    /// A length as a number that equal expressions share.
    fn dim(&self, dim: &Dim) -> i64 {
        let dim = self.graph.symbols.resolve(dim);
        dim.eval(&|symbol| Some(self.symbols.get(&symbol).copied().unwrap_or(997))).unwrap_or(-1)
    }

    fn ty(&self, value: Value) -> String {
        let dims: Vec<i64> = self.dims(value).iter().map(|dim| self.dim(dim)).collect();
        format!("{}{dims:?}", self.graph.element(value).name())
    }

    fn hash(&mut self, root: Value) -> u64 {
        let mut pending = vec![root];
        while let Some(value) = pending.last().copied() {
            if self.known.contains_key(&value) {
                pending.pop();
                continue;
            }
            let leaf = value == self.input || !self.inside.contains(&value);
            let node = self.graph.defining(value).filter(|_| !leaf).map(|(_, node)| node);
            let Some(node) = node else {
                let kind = if value == self.input { "input" } else { "outside" };
                self.known.insert(value, Fingerprint::new().text(kind).text(&self.ty(value)).0);
                pending.pop();
                continue;
            };
            let (op, own) = self.plain(node);
            let open: Vec<Value> = own.iter().copied().filter(|operand| !self.known.contains_key(operand)).collect();
            if !open.is_empty() {
                pending.extend(open);
                continue;
            }
            let rotation = matches!(op, Op::Rope { .. });
            let print = |(at, operand): (usize, &Value)| match rotation && at > 0 && !self.inside.contains(operand) {
                true => self.table(*operand),
                false => self.known[operand],
            };
            let mut operands: Vec<u64> = own.iter().enumerate().map(print).collect();
            if matches!(
                node.op,
                Op::Binary { function: narae_isa::BinaryFunction::Add | narae_isa::BinaryFunction::Mul }
            ) {
                operands.sort_unstable();
            }
            let print = Fingerprint::new().text(&label(&op)).text(&self.attributes(&op)).text(&self.ty(value));
            let print = operands.into_iter().fold(print, Fingerprint::number);
            self.known.insert(value, print.0);
            pending.pop();
        }
        self.known[&root]
    }

    /// A table of a rotation from outside: how it broadcasts is no part of the layer.
    fn table(&self, value: Value) -> u64 {
        let width = self.graph.dims(value).last().map_or(-1, |dim| self.dim(dim));
        Fingerprint::new().text("table").text(&width.to_string()).0
    }

    /// The dims of a value; a present is as long as the past and the new rows.
    fn dims(&self, value: Value) -> Vec<Dim> {
        let mut dims = self.graph.dims(value).to_vec();
        if let Some([past, new]) = self.graph.defining(value).and_then(|(_, node)| self.continued(node)) {
            dims[2] = &self.graph.dims(past)[2] + &self.graph.dims(new)[2];
        }
        dims
    }

    /// The past and the new rows that make a present. Where in it the rows of each sequence go is an argument of a layer.
    fn continued(&self, node: &NodeData) -> Option<[Value; 2]> {
        let inside = |value: &Value| self.inside.contains(value);
        if !matches!(node.op, Op::KvAppend {}) || inside(&node.operands[2]) {
            return None;
        }
        let (_, room) = self.graph.defining(node.operands[0])?;
        matches!(room.op, Op::Pad { .. }).then(|| [room.operands[0], node.operands[1]])
    }

    /// An op without the arguments of a layer.
    fn plain(&self, node: &NodeData) -> (Op, Vec<Value>) {
        match self.continued(node) {
            Some(parts) => (Op::Concat { axis: 2 }, parts.to_vec()),
            None => self.unmasked(&node.op, &node.operands),
        }
    }

    /// Which keys a query sees is an argument of a layer, said by a bias, by flags or by lengths; what comes from outside of
    /// the layer is no part of its term.
    fn unmasked(&self, op: &Op, operands: &[Value]) -> (Op, Vec<Value>) {
        let Op::Attention { scale, window, softcap, bias, lengths, sinks, .. } = *op else {
            return (op.clone(), operands.to_vec());
        };
        let given = usize::from(bias) + usize::from(lengths);
        if operands[3..3 + given].iter().any(|operand| self.inside.contains(operand)) {
            return (op.clone(), operands.to_vec());
        }
        let op = Op::Attention { scale, causal: true, window, softcap, bias: false, lengths: false, sinks };
        (op, [&operands[..3], &operands[3 + given..]].concat())
    }

    /// The attributes in text, with lengths as numbers and reals rounded to what f32 files agree on.
    fn attributes(&self, op: &Op) -> String {
        let mut op = op.clone();
        op.map_dims(&mut |dim| self.dim(dim).into());
        let names = Names { symbols: &self.graph.symbols, sources: &self.graph.sources };
        let mut text = String::new();
        for (key, attribute) in op.attributes(&names) {
            match attribute {
                Attribute::Float(value) => text += &format!("{key}={value:.5e};"),
                other => text += &format!("{key}={other:?};"),
            }
        }
        text
    }
}
