//! The event loop: control unit, queues, engines, weight FIFO and LPDDR, advanced from event to event.
//!
//! In: steps in program order. Out: [`Timing`], or [`Stuck`] if nothing can move any more. Always: at each instant everything that can start
//! is started, in the fixed order of the agents; then time moves to the next event. An agent is in one state at a time, and each stretch of
//! time is booked when the state changes; nothing is visited between events.

mod control;
mod engine;
mod memory;
mod stream;

use super::account::{Cause, Tally};
use super::ledger::{Ledger, UsageId};
use super::result::{Obstacle, Timing};
use super::work::Work;
use super::{Action, Picoseconds, Step, critical};
use crate::checker::AGENTS;
use crate::dram::{Dram, Spent};
use memory::Port;
use narae_isa::Synchronization;
use narae_isa::chip::Chip;
use std::collections::VecDeque;
use std::sync::Arc;
use stream::Fifo;

pub(super) const SCU: usize = 0;
pub(super) const DMAW: usize = 1;
pub(super) const DMAA: usize = 2;
pub(super) const MXE: usize = 3;

/// Bytes of code that are fetched together.
const FETCH_BYTES: u64 = 1024;
/// Bytes of a descriptor row.
const ROW_BYTES: u64 = 128;
const NEVER: Picoseconds = Picoseconds::MAX;

/// Queues in front of LPDDR: one for each agent, and one more for each further move that DMAA has under way.
pub fn dram_queues(chip: &Chip) -> usize {
    AGENTS + chip.dmaa.queues as usize - 1
}

/// Where code and descriptor rows lie in LPDDR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Address of instruction 0.
    pub code: u64,
    /// Address of descriptor row 0.
    pub rows: u64,
}

/// Nothing can move, although the program has not ended: for each agent that is stuck, its instruction and what it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck(pub Vec<(u32, String)>);

/// Replays steps.
pub fn simulate(
    chip: &Chip,
    dram: &mut dyn Dram,
    steps: impl IntoIterator<Item = Step>,
    places: Places,
) -> Result<Timing, Stuck> {
    let mut steps = steps.into_iter();
    let mut simulation = Simulation::new(chip, dram, &mut steps, places);
    simulation.run()?;
    Ok(simulation.finish())
}

/// What an agent is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Busy,
    Stalled(Cause),
    /// Waits for LPDDR; booked by what the memory's time went into, once that is known.
    Memory,
}

/// An instruction that was dispatched.
#[derive(Debug)]
struct Dispatched {
    pc: u32,
    usage: UsageId,
    sync: Synchronization,
    work: Arc<Work>,
    dispatched: Picoseconds,
    ready: Picoseconds,
    /// Descriptor registers whose loads have not arrived, as bits.
    missing: u64,
    /// When the last descriptor arrived that it had to wait for, and when the load of that began.
    loaded: Option<(Picoseconds, Picoseconds)>,
}

/// An instruction in an engine.
#[derive(Debug)]
struct Lane {
    instruction: Dispatched,
    span: u32,
    /// Its queue in front of LPDDR.
    queue: usize,
    /// Work of the written formula that is left; for streamed products, of the chunk in work.
    remaining: Picoseconds,
    /// How much slower than the formula it works, in units of 1/65536.
    slow: u64,
    /// The work will be done at this time; [`NEVER`] when it is not at work.
    until: Picoseconds,
    /// Formula work done so far.
    busy: Picoseconds,
    /// Requests to LPDDR that are not complete.
    outstanding: usize,
    /// Since when it waits for LPDDR or an operand.
    waiting: Option<Picoseconds>,
    /// For products with streamed weights: bytes not yet consumed, and bytes of the chunk in work.
    weights: Option<(u64, u64)>,
}

impl Lane {
    fn is_active(&self) -> bool {
        self.until != NEVER
    }

