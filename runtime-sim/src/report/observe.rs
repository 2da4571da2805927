//! A run as its report looks at it: every instruction with its place in the model, its part of the program and its weight.
//!
//! In: a [`Timing`], the [`Moves`] of the same run, the image. Out: [`Places`]. Always: every usage and every span has a part; what no
//! node of the model asks for has no node; names come from the image alone.
//!
//! Which time is an instruction's own? Engines work at the same time, so durations do not add up. Two measures are used instead:
//! - *critical* time: the stretch of the critical path that is charged to it. Over a run it adds up to the whole time, so shares of time
//!   are shares of this; what is hidden behind other work costs nothing.
//! - *own* time: from when its engine was free for it to its end, waiting for its data included. Rates are work per this.

use std::collections::BTreeMap;

use narae_isa::descriptor::Row;
use narae_isa::format::WeightFormat;
use narae_isa::image::{Entry, Image};
use narae_isa::instructions::Inst;

use super::layers::{self, Pass};
use super::moves::Moves;
use crate::checker::AGENTS;
use crate::timing::{Picoseconds, Span, Timing};

/// What a report is made of.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    /// The image.
    pub image: &'a Image,
    /// The entry that ran.
    pub entry: &'a Entry,
    /// The lengths by slot.
    pub lengths: &'a [i64],
    /// When it happened.
    pub timing: &'a Timing,
    /// Which bytes of LPDDR each instruction moved.
    pub moves: &'a Moves,
    /// Tokens that the run produced; none if what it computes has no tokens.
    pub tokens: Option<u64>,
}

/// A node of the model.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its operator.
    pub operator: String,
    /// How many further nodes its instructions implement as well.
    pub fused: usize,
}

/// A packed weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// First byte in LPDDR.
    pub address: u64,
    /// How it is packed.
    pub format: WeightFormat,
    /// N · K.
    pub elements: u64,
    /// Its size.
    pub bytes: u64,
}

/// Where something belongs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Index into [`Places::nodes`]; none for what no node asked for.
    pub node: Option<usize>,
    /// Index into [`Places::groups`].
    pub group: usize,
}

/// Where everything in a run belongs.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// What runs one after the other: before the layers, each layer, after them.
    pub groups: Vec<String>,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// For each usage of the timing, its node and its group.
    pub of_usage: Vec<Place>,
    /// Node and group of an instruction in a part.
    of_instruction: BTreeMap<(u32, u32), Place>,
    /// For each span of the timing, the time that its engine spent on it.
    pub own: Vec<Picoseconds>,
    /// For each span of the timing, the weight that it loads or uses.
    pub weight: Vec<Option<Weight>>,
}

impl Places {
    /// The places of a run.
    pub fn of(run: &Observation<'_>) -> Places {
        let usages = &run.timing.usages;
        let (groups, group_of_part, passes) = layers::by_marker(run.timing);
        let mut nodes = Nodes::default();
        let found: Vec<Option<usize>> =
            usages.iter().map(|usage| nodes.find(run, usage.pc, passes[usage.part as usize])).collect();
        let by_part = || usages.iter().map(|usage| group_of_part[usage.part as usize]).collect();
        let marked = passes.iter().any(Option::is_some);
        let by_name = if marked { None } else { layers::by_name(&found, &nodes.list) };
        let (groups, group_of) = by_name.unwrap_or_else(|| (groups, by_part()));
        let place = |(node, group): (&Option<usize>, &usize)| Place { node: *node, group: *group };
        let of_usage: Vec<Place> = found.iter().zip(&group_of).map(place).collect();
        let keys = usages.iter().map(|usage| (usage.part, usage.pc));
        let of_instruction = keys.zip(of_usage.iter().copied()).collect();
        Places {
            groups,
            nodes: nodes.list,
            of_usage,
            of_instruction,
            own: own(&run.timing.spans),
            weight: weights(run),
        }
    }

    /// Where a span belongs.
    pub fn place(&self, span: &Span) -> Place {
        self.of_instruction.get(&(span.part, span.pc)).copied().unwrap_or_default()
    }
}

/// The nodes in the order in which they are met.
#[derive(Default)]
struct Nodes {
    list: Vec<Node>,
    known: BTreeMap<Node, usize>,
}

impl Nodes {
    fn find(&mut self, run: &Observation<'_>, pc: u32, pass: Pass) -> Option<usize> {
        let node = node(run, pc, pass)?;
        let next = self.list.len();
        let index = *self.known.entry(node.clone()).or_insert(next);
        if index == next {
            self.list.push(node);
        }
        Some(index)
    }
}

/// Operators that give an instruction its name when it implements several nodes (a product and its bias, say).
const HEAVY: [&str; 4] = ["Attention", "MatMul", "Gemm", "Conv"];

/// The node that an instruction implements. In a loop over layers the image lists the nodes of all passes, one pass after the other.
fn node(run: &Observation<'_>, pc: u32, pass: Pass) -> Option<Node> {
    let all = &run.image.debug_info().origin(pc)?.nodes;
    let own = match pass {
        Some((pass, passes)) if all.len().is_multiple_of(passes) => {
            let length = all.len() / passes;
            all.get(pass * length..(pass + 1) * length)?
        }
        _ => all,
    };
    let main = own.iter().find(|(_, operator)| HEAVY.iter().any(|heavy| operator.contains(heavy)));
    let (name, operator) = main.or(own.first())?;
    Some(Node { name: name.clone(), operator: operator.clone(), fused: own.len() - 1 })
}

/// Spans stand in the order in which they start; an engine is free for the next one when the last one is done.
fn own(spans: &[Span]) -> Vec<Picoseconds> {
    let mut free = [0; AGENTS];
    let mut time = |span: &Span| {
        let free = &mut free[usize::from(span.agent)];
        let own = span.end - (*free).clamp(span.start, span.end);
        *free = (*free).max(span.end);
        own
    };
    spans.iter().map(&mut time).collect()
}

/// The weights by span: the k-th product takes from the FIFO what the k-th load has put there.
fn weights(run: &Observation<'_>) -> Vec<Option<Weight>> {
    let table = table(run.image);
    let mut loaded = run.moves.loads().map(|address| table.range(..=address).next_back().map(|(_, weight)| *weight));
    let mut by_load = Vec::new();
    let mut used = 0;
    let mut found = vec![None; run.timing.spans.len()];
    for (span, place) in run.timing.spans.iter().zip(&mut found) {
        match run.image.words().get(span.pc as usize).map(|word| &word.inst) {
            Some(Inst::LoadWeight(_)) => {
                *place = loaded.next().flatten();
                by_load.push(*place);
            }
            Some(Inst::Linear(_)) => {
                *place = by_load.get(used).copied().flatten();
                used += 1;
            }
            _ => {}
        }
    }
    found
}

/// The weights of an image by address. Those of experts follow the first one, whose row names them all.
fn table(image: &Image) -> BTreeMap<u64, Weight> {
    let weight = |row: &Row| match row {
        Row::Weight(row) => Some(Weight {
            address: row.base,
            format: row.format,
            elements: u64::from(row.outputs) * u64::from(row.inputs),
            bytes: row.format.packed_bytes(row.outputs.into(), row.inputs.into()),
        }),
        Row::Tensor(_) | Row::Window(_) | Row::Resize(_) => None,
    };
    image.rows().iter().filter_map(weight).map(|weight| (weight.address, weight)).collect()
}
