//! The report of a run: what a person or a script asks first.
//!
//! In: a [`Timing`], the chip, sizes of the image. Out: [`Report`], which serialises to the JSON documented at its fields ([`SCHEMA`] is the
//! version). Always: for every engine busy and stalls add up to `cycles`; numbers are counts or SI units.

use crate::energy::{EnergyReport, energy};
use crate::timing::{Account, Cause, Timing};
use narae_isa::Engine;
use narae_isa::chip::Chip;
use serde::Serialize;
use std::collections::BTreeMap;

/// The version of the report's form.
pub const SCHEMA: &str = "narae-report-1";

/// What an engine's time went into, in clock cycles.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EngineReport {
    /// Name of the engine.
    pub name: String,
    /// Cycles of work.
    pub busy: f64,
    /// Cycles without work, by cause.
    pub stall: BTreeMap<Cause, f64>,
}

/// The time between two markers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PartReport {
    /// Kind of the marker (`token`, `layer`, `node`, `user`).
    pub kind: String,
    /// Its number.
    pub value: i64,
    /// When the control unit met it, in cycles.
    pub start: f64,
}

/// A report. One JSON object with these keys.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Version of this form.
    pub schema: &'static str,
    /// Name of the chip sheet.
    pub chip: String,
    /// Clock cycles from the first fetch to the end.
    pub cycles: u64,
    /// The same in seconds.
    pub seconds: f64,
    /// Tokens that were produced in this time.
    pub tokens: u64,
    /// Tokens per second.
    pub tokens_per_s: f64,
    /// Bytes read from LPDDR, fetches included.
    pub dram_bytes_read: u64,
    /// Bytes written to LPDDR.
    pub dram_bytes_written: u64,
    /// Bytes per second over the greatest data rate of the LPDDR.
    pub dram_utilization: f64,
    /// The largest difference of a channel's bytes from the mean, as a part of the mean.
    pub dram_imbalance: f64,
    /// Size of the code.
    pub code_bytes: u64,
    /// Size of the packed weights.
    pub weight_bytes: u64,
    /// Instructions, those of the control unit included.
    pub instructions: u64,
    /// Fingerprint of every event of the run: equal runs have equal ones.
    pub event_hash: String,
    /// Engines.
    pub engines: Vec<EngineReport>,
    /// Joules by part.
    pub energy: EnergyReport,
    /// Joules per token.
    pub joules_per_token: f64,
    /// Markers.
    pub parts: Vec<PartReport>,
}

/// Sizes of the image and the work that was done: what a timing does not know.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    /// Bytes of code.
    pub code_bytes: u64,
    /// Bytes of weights.
    pub weight_bytes: u64,
    /// Tokens that the run produced.
    pub tokens: u64,
}

impl Report {
    /// The report of a timing.
    pub fn new(chip: &Chip, timing: &Timing, facts: Facts) -> Report {
        let seconds = timing.end as f64 * 1e-12;
        let per_second = |n: f64| if seconds > 0.0 { n / seconds } else { 0.0 };
        let bytes = (timing.dram_bytes_read + timing.dram_bytes_written) as f64;
        let energy = energy(chip, timing);
        let engines = Engine::ALL
            .iter()
            .zip(&timing.accounts)
            .map(|(engine, account)| engine_report(*engine, account, timing))
            .collect();
        let part = |(kind, value, at): &(narae_isa::operand::MarkKind, i64, u64)| PartReport {
            kind: kind.name().to_string(),
            value: *value,
            start: cycles(*at, timing),
        };
        Report {
            schema: SCHEMA,
            chip: chip.chip.name.clone(),
            cycles: timing.end.div_ceil(timing.clock),
            seconds,
            tokens: facts.tokens,
            tokens_per_s: per_second(facts.tokens as f64),
            dram_bytes_read: timing.dram_bytes_read,
            dram_bytes_written: timing.dram_bytes_written,
            dram_utilization: per_second(bytes) / timing.dram_peak,
            dram_imbalance: timing.dram.imbalance(),
            code_bytes: facts.code_bytes,
            weight_bytes: facts.weight_bytes,
            instructions: timing.counts.instructions,
            event_hash: timing.event_hash(),
            engines,
            joules_per_token: if facts.tokens > 0 { energy.parts.total.typical / facts.tokens as f64 } else { 0.0 },
            energy,
            parts: timing.marks.iter().map(part).collect(),
        }
    }

    /// A few lines for the terminal.
    pub fn to_text(&self) -> String {
        let mut text = format!(
            "{}: {} cycles, {:.3} ms, {:.1} tokens/s, {:.1} % of LPDDR bandwidth, {:.3} mJ/token\n",
            self.chip,
            self.cycles,
            self.seconds * 1e3,
            self.tokens_per_s,
            self.dram_utilization * 100.0,
            self.joules_per_token * 1e3,
        );
        for engine in &self.engines {
            let share = |part: f64| 100.0 * part / (self.cycles.max(1)) as f64;
            text += &format!("  {:5} busy {:5.1} %", engine.name, share(engine.busy));
            for (cause, stall) in &engine.stall {
                text += &format!(", {cause:?} {:.1} %", share(*stall));
            }
            text.push('\n');
        }
        text
    }
}

fn cycles(time: u64, timing: &Timing) -> f64 {
    time as f64 / timing.clock as f64
}

fn engine_report(engine: Engine, account: &Account, timing: &Timing) -> EngineReport {
    let stall = account.stalls.iter().map(|(cause, time)| (*cause, cycles(*time, timing))).collect();
    EngineReport { name: engine.name().to_string(), busy: cycles(account.busy, timing), stall }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dram::{Dram, FastDram, sheet::Sheet};

    #[test]
    fn parts_add_up_and_the_keys_are_there() {
        let chip = Chip::built_in("narae-edge").unwrap();
        let sheet = Sheet::built_in(&chip.dram.device).unwrap().with_channels(chip.dram.channels as u32, 512).unwrap();
        let mut dram = FastDram::new(&sheet, 6);
        let places = crate::timing::Places::default();
        let timing = crate::timing::simulate(&chip, &mut dram as &mut dyn Dram, [], places).unwrap();
        let report = Report::new(&chip, &timing, Facts { code_bytes: 16, weight_bytes: 5, tokens: 1 });
        let json = serde_json::to_value(&report).unwrap();
        for key in [
            "cycles",
            "seconds",
            "tokens_per_s",
            "dram_bytes_read",
            "dram_bytes_written",
            "dram_utilization",
            "code_bytes",
            "weight_bytes",
        ] {
            assert!(json[key].is_number(), "{key}");
        }
        assert!(json["engines"][0]["busy"].is_number() && json["engines"][0]["stall"].is_object());
        let sum: f64 = report.energy.parts.named().iter().map(|(_, part)| part.typical).sum();
        assert!((sum - report.energy.parts.total.typical).abs() <= 1e-12 * sum.max(1.0));
    }
}