    fn is_done(&self) -> bool {
        !self.is_active() && self.outstanding == 0 && self.weights.is_none()
    }
}

/// The latest thing that happened to an agent or a semaphore, and who did it.
#[derive(Clone, Copy, Debug)]
struct Happened {
    at: Picoseconds,
    by: Obstacle,
}

struct Simulation<'a> {
    chip: &'a Chip,
    places: Places,
    clock: Picoseconds,
    now: Picoseconds,
    ledger: Ledger,
    port: Port<'a>,
    // Program.
    steps: &'a mut dyn Iterator<Item = Step>,
    /// The next two steps: whether a branch is taken shows in the one after it.
    step: Option<Step>,
    following: Option<Step>,
    // Agents.
    states: [(State, Picoseconds); AGENTS],
    tallies: [Tally; AGENTS],
    /// Agents to look at now, as bits, and when each one next has something to do by itself.
    pending: u8,
    wakes: [Picoseconds; AGENTS],
    /// Time in the state `Memory` whose causes are not known yet.
    unbooked: [Picoseconds; AGENTS],
    queues: [VecDeque<Dispatched>; AGENTS],
    lanes: [VecDeque<Lane>; AGENTS],
    /// The last retirement of each engine; for DMAW, the last stream that was completely requested.
    freed: [Option<Happened>; AGENTS],
    /// The last start in each engine.
    started: [Option<Happened>; AGENTS],
    last_retired: u32,
    semaphores: [u64; 32],
    /// For each semaphore the agents that wait for it, as bits.
    waiters: [u8; 32],
    signals: [Option<Happened>; 32],
    /// The set of instructions at work has changed.
    contention: bool,
    // Control unit.
    free_at: Picoseconds,
    scalar: Option<Picoseconds>,
    /// Descriptor registers whose loads are under way, as bits, and when those began.
    loading: u64,
    load_began: [Picoseconds; 64],
    code_blocks: VecDeque<u64>,
    code_pending: Vec<u64>,
    fifo: Fifo,
}

