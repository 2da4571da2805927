//! When: an event-driven model of the engines, their queues, semaphores, SRAM, the weight FIFO and LPDDR. It never looks at tensor data.
//!
//! In: the [`Step`]s that the control unit met (from [`StepRecorder`], during a functional run or a run without computing), the
//! chip sheet, a memory model. Out: [`Timing`]: for each agent every picosecond up to the end, as busy or as a stall with a named cause; what
//! each instruction cost; the critical path. Always: deterministic; functional results and timing do not influence each other; the
//! occupancy of an instruction is the written formula of [`occupancy`]; the parts of each agent add up to the total time.
//!
//! What is modelled: one instruction a clock in the control unit, taken branches, fetch of code in blocks through the same LPDDR, descriptor
//! loads that run in the background (a register has one at a time; an instruction is dispatched before its descriptors have arrived and
//! waits for them in its queue), bounded queues, in-order engines, several moves at a time in DMAA (those that touch the same bytes
//! keep their order), the weight FIFO with flow control, SRAM banks and the crossbar ([`sram`]), LPDDR with its channels (the fast or the
//! exact model of [`crate::dram`]), the latency of its controller. What is not: where hot SRAM banks of different engines meet (averages
//! are used), retries, clock domain crossings, thermal limits.
//!
//! Reading order: [`Step`] and [`Timing`] (what goes in and out), [`occupancy`] and [`sram`] (the written formulas), `work` (what an
//! instruction costs), `simulation` (the event loop), `ledger` and `critical` (who is booked for what).

mod account;
mod counts;
mod critical;
mod ledger;
pub mod occupancy;
mod record;
mod result;
mod simulation;
pub mod sram;
mod traffic;
mod work;

pub use account::{Account, Cause};
pub use counts::Counts;
pub use record::StepRecorder;
pub use result::{Obstacle, Part, Segment, Span, Timing, Usage};
pub use simulation::{Places, Stuck, dram_queues, simulate};
pub use traffic::Traffic;
pub use work::{Hull, Work};

use narae_isa::Synchronization;
use narae_isa::operand::MarkKind;
use std::sync::Arc;

/// A time or duration in picoseconds.
pub type Picoseconds = u64;

/// What the control unit does with an instruction.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Executes it in one clock.
    Scalar,
    /// A branch; taken if the next step is elsewhere.
    Branch,
    /// Reads a scalar and waits for it; the DRAM address, if it is not in SRAM.
    Load(Option<u64>),
    /// Writes a scalar and waits for it; the DRAM address, if it is not in SRAM.
    Store(Option<u64>),
    /// Loads a descriptor register in the background, from a row.
    Descriptor {
        /// Which row.
        row: u32,
        /// Number of the register.
        register: u8,
    },
    /// Waits until all engines are idle.
    Fence,
    /// Names what follows.
    Mark(MarkKind, i64),
    /// Dispatches work to an engine.
    Dispatch(Arc<Work>),
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
    /// The descriptor registers that it reads, as bits.
    pub needs: u64,
    /// What is done.
    pub action: Action,
}

#[cfg(test)]
mod tests;
