//! The report of a run: what a person or a script asks first.
//!
//! In: an [`Observation`] (timing, image, lengths). Out: [`Report`], which is the whole truth: it serialises to JSON (`docs/report.md`
//! documents every key, [`schema`] is its form), [`Report::to_text`] prints some of it, [`page`] draws it. Always: what the page or the text says
//! stands in the JSON; for every engine busy and stalls add up to `cycles`; numbers are counts or SI units; keys are only ever added.
//!
//! One file per subject: its data, and how it follows from the run.

mod alike;
pub mod baseline;
mod costs;
mod critical;
mod dram;
mod engines;
mod formats;
mod foundations;
pub mod generation;
mod layers;
mod memory;
mod moves;
mod observe;
pub mod page;
mod roofline;
pub mod schema;
mod text;
mod timeline;
pub mod units;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

pub use self::alike::{Alike, alike};
pub use self::baseline::{Band, BaselineReport};
pub use self::costs::Cost;
pub use self::critical::{CriticalPath, CriticalShare};
pub use self::dram::DramUse;
pub use self::engines::{EngineReport, PartReport};
pub use self::formats::FormatReport;
pub use self::generation::{Generation, TimedCall};
pub use self::memory::{BufferReport, MemoryMap, MemoryReport, RegionReport};
pub use self::moves::{Move, Moves};
pub use self::observe::{Node, Observation, Places};
pub use self::roofline::{Ceiling, Point, Roofline};
pub use self::timeline::{CriticalSlice, InstructionText, Slice, Timeline, Track, Traffic};

use crate::energy::{EnergyReport, Joules, energy};

/// The version of the report's form.
pub const SCHEMA: &str = "narae-report-1";

/// A report. One JSON object with these keys.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Report {
    /// Version of this form.
    pub schema: &'static str,
    /// The model's name.
    pub model: String,
    /// The entry that ran.
    pub entry: String,
    /// The lengths of the entry by name: batch, sequence, capacity …
    pub lengths: BTreeMap<String, i64>,
    /// Tokens before this call, where the report is of a generation.
    pub past: Option<u64>,
    /// Name of the chip sheet.
    pub chip: String,
    /// What the chip is, in a few words.
    pub chip_description: String,
    /// Clock cycles from the first fetch to the end.
    pub cycles: u64,
    /// Seconds from the first fetch to the end.
    pub seconds: f64,
    /// Tokens of the call (elements of its ids), or 1 where it has none: see `unit`.
    pub tokens: u64,
    /// What `tokens` counts: `token`, or `call` where the model has no token ids.
    pub unit: &'static str,
    /// Tokens (or calls) per second.
    pub tokens_per_s: f64,
    /// Bytes read from LPDDR, fetches of instructions and descriptors included.
    pub dram_bytes_read: u64,
    /// Bytes written to LPDDR.
    pub dram_bytes_written: u64,
    /// Bytes per second over the greatest data rate of the LPDDR, 0 to 1.
    pub dram_utilization: f64,
    /// The largest difference of a channel's bytes from the mean, as a part of the mean.
    pub dram_imbalance: f64,
    /// Size of the code.
    pub code_bytes: u64,
    /// Size of the packed weights.
    pub weight_bytes: u64,
    /// Instructions, those of the control unit included.
    pub instructions: u64,
    /// Fingerprint of every event of the run (BLAKE3): equal runs have equal ones, on any machine.
    pub event_hash: String,
    /// Fingerprint of the chip sheet (BLAKE3 of its TOML).
    pub chip_hash: String,
    /// What the time of each engine went into.
    pub engines: Vec<EngineReport>,
    /// Joules by part.
    pub energy: EnergyReport,
    /// Joules per token (or call).
    pub joules_per_token: f64,
    /// Joules per token (or call) with their band.
    pub joules_per_token_band: Joules,
    /// Markers of the program, with their times.
    pub parts: Vec<PartReport>,
    /// What memory and engines can do at most, and where the run is.
    pub roofline: Roofline,
    /// What determined the length of the run.
    pub critical_path: CriticalPath,
    /// Costs by layer, in the order in which they run.
    pub layers: Vec<Cost>,
    /// Costs by node of the model, the greatest first.
    pub nodes: Vec<Cost>,
    /// What each engine did when.
    pub timeline: Timeline,
    /// The memory map over time.
    pub memory: MemoryReport,
    /// What LPDDR did.
    pub dram: DramUse,
    /// Elements of the KV cache that attention read.
    pub kv_elements_read: u64,
    /// The weights that were streamed, by format.
    pub formats: Vec<FormatReport>,
    /// Comparison with a GPU, if one was asked for.
    pub baseline: Option<BaselineReport>,
    /// The whole generation, if the report is of one; everything else is about its last timed call.
    pub generation: Option<Generation>,
    /// What the numbers rest on.
    pub assumptions: Vec<String>,
    /// What the simulator does not model.
    pub not_modelled: Vec<String>,
}

