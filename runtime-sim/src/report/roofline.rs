//! The roofline: what the memory and the engines can do at most, and where the run and its nodes are.
//!
//! In: the chip, the costs of the nodes. Out: [`Roofline`]. Always: the bound is a lower bound of the time: the bytes that were moved at the greatest
//! rate of the memory, or the written formulas of the busiest engine, whichever is longer; one multiply-add is two operations.

use narae_isa::chip::Chip;
use narae_isa::descriptor::Row;
use narae_isa::format::WeightFormat;
use narae_isa::{Element, Engine};
use schemars::JsonSchema;
use serde::Serialize;

use super::costs::{Cost, operations};
use super::observe::Observation;
use crate::timing::occupancy::product_rate;

/// A roof.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Ceiling {
    /// What reaches it.
    pub name: String,
    /// Operations per second.
    pub operations_per_s: f64,
}

/// A point below the roofs.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Point {
    /// The run, or a node.
    pub name: String,
    /// Of a node: its operator.
    pub operator: String,
    /// Operations.
    pub operations: u64,
    /// Bytes moved over LPDDR.
    pub bytes: u64,
    /// Seconds that the engine worked on it that it occupied longest.
    pub seconds: f64,
}

/// The roofline.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Roofline {
    /// Bytes per second that the memory moves at most.
    pub bytes_per_s: f64,
    /// What the engines do at most, by format.
    pub ceilings: Vec<Ceiling>,
    /// What no schedule can beat: the greater of bytes over bandwidth and the busiest engine's written formulas, in seconds.
    pub bound_seconds: f64,
    /// What the bound follows from: `LPDDR`, or the name of an engine.
    pub bound_by: String,
    /// The bound over the time of the run: 1 is the roof.
    pub reached: f64,
    /// The run, then the nodes that take most of the time.
    pub points: Vec<Point>,
}

/// Engines whose time is that of the memory, and the control unit.
const MOVERS: [Engine; 3] = [Engine::Scu, Engine::Dmaw, Engine::Dmaa];

/// Nodes that are drawn.
const MOST_POINTS: usize = 60;

impl Roofline {
    /// The roofline of a run.
    pub fn new(run: &Observation<'_>, nodes: &[Cost]) -> Roofline {
        let chip = run.image.chip();
        let seconds = run.timing.end as f64 * 1e-12;
        let (bound_seconds, bound_by) = bound(run);
        Roofline {
            bytes_per_s: run.timing.dram_peak,
            ceilings: ceilings(chip, run),
            bound_seconds,
            bound_by,
            reached: if seconds > 0.0 { bound_seconds / seconds } else { 0.0 },
            points: points(run, nodes, seconds),
        }
    }
}

fn points(run: &Observation<'_>, nodes: &[Cost], seconds: f64) -> Vec<Point> {
    let whole = Point {
        name: "the whole run".to_string(),
        operator: String::new(),
        operations: operations(&run.timing.counts),
        bytes: run.timing.dram_bytes_read + run.timing.dram_bytes_written,
        seconds,
    };
    let of = |cost: &Cost| Point {
        name: cost.name.clone(),
        operator: cost.operator.clone().unwrap_or_default(),
        operations: cost.operations,
        bytes: cost.bytes_read + cost.bytes_written,
        seconds: cost.occupied_cycles * run.timing.clock as f64 * 1e-12,
    };
    // What no node asked for is mostly the control unit.
    let drawn = nodes
        .iter()
        .filter(|cost| cost.operator.is_some())
        .map(of)
        .filter(|point| point.operations > 0 && point.bytes > 0 && point.seconds > 0.0);
    std::iter::once(whole).chain(drawn.take(MOST_POINTS)).collect()
}

fn bound(run: &Observation<'_>) -> (f64, String) {
    let bytes = (run.timing.dram_bytes_read + run.timing.dram_bytes_written) as f64;
    let engines = Engine::ALL.iter().filter(|engine| !MOVERS.contains(engine)).map(|engine| {
        let own = run.timing.usages.iter().filter(|usage| usage.agent == engine.code());
        (own.map(|usage| usage.busy).sum::<u64>() as f64 * 1e-12, engine.name().to_string())
    });
    let memory = (bytes / run.timing.dram_peak, "LPDDR".to_string());
    engines.fold(memory, |most, engine| if engine.0 > most.0 { engine } else { most })
}

/// Look-up products by planes and tokens; plain products and attention by element, where the run has any.
fn ceilings(chip: &Chip, run: &Observation<'_>) -> Vec<Ceiling> {
    let per_clock = chip.tiles.count as f64 * chip.tiles.clock_mhz * 1e6;
    let mxe = &chip.mxe;
    let of = |name: String, macs: f64| Ceiling { name, operations_per_s: 2.0 * macs * per_clock };
    let mut bits: Vec<(u32, &str)> = run.image.rows().iter().filter_map(coded).collect();
    bits.sort_unstable();
    bits.dedup();
    let mut all = Vec::new();
    for (bits, name) in bits {
        let passes = u64::from(bits).div_ceil(mxe.lut_planes) as f64;
        let one = (mxe.lut_outputs * mxe.lut_inputs) as f64 / passes;
        all.push(of(format!("{name}, 1 token"), one));
        all.push(of(format!("{name}, {} tokens", mxe.lut_tokens), one * mxe.lut_tokens as f64));
    }
    let used = |agent: Engine| run.timing.usages.iter().any(|usage| usage.agent == agent.code() && usage.busy > 0);
    for (name, element, attention, counted) in [
        ("f16", Element::F16, chip.ate.f16_macs, run.timing.counts.f16_macs),
        ("f32", Element::F32, chip.ate.f32_macs, run.timing.counts.f32_macs),
    ] {
        if counted > 0 {
            all.push(of(format!("{name} products"), product_rate(chip, element) as f64));
        }
        if counted > 0 && used(Engine::Ate) {
            all.push(of(format!("{name} attention"), attention as f64));
        }
    }
    all
}

fn coded(row: &Row) -> Option<(u32, &'static str)> {
    match row {
        Row::Weight(row) => match row.format {
            WeightFormat::Uniform { kind, .. } => Some((kind.bits(), kind.name())),
            WeightFormat::Float(_) => None,
        },
        Row::Tensor(_) | Row::Window(_) | Row::Resize(_) => None,
    }
}
