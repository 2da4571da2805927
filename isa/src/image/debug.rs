//! Debug info: which tile operation, graph operation and ONNX node every instruction comes from.
//!
//! Always: runs are ascending and begin at instruction 0 when there are any; every run names an existing origin.

use serde::{Deserialize, Serialize};

/// Where instructions come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DebugInfo {
    /// Distinct origins.
    pub origins: Vec<Origin>,
    /// (first instruction, index of its origin): holds until the next run.
    pub runs: Vec<(u32, u32)>,
}

/// One origin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The operation of the tile program, as text.
    pub tile: String,
    /// The operation of the graph, as text.
    pub graph: String,
    /// The ONNX nodes (name and operator) that it implements.
    pub nodes: Vec<(String, String)>,
}

impl DebugInfo {
    /// Appends the origin of the next instruction `pc`; call with ascending `pc`.
    pub fn push(&mut self, pc: u32, origin: &Origin) {
        let known = self.origins.iter().position(|other| other == origin);
        let index = known.unwrap_or_else(|| {
            self.origins.push(origin.clone());
            self.origins.len() - 1
        }) as u32;
        if self.runs.last().is_none_or(|(_, last)| *last != index) {
            self.runs.push((pc, index));
        }
    }

    /// The origin of an instruction.
    pub fn origin(&self, pc: u32) -> Option<&Origin> {
        let run = self.runs.partition_point(|(first, _)| *first <= pc).checked_sub(1)?;
        self.origins.get(self.runs.get(run)?.1 as usize)
    }
}