impl Report {
    /// The report of a run.
    pub fn new(run: &Observation<'_>) -> Report {
        let (image, timing, chip) = (run.image, run.timing, run.image.chip());
        let seconds = timing.end as f64 * 1e-12;
        let per_second = |n: f64| if seconds > 0.0 { n / seconds } else { 0.0 };
        let bytes = (timing.dram_bytes_read + timing.dram_bytes_written) as f64;
        let energy = energy(chip, timing);
        let places = Places::of(run);
        let nodes = costs::by_node(run, &places);
        let tokens = run.tokens.unwrap_or(1);
        let per_token = per_token(&energy.parts.total, tokens);
        let weights = image.weights_range();
        Report {
            schema: SCHEMA,
            model: image.metadata().model.clone(),
            entry: run.entry.name.clone(),
            lengths: lengths(run),
            past: None,
            chip: chip.chip.name.clone(),
            chip_description: chip.chip.description.clone(),
            cycles: timing.end.div_ceil(timing.clock),
            seconds,
            tokens,
            unit: if run.tokens.is_some() { "token" } else { "call" },
            tokens_per_s: per_second(tokens as f64),
            dram_bytes_read: timing.dram_bytes_read,
            dram_bytes_written: timing.dram_bytes_written,
            dram_utilization: per_second(bytes) / timing.dram_peak,
            dram_imbalance: timing.dram.imbalance(),
            code_bytes: narae_isa::table::WORD_BYTES as u64 * image.words().len() as u64,
            weight_bytes: weights.end - weights.start,
            instructions: timing.counts.instructions,
            event_hash: timing.event_hash(),
            chip_hash: blake3::hash(image.metadata().chip.as_bytes()).to_hex().to_string(),
            engines: engines::engines(timing),
            joules_per_token: per_token.typical,
            joules_per_token_band: per_token,
            parts: engines::parts(timing),
            roofline: Roofline::new(run, &nodes),
            critical_path: CriticalPath::new(timing),
            layers: costs::by_layer(run, &places),
            nodes,
            timeline: Timeline::new(run, &places),
            memory: MemoryReport::new(run, &places),
            dram: DramUse::new(timing),
            kv_elements_read: kv_elements(run),
            formats: formats::formats(run, &places),
            baseline: None,
            generation: None,
            assumptions: foundations::assumptions(run),
            not_modelled: foundations::not_modelled(),
            energy,
        }
    }

    /// The report as a JSON text.
    pub fn to_json(&self) -> String {
        let value = serde_json::to_value(self);
        let value = value.unwrap_or_else(|error| unreachable!("a report has string keys only: {error}"));
        format!("{value:#}\n")
    }
}

fn per_token(total: &Joules, tokens: u64) -> Joules {
    let share = |joules: f64| if tokens > 0 { joules / tokens as f64 } else { 0.0 };
    Joules { typical: share(total.typical), low: share(total.low), high: share(total.high) }
}

fn lengths(run: &Observation<'_>) -> BTreeMap<String, i64> {
    run.entry.slots.iter().map(|slot| slot.name.clone()).zip(run.lengths.iter().copied()).collect()
}

/// What attention read from LPDDR, in elements of the cache: state, if the image keeps it on the chip, else f16.
fn kv_elements(run: &Observation<'_>) -> u64 {
    let ate = narae_isa::Engine::Ate.code();
    let bytes: u64 = run.timing.spans.iter().filter(|span| span.agent == ate).map(|span| span.dram_bytes[0]).sum();
    let bits = run.image.metadata().state.first().map_or(16, |state| u64::from(state.element.bits()));
    8 * bytes / bits.max(1)
}

#[cfg(test)]
mod tests;
