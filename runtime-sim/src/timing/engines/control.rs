//! The control unit: one step a clock, unless code, a descriptor, a full queue, a semaphore or a fence is in the way.

use super::{Action, Cause, FETCH_BYTES, Purpose, ROW_BYTES, SCU, Simulation, State, Step, VecDeque};

impl Simulation<'_> {
    /// Lets the control unit take its next step, if it can.
    pub(super) fn control_unit(&mut self) -> bool {
        let Some(step) = self.steps.get(self.position) else {
            self.stall(SCU, Cause::Idle);
            return false;
        };
        if self.free_at > self.now || self.scalar_load {
            self.wake_at(self.free_at);
            return false;
        }
        if let Some(cause) = self.obstacle(step) {
            self.stall(SCU, cause);
            return false;
        }
        // A dispatched instruction waits and signals in its engine.
        let own = !matches!(step.action, Action::Dispatch(_));
        if own {
            self.take(self.position);
        }
        self.enter(SCU, State::Busy);
        let mut clocks = 1;
        match &step.action {
            Action::Scalar | Action::Fence => {}
            Action::Branch => {
                let next = self.steps.get(self.position + 1).map_or(step.pc + 1, |next| next.pc);
                clocks = if next == step.pc + 1 { 1 } else { self.chip.scu.branch_clocks };
            }
            Action::Mark(kind, value) => self.marks.push((*kind, *value, self.now)),
            Action::Load(address) => {
                clocks = self.chip.scu.load_clocks;
                if let Some(address) = address {
                    self.scalar_load = true;
                    self.request(SCU, false, *address, 8, Purpose::Scalar);
                }
            }
            Action::Descriptor(row) => {
                self.descriptor_loads += 1;
                self.request(
                    SCU,
                    false,
                    self.rows_address + u64::from(*row) * ROW_BYTES,
                    ROW_BYTES,
                    Purpose::Descriptor,
                );
            }
            Action::Dispatch(work) => {
                let ready = self.now + self.chip.scu.dispatch_clocks * self.clock;
                self.counts.add(&work.counts);
                self.queues[usize::from(step.agent)].push_back((self.position, ready));
                self.wake_at(ready);
            }
        }
        if own {
            self.signalled(self.position);
        }
        self.free_at = self.now + clocks * self.clock;
        self.wake_at(self.free_at);
        self.position += 1;
        true
    }

    /// Why the control unit cannot take this step now.
    pub(super) fn obstacle(&mut self, step: &Step) -> Option<Cause> {
        let block = u64::from(step.pc) * 16 / FETCH_BYTES;
        for wanted in [block, block + 1] {
            if !self.code_blocks.contains(&wanted) && self.code_pending.insert(wanted) {
                self.request(SCU, false, self.code_address + wanted * FETCH_BYTES, FETCH_BYTES, Purpose::Code(wanted));
            }
        }
        if !self.code_blocks.contains(&block) {
            return Some(Cause::Fetch);
        }
        match &step.action {
            Action::Dispatch(_) if self.descriptor_loads > 0 => Some(Cause::Load),
            Action::Dispatch(_) if self.queues[usize::from(step.agent)].len() as u64 >= self.chip.scu.queue_depth => {
                Some(Cause::QueueFull)
            }
            Action::Load(_) if self.descriptor_loads > 0 => Some(Cause::Load),
            Action::Fence if !self.all_idle() => Some(Cause::Fence),
            // An engine instruction waits in its engine, all others here.
            Action::Dispatch(_) => None,
            _ if !self.satisfied(self.position) => Some(Cause::Semaphore),
            _ => None,
        }
    }

    pub(super) fn all_idle(&self) -> bool {
        let streaming = self.streams.iter().skip(self.consuming).any(|stream| stream.arrived < stream.total);
        self.queues.iter().all(VecDeque::is_empty) && self.running.iter().all(Option::is_none) && !streaming
    }
}
