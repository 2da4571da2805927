//! Debug info: which tile operation, graph operation and ONNX node every instruction comes from, and which buffers lie where.
//!
//! Always: runs are ascending and begin at instruction 0 when there are any; every run names an existing origin; the instructions
//! between which a buffer is used exist.

use serde::{Deserialize, Serialize};

use super::plan::Plan;
use crate::descriptor::Memory;

/// Where instructions come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DebugInfo {
    /// Distinct origins.
    pub origins: Vec<Origin>,
    /// (first instruction, index of its origin): holds until the next run.
    pub runs: Vec<(u32, u32)>,
    /// The buffers of all entries: the memory map by name, for people. Buffers whose lives do not meet may share bytes.
    #[serde(default)]
    pub buffers: Vec<BufferInfo>,
    /// What the instructions of each entry were made from; none where a program was not compiled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plans: Vec<Plan>,
}

/// What a buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BufferKind {
    /// A packed weight.
    Weight,
    /// Dense elements that come with the image.
    Constant,
    /// What is kept between calls.
    State,
    /// An input of an entry.
    Input,
    /// An output of an entry.
    Output,
    /// Intermediate results.
    Scratch,
}

/// A buffer: where it lies and between which instructions of its entry it is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BufferInfo {
    /// The value or tensor that it holds.
    pub name: String,
    /// What that is.
    pub kind: BufferKind,
    /// Which memory.
    pub memory: Memory,
    /// First byte.
    pub address: u64,
    /// Its size.
    pub bytes: u64,
    /// The first and the last instruction that touches it. Inside of a loop it may live once per iteration.
    pub used: (u32, u32),
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
        let index = known.map_or_else(|| self.add(origin.clone()), |index| index as u32);
        self.run(pc, index);
    }

    /// A new origin's index, for a caller that knows that it is new.
    pub fn add(&mut self, origin: Origin) -> u32 {
        self.origins.push(origin);
        self.origins.len() as u32 - 1
    }

    /// Says that the instructions from `pc` on come from origin number `index`; call with ascending `pc`.
    pub fn run(&mut self, pc: u32, index: u32) {
        if self.runs.last().map(|run| run.1) != Some(index) {
            self.runs.push((pc, index));
        }
    }

    /// The origin of an instruction.
    pub fn origin(&self, pc: u32) -> Option<&Origin> {
        let run = self.runs.partition_point(|(first, _)| *first <= pc).checked_sub(1)?;
        self.origins.get(self.runs.get(run)?.1 as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_as_long_as_possible() {
        let origin = |tile: &str| Origin { tile: tile.to_string(), ..Origin::default() };
        let mut debug = DebugInfo::default();
        for (pc, tile) in ["a", "a", "b", "a"].into_iter().enumerate() {
            debug.push(pc as u32, &origin(tile));
        }
        assert_eq!(debug.runs, [(0, 0), (2, 1), (3, 0)]);
        assert_eq!(debug.origins, [origin("a"), origin("b")]);
        assert_eq!(debug.origin(1), Some(&origin("a")));
        assert_eq!(debug.origin(2), Some(&origin("b")));
        assert_eq!(debug.origin(99), Some(&origin("a")));
        assert_eq!(DebugInfo::default().origin(0), None);
    }
}
