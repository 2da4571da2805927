//! Engines: in-order queues, instructions at work, retirement.
//!
//! In: dispatched instructions. Out: spans, signals, requests. Always: an engine starts and retires its instructions in order; only DMAA has
//! several under way, and among those no two of which one writes what the other touches.

use super::memory::{Asker, Purpose};
use super::{AGENTS, Cause, DMAA, DMAW, Dispatched, Lane, MXE, NEVER, Obstacle, Picoseconds, SCU, Simulation, State};
use crate::timing::sram::{Load, ONE, slowdown};

impl Simulation<'_> {
    /// Finishes what is done and starts what can start in one engine.
    pub(super) fn engine(&mut self, agent: usize) {
        let cause = loop {
            let mut moved = self.work_done(agent);
            moved |= self.retire_done(agent);
            let mut cause = Cause::Idle;
            while let Some(blocked) = self.try_start(agent) {
                if let Some(blocked) = blocked {
                    cause = blocked;
                    break;
                }
                moved = true;
            }
            if agent == DMAW {
                self.stream_weights();
            }
            if !moved {
                break cause;
            }
        };
        let state = self.present_state(agent, cause);
        self.enter(agent, state);
        self.plan(agent);
    }

    /// When an engine next has something to do by itself.
    fn plan(&mut self, agent: usize) {
        let ready = self.queues[agent].front().map_or(NEVER, |head| head.ready);
        let ready = if ready > self.now { ready } else { NEVER };
        self.wakes[agent] = self.lanes[agent].iter().fold(ready, |next, lane| next.min(lane.until));
    }

    /// Lanes whose work is done stop working.
    fn work_done(&mut self, agent: usize) -> bool {
        let done = |lane: &Lane| lane.until <= self.now;
        if !self.lanes[agent].iter().any(done) {
            return false;
        }
        self.book(agent);
        self.contention = true;
        let now = self.now;
        for lane in self.lanes[agent].iter_mut().filter(|lane| lane.until <= now) {
            lane.until = NEVER;
            if lane.outstanding > 0 {
                lane.waiting = Some(now);
            }
        }
        if agent == MXE {
            self.consume();
        }
        true
    }

    /// Books work and conflicts of the lanes of an agent over a stretch that ends now.
    pub(super) fn settle(&mut self, agent: usize, duration: Picoseconds) {
        let mut own = None;
        for lane in self.lanes[agent].iter_mut().filter(|lane| lane.is_active()) {
            let progress = match lane.slow {
                ONE => duration,
                slow => (u128::from(duration) * u128::from(ONE) / u128::from(slow)) as u64,
            };
            // Floors of parts may fall short of the whole: at its end the work is done.
            let progress = if lane.until <= self.now { duration } else { progress }.min(lane.remaining);
            lane.remaining -= progress;
            lane.busy += progress;
            self.ledger.details[lane.span as usize].conflict += duration - progress;
            own = own.or(Some(progress));
        }
        // The account of an engine with several lanes follows its oldest one at work.
        let progress = own.unwrap_or(duration);
        self.tallies[agent].busy += progress;
        self.tallies[agent].stall(Cause::SramConflict, duration - progress);
    }

    /// Finds how fast everyone at work is beside the others.
    pub(super) fn contend(&mut self) {
        for agent in 1..AGENTS {
            for index in 0..self.lanes[agent].len() {
                let lane = &self.lanes[agent][index];
                if !lane.is_active() {
                    continue;
                }
                let slow = slowdown(&lane.instruction.work.load, self.others_at_work(lane.span));
                if slow != lane.slow {
                    self.book(agent);
                    self.lanes[agent][index].slow = slow;
                    self.schedule(agent, index);
                    self.plan(agent);
                }
            }
        }
    }

    /// How the other instructions at work load the SRAM.
    fn others_at_work(&self, span: u32) -> impl Iterator<Item = Load> {
        let lanes = self.lanes.iter().flatten();
        lanes.filter(move |lane| lane.is_active() && lane.span != span).map(|lane| lane.instruction.work.load)
    }

    /// Sets when the work of a lane will be done.
    pub(super) fn schedule(&mut self, agent: usize, index: usize) {
        let lane = &mut self.lanes[agent][index];
        let time = match lane.slow {
            ONE => lane.remaining,
            slow => (u128::from(lane.remaining) * u128::from(slow)).div_ceil(u128::from(ONE)) as u64,
        };
        lane.until = self.now + time;
    }

    /// Retires what is complete, in order.
    fn retire_done(&mut self, agent: usize) -> bool {
        let mut moved = false;
        let now = self.now;
        while self.lanes[agent].front().is_some_and(Lane::is_done) {
            let Some(lane) = self.lanes[agent].pop_front() else { break };
            self.ledger.close(lane.span, now, lane.busy);
            self.signal(&lane.instruction.sync, Obstacle::Signal(lane.span));
            self.last_retired = lane.span;
            if self.state(SCU) == State::Stalled(Cause::Fence) {
                self.look_at(SCU);
            }
            if agent != DMAW {
                self.freed[agent] = self.happens(Obstacle::Predecessor(lane.span));
            }
            moved = true;
            // Whoever is complete behind it was held by it.
            if let Some(next) = self.lanes[agent].front().filter(|next| next.is_done()) {
                self.ledger.details[next.span as usize].held_by = Some(lane.span);
            }
        }
        moved
    }

    /// Starts the head of the queue. Nothing: there is no head. A cause: what it waits for.
    fn try_start(&mut self, agent: usize) -> Option<Option<Cause>> {
        let head = self.queues[agent].front()?;
        if head.ready > self.now {
            return Some(Some(Cause::Dispatch));
        }
        if !self.has_room(agent) {
            return Some(Some(Cause::Idle)); // the state follows from what is under way
        }
        if head.missing != 0 {
            return Some(Some(Cause::Load));
        }
        let sync = head.sync;
        if !self.satisfied(&sync) {
            self.wait_for(agent, &sync);
            return Some(Some(Cause::Semaphore));
        }
        if self.lanes[agent].iter().any(|lane| lane.instruction.work.conflicts(&head.work)) {
            return Some(Some(Cause::Operand));
        }
        if let Some(head) = self.queues[agent].pop_front() {
            self.start(agent, head);
        }
        if self.state(SCU) == State::Stalled(Cause::QueueFull) {
            self.look_at(SCU);
        }
        Some(None)
    }

    /// Whether an engine can take another instruction beside those that it has.
    fn has_room(&self, agent: usize) -> bool {
        match agent {
            DMAW => self.fifo.is_requested(),
            DMAA => (self.lanes[DMAA].len() as u64) < self.chip.dmaa.queues,
            _ => self.lanes[agent].is_empty(),
        }
    }

    fn start(&mut self, agent: usize, instruction: Dispatched) {
        let obstacle = self.last_obstacle(agent, &instruction);
        self.take_signals(&instruction.sync);
        let span = self.ledger.open(instruction.usage, instruction.dispatched, self.now, obstacle);
        self.started[agent] = self.happens(Obstacle::Order(span));
        // All lanes book their time up to now before the set of lanes changes.
        self.book(agent);
        let (clocks, weight_bytes) = (instruction.work.clocks, instruction.work.weight_bytes);
        let streamed = agent == MXE && weight_bytes > 0;
        self.lanes[agent].push_back(Lane {
            queue: self.free_queue(agent),
            instruction,
            span,
            remaining: if streamed { 0 } else { clocks * self.clock },
            slow: ONE,
            until: NEVER,
            busy: 0,
            outstanding: 0,
            waiting: None,
            weights: None,
        });
        let index = self.lanes[agent].len() - 1;
        if streamed {
            self.begin_product(weight_bytes);
            return;
        }
        if clocks > 0 {
            self.schedule(agent, index);
            self.contention = true;
        }
        match agent == DMAW && weight_bytes > 0 {
            true => self.begin_stream(span, weight_bytes),
            false => self.transfer(agent, index),
        }
    }

    /// What an instruction that starts now has waited for last.
    fn last_obstacle(&self, agent: usize, instruction: &Dispatched) -> Obstacle {
        let signal = instruction.sync.wait.and_then(|(semaphore, _)| self.signals[semaphore.index()]);
        let candidates = [signal, self.freed[agent], self.started[agent]];
        let now = candidates.into_iter().flatten().find(|happened| happened.at == self.now);
        let load = instruction.loaded.filter(|(arrived, _)| *arrived >= instruction.ready);
        match (now, load) {
            (Some(happened), _) => happened.by,
            (None, Some((_, began))) => Obstacle::Load(began),
            (None, None) => Obstacle::Dispatch,
        }
    }

    /// The queue in front of LPDDR of the next lane: that of the engine, or one of DMAA's further ones.
    fn free_queue(&self, agent: usize) -> usize {
        let mut queues = std::iter::once(agent).chain(AGENTS..);
        let free = queues.find(|queue| self.lanes[agent].iter().all(|lane| lane.queue != *queue));
        if agent == DMAA { free.unwrap_or(agent) } else { agent }
    }

    /// Submits the accesses to LPDDR of an instruction.
    fn transfer(&mut self, agent: usize, index: usize) {
        let lane = &self.lanes[agent][index];
        let (span, queue, usage) = (lane.span, lane.queue, lane.instruction.usage);
        if lane.instruction.work.reads.is_empty() && lane.instruction.work.writes.is_empty() {
            return;
        }
        let work = lane.instruction.work.clone();
        let asker = Asker { queue, usage, span: Some(span), purpose: Purpose::Engine { agent, span } };
        let mut outstanding = 0;
        for (write, ranges) in [(false, &work.reads), (true, &work.writes)] {
            for (address, bytes) in ranges {
                self.request(&asker, write, *address, *bytes);
                outstanding += usize::from(*bytes > 0);
            }
        }
        let lane = &mut self.lanes[agent][index];
        lane.outstanding = outstanding;
        if !lane.is_active() && outstanding > 0 {
            lane.waiting = Some(self.now);
        }
    }

    /// What an engine does now; `blocked` is why its next instruction does not start.
    fn present_state(&self, agent: usize, blocked: Cause) -> State {
        let lanes = &self.lanes[agent];
        if agent == DMAW {
            return self.stream_state(blocked);
        }
        if lanes.iter().any(Lane::is_active) {
            State::Busy
        } else if let Some(lane) = lanes.front() {
            match agent == MXE && lane.weights.is_some() && !self.fifo.has_begun() {
                true => State::Stalled(Cause::Operand),
                false => State::Memory,
            }
        } else {
            State::Stalled(blocked)
        }
    }
}
