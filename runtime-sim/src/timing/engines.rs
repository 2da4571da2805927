//! The event loop: control unit, queues, engines, weight FIFO and LPDDR, advanced from event to event.
//!
//! In: steps in program order. Out: [`Timing`]. Always: at each instant everything that can start is started, in the fixed order of the
//! agents; then time moves to the next event. An agent is in one state at a time, and each stretch of time is booked when it ends.

mod control;
mod fifo;

use super::work::{Counts, Work};
use super::{Account, Action, Cause, Picoseconds, Step};
use crate::checker::AGENTS;
use crate::dram::{Completion, Dram, DramReport, Request, RequestId, Spent};
use narae_isa::chip::Chip;
use narae_isa::operand::MarkKind;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const SCU: usize = 0;
const DMAW: usize = 1;
const MXE: usize = 3;

/// Queues in front of LPDDR: one for each engine that uses it, and one for fetches.
pub const DRAM_QUEUES: usize = AGENTS;
/// Bytes of code that are fetched together.
const FETCH_BYTES: u64 = 1024;
/// Bytes of a descriptor row.
const ROW_BYTES: u64 = 128;

/// When an instruction ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Engine.
    pub agent: u8,
    /// Program counter.
    pub pc: u32,
    /// Start.
    pub start: Picoseconds,
    /// Retirement.
    pub end: Picoseconds,
}

/// What the timing of a run gave.
#[derive(Clone, Debug)]
pub struct Timing {
    /// The whole time.
    pub end: Picoseconds,
    /// One clock of the engines.
    pub clock: Picoseconds,
    /// For each agent, what its time went into; each sums to `end`.
    pub accounts: [Account; AGENTS],
    /// Bytes read from LPDDR.
    pub dram_bytes_read: u64,
    /// Bytes written to LPDDR.
    pub dram_bytes_written: u64,
    /// What the memory did.
    pub dram: DramReport,
    /// Greatest data rate of the memory in bytes per second.
    pub dram_peak: f64,
    /// Counts for energy.
    pub counts: Counts,
    /// Markers with the time at which the control unit met them.
    pub marks: Vec<(MarkKind, i64, Picoseconds)>,
    /// Instructions of the engines, in the order of retirement.
    pub spans: Vec<Span>,
}

/// Replays steps. `code_address` and `rows_address` say where code and descriptor rows lie in LPDDR.
pub fn simulate(chip: &Chip, dram: &mut dyn Dram, steps: &[Step], code_address: u64, rows_address: u64) -> Timing {
    let mut simulation = Simulation::new(chip, dram, steps, code_address, rows_address);
    simulation.run();
    simulation.finish()
}

/// What an agent is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Busy,
    Stalled(Cause),
    /// Waits for LPDDR; booked by what the memory's time went into, once that is known.
    Memory,
}

/// An instruction in an engine.
#[derive(Debug)]
struct Running {
    step: usize,
    start: Picoseconds,
    /// The engine's own work is done at this time.
    until: Picoseconds,
    /// Requests to LPDDR that are not complete.
    outstanding: usize,
    /// For products with streamed weights: which stream, and bytes not yet consumed.
    stream: Option<(usize, u64)>,
    /// Bytes of the chunk in work.
    chunk: u64,
}

/// A weight on its way.
#[derive(Debug, Default)]
struct Stream {
    step: usize,
    start: Picoseconds,
    total: u64,
    submitted: u64,
    arrived: u64,
    /// Chunks that lie in the FIFO, with what their time went into.
    chunks: VecDeque<(u64, Spent)>,
}

/// What a request is for.
#[derive(Clone, Copy, Debug)]
enum Purpose {
    Engine(usize),
    Chunk { stream: usize, bytes: u64 },
    Code(u64),
    Descriptor,
    Scalar,
}

struct Simulation<'a> {
    chip: &'a Chip,
    dram: &'a mut dyn Dram,
    steps: &'a [Step],
    code_address: u64,
    rows_address: u64,
    clock: Picoseconds,
    now: Picoseconds,
    wakes: BTreeSet<Picoseconds>,
    requests: BTreeMap<RequestId, Purpose>,
    semaphores: [u64; 32],
    states: [(State, Picoseconds); AGENTS],
    accounts: [Account; AGENTS],
    queues: [VecDeque<(usize, Picoseconds)>; AGENTS],
    running: [Option<Running>; AGENTS],
    // Control unit.
    position: usize,
    free_at: Picoseconds,
    scalar_load: bool,
    descriptor_loads: usize,
    code_blocks: VecDeque<u64>,
    code_pending: BTreeSet<u64>,
    // Weight FIFO.
    streams: Vec<Stream>,
    issuing: usize,
    consuming: usize,
    fifo_used: u64,
    stream_requests: usize,
    // Results.
    read: u64,
    written: u64,
    counts: Counts,
    marks: Vec<(MarkKind, i64, Picoseconds)>,
    spans: Vec<Span>,
}

