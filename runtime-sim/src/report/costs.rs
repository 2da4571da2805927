//! Time, bytes, joules and work by part of the model: by layer and by node.
//!
//! In: the usages of a run and their places. Out: [`Cost`]s. Always: over all layers, and over all nodes with what no node asked for,
//! cycles add up to the run, bytes and joules as well.

use schemars::JsonSchema;
use serde::Serialize;

use super::observe::{Observation, Places};
use crate::checker::AGENTS;
use crate::energy::Shares;
use crate::timing::{Counts, Span, Usage};

/// Code of the engine that streams weights.
const DMAW: u8 = 1;

/// What a part of the model costs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Cost {
    /// Its name.
    pub name: String,
    /// Of a node: its operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// Of a node: how many further nodes the same instructions implement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fused: Option<usize>,
    /// Of a node: program counter of its first instruction. Nodes of alike layers, which a loop implements, share it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instruction: Option<u32>,
    /// Instructions, those of the control unit included.
    pub instructions: u64,
    /// Clock cycles of the critical path that are charged to it.
    pub cycles: f64,
    /// Its share of the critical path, 0 to 1.
    pub share: f64,
    /// Clock cycles of the engine that it occupied longest, waiting for data included.
    pub occupied_cycles: f64,
    /// Bytes read from LPDDR, fetches included.
    pub bytes_read: u64,
    /// Bytes written to LPDDR.
    pub bytes_written: u64,
    /// Bytes read from LPDDR that are weights.
    pub weight_bytes: u64,
    /// Operations: two for a multiply-add, one for an elementwise operation or a transcendental function.
    pub operations: u64,
    /// Joules.
    pub joules: f64,
}

/// The operations of counted events.
pub fn operations(counts: &Counts) -> u64 {
    let products = counts.lut_macs + counts.f16_macs + counts.f32_macs + counts.f64_macs + counts.integer_macs;
    2 * products + counts.vector_operations + counts.transcendentals
}

/// Adds up usages and spans.
#[derive(Clone, Debug, Default)]
struct Sum {
    usage: Usage,
    own: [u64; AGENTS],
    weight_bytes: u64,
}

impl Sum {
    fn span(&mut self, span: &Span, own: u64) {
        self.own[usize::from(span.agent)] += own;
        self.weight_bytes += if span.agent == DMAW { span.dram_bytes[0] } else { 0 };
    }

    fn finish(self, run: &Observation<'_>, shares: &Shares<'_>) -> Cost {
        let cycles = |time: u64| time as f64 / run.timing.clock as f64;
        let critical = self.usage.critical.total();
        Cost {
            instructions: self.usage.executions,
            cycles: cycles(critical),
            share: critical as f64 / run.timing.end.max(1) as f64,
            occupied_cycles: cycles(self.own.into_iter().max().unwrap_or(0)),
            bytes_read: self.usage.dram_bytes_read,
            bytes_written: self.usage.dram_bytes_written,
            weight_bytes: self.weight_bytes,
            operations: operations(&self.usage.counts),
            joules: shares.of(&self.usage).total.typical,
            ..Cost::default()
        }
    }
}

/// The costs of `count` parts; usages and spans are dealt out by index.
fn sums(
    run: &Observation<'_>,
    places: &Places,
    count: usize,
    usage_of: impl Fn(usize) -> usize,
    span_of: impl Fn(&Span) -> usize,
) -> Vec<Cost> {
    let shares = Shares::new(run.image.chip(), run.timing);
    let mut sums = vec![Sum::default(); count];
    for (index, usage) in run.timing.usages.iter().enumerate() {
        sums[usage_of(index)].usage.add(usage);
    }
    for (span, own) in run.timing.spans.iter().zip(&places.own) {
        sums[span_of(span)].span(span, *own);
    }
    sums.into_iter().map(|sum| sum.finish(run, &shares)).collect()
}

/// The costs of the layers, in the order in which they run.
pub fn by_layer(run: &Observation<'_>, places: &Places) -> Vec<Cost> {
    let of_usage = |index: usize| places.of_usage[index].group;
    let costs = sums(run, places, places.groups.len(), of_usage, |span| places.place(span).group);
    costs.into_iter().zip(&places.groups).map(|(cost, name)| Cost { name: name.clone(), ..cost }).collect()
}

/// The costs of the nodes, the greatest share of time first, and of what no node asked for.
pub fn by_node(run: &Observation<'_>, places: &Places) -> Vec<Cost> {
    let count = places.nodes.len();
    let of_usage = |index: usize| places.of_usage[index].node.unwrap_or(count);
    let mut costs = sums(run, places, count + 1, of_usage, |span| places.place(span).node.unwrap_or(count));
    for (cost, node) in costs.iter_mut().zip(&places.nodes) {
        cost.name.clone_from(&node.name);
        cost.operator = Some(node.operator.clone());
        cost.fused = Some(node.fused);
    }
    for (usage, place) in run.timing.usages.iter().zip(&places.of_usage) {
        if let Some(node) = place.node {
            costs[node].instruction.get_or_insert(usage.pc);
        }
    }
    costs[count].name = "control and moves of no node".to_string();
    costs.retain(|cost| cost.instructions > 0);
    costs.sort_by(|a, b| b.cycles.total_cmp(&a.cycles).then(b.bytes_read.cmp(&a.bytes_read)).then(a.name.cmp(&b.name)));
    costs
}
