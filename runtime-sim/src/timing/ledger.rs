//! Who is booked for what: parts of the program, usages, spans, the stalls of the control unit.
//!
//! In: what the simulation does, as it happens. Out: the tables of [`Timing`](super::Timing), and what the critical path needs beside them.
//! Always: spans are numbered in the order in which they start; every byte and every count is booked on exactly one usage.

use super::Picoseconds;
use super::account::{Account, Cause};
use super::counts::Counts;
use super::result::{Obstacle, Part, Span, Usage};
use super::traffic::Traffic;
use crate::dram::Spent;
use narae_isa::operand::MarkKind;

/// Names an instruction in a part: an index into the usages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UsageId(pub u32);

/// The parts of a memory's time with their causes.
pub(super) fn memory_causes(spent: &Spent) -> [(Cause, Picoseconds); 5] {
    [
        (Cause::DramBandwidth, spent.bandwidth),
        (Cause::DramLatency, spent.latency),
        (Cause::DramRefresh, spent.refresh),
        (Cause::DramTurnaround, spent.turnaround),
        (Cause::DramRows, spent.rows),
    ]
}

/// What a span needs beside its public row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SpanDetail {
    /// What conflicts in SRAM cost it.
    pub conflict: Picoseconds,
    /// Index into [`Ledger::waits`], if it waited for LPDDR.
    waits: Option<u32>,
    /// The usage that it belongs to.
    pub usage: u32,
    /// It was complete, and waited for the retirement of this span of its engine.
    pub held_by: Option<u32>,
    /// For weight streams and products with streamed weights: the last chunk.
    pub last_chunk: Option<u32>,
}

/// A piece of a weight on its way through the FIFO. Chunks are numbered in the order in which they are requested, which is the order in
/// which they are worked on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Chunk {
    /// The span of its stream.
    pub stream: u32,
    /// The span of its product.
    pub product: u32,
    pub requested: Picoseconds,
    /// The chunk whose consumption made the room that it needed; none if it was requested as soon as its stream began.
    pub room_of: Option<u32>,
    pub arrived: Picoseconds,
    pub spent: Spent,
    /// When the matrix engine began and ended to work on it.
    pub begun: Picoseconds,
    pub ended: Picoseconds,
}

/// What ended a stall of the control unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Release {
    /// Memory, or nothing that an engine did.
    Memory,
    /// This span started, and left its place in the queue.
    Start(u32),
    /// This span retired.
    End(u32),
}

/// A stall of the control unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ControlStall {
    pub from: Picoseconds,
    pub until: Picoseconds,
    pub cause: Cause,
    pub release: Release,
    /// The instruction that was held up.
    pub usage: u32,
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Ledger {
    pub parts: Vec<Part>,
    pub usages: Vec<Usage>,
    /// For each program counter its usage in the current part.
    current: Vec<u32>,
    pub spans: Vec<Span>,
    pub details: Vec<SpanDetail>,
    /// What the waiting of spans for LPDDR went into.
    waits: Vec<Spent>,
    pub chunks: Vec<Chunk>,
    pub control: Vec<ControlStall>,
    pub marks: Vec<(MarkKind, i64, Picoseconds)>,
    pub traffic: Traffic,
    pub bytes: [u64; 2],
}

const NONE: u32 = u32::MAX;

impl Ledger {
    /// For a memory with this peak rate in bytes per second.
    pub fn new(peak: f64) -> Ledger {
        Ledger {
            parts: vec![Part::default()],
            usages: Vec::new(),
            current: Vec::new(),
            spans: Vec::new(),
            details: Vec::new(),
            waits: Vec::new(),
            chunks: Vec::new(),
            control: Vec::new(),
            marks: Vec::new(),
            traffic: Traffic::new(peak),
            bytes: [0; 2],
        }
    }

    /// A marker opens a part: a token begins outside of layers, a layer lasts until the next marker of a layer or token or a rest.
    pub fn mark(&mut self, kind: MarkKind, value: i64, now: Picoseconds) {
        self.marks.push((kind, value, now));
        let last = self.parts.last().copied().unwrap_or_default();
        let next = match kind {
            MarkKind::Token => Part { token: Some(value), layer: None, start: now },
            MarkKind::Layer => Part { layer: Some(value), start: now, ..last },
            MarkKind::Rest => Part { layer: None, start: now, ..last },
            MarkKind::Node | MarkKind::User => return,
        };
        self.parts.push(next);
        self.current.clear();
    }

