//! The critical path: what the time of the run went into, from its start to its end without a gap.
//!
//! In: the segments of a timing. Out: a [`CriticalPath`]. Always: the shares add up to the whole time; each says what would have to be
//! faster for the run to be shorter.

use std::collections::BTreeMap;

use narae_isa::Engine;
use schemars::JsonSchema;
use serde::Serialize;

use crate::timing::Timing;

/// One reason for the length of the run.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct CriticalShare {
    /// The engine.
    pub engine: String,
    /// `busy`, or the cause of a stall.
    pub what: String,
    /// Clock cycles.
    pub cycles: f64,
    /// Share of the whole time, 0 to 1.
    pub share: f64,
}

/// The critical path.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct CriticalPath {
    /// The reasons, the greatest first.
    pub shares: Vec<CriticalShare>,
}

impl CriticalPath {
    /// The critical path of a run.
    pub fn new(timing: &Timing) -> CriticalPath {
        let mut sums: BTreeMap<(u8, &str), u64> = BTreeMap::new();
        for segment in &timing.critical_path {
            let stalls = segment.account.stalls.iter().map(|(cause, time)| (cause.name(), *time));
            for (what, time) in stalls.chain([("busy", segment.account.busy)]).filter(|(_, time)| *time > 0) {
                *sums.entry((segment.agent, what)).or_default() += time;
            }
        }
        let share = |((agent, what), time): ((u8, &str), u64)| CriticalShare {
            engine: Engine::from_code(agent).map_or("", Engine::name).to_string(),
            what: what.to_string(),
            cycles: time as f64 / timing.clock as f64,
            share: time as f64 / timing.end.max(1) as f64,
        };
        let mut shares: Vec<CriticalShare> = sums.into_iter().map(share).collect();
        shares.sort_by(|a, b| b.cycles.total_cmp(&a.cycles).then(a.engine.cmp(&b.engine)).then(a.what.cmp(&b.what)));
        CriticalPath { shares }
    }
}
