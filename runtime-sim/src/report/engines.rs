//! What the time of each engine went into.
//!
//! In: the accounts of a timing. Out: [`EngineReport`]s and markers. Always: busy and stalls of an engine add up to the cycles of the run.

use std::collections::BTreeMap;

use narae_isa::Engine;
use schemars::JsonSchema;
use serde::Serialize;

use crate::timing::{Account, Cause, Timing};

/// What an engine's time went into, in clock cycles.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct EngineReport {
    /// Name of the engine.
    pub name: String,
    /// Cycles of work.
    pub busy: f64,
    /// Cycles without work, by cause.
    pub stall: BTreeMap<Cause, f64>,
}

/// The time at a marker of the program.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct PartReport {
    /// Kind of the marker (`token`, `layer`, `node`, `user`).
    pub kind: String,
    /// Its number.
    pub value: i64,
    /// When the control unit met it, in cycles.
    pub start: f64,
}

/// All engines.
pub fn engines(timing: &Timing) -> Vec<EngineReport> {
    let report = |(engine, account): (&Engine, &Account)| {
        let stall = account.stalls.iter().map(|(cause, time)| (*cause, cycles(*time, timing))).collect();
        EngineReport { name: engine.name().to_string(), busy: cycles(account.busy, timing), stall }
    };
    Engine::ALL.iter().zip(&timing.accounts).map(report).collect()
}

/// The markers.
pub fn parts(timing: &Timing) -> Vec<PartReport> {
    let part = |(kind, value, at): &(narae_isa::operand::MarkKind, i64, u64)| PartReport {
        kind: kind.name().to_string(),
        value: *value,
        start: cycles(*at, timing),
    };
    timing.marks.iter().map(part).collect()
}

fn cycles(time: u64, timing: &Timing) -> f64 {
    time as f64 / timing.clock as f64
}