    /// The usage of an instruction in the current part, with one more execution.
    pub fn usage(&mut self, pc: u32, agent: u8) -> UsageId {
        let usage = self.peek(pc, agent);
        let row = &mut self.usages[usage.0 as usize];
        row.executions += 1;
        row.counts.instructions += 1;
        usage
    }

    /// The usage of an instruction in the current part.
    pub fn peek(&mut self, pc: u32, agent: u8) -> UsageId {
        let index = pc as usize;
        if index >= self.current.len() {
            self.current.resize(index + 1, NONE);
        }
        if self.current[index] == NONE {
            self.current[index] = self.usages.len() as u32;
            let part = self.parts.len() as u32 - 1;
            self.usages.push(Usage { part, pc, agent, ..Usage::default() });
        }
        UsageId(self.current[index])
    }

    pub fn count(&mut self, usage: UsageId, counts: &Counts) {
        self.usages[usage.0 as usize].counts.add(counts);
    }

    /// The counts of the whole run.
    pub fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        self.usages.iter().for_each(|usage| sum.add(&usage.counts));
        sum
    }

    /// A request to LPDDR, for an instruction and its span.
    pub fn request(&mut self, usage: UsageId, span: Option<u32>, write: bool, bytes: u64) {
        let direction = usize::from(write);
        self.bytes[direction] += bytes;
        let usage = &mut self.usages[usage.0 as usize];
        *(if write { &mut usage.dram_bytes_written } else { &mut usage.dram_bytes_read }) += bytes;
        if let Some(span) = span {
            self.spans[span as usize].dram_bytes[direction] += bytes;
        }
    }

    /// Data that arrived or was written.
    pub fn moved(&mut self, write: bool, bytes: u64, at: Picoseconds) {
        self.traffic.moved(write, bytes, at);
    }

    /// An instruction starts in its engine.
    pub fn open(&mut self, usage: UsageId, dispatched: Picoseconds, now: Picoseconds, obstacle: Obstacle) -> u32 {
        let Usage { part, pc, agent, .. } = self.usages[usage.0 as usize];
        let span = self.spans.len() as u32;
        self.spans.push(Span {
            agent,
            pc,
            part,
            dispatched,
            start: now,
            end: now,
            busy: 0,
            dram_bytes: [0; 2],
            obstacle,
        });
        self.details.push(SpanDetail { usage: usage.0, ..SpanDetail::default() });
        span
    }

    /// An instruction retires.
    pub fn close(&mut self, span: u32, now: Picoseconds, busy: Picoseconds) {
        let (row, detail) = (&mut self.spans[span as usize], &self.details[span as usize]);
        (row.end, row.busy) = (now, busy);
        self.usages[detail.usage as usize].busy += busy;
    }

    /// A span has waited so long for LPDDR, whose time went into this.
    pub fn waited(&mut self, span: u32, duration: Picoseconds, spent: &Spent) {
        let detail = &mut self.details[span as usize];
        if duration > 0 && detail.waits.is_none() {
            detail.waits = Some(self.waits.len() as u32);
            self.waits.push(spent.scaled_to(duration));
        }
    }

    /// The account of a span up to some time.
    pub fn account(&self, span: u32, until: Picoseconds) -> Account {
        let (row, detail) = (&self.spans[span as usize], &self.details[span as usize]);
        let mut account = Account { busy: row.busy, ..Account::default() };
        account.stall(Cause::SramConflict, detail.conflict);
        let memory = detail.waits.map_or(Spent::default(), |waits| self.waits[waits as usize]);
        memory_causes(&memory).into_iter().for_each(|(cause, time)| account.stall(cause, time));
        fit(account, until - row.start)
    }
}

/// Makes an account sum to a duration: what is missing is latency, what is too much comes off the largest entries.
fn fit(mut account: Account, duration: Picoseconds) -> Account {
    let total = account.total();
    if total <= duration {
        account.stall(Cause::DramLatency, duration - total);
        return account;
    }
    let mut excess = total - duration;
    let mut causes: Vec<Cause> = account.stalls.keys().copied().collect();
    causes.sort_by_key(|cause| std::cmp::Reverse(account.stalls[cause]));
    for cause in causes {
        let entry = account.stalls.entry(cause).or_insert(0);
        let cut = excess.min(*entry);
        *entry -= cut;
        excess -= cut;
    }
    account.busy -= excess;
    account.stalls.retain(|_, time| *time > 0);
    account
}