impl<'a> Simulation<'a> {
    fn new(chip: &'a Chip, dram: &'a mut dyn Dram, steps: &'a [Step], code_address: u64, rows_address: u64) -> Self {
        Simulation {
            chip,
            dram,
            steps,
            code_address,
            rows_address,
            clock: ((1e6 / chip.tiles.clock_mhz).round() as u64).max(1),
            now: 0,
            wakes: BTreeSet::new(),
            requests: BTreeMap::new(),
            semaphores: [0; 32],
            states: [(State::Stalled(Cause::Idle), 0); AGENTS],
            accounts: Default::default(),
            queues: Default::default(),
            running: Default::default(),
            position: 0,
            free_at: 0,
            scalar_load: false,
            descriptor_loads: 0,
            code_blocks: VecDeque::new(),
            code_pending: BTreeSet::new(),
            streams: Vec::new(),
            issuing: 0,
            consuming: 0,
            fifo_used: 0,
            stream_requests: 0,
            read: 0,
            written: 0,
            counts: Counts::default(),
            marks: Vec::new(),
            spans: Vec::new(),
        }
    }

    fn run(&mut self) {
        loop {
            while self.control_unit() | self.engines() | self.weight_stream() {}
            let next = self.wakes.first().copied().unwrap_or(u64::MAX);
            if self.requests.is_empty() && next == u64::MAX {
                // Nothing is under way: the program has ended (a functional run has shown that it does).
                return;
            }
            match self.dram.next_completion(next) {
                Some(completion) => {
                    self.now = self.now.max(completion.at);
                    self.complete(&completion);
                }
                None => {
                    self.now = self.now.max(next);
                    self.wakes.remove(&next);
                }
            }
        }
    }

    fn finish(mut self) -> Timing {
        for agent in 0..AGENTS {
            self.enter(agent, State::Stalled(Cause::Idle));
        }
        let dram = self.dram.report(self.now);
        Timing {
            end: self.now,
            clock: self.clock,
            accounts: self.accounts,
            dram_bytes_read: self.read,
            dram_bytes_written: self.written,
            dram,
            dram_peak: self.dram.peak_bytes_per_second(),
            counts: self.counts,
            marks: self.marks,
            spans: self.spans,
        }
    }

    /// Books the time of an agent's state up to now and changes the state.
    fn enter(&mut self, agent: usize, state: State) {
        let (old, since) = self.states[agent];
        let duration = self.now - since;
        match old {
            State::Busy => self.accounts[agent].busy += duration,
            State::Stalled(cause) => self.accounts[agent].stall(cause, duration),
            State::Memory => self.accounts[agent].stall(Cause::DramLatency, duration),
        }
        self.states[agent] = (state, self.now);
    }

    /// As [`Simulation::enter`], when what was waited for in the memory has arrived.
    fn leave_memory(&mut self, agent: usize, spent: &Spent, state: State) {
        let (old, since) = self.states[agent];
        if old == State::Memory {
            let duration = self.now - since;
            let total = u128::from(spent.total().max(1));
            let share = |part: u64| (u128::from(duration) * u128::from(part) / total) as u64;
            let parts = [
                (Cause::DramBandwidth, share(spent.bandwidth)),
                (Cause::DramRefresh, share(spent.refresh)),
                (Cause::DramTurnaround, share(spent.turnaround)),
                (Cause::DramRows, share(spent.rows)),
            ];
            let account = &mut self.accounts[agent];
            parts.iter().for_each(|(cause, part)| account.stall(*cause, *part));
            account.stall(Cause::DramLatency, duration - parts.iter().map(|(_, part)| part).sum::<u64>());
            self.states[agent] = (State::Busy, self.now);
        }
        self.enter(agent, state);
    }

    /// A stall that is already entered is not entered again.
    fn stall(&mut self, agent: usize, cause: Cause) {
        if self.states[agent].0 != State::Stalled(cause) {
            self.enter(agent, State::Stalled(cause));
        }
    }

    fn wake_at(&mut self, time: Picoseconds) {
        if time > self.now {
            self.wakes.insert(time);
        }
    }

    fn request(&mut self, queue: usize, write: bool, address: u64, bytes: u64, purpose: Purpose) {
        if bytes == 0 {
            return;
        }
        *(if write { &mut self.written } else { &mut self.read }) += bytes;
        let id = self.dram.submit(Request { queue, time: self.now, write, address, bytes });
        self.requests.insert(id, purpose);
    }

