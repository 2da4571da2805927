//! The critical path: what determined the length of the run.
//!
//! In: the ledger of a finished simulation. Out: segments from 0 to the end without a gap, and critical time on every usage. The walk goes
//! backwards from the end: at the retirement of an instruction through its run to its start, from there to what it waited for last (the
//! signal, the predecessor in its engine, its descriptors, its dispatch); in a product with streamed weights from chunk to chunk; where the
//! matrix engine waited for one, through the memory, back along the chunks that it served without a pause, each charged to its own
//! stream; from the request of a chunk to the consumption of the chunk that made room for it; in the control unit through its steps to its
//! last stall, and from there to whoever ended it. Always: time never increases along the walk, and no span, chunk or stall is passed twice.

use super::Picoseconds;
use super::account::{Account, Cause};
use super::ledger::{Ledger, Release, memory_causes};
use super::result::{Obstacle, Segment};

/// Where the walk stands.
#[derive(Clone, Copy, Debug)]
enum Point {
    /// In the control unit, on the way to this usage.
    Control(u32),
    /// At the end of a span.
    End(u32),
    /// At the start of a span.
    Start(u32),
    /// The matrix engine has worked on a chunk.
    Consumed(u32),
    /// A chunk has arrived in the FIFO.
    Arrived(u32),
    /// A chunk was requested.
    Requested(u32),
}

struct Walk<'a> {
    ledger: &'a Ledger,
    at: Picoseconds,
    visited: Vec<bool>,
    /// Stalls of the control unit, and chunks, from here on have been passed.
    stalls: usize,
    chunks: u32,
    segments: Vec<(Segment, u32)>,
}

/// The critical path of a run that ended at `end`, with the usage of each segment.
pub(super) fn path(ledger: &Ledger, end: Picoseconds) -> Vec<(Segment, u32)> {
    let mut walk = Walk {
        ledger,
        at: end,
        visited: vec![false; ledger.spans.len()],
        stalls: ledger.control.len(),
        chunks: ledger.chunks.len() as u32,
        segments: Vec::new(),
    };
    let mut point = Some(Point::Control(ledger.usages.len().saturating_sub(1) as u32));
    while let Some(here) = point.filter(|_| walk.at > 0) {
        point = match here {
            Point::Control(usage) => walk.control(usage),
            Point::End(span) => Some(walk.end(span)),
            Point::Start(span) => Some(walk.start(span)),
            Point::Consumed(chunk) => Some(walk.consumed(chunk)),
            Point::Arrived(chunk) => Some(walk.arrived(chunk)),
            Point::Requested(chunk) => Some(walk.requested(chunk)),
        };
    }
    walk.segments.reverse();
    walk.segments
}

/// Books critical time on the usages.
pub(super) fn book(ledger: &mut Ledger, path: &[(Segment, u32)]) {
    for (segment, usage) in path {
        if let Some(usage) = ledger.usages.get_mut(*usage as usize) {
            usage.critical.add(&segment.account);
        }
    }
}

