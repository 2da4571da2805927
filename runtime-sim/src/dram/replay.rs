//! Replaying requests on one channel by the rule of `../shared/dram`: bursts in address order, head-of-line blocking
//! inside the channel only, queues first and then one clock of the controller.
//!
//! In: requests. Out: completions and the channel's counts. Always holds: every burst of every request is served once.

use super::channel::Channel;
use super::mapping::Mapping;
use super::trace::TraceRequest;

/// The bursts of one channel, produced on demand from requests.
pub(crate) struct Fifo<'a> {
    mapping: &'a Mapping,
    channel: u32,
    burst_bytes: u64,
    banks: (u32, u32),
    requests: &'a [TraceRequest],
    next_request: usize,
    /// What is left of the current request: local indices.
    left: std::ops::Range<u64>,
    head: Option<Burst>,
}

/// A burst at the head of a FIFO.
#[derive(Clone, Copy)]
pub(crate) struct Burst {
    pub(crate) clock: u64,
    pub(crate) local: u64,
    pub(crate) id: u32,
    pub(crate) bank: u32,
    pub(crate) row: u32,
    pub(crate) write: bool,
}

impl<'a> Fifo<'a> {
    pub(crate) fn new(sheet: &'a super::sheet::Sheet, channel: u32, requests: &'a [TraceRequest]) -> Fifo<'a> {
        let mut fifo = Fifo {
            mapping: &sheet.mapping,
            channel,
            burst_bytes: u64::from(sheet.organization.burst_bytes),
            banks: (sheet.organization.bank_groups, sheet.organization.banks),
            requests,
            next_request: 0,
            left: 0..0,
            head: None,
        };
        fifo.advance();
        fifo
    }

    #[inline]
    pub(crate) fn head(&self) -> Option<&Burst> {
        self.head.as_ref()
    }

    /// Bursts of one direction that some requests have in this channel.
    pub(crate) fn bursts(&self, requests: std::ops::Range<usize>, write: bool) -> u64 {
        let chosen = self.requests[requests].iter().filter(|r| r.write == write);
        chosen.map(|r| self.locals(r)).map(|locals| locals.end - locals.start).sum()
    }

    fn locals(&self, request: &TraceRequest) -> std::ops::Range<u64> {
        let first = request.address / self.burst_bytes;
        let end = (request.address + request.bytes).div_ceil(self.burst_bytes);
        self.mapping.local_range(self.channel, first, end)
    }

    /// Drops everything before a request.
    pub(crate) fn jump(&mut self, request: usize) {
        self.next_request = request;
        self.left = 0..0;
        self.advance();
    }

    /// Drops the head.
    pub(crate) fn advance(&mut self) {
        while self.left.is_empty() {
            let Some(request) = self.requests.get(self.next_request) else {
                self.head = None;
                return;
            };
            self.left = self.locals(request);
            self.next_request += 1;
        }
        let local = self.left.start;
        self.left.start += 1;
        let id = self.next_request - 1;
        let place = self.mapping.locate(local);
        let bank = (place.rank * self.banks.0 + place.group) * self.banks.1 + place.bank;
        let TraceRequest { clock, write, .. } = self.requests[id];
        self.head = Some(Burst { clock, local, id: id as u32, bank, row: place.row, write });
    }
}

/// Runs a channel until its FIFO is empty and everything is served. `done[request]` is raised to the completion clock.
pub(crate) fn replay(channel: &mut Channel, fifo: &mut Fifo<'_>, done: &mut [u64]) {
    let mut clock = 1;
    loop {
        fill(channel, fifo, clock);
        let mut next = channel.tick(clock).next;
        for d in channel.done.drain(..) {
            let request = &mut done[d.id as usize];
            *request = (*request).max(d.at);
        }
        match fifo.head() {
            Some(head) if channel.has_room(head.write) => {
                next = channel.skip_idle(next.min(head.clock.max(clock) + 1), head.clock);
            }
            Some(_) => {}
            None if channel.is_empty() => return,
            None => {}
        }
        assert!(next > clock && next < u64::MAX, "a channel with work left always has a next clock");
        clock = next;
    }
}

/// Moves bursts from the FIFO into the controller until one is refused or not yet due.
#[inline]
pub(crate) fn fill(channel: &mut Channel, fifo: &mut Fifo<'_>, clock: u64) {
    while let Some(&b) = fifo.head() {
        if b.clock >= clock || !channel.enter(b.bank as usize, b.row, b.local, b.write, b.id, clock - 1) {
            return;
        }
        fifo.advance();
    }
}
