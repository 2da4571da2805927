//! Weights by format: bytes, bits per weight, and the part of the time that went into them.
//!
//! In: the spans of a run with their weights. Out: one [`FormatReport`] for each format of the weights that the run streamed. Always: a weight counts once
//! for its size however often it was streamed; bits per weight count everything that is stored.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use super::observe::{Observation, Places};

/// The weights of one format.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct FormatReport {
    /// The format: bits, group, type of scales.
    pub format: String,
    /// How many weights (matrices) of it were streamed.
    pub weights: u64,
    /// Elements of these weights.
    pub elements: u64,
    /// Bytes of these weights.
    pub bytes: u64,
    /// Bits per element, scales and zero points included.
    pub bits_per_weight: f64,
    /// Bytes that were streamed; more than `bytes` if a weight was needed several times.
    pub streamed_bytes: u64,
    /// Elements of these weights, each as often as it was streamed.
    pub streamed_elements: u64,
    /// Share of the critical path that loading and using them takes, 0 to 1.
    pub share_of_time: f64,
}

/// The formats of the weights that a run streamed, the most bytes first.
pub fn formats(run: &Observation<'_>, places: &Places) -> Vec<FormatReport> {
    let mut found: BTreeMap<String, (FormatReport, BTreeSet<u64>)> = BTreeMap::new();
    let mut format_of: BTreeMap<(u32, u32), String> = BTreeMap::new();
    for (span, weight) in run.timing.spans.iter().zip(&places.weight) {
        let Some(weight) = weight else { continue };
        let (report, seen) = found.entry(weight.format.to_string()).or_default();
        format_of.insert((span.part, span.pc), weight.format.to_string());
        report.streamed_bytes += span.dram_bytes[0];
        report.streamed_elements += if span.dram_bytes[0] > 0 { weight.elements } else { 0 };
        if seen.insert(weight.address) {
            report.weights += 1;
            report.elements += weight.elements;
            report.bytes += weight.bytes;
        }
    }
    for usage in &run.timing.usages {
        let report = format_of.get(&(usage.part, usage.pc)).and_then(|format| found.get_mut(format));
        if let Some((report, _)) = report {
            report.share_of_time += usage.critical.total() as f64 / run.timing.end.max(1) as f64;
        }
    }
    let finish = |(format, (report, _)): (String, (FormatReport, BTreeSet<u64>))| FormatReport {
        format,
        bits_per_weight: 8.0 * report.bytes as f64 / report.elements.max(1) as f64,
        ..report
    };
    let mut formats: Vec<FormatReport> = found.into_iter().map(finish).collect();
    formats.sort_by(|a, b| b.bytes.cmp(&a.bytes).then(a.format.cmp(&b.format)));
    formats
}
