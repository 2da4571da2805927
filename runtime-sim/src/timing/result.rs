//! What the timing of a run gives: plain data, for reports and traces.
//!
//! In: nothing; the simulation fills it. Out: [`Timing`]. Always:
//! - each of [`Timing::accounts`] sums to [`Timing::end`];
//! - the segments of [`Timing::critical_path`] follow each other without a gap from 0 to the end, and each account sums to its segment;
//! - summed over [`Timing::usages`]: bytes, counts and critical time are the totals of the run.
//!
//! So whoever groups usages (by layer, by ONNX node through the `pc`, by engine) has tables that add up.

use super::Picoseconds;
use super::account::Account;
use super::counts::Counts;
use super::traffic::Traffic;
use crate::checker::AGENTS;
use crate::dram::DramReport;
use narae_isa::operand::MarkKind;

/// What the timing of a run gave.
#[derive(Clone, Debug)]
pub struct Timing {
    /// The whole time.
    pub end: Picoseconds,
    /// One clock of the engines.
    pub clock: Picoseconds,
    /// For each agent (by engine code, 0 is the control unit), what its time went into; each sums to `end`.
    pub accounts: [Account; AGENTS],
    /// Bytes read from LPDDR, fetches included.
    pub dram_bytes_read: u64,
    /// Bytes written to LPDDR.
    pub dram_bytes_written: u64,
    /// What the memory did, with its energy by command class.
    pub dram: DramReport,
    /// Greatest data rate of the memory in bytes per second.
    pub dram_peak: f64,
    /// Counts for energy.
    pub counts: Counts,
    /// Markers with the time at which the control unit met them.
    pub marks: Vec<(MarkKind, i64, Picoseconds)>,
    /// Instructions of the engines, in the order in which they started.
    pub spans: Vec<Span>,
    /// Stretches of the program between markers, in program order; the first one begins at 0.
    pub parts: Vec<Part>,
    /// What each instruction of each part cost, in the order of the first execution.
    pub usages: Vec<Usage>,
    /// What determined the length of the run, from 0 to the end.
    pub critical_path: Vec<Segment>,
    /// Bytes that LPDDR moved over time.
    pub traffic: Traffic,
    /// What was assumed instead of computed (lengths, values that data would decide), in sentences; empty after a functional run.
    pub assumptions: Vec<String>,
}

/// When an instruction of an engine ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Engine.
    pub agent: u8,
    /// Program counter.
    pub pc: u32,
    /// Index of its part in [`Timing::parts`].
    pub part: u32,
    /// When the control unit dispatched it.
    pub dispatched: Picoseconds,
    /// Start.
    pub start: Picoseconds,
    /// Retirement.
    pub end: Picoseconds,
    /// Of the time between, at work as the written formula says; the rest are conflicts and waiting for memory.
    pub busy: Picoseconds,
    /// Bytes that it read from and wrote to LPDDR.
    pub dram_bytes: [u64; 2],
    /// What it waited for last before it started.
    pub obstacle: Obstacle,
}

/// What an instruction waited for last before it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Its dispatch by the control unit.
    Dispatch,
    /// One of its descriptors, whose load began at this time.
    Load(Picoseconds),
    /// The start of the instruction before it in its queue: an index into [`Timing::spans`].
    Order(u32),
    /// The retirement of an earlier instruction of its engine: an index into [`Timing::spans`].
    Predecessor(u32),
    /// A signal that this span gave when it retired.
    Signal(u32),
    /// A signal of the control unit.
    ControlSignal,
}

/// A stretch of the program between two markers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// The token or inference step that it belongs to, if a marker named one.
    pub token: Option<i64>,
    /// The layer that it belongs to; none before the first and after the last layer.
    pub layer: Option<i64>,
    /// When the control unit met the marker.
    pub start: Picoseconds,
}

/// What all executions of one instruction in one part cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Index into [`Timing::parts`].
    pub part: u32,
    /// Program counter.
    pub pc: u32,
    /// Engine.
    pub agent: u8,
    /// How often it was executed.
    pub executions: u64,
    /// Time at work in its engine, by the written formula.
    pub busy: Picoseconds,
    /// Bytes read from LPDDR for it (the fetch of code that it waited for included).
    pub dram_bytes_read: u64,
    /// Bytes written to LPDDR.
    pub dram_bytes_written: u64,
    /// Counts for energy.
    pub counts: Counts,
    /// Its share of the critical path: how much shorter the run might be without it, at most.
    pub critical: Account,
}

/// A piece of the critical path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Engine, or 0 for the control unit.
    pub agent: u8,
    /// The instruction that ran or was waited for.
    pub pc: u32,
    /// Its part.
    pub part: u32,
    /// Start.
    pub start: Picoseconds,
    /// End.
    pub end: Picoseconds,
    /// What the time in between went into; sums to it.
    pub account: Account,
}

impl Timing {
    /// A fingerprint of every event: instructions with their times, markers, causes. Equal runs have equal ones, on any machine.
    pub fn event_hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut add = |number: u64| {
            hasher.update(&number.to_le_bytes());
        };
        add(self.end);
        for span in &self.spans {
            [u64::from(span.agent), u64::from(span.pc), u64::from(span.part), span.start, span.end]
                .into_iter()
                .for_each(&mut add);
        }
        for (kind, value, at) in &self.marks {
            [u64::from(kind.code()), *value as u64, *at].into_iter().for_each(&mut add);
        }
        for account in &self.accounts {
            add(account.busy);
            account.stalls.iter().for_each(|(cause, time)| {
                add(*cause as u64);
                add(*time);
            });
        }
        hasher.finalize().to_hex().to_string()
    }

    /// Usages summed by a key that the caller chooses.
    pub fn usages_by<K: Ord>(&self, key: impl Fn(&Usage) -> K) -> std::collections::BTreeMap<K, Usage> {
        let mut sums = std::collections::BTreeMap::<K, Usage>::new();
        for usage in &self.usages {
            let first = || Usage { part: usage.part, pc: usage.pc, agent: usage.agent, ..Usage::default() };
            sums.entry(key(usage)).or_insert_with(first).add(usage);
        }
        sums
    }
}

impl Usage {
    /// Adds what another usage cost; part, instruction and engine stay.
    pub fn add(&mut self, other: &Usage) {
        self.executions += other.executions;
        self.busy += other.busy;
        self.dram_bytes_read += other.dram_bytes_read;
        self.dram_bytes_written += other.dram_bytes_written;
        self.counts.add(&other.counts);
        self.critical.add(&other.critical);
    }
}
