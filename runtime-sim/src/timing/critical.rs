//! The critical path: what determined the length of the run.
//!
//! In: the ledger of a finished simulation. Out: segments from 0 to the end without a gap, and critical time on every usage. The walk goes
//! backwards from the end: at the retirement of an instruction through its run to its start, from there to what it waited for last (the
//! signal, the predecessor in its engine, the stream of its weight, its dispatch); in the control unit through its steps to its last stall,
//! and from there to whoever ended it. Always: time never increases along the walk, and no span or stall is visited twice.

use super::account::{Account, Cause};
use super::ledger::{Ledger, Release};
use super::result::{Obstacle, Segment};
use super::Picoseconds;

/// Where the walk stands.
#[derive(Clone, Copy, Debug)]
enum Point {
    /// In the control unit, on the way to this usage.
    Control { usage: u32 },
    /// At the end of a span (or, for a stream, somewhere in it).
    End(u32),
    /// At the start of a span.
    Start(u32),
}

struct Walk<'a> {
    ledger: &'a Ledger,
    at: Picoseconds,
    visited: Vec<bool>,
    /// Stalls of the control unit from here on have been visited.
    stalls: usize,
    segments: Vec<(Segment, u32)>,
}

/// The critical path of a run that ended at `end`, with the usage of each segment.
pub(super) fn path(ledger: &Ledger, end: Picoseconds) -> Vec<(Segment, u32)> {
    let mut walk = Walk {
        ledger,
        at: end,
        visited: vec![false; ledger.spans.len()],
        stalls: ledger.control.len(),
        segments: Vec::new(),
    };
    let mut point = Some(Point::Control { usage: ledger.usages.len().saturating_sub(1) as u32 });
    while let Some(here) = point.filter(|_| walk.at > 0) {
        point = match here {
            Point::Control { usage } => walk.control(usage),
            Point::End(span) => walk.end(span),
            Point::Start(span) => Some(walk.start(span)),
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
    /// Goes back to `start` and says what the time between went into.
    fn segment(&mut self, agent: u8, usage: u32, start: Picoseconds, account: Account) {
        if start < self.at {
            let (pc, part) = self.ledger.usages.get(usage as usize).map_or((0, 0), |usage| (usage.pc, usage.part));
            self.segments.push((Segment { agent, pc, part, start, end: self.at, account }, usage));
            self.at = start;
        }
    }

    fn busy(&mut self, usage: u32, start: Picoseconds) {
        let account = Account { busy: self.at.saturating_sub(start), ..Account::default() };
        self.segment(0, usage, start, account);
    }

    fn stall(&mut self, agent: u8, usage: u32, start: Picoseconds, cause: Cause) {
        let mut account = Account::default();
        account.stall(cause, self.at.saturating_sub(start));
        self.segment(agent, usage, start, account);
    }

    fn control(&mut self, usage: u32) -> Option<Point> {
        let before = self.ledger.control[..self.stalls].partition_point(|stall| stall.until <= self.at);
        self.stalls = before;
        let Some(index) = before.checked_sub(1) else {
            self.busy(usage, 0);
            return None;
        };
        self.stalls = index;
        let stall = self.ledger.control[index];
        self.busy(usage, stall.until);
        let open = |span: u32| !self.visited[span as usize];
        Some(match stall.release {
            Release::End(span) if open(span) => Point::End(span),
            Release::Start(span) if open(span) => Point::Start(span),
            _ => {
                self.stall(0, stall.usage, stall.from, stall.cause);
                Point::Control { usage: stall.usage }
            }
        })
    }

    fn end(&mut self, span: u32) -> Option<Point> {
        self.visited[span as usize] = true;
        let (row, detail) = (self.ledger.spans[span as usize], self.ledger.details[span as usize]);
        if let Some(holder) = detail.held_by.filter(|holder| !self.visited[*holder as usize]) {
            return Some(Point::End(holder));
        }
        let late = detail.stream.filter(|stream| {
            let began = self.ledger.spans[*stream as usize].start;
            began > row.start && began < self.at && !self.visited[*stream as usize]
        });
        let from = late.map_or(row.start, |stream| self.ledger.spans[stream as usize].start);
        if from < self.at {
            let account = self.ledger.account(span, from, self.at);
            self.segment(row.agent, detail.usage, from, account);
        }
        Some(Point::Start(late.unwrap_or(span)))
    }

    fn start(&mut self, span: u32) -> Point {
        self.visited[span as usize] = true;
        let (row, usage) = (self.ledger.spans[span as usize], self.ledger.details[span as usize].usage);
        match row.obstacle {
            Obstacle::Signal(other) | Obstacle::Predecessor(other) if !self.visited[other as usize] => Point::End(other),
            Obstacle::ControlSignal => Point::Control { usage },
            _ => {
                self.stall(row.agent, usage, row.dispatched, Cause::Dispatch);
                Point::Control { usage }
            }
        }
    }
}