    fn complete(&mut self, completion: &Completion) {
        match self.requests.remove(&completion.id) {
            None => {}
            Some(Purpose::Code(block)) => {
                self.code_pending.remove(&block);
                self.code_blocks.push_back(block);
                if self.code_blocks.len() as u64 * FETCH_BYTES > self.chip.scu.instruction_buffer_bytes {
                    self.code_blocks.pop_front();
                }
            }
            Some(Purpose::Descriptor) => self.descriptor_loads -= 1,
            Some(Purpose::Scalar) => {
                self.scalar_load = false;
                self.free_at = self.now;
            }
            Some(Purpose::Chunk { stream, bytes }) => {
                self.stream_requests -= 1;
                let done = {
                    let stream = &mut self.streams[stream];
                    stream.arrived += bytes;
                    stream.chunks.push_back((bytes, completion.spent));
                    stream.arrived == stream.total
                };
                if done {
                    let (step, start) = (self.streams[stream].step, self.streams[stream].start);
                    self.retire(DMAW, step, start);
                }
                self.feed(Some(&completion.spent));
            }
            Some(Purpose::Engine(agent)) => {
                let Some(running) = &mut self.running[agent] else { return };
                running.outstanding -= 1;
                let (last, until) = (running.outstanding == 0, running.until);
                if last && until <= self.now {
                    self.leave_memory(agent, &completion.spent, State::Busy);
                }
            }
        }
    }

    fn signalled(&mut self, step: usize) {
        if let Some((semaphore, count)) = self.steps[step].sync.signal {
            self.semaphores[semaphore.index()] += u64::from(count);
        }
    }

    fn satisfied(&self, step: usize) -> bool {
        self.steps[step]
            .sync
            .wait
            .is_none_or(|(semaphore, count)| self.semaphores[semaphore.index()] >= u64::from(count))
    }

    fn take(&mut self, step: usize) {
        if let Some((semaphore, count)) = self.steps[step].sync.wait {
            self.semaphores[semaphore.index()] -= u64::from(count);
        }
    }

    fn retire(&mut self, agent: usize, step: usize, start: Picoseconds) {
        self.spans.push(Span { agent: agent as u8, pc: self.steps[step].pc, start, end: self.now });
        self.signalled(step);
    }

    fn engines(&mut self) -> bool {
        (1..AGENTS).fold(false, |moved, agent| moved | self.engine(agent))
    }

    /// Finishes what is done and starts what can start in one engine.
    fn engine(&mut self, agent: usize) -> bool {
        if let Some(running) = &self.running[agent] {
            return self.advance(agent, running.until, running.outstanding, running.stream.is_some());
        }
        let Some((step, ready)) = self.queues[agent].front().copied() else {
            self.rest(agent, Cause::Idle);
            return false;
        };
        if ready > self.now {
            self.rest(agent, Cause::Idle);
            return false;
        }
        if !self.satisfied(step) {
            self.rest(agent, Cause::Semaphore);
            return false;
        }
        self.queues[agent].pop_front();
        self.take(step);
        self.start(agent, step);
        true
    }

    /// An engine without an instruction; weight streams may still be under way behind it.
    fn rest(&mut self, agent: usize, cause: Cause) {
        if agent == DMAW && (self.stream_requests > 0 || self.issuing < self.streams.len()) {
            return;
        }
        self.stall(agent, cause);
    }

    fn start(&mut self, agent: usize, index: usize) {
        let steps = self.steps;
        let Action::Dispatch(work) = &steps[index].action else { return };
        if agent == DMAW && work.weight_bytes > 0 {
            self.streams.push(Stream { step: index, start: self.now, total: work.weight_bytes, ..Stream::default() });
            return;
        }
        let streamed = agent == MXE && work.weight_bytes > 0;
        let stream = streamed.then(|| {
            self.consuming += 1;
            (self.consuming - 1, work.weight_bytes)
        });
        let until = if streamed { self.now } else { self.now + work.clocks * self.clock };
        self.running[agent] = Some(Running { step: index, start: self.now, until, outstanding: 0, stream, chunk: 0 });
        if streamed {
            self.enter(agent, State::Memory);
            self.feed(None);
            return;
        }
        self.enter(agent, State::Busy);
        self.transfer(agent, work);
        self.wake_at(until);
    }

    /// Submits the accesses to LPDDR of an instruction.
    fn transfer(&mut self, agent: usize, work: &Work) {
        let accesses =
            work.reads.iter().map(|range| (false, range)).chain(work.writes.iter().map(|range| (true, range)));
        for (write, (address, bytes)) in accesses {
            self.request(agent, write, *address, *bytes, Purpose::Engine(agent));
            if let Some(running) = &mut self.running[agent] {
                running.outstanding += usize::from(*bytes > 0);
            }
        }
    }

    /// Moves a running instruction on; true if something changed.
    fn advance(&mut self, agent: usize, until: Picoseconds, outstanding: usize, streamed: bool) -> bool {
        if until > self.now {
            return false;
        }
        if streamed {
            return self.consume();
        }
        if outstanding > 0 {
            if self.states[agent].0 == State::Busy {
                self.enter(agent, State::Memory);
            }
            return false;
        }
        if let Some(running) = self.running[agent].take() {
            self.retire(agent, running.step, running.start);
        }
        self.enter(agent, State::Stalled(Cause::Idle));
        true
    }
}
