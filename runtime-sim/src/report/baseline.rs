//! Comparison with a GPU: how long would it take for the same tokens, and with what energy?
//!
//! In: a row of `baselines.toml` by name; the weights, cached bytes and operations of the run. Out: a [`BaselineReport`]. Always: it is a
//! bound with a band, from documented figures and assumptions that the report repeats; nothing of it was measured here.
//!
//! Formula (../shared CHIP.md §6 and §7): seconds = max(bytes / (bandwidth · utilisation), operations / arithmetic rate), where bytes are
//! the elements of the weights that the run streamed in the GPU's format, and the part of the KV cache that it read in the GPU's
//! format; joules = seconds · watts. Low and high take the corners of the bands. Launches, host and sampling are left out, which
//! favours the GPU, most of all for small models.

use std::collections::BTreeMap;

use narae_isa::{Diagnostic, codes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Report;
use crate::energy::Joules;

/// The table.
const TABLE: &str = include_str!("baselines.toml");

/// A number with its band.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Band {
    /// The value to use.
    pub typical: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gpu {
    /// What it is.
    pub title: String,
    /// Greatest data rate of its memory, in 10⁹ bytes per second.
    pub bandwidth_gb_per_s: f64,
    /// Part of the bandwidth that decoding at batch 1 reaches.
    pub utilisation: Band,
    /// Operations per second that a prompt reaches, in 10¹².
    pub tflops: Band,
    /// Watts.
    pub watts: Band,
    /// Bits of a stored weight.
    pub weight_bits: f64,
    /// Bits of an element of the KV cache.
    pub kv_bits: f64,
    /// Where the numbers come from, and which of them are assumptions.
    pub source: Vec<String>,
}

/// What the GPU would have to do.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Demand {
    /// Elements of the weights that are streamed.
    pub weight_elements: f64,
    /// Elements of the KV cache that are read.
    pub kv_elements: f64,
    /// Operations; two for a multiply-add.
    pub operations: f64,
}

/// The comparison.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct BaselineReport {
    /// Its name, as in `--baseline`.
    pub name: String,
    /// What it is.
    pub title: String,
    /// Bytes that it would move.
    pub bytes: f64,
    /// Seconds for the tokens of the run.
    pub seconds: Band,
    /// Tokens per second.
    pub tokens_per_s: Band,
    /// Joules per token.
    pub joules_per_token: Band,
    /// Our tokens per second over its own: above 1 we are faster.
    pub speed_ratio: Band,
    /// Its joules per token over ours: above 1 we need less.
    pub energy_ratio: Band,
    /// What limits it: `memory` or `arithmetic`.
    pub bound_by: String,
    /// What is assumed, with sources.
    pub assumptions: Vec<String>,
}

/// The names of the table.
pub fn names() -> Vec<String> {
    table().into_keys().collect()
}

fn table() -> BTreeMap<String, Gpu> {
    match toml::from_str(TABLE) {
        Ok(table) => table,
        Err(error) => unreachable!("the table of baselines is valid: {error}"),
    }
}

/// The row of this name.
pub fn find(name: &str) -> Result<Gpu, Diagnostic> {
    table().remove(name).ok_or_else(|| {
        Diagnostic::new(&codes::E0401, format!("there is no baseline `{name}`"))
            .help(format!("the baselines are: {}", names().join(", ")))
    })
}

impl Gpu {
    /// Seconds, best and worst case at the ends of the bands.
    fn seconds(&self, bytes: f64, operations: f64) -> (Band, bool) {
        let memory = |part: f64| bytes / (self.bandwidth_gb_per_s * 1e9 * part);
        let arithmetic = |rate: f64| operations / (rate * 1e12);
        let (u, t) = (&self.utilisation, &self.tflops);
        let seconds = Band {
            typical: memory(u.typical).max(arithmetic(t.typical)),
            low: memory(u.high).max(arithmetic(t.high)),
            high: memory(u.low).max(arithmetic(t.low)),
        };
        (seconds, memory(u.typical) >= arithmetic(t.typical))
    }