impl<'a> Simulation<'a> {
    fn new(
        chip: &'a Chip,
        dram: &'a mut dyn Dram,
        steps: &'a mut dyn Iterator<Item = Step>,
        places: Places,
    ) -> Simulation<'a> {
        let (step, following) = (steps.next(), steps.next());
        Simulation {
            chip,
            places,
            clock: ((1e6 / chip.tiles.clock_mhz).round() as u64).max(1),
            now: 0,
            ledger: Ledger::new(dram.peak_bytes_per_second()),
            port: Port::new(dram, (chip.dram.controller_ns * 1000.0).round() as u64),
            steps,
            step,
            following,
            states: [(State::Stalled(Cause::Idle), 0); AGENTS],
            tallies: Default::default(),
            pending: u8::MAX >> (8 - AGENTS),
            wakes: [NEVER; AGENTS],
            unbooked: [0; AGENTS],
            queues: Default::default(),
            lanes: Default::default(),
            freed: [None; AGENTS],
            started: [None; AGENTS],
            last_retired: 0,
            semaphores: [0; 32],
            waiters: [0; 32],
            signals: [None; 32],
            contention: false,
            free_at: 0,
            scalar: None,
            loading: 0,
            load_began: [0; 64],
            code_blocks: VecDeque::new(),
            code_pending: Vec::new(),
            fifo: Fifo::new(chip),
        }
    }

    fn run(&mut self) -> Result<(), Stuck> {
        loop {
            self.look_at_agents();
            if std::mem::take(&mut self.contention) {
                self.contend();
            }
            let next = self.wakes.iter().copied().min().unwrap_or(NEVER);
            match self.port.next_completion(next) {
                Some(completion) => {
                    self.now = self.now.max(completion.at);
                    self.complete(&completion);
                }
                None if next == NEVER => return self.stuck().map_or(Ok(()), Err),
                None => {
                    self.now = next;
                    for agent in 0..AGENTS {
                        if self.wakes[agent] <= next {
                            self.wakes[agent] = NEVER;
                            self.look_at(agent);
                        }
                    }
                }
            }
        }
    }

    /// Lets every agent do what it can now, lowest number first, until none of them has anything to do.
    fn look_at_agents(&mut self) {
        while self.pending != 0 {
            let agent = self.pending.trailing_zeros() as usize;
            self.pending &= self.pending - 1;
            if agent == SCU { self.control_unit() } else { self.engine(agent) }
        }
    }

    /// Something has happened that may let this agent do something.
    fn look_at(&mut self, agent: usize) {
        self.pending |= 1 << agent;
    }

    /// Changes the state of an agent; the time of the old one is booked.
    fn enter(&mut self, agent: usize, state: State) {
        if self.states[agent].0 != state {
            self.book(agent);
            self.states[agent].0 = state;
        }
    }

    /// Books the time of an agent's state up to now.
    fn book(&mut self, agent: usize) {
        let (state, since) = self.states[agent];
        let duration = self.now - since;
        self.states[agent].1 = self.now;
        match state {
            State::Busy => self.settle(agent, duration),
            State::Stalled(cause) => self.tallies[agent].stall(cause, duration),
            State::Memory => self.unbooked[agent] += duration,
        }
    }

    /// What an agent waited for in the memory has arrived: its waiting is booked by what the memory's time went into.
    fn arrived(&mut self, agent: usize, spent: &Spent) {
        if self.states[agent].0 == State::Memory {
            self.book(agent);
        }
        if self.unbooked[agent] == 0 {
            return;
        }
        let waited = spent.scaled_to(std::mem::take(&mut self.unbooked[agent]));
        let tally = &mut self.tallies[agent];
        for (cause, time) in super::ledger::memory_causes(&waited) {
            match cause {
                // To move data at the peak rate is the work of the weight streams.
                Cause::DramBandwidth if agent == DMAW => tally.busy += time,
                _ => tally.stall(cause, time),
            }
        }
    }

    /// Who is stuck, if anybody is.
    fn stuck(&self) -> Option<Stuck> {
        let mut found = Vec::new();
        if let Some(step) = &self.step {
            let (State::Stalled(cause), _) = self.states[SCU] else { return None };
            found.push((step.pc, format!("waits in the control unit: {}", cause.name())));
        }
        for agent in 1..AGENTS {
            for lane in &self.lanes[agent] {
                found.push((lane.instruction.pc, "has started, and what it works on does not come".to_string()));
            }
            if let Some(head) = self.queues[agent].front() {
                found.push((head.pc, format!("waits at the head of its queue of {}", self.queues[agent].len())));
            }
        }
        (!found.is_empty()).then_some(Stuck(found))
    }

    /// Something that happens now.
    fn happens(&self, by: Obstacle) -> Option<Happened> {
        Some(Happened { at: self.now, by })
    }

    fn finish(mut self) -> Timing {
        for agent in 0..AGENTS {
            self.book(agent);
            let rest = self.unbooked[agent];
            self.tallies[agent].stall(Cause::DramLatency, rest);
        }
        let path = critical::path(&self.ledger, self.now);
        critical::book(&mut self.ledger, &path);
        let (dram, dram_peak) = self.port.report(self.now);
        let ledger = self.ledger;
        Timing {
            end: self.now,
            clock: self.clock,
            accounts: self.tallies.map(|tally| tally.account()),
            counts: ledger.counts(),
            dram_bytes_read: ledger.bytes[0],
            dram_bytes_written: ledger.bytes[1],
            dram,
            dram_peak,
            marks: ledger.marks,
            spans: ledger.spans,
            parts: ledger.parts,
            usages: ledger.usages,
            critical_path: path.into_iter().map(|(segment, _)| segment).collect(),
            traffic: ledger.traffic,
            assumptions: Vec::new(),
        }
    }
}
