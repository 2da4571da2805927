//! Requests to LPDDR and their completions.
//!
//! In: ranges that agents want. Out: completions in the order of their times, with the purpose of each request. Always: the controller's own
//! latency precedes every access and counts as latency.

use super::{FETCH_BYTES, Obstacle, Picoseconds, SCU, Simulation, State};
use crate::dram::{Completion, Dram, DramReport, Request, Spent};
use crate::timing::ledger::UsageId;
use std::collections::VecDeque;

/// What a request is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    /// A range of an instruction of an engine, by its span.
    Engine { agent: usize, span: u32 },
    /// A chunk of a weight stream, by its number and that of the stream.
    Chunk { stream: u64, chunk: u32, bytes: u64 },
    /// A block of code.
    Code(u64),
    /// A row for this descriptor register.
    Descriptor(u8),
    /// A scalar of the control unit.
    Scalar,
    /// Done.
    Nothing,
}

/// A request that is under way.
#[derive(Clone, Copy, Debug)]
struct Open {
    purpose: Purpose,
    write: bool,
    bytes: u64,
}

/// The simulation's side of the memory.
pub(super) struct Port<'a> {
    dram: &'a mut dyn Dram,
    controller: Picoseconds,
    /// Open requests by number; the memory numbers them in order.
    open: VecDeque<Open>,
    first: u64,
    count: usize,
}

/// Who asks.
pub(super) struct Asker {
    pub queue: usize,
    pub usage: UsageId,
    pub span: Option<u32>,
    pub purpose: Purpose,
}

impl<'a> Port<'a> {
    pub fn new(dram: &'a mut dyn Dram, controller: Picoseconds) -> Port<'a> {
        Port { dram, controller, open: VecDeque::new(), first: 0, count: 0 }
    }

    fn submit(&mut self, request: Request, purpose: Purpose) {
        let Request { write, bytes, .. } = request;
        let id = self.dram.submit(Request { time: request.time + self.controller, ..request });
        if self.open.is_empty() {
            self.first = id.0;
        }
        assert_eq!(id.0, self.first + self.open.len() as u64, "the memory numbers requests in order");
        self.open.push_back(Open { purpose, write, bytes });
        self.count += 1;
    }

    pub fn next_completion(&mut self, until: Picoseconds) -> Option<Completion> {
        if self.count == 0 { None } else { self.dram.next_completion(until) }
    }

    fn take(&mut self, completion: &Completion) -> Open {
        let index = (completion.id.0 - self.first) as usize;
        let open = self.open[index];
        self.open[index].purpose = Purpose::Nothing;
        self.count -= 1;
        while matches!(self.open.front(), Some(Open { purpose: Purpose::Nothing, .. })) {
            self.open.pop_front();
            self.first += 1;
        }
        open
    }

    /// What the memory did, and its greatest data rate.
    pub fn report(&self, end: Picoseconds) -> (DramReport, f64) {
        (self.dram.report(end), self.dram.peak_bytes_per_second())
    }
}

impl Simulation<'_> {
    pub(super) fn request(&mut self, asker: &Asker, write: bool, address: u64, bytes: u64) {
        if bytes == 0 {
            return;
        }
        self.ledger.request(asker.usage, asker.span, write, bytes);
        let request = Request { queue: asker.queue, time: self.now, write, address, bytes };
        self.port.submit(request, asker.purpose);
    }

    pub(super) fn complete(&mut self, completion: &Completion) {
        let open = self.port.take(completion);
        self.ledger.moved(open.write, open.bytes, self.now);
        let mut spent = completion.spent;
        spent.latency += self.port.controller;
        match open.purpose {
            Purpose::Nothing => {}
            Purpose::Code(block) => {
                self.code_pending.retain(|pending| *pending != block);
                self.code_blocks.push_back(block);
                if self.code_blocks.len() as u64 * FETCH_BYTES > self.chip.scu.instruction_buffer_bytes {
                    self.code_blocks.pop_front();
                }
                self.look_at(SCU);
            }
            Purpose::Descriptor(register) => self.descriptor_arrived(register),
            Purpose::Scalar => {
                self.scalar = Some(self.now + self.chip.scu.load_clocks * self.clock);
                self.look_at(SCU);
            }
            Purpose::Chunk { stream, chunk, bytes } => self.chunk_arrived(stream, chunk, bytes, &spent),
            Purpose::Engine { agent, span } => self.range_arrived(agent, span, &spent),
        }
    }

    /// A range of an instruction is there; the last one ends its waiting.
    fn range_arrived(&mut self, agent: usize, span: u32, spent: &Spent) {
        let Some(lane) = self.lanes[agent].iter_mut().find(|lane| lane.span == span) else { return };
        lane.outstanding -= 1;
        if lane.outstanding > 0 {
            return;
        }
        if let Some(since) = lane.waiting.take() {
            self.ledger.waited(span, self.now - since, spent);
        }
        self.arrived(agent, spent);
        self.look_at(agent);
    }

    /// An access of the control unit, which has no span.
    pub(super) fn control_request(&mut self, usage: UsageId, write: bool, address: u64, bytes: u64, purpose: Purpose) {
        self.request(&Asker { queue: SCU, usage, span: None, purpose }, write, address, bytes);
    }

    /// A signal is given, by a span or by the control unit.
    pub(super) fn signal(&mut self, sync: &narae_isa::Synchronization, by: Obstacle) {
        if let Some((semaphore, count)) = sync.signal {
            self.semaphores[semaphore.index()] += u64::from(count);
            self.signals[semaphore.index()] = self.happens(by);
            self.pending |= std::mem::take(&mut self.waiters[semaphore.index()]);
        }
    }

    /// An agent is looked at again when the semaphore that it waits for is signalled.
    pub(super) fn wait_for(&mut self, agent: usize, sync: &narae_isa::Synchronization) {
        if let Some((semaphore, _)) = sync.wait {
            self.waiters[semaphore.index()] |= 1 << agent;
        }
    }

    pub(super) fn satisfied(&self, sync: &narae_isa::Synchronization) -> bool {
        sync.wait.is_none_or(|(semaphore, count)| self.semaphores[semaphore.index()] >= u64::from(count))
    }

    pub(super) fn take_signals(&mut self, sync: &narae_isa::Synchronization) {
        if let Some((semaphore, count)) = sync.wait {
            self.semaphores[semaphore.index()] -= u64::from(count);
        }
    }

    /// The state of an agent now.
    pub(super) fn state(&self, agent: usize) -> State {
        self.states[agent].0
    }
}
