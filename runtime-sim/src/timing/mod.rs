//! When: an event-driven model of the engines, their queues, semaphores, the weight FIFO and LPDDR. It never looks at tensor data.
//!
//! In: the [`Step`]s that the control unit met (recorded by [`StepRecorder`] during a functional run, or during a run without computing), the
//! chip sheet, a memory model. Out: [`Timing`]: for each agent every picosecond up to the end, as busy or as a stall with a named cause.
//! Always: deterministic; functional results and timing do not influence each other; the occupancy of an instruction is the written
//! formula of [`occupancy`]; the parts of each agent add up to the total time.
//!
//! What is modelled: one instruction a clock in the control unit, taken branches, fetch of code in blocks through the same LPDDR, descriptor
//! loads that run in the background, bounded queues, in-order engines, the weight FIFO with flow control, LPDDR with its channels (the fast
//! or the exact model of [`crate::dram`]). What is not yet: conflicts of SRAM banks and of the crossbar.

mod engines;
pub mod occupancy;
mod work;

pub use engines::{DRAM_QUEUES, Span, Timing, simulate};
pub use work::{Counts, StepRecorder, Work};

use narae_isa::Synchronization;
use narae_isa::operand::MarkKind;
use std::collections::BTreeMap;

/// A time or duration in picoseconds.
pub type Picoseconds = u64;

/// What the control unit does with an instruction.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Executes it in one clock.
    Scalar,
    /// A taken branch.
    Branch,
    /// Reads (or writes) memory and waits for it; the DRAM address, if it is not SRAM.
    Load(Option<u64>),
    /// Loads a descriptor in the background, from this row.
    Descriptor(u32),
    /// Waits until all engines are idle.
    Fence,
    /// Names what follows.
    Mark(MarkKind, i64),
    /// Dispatches work to an engine.
    Dispatch(Work),
}

/// One instruction as the control unit met it.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Program counter.
    pub pc: u32,
    /// Code of the engine; 0 is the control unit.
    pub agent: u8,
    /// Waiting and signalling.
    pub sync: Synchronization,
    /// What is done.
    pub action: Action,
}

/// Why an agent does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Nothing has been dispatched to it, or the program has ended for it.
    Idle,
    /// Its next instruction waits for a semaphore.
    Semaphore,
    /// The queue of the engine is full (control unit).
    QueueFull,
    /// Code is being fetched (control unit).
    Fetch,
    /// A descriptor or a scalar is being loaded (control unit).
    Load,
    /// A fence waits for the engines (control unit).
    Fence,
    /// The weight FIFO is full (weight streams).
    FifoFull,
    /// LPDDR moves data at its peak rate, and that is not enough.
    DramBandwidth,
    /// An access to LPDDR takes its time.
    DramLatency,
    /// LPDDR refreshes.
    DramRefresh,
    /// The LPDDR bus turns between reading and writing.
    DramTurnaround,
    /// LPDDR opens and closes rows.
    DramRows,
}

/// What the time of an agent went into.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Working.
    pub busy: Picoseconds,
    /// Not working, by cause.
    pub stalls: BTreeMap<Cause, Picoseconds>,
}

impl Account {
    /// Adds a stall; an empty one leaves no trace.
    pub fn stall(&mut self, cause: Cause, duration: Picoseconds) {
        if duration > 0 {
            *self.stalls.entry(cause).or_insert(0) += duration;
        }
    }

    /// Everything.
    pub fn total(&self) -> Picoseconds {
        self.busy + self.stalls.values().sum::<Picoseconds>()
    }
}

#[cfg(test)]
mod tests;
