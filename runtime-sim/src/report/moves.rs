//! Which bytes of LPDDR each instruction moved, for the memory map over time.
//!
//! In: the steps of a run, as they come. Out: [`Moves`]. Always: nothing is kept of instructions that move none; the order of the moves of
//! one engine is the order in which the engine starts its instructions.

use crate::checker::AGENTS;
use crate::timing::{Action, Step};

/// One contiguous range that an instruction moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// Engine.
    pub agent: u8,
    /// Number of the instruction among those of its engine.
    pub ordinal: u32,
    /// To LPDDR, or from it.
    pub write: bool,
    /// First byte.
    pub start: u64,
    /// Its length.
    pub bytes: u64,
    /// Whether it is a weight on its way to the FIFO.
    pub weight: bool,
}

/// The moves of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// In program order.
    pub list: Vec<Move>,
    seen: [u32; AGENTS],
}

impl Moves {
    /// Looks at a step.
    pub fn see(&mut self, step: &Step) {
        let Action::Dispatch(work) = &step.action else { return };
        let ordinal = self.seen[usize::from(step.agent)];
        self.seen[usize::from(step.agent)] += 1;
        let (agent, weight) = (step.agent, work.weight_bytes > 0);
        let both = work.reads.iter().map(|range| (false, *range)).chain(work.writes.iter().map(|range| (true, *range)));
        self.list.extend(both.map(|(write, (start, bytes))| Move { agent, ordinal, write, start, bytes, weight }));
    }

    /// The addresses of the weights that were loaded, in order.
    pub fn loads(&self) -> impl Iterator<Item = u64> + '_ {
        self.list.iter().filter(|one| one.weight && !one.write).map(|one| one.start)
    }
}
