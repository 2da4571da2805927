//! The control unit: one step a clock, unless code, a descriptor, a scalar, a full queue, a semaphore or a fence is in the way.
//!
//! In: steps. Out: dispatched instructions, requests for code, rows and scalars. Always: every stall is noted with what ended it.

use super::memory::Purpose;
use super::{Action, Cause, Dispatched, FETCH_BYTES, Obstacle, ROW_BYTES, SCU, Simulation, State, Step, VecDeque};
use crate::timing::ledger::{ControlStall, Release};

impl Simulation<'_> {
    /// Lets the control unit take its next step, if it can.
    pub(super) fn control_unit(&mut self) {
        if self.free_at > self.now {
            return;
        }
        if let Some(data) = self.scalar {
            if data > self.now {
                self.enter(SCU, State::Stalled(Cause::Load));
                self.wakes[SCU] = data;
                return;
            }
            self.scalar = None;
        }
        let Some(step) = self.step.take() else {
            self.enter(SCU, State::Stalled(Cause::Idle));
            return;
        };
        if let Some(cause) = self.obstacle(&step) {
            if cause == Cause::Semaphore {
                self.wait_for(SCU, &step.sync);
            }
            self.stall_control(&step, cause);
            self.step = Some(step);
            return;
        }
        self.note_stall(&step);
        self.enter(SCU, State::Busy);
        self.step = std::mem::replace(&mut self.following, self.steps.next());
        self.take_step(step);
        self.wakes[SCU] = self.free_at;
    }

    fn take_step(&mut self, step: Step) {
        let usage = self.ledger.usage(step.pc, step.agent);
        // A dispatched instruction waits and signals in its engine.
        let own = !matches!(step.action, Action::Dispatch(_));
        if own {
            self.take_signals(&step.sync);
        }
        let mut clocks = 1;
        match step.action {
            Action::Scalar | Action::Fence => {}
            Action::Branch => {
                let next = self.step.as_ref().map_or(step.pc + 1, |next| next.pc);
                clocks = if next == step.pc + 1 { 1 } else { self.chip.scu.branch_clocks };
            }
            Action::Mark(kind, value) => self.ledger.mark(kind, value, self.now),
            Action::Load(address) | Action::Store(address) => match address {
                Some(address) => {
                    // Until the memory has answered.
                    self.scalar = Some(super::NEVER);
                    let write = matches!(step.action, Action::Store(_));
                    self.control_request(usage, write, address, 8, Purpose::Scalar);
                }
                None => self.scalar = Some(self.now + self.chip.scu.load_clocks * self.clock),
            },
            Action::Descriptor { row, register } => {
                self.loading |= 1 << register;
                self.load_began[usize::from(register)] = self.now;
                let address = self.places.rows + u64::from(row) * ROW_BYTES;
                self.control_request(usage, false, address, ROW_BYTES, Purpose::Descriptor(register));
            }
            Action::Dispatch(work) => {
                let ready = self.now + self.chip.scu.dispatch_clocks * self.clock;
                self.ledger.count(usage, &work.counts);
                let Step { pc, sync, .. } = step;
                let (dispatched, missing) = (self.now, step.needs & self.loading);
                let instruction = Dispatched { pc, usage, sync, work, dispatched, ready, missing, loaded: None };
                let agent = usize::from(step.agent);
                self.queues[agent].push_back(instruction);
                if self.queues[agent].len() == 1 {
                    self.wakes[agent] = self.wakes[agent].min(ready);
                }
                if ready == self.now {
                    self.look_at(agent);
                }
            }
        }
        if own {
            self.signal(&step.sync, Obstacle::ControlSignal);
        }
        self.free_at = self.now + clocks * self.clock;
    }

    /// Why the control unit cannot take this step now.
    fn obstacle(&mut self, step: &Step) -> Option<Cause> {
        let block = u64::from(step.pc) * 16 / FETCH_BYTES;
        if self.code_blocks.back() != Some(&block) && !self.fetch(step, block) {
            return Some(Cause::Fetch);
        }
        match &step.action {
            Action::Load(_) | Action::Store(_) if step.needs & self.loading != 0 => Some(Cause::Load),
            // A register has one load at a time.
            Action::Descriptor { register, .. } if self.loading >> register & 1 == 1 => Some(Cause::Load),
            Action::Dispatch(_) if self.queues[usize::from(step.agent)].len() as u64 >= self.chip.scu.queue_depth => {
                Some(Cause::QueueFull)
            }
            // An engine instruction waits in its engine, all others here.
            Action::Dispatch(_) => None,
            Action::Fence if !self.all_idle() => Some(Cause::Fence),
            _ if !self.satisfied(&step.sync) => Some(Cause::Semaphore),
            _ => None,
        }
    }

    /// Asks for a block of code and the one after it, where they are not there yet; whether the first one is there.
    fn fetch(&mut self, step: &Step, block: u64) -> bool {
        let mut found = false;
        for wanted in [block, block + 1] {
            let here = self.code_blocks.contains(&wanted);
            found |= here && wanted == block;
            if !here && !self.code_pending.contains(&wanted) {
                self.code_pending.push(wanted);
                let usage = self.ledger.peek(step.pc, step.agent);
                let address = self.places.code + wanted * FETCH_BYTES;
                self.control_request(usage, false, address, FETCH_BYTES, Purpose::Code(wanted));
            }
        }
        found
    }

    /// A descriptor is there: instructions that wait for it in their queues have it.
    pub(super) fn descriptor_arrived(&mut self, register: u8) {
        self.loading &= !(1 << register);
        let arrival = (self.now, self.load_began[usize::from(register)]);
        for (agent, queue) in self.queues.iter_mut().enumerate() {
            for instruction in queue.iter_mut().filter(|instruction| instruction.missing >> register & 1 == 1) {
                instruction.missing &= !(1 << register);
                instruction.loaded = Some(arrival);
                self.pending |= 1 << agent;
            }
        }
        self.look_at(SCU);
    }

    fn all_idle(&self) -> bool {
        self.queues.iter().all(VecDeque::is_empty) && self.lanes.iter().all(VecDeque::is_empty)
    }

    /// The control unit is held up by this cause; a stall for another cause ends here.
    fn stall_control(&mut self, step: &Step, cause: Cause) {
        if self.state(SCU) != State::Stalled(cause) {
            self.note_stall(step);
            self.enter(SCU, State::Stalled(cause));
        }
    }

    /// Notes the stall that ends here, if there is one, and what ended it.
    fn note_stall(&mut self, step: &Step) {
        let (State::Stalled(cause), from) = self.states[SCU] else { return };
        if from == self.now {
            return;
        }
        let started = self.started[usize::from(step.agent)].map(|started| started.by);
        let signalled =
            step.sync.wait.and_then(|(semaphore, _)| self.signals[semaphore.index()]).map(|signal| signal.by);
        let release = match (cause, started, signalled) {
            (Cause::QueueFull, Some(Obstacle::Order(span)), _) => Release::Start(span),
            (Cause::Semaphore, _, Some(Obstacle::Signal(span))) => Release::End(span),
            (Cause::Fence, ..) if !self.ledger.spans.is_empty() => Release::End(self.last_retired),
            _ => Release::Memory,
        };
        let usage = self.ledger.peek(step.pc, step.agent).0;
        self.ledger.control.push(ControlStall { from, until: self.now, cause, release, usage });
    }
}