impl Walk<'_> {
    /// Goes back to `start`; `account` says what the time between went into.
    fn segment(&mut self, agent: u8, usage: u32, start: Picoseconds, account: impl FnOnce(Picoseconds) -> Account) {
        if start < self.at {
            let (pc, part) = self.ledger.usages.get(usage as usize).map_or((0, 0), |usage| (usage.pc, usage.part));
            let account = account(self.at - start);
            self.segments.push((Segment { agent, pc, part, start, end: self.at, account }, usage));
            self.at = start;
        }
    }

    fn busy(&mut self, agent: u8, usage: u32, start: Picoseconds) {
        self.segment(agent, usage, start, |busy| Account { busy, ..Account::default() });
    }

    fn stall(&mut self, agent: u8, usage: u32, start: Picoseconds, cause: Cause) {
        self.segment(agent, usage, start, |time| Account { busy: 0, stalls: [(cause, time)].into() });
    }

    fn usage(&self, span: u32) -> u32 {
        self.ledger.details[span as usize].usage
    }

    fn control(&mut self, usage: u32) -> Option<Point> {
        let before = self.ledger.control[..self.stalls].partition_point(|stall| stall.until <= self.at);
        let Some(index) = before.checked_sub(1) else {
            self.busy(0, usage, 0);
            return None;
        };
        self.stalls = index;
        let stall = self.ledger.control[index];
        self.busy(0, usage, stall.until);
        let open = |span: u32| !self.visited[span as usize];
        Some(match stall.release {
            Release::End(span) if open(span) => Point::End(span),
            Release::Start(span) if open(span) => Point::Start(span),
            Release::End(_) | Release::Start(_) | Release::Memory => {
                self.stall(0, stall.usage, stall.from, stall.cause);
                Point::Control(stall.usage)
            }
        })
    }

    fn end(&mut self, span: u32) -> Point {
        self.visited[span as usize] = true;
        let (row, detail) = (self.ledger.spans[span as usize], self.ledger.details[span as usize]);
        if let Some(holder) = detail.held_by.filter(|holder| !self.visited[*holder as usize]) {
            return Point::End(holder);
        }
        if let Some(chunk) = detail.last_chunk.filter(|chunk| *chunk < self.chunks) {
            let row = self.ledger.chunks[chunk as usize];
            return match (row.product == span, row.arrived <= self.at) {
                (true, _) => Point::Consumed(chunk),
                (false, true) => Point::Arrived(chunk),
                // The next stream may begin as soon as this one has been requested.
                (false, false) => Point::Requested(chunk),
            };
        }
        let ledger = self.ledger;
        let until = self.at;
        self.segment(row.agent, detail.usage, row.start, |_| ledger.account(span, until));
        Point::Start(span)
    }

    fn consumed(&mut self, chunk: u32) -> Point {
        self.chunks = chunk;
        let (ledger, row) = (self.ledger, self.ledger.chunks[chunk as usize]);
        // Conflicts of the product are dealt out evenly to its chunks.
        let (span, conflict) = (ledger.spans[row.product as usize], ledger.details[row.product as usize].conflict);
        self.segment(span.agent, self.usage(row.product), row.begun, |time| {
            let all = u128::from((span.busy + conflict).max(1));
            let conflict = (u128::from(time) * u128::from(conflict) / all) as u64;
            let mut account = Account { busy: time - conflict, ..Account::default() };
            account.stall(Cause::SramConflict, conflict);
            account
        });
        let before = chunk.checked_sub(1).filter(|before| {
            let before = &ledger.chunks[*before as usize];
            before.product == row.product && before.ended == row.begun
        });
        match before {
            Some(before) => Point::Consumed(before),
            None if row.begun <= span.start => Point::Start(row.product),
            None => Point::Arrived(chunk),
        }
    }

    /// LPDDR serves chunks one after the other. While it was still at work on the one before when this one could have begun, time goes back to the
    /// arrival of that one, whoever streams it; where LPDDR waited for the request, to the request.
    fn arrived(&mut self, chunk: u32) -> Point {
        self.chunks = self.chunks.min(chunk);
        let row = self.ledger.chunks[chunk as usize];
        let before = chunk.checked_sub(1).map(|before| (before, self.ledger.chunks[before as usize].arrived));
        let at_work = before.filter(|(_, arrived)| *arrived > row.requested + row.spent.latency);
        let agent = self.ledger.spans[row.stream as usize].agent;
        let from = at_work.map_or(row.requested, |(_, arrived)| arrived);
        self.segment(agent, self.usage(row.stream), from, |time| {
            let mut account = Account::default();
            memory_causes(&row.spent.scaled_to(time)).into_iter().for_each(|(cause, time)| account.stall(cause, time));
            account
        });
        at_work.map_or(Point::Requested(chunk), |(before, _)| Point::Arrived(before))
    }

    fn requested(&mut self, chunk: u32) -> Point {
        self.chunks = self.chunks.min(chunk);
        let row = self.ledger.chunks[chunk as usize];
        let before = chunk.checked_sub(1).map(|before| (before, self.ledger.chunks[before as usize]));
        match (row.room_of, before) {
            (Some(other), _) if other < self.chunks => Point::Consumed(other),
            // Requested together with the chunk before it.
            (None, Some((before, other))) if other.stream == row.stream && other.requested == row.requested => {
                Point::Requested(before)
            }
            _ => {
                let span = self.ledger.spans[row.stream as usize];
                self.busy(span.agent, self.usage(row.stream), span.start);
                Point::Start(row.stream)
            }
        }
    }

    fn start(&mut self, span: u32) -> Point {
        self.visited[span as usize] = true;
        let (row, usage) = (self.ledger.spans[span as usize], self.usage(span));
        match row.obstacle {
            Obstacle::Signal(other) | Obstacle::Predecessor(other) if !self.visited[other as usize] => {
                Point::End(other)
            }
            Obstacle::Order(other) if !self.visited[other as usize] => Point::Start(other),
            Obstacle::ControlSignal => Point::Control(usage),
            Obstacle::Load(began) => {
                self.stall(row.agent, usage, began, Cause::Load);
                Point::Control(usage)
            }
            Obstacle::Dispatch | Obstacle::Signal(_) | Obstacle::Predecessor(_) | Obstacle::Order(_) => {
                self.stall(row.agent, usage, row.dispatched, Cause::Dispatch);
                Point::Control(usage)
            }
        }
    }
}
