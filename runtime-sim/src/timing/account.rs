//! What the time of an agent went into. In: stretches of time with a cause. Out: [`Account`]. Always: every picosecond is booked once.

use super::Picoseconds;
use std::collections::BTreeMap;

/// Why an agent does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Nothing has been dispatched to it, or the program has ended for it.
    Idle,
    /// Its next instruction is on its way from the control unit.
    Dispatch,
    /// Its next instruction waits for a semaphore.
    Semaphore,
    /// A weight whose stream has not begun (matrix engine), or bytes of an earlier move that is under way (DMAA).
    Operand,
    /// SRAM banks or the crossbar deliver less than the engine could take.
    SramConflict,
    /// The queue of the engine is full (control unit).
    QueueFull,
    /// Code is being fetched (control unit).
    Fetch,
    /// A descriptor or (control unit) a scalar is being loaded.
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

impl Cause {
    /// All causes, in the order of reports.
    pub const ALL: [Cause; 15] = [
        Cause::Idle,
        Cause::Dispatch,
        Cause::Semaphore,
        Cause::Operand,
        Cause::SramConflict,
        Cause::QueueFull,
        Cause::Fetch,
        Cause::Load,
        Cause::Fence,
        Cause::FifoFull,
        Cause::DramBandwidth,
        Cause::DramLatency,
        Cause::DramRefresh,
        Cause::DramTurnaround,
        Cause::DramRows,
    ];

    /// The name in reports: that of the JSON form.
    pub fn name(self) -> &'static str {
        match self {
            Cause::Idle => "idle",
            Cause::Dispatch => "dispatch",
            Cause::Semaphore => "semaphore",
            Cause::Operand => "operand",
            Cause::SramConflict => "sram_conflict",
            Cause::QueueFull => "queue_full",
            Cause::Fetch => "fetch",
            Cause::Load => "load",
            Cause::Fence => "fence",
            Cause::FifoFull => "fifo_full",
            Cause::DramBandwidth => "dram_bandwidth",
            Cause::DramLatency => "dram_latency",
            Cause::DramRefresh => "dram_refresh",
            Cause::DramTurnaround => "dram_turnaround",
            Cause::DramRows => "dram_rows",
        }
    }
}

/// What the time of an agent went into.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Working. For DMAW, whose work is to move data: data moves at the peak rate of the LPDDR.
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

    /// Adds another account.
    pub fn add(&mut self, other: &Account) {
        self.busy += other.busy;
        other.stalls.iter().for_each(|(cause, duration)| self.stall(*cause, *duration));
    }
}

/// An account while time is booked: one counter per cause.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub busy: Picoseconds,
    stalls: [Picoseconds; Cause::ALL.len()],
}

impl Tally {
    pub fn stall(&mut self, cause: Cause, duration: Picoseconds) {
        self.stalls[cause as usize] += duration;
    }

    pub fn account(&self) -> Account {
        let mut account = Account { busy: self.busy, ..Account::default() };
        Cause::ALL.iter().for_each(|cause| account.stall(*cause, self.stalls[*cause as usize]));
        account
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_json_form() {
        for cause in Cause::ALL {
            assert_eq!(serde_json::to_value(cause).unwrap(), cause.name());
        }
    }
}