    /// The comparison of `tokens` tokens that took us `seconds` and `joules`, all in all.
    pub fn compare(&self, name: &str, demand: &Demand, tokens: f64, ours: (f64, Joules)) -> BaselineReport {
        let bytes = (demand.weight_elements * self.weight_bits + demand.kv_elements * self.kv_bits) / 8.0;
        let (seconds, by_memory) = self.seconds(bytes, demand.operations);
        let inverse =
            |band: &Band, of: f64| Band { typical: of / band.typical, low: of / band.high, high: of / band.low };
        let joules = Band {
            typical: seconds.typical * self.watts.typical,
            low: seconds.low * self.watts.low,
            high: seconds.high * self.watts.high,
        };
        let (our_seconds, our_joules) = ours;
        let scale =
            |band: &Band, by: f64| Band { typical: band.typical * by, low: band.low * by, high: band.high * by };
        BaselineReport {
            name: name.to_string(),
            title: self.title.clone(),
            bytes,
            seconds,
            tokens_per_s: inverse(&seconds, tokens),
            joules_per_token: scale(&joules, 1.0 / tokens),
            speed_ratio: scale(&seconds, 1.0 / our_seconds),
            energy_ratio: Band {
                typical: joules.typical / our_joules.typical,
                low: joules.low / our_joules.high,
                high: joules.high / our_joules.low,
            },
            bound_by: if by_memory { "memory" } else { "arithmetic" }.to_string(),
            assumptions: self.assumptions(),
        }
    }

    fn assumptions(&self) -> Vec<String> {
        let Gpu { bandwidth_gb_per_s, utilisation, tflops, watts, weight_bits, kv_bits, .. } = self;
        let band = |band: &Band| format!("{} ({} to {})", band.typical, band.low, band.high);
        let formula = format!(
            "seconds = max(bytes / ({bandwidth_gb_per_s} GB/s × {}), operations / {} TFLOPS); {} W",
            band(utilisation),
            band(tflops),
            band(watts),
        );
        let bytes = format!(
            "bytes: every weight that this run streamed at {weight_bits} bits, the KV cache that it read at {kv_bits} bits, no activations"
        );
        let left_out =
            "launches, host and sampling are not counted, which favours the GPU, most of all for small models";
        [formula, bytes, left_out.to_string()].into_iter().chain(self.source.iter().cloned()).collect()
    }
}

impl BaselineReport {
    /// The comparison in a few words: `0.58 times its speed, 1/7.4 of its energy`.
    pub fn words(&self) -> String {
        let energy = match self.energy_ratio.typical {
            ratio if ratio >= 1.0 => format!("1/{ratio:.1} of its energy"),
            ratio => format!("{:.1} times its energy", 1.0 / ratio),
        };
        format!("{:.2} times its speed, {energy}", self.speed_ratio.typical)
    }
}

impl Report {
    /// Adds the comparison with a GPU.
    pub fn compare_with(&mut self, name: &str, gpu: &Gpu) {
        let demand = Demand {
            weight_elements: self.formats.iter().map(|format| format.streamed_elements as f64).sum(),
            kv_elements: self.kv_elements_read as f64,
            operations: self.roofline.points.first().map_or(0.0, |point| point.operations as f64),
        };
        let ours = (self.seconds, self.energy.parts.total);
        self.baseline = Some(gpu.compare(name, &demand, self.tokens.max(1) as f64, ours));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sane() {
        for (name, gpu) in table() {
            for band in [gpu.utilisation, gpu.tflops, gpu.watts] {
                assert!(0.0 < band.low && band.low <= band.typical && band.typical <= band.high, "{name}");
            }
            assert!(gpu.utilisation.high <= 1.0 && !gpu.source.is_empty(), "{name}");
        }
        assert!(find("a100-fp16").is_ok());
        assert_eq!(find("voodoo2").unwrap_err().code.exit, 2);
    }

    /// The figures of CHIP.md §6: 33B in fp16, 64.6 GB streamed, on an A100 at 49 and 80 % of its bandwidth.
    #[test]
    fn the_documented_case_comes_out() {
        let gpu = find("a100-fp16").unwrap();
        let demand = Demand { weight_elements: 32.3e9, kv_elements: 0.0, operations: 64.6e9 };
        let joules = Joules { typical: 1.37, low: 1.15, high: 1.60 };
        let report = gpu.compare("a100-fp16", &demand, 1.0, (38.3e-3, joules));
        assert!((report.seconds.typical - 64.7e-3).abs() < 0.1e-3, "{report:?}");
        assert!((report.seconds.low - 39.6e-3).abs() < 0.1e-3);
        assert!((report.seconds.typical * 300.0 - report.joules_per_token.typical).abs() < 1e-9);
        assert!((report.speed_ratio.typical - 64.7 / 38.3).abs() < 0.01);
        assert_eq!(report.bound_by, "memory");
    }
}
