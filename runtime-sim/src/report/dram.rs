//! What LPDDR did: channels, commands, data bus.
//!
//! In: the memory's own report. Out: [`DramUse`]. Always: nothing is computed here but shares.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::timing::Timing;

/// What LPDDR did.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct DramUse {
    /// Bytes that each channel moved.
    pub channel_bytes: Vec<u64>,
    /// Commands and events of all channels, by name.
    pub commands: BTreeMap<String, u64>,
    /// Shares of the clocks of the data buses by what they went into, 0 to 1.
    pub bus: BTreeMap<String, f64>,
}

impl DramUse {
    /// What the memory did in a run.
    pub fn new(timing: &Timing) -> DramUse {
        let dram = &timing.dram;
        let total = dram.clocks.total().max(1) as f64;
        DramUse {
            channel_bytes: dram.channel_bytes.clone(),
            commands: dram.counts.named().iter().map(|(name, count)| (name.to_string(), *count)).collect(),
            bus: dram.clocks.named().iter().map(|(name, clocks)| (name.to_string(), *clocks as f64 / total)).collect(),
        }
    }
}
