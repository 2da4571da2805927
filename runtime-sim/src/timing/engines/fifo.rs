//! The weight FIFO: chunks of weight streams come in while there is room, and leave as the matrix engine works on them.

use super::{Action, Cause, DMAW, MXE, Purpose, Simulation, Spent, State};

impl Simulation<'_> {
    /// Bytes of one request of a weight stream: small enough that the matrix engine starts early.
    pub(super) fn chunk_bytes(&self) -> u64 {
        (self.fifo_bytes() / 16).clamp(4096, 65536)
    }

    pub(super) fn fifo_bytes(&self) -> u64 {
        self.chip.dmaw.fifo_bytes_per_tile * self.chip.tiles.count
    }

    /// Submits the next chunk of the weight stream, if there is room in the FIFO.
    pub(super) fn weight_stream(&mut self) -> bool {
        let Some(stream) = self.streams.get(self.issuing) else {
            if self.stream_requests == 0 && self.states[DMAW].0 == State::Busy {
                self.enter(DMAW, State::Stalled(Cause::Idle));
                return true;
            }
            return false;
        };
        let bytes = (stream.total - stream.submitted).min(self.chunk_bytes());
        if self.fifo_used + bytes > self.fifo_bytes() {
            if self.stream_requests == 0 {
                self.stall(DMAW, Cause::FifoFull);
            }
            return false;
        }
        let Action::Dispatch(work) = &self.steps[stream.step].action else { return false };
        let base = work.reads.first().map_or(0, |range| range.0);
        let (index, address) = (self.issuing, base + stream.submitted);
        self.streams[index].submitted += bytes;
        if self.streams[index].submitted == self.streams[index].total {
            self.issuing += 1;
        }
        self.fifo_used += bytes;
        self.stream_requests += 1;
        if self.states[DMAW].0 != State::Busy {
            self.enter(DMAW, State::Busy);
        }
        self.request(DMAW, false, address, bytes, Purpose::Chunk { stream: index, bytes });
        true
    }

    /// Starts work on the next chunk that has arrived, if the matrix engine waits for one.
    pub(super) fn feed(&mut self, spent: Option<&Spent>) {
        let Some(running) = &mut self.running[MXE] else { return };
        let Some((stream, left)) = running.stream else { return };
        if running.chunk > 0 || left == 0 {
            return;
        }
        let Some((bytes, own)) = self.streams.get_mut(stream).and_then(|stream| stream.chunks.pop_front()) else {
            return;
        };
        let total = self.streams[stream].total;
        let Action::Dispatch(work) = &self.steps[running.step].action else { return };
        // Cumulative, so that the rounding of the parts adds up to the written formula.
        let clocks = work.clocks - self.chip.mxe.fill_clocks.min(work.clocks);
        let at = |done: u64| (u128::from(clocks * self.clock) * u128::from(done) / u128::from(total)) as u64;
        let done = total - left;
        let mut duration = at(done + bytes) - at(done);
        if bytes == left {
            duration += self.chip.mxe.fill_clocks.min(work.clocks) * self.clock;
        }
        running.chunk = bytes;
        running.until = self.now + duration;
        let until = running.until;
        self.leave_memory(MXE, spent.unwrap_or(&own), State::Busy);
        self.wake_at(until);
    }

    /// The chunk in work is done: room in the FIFO, the next chunk, or the end of the product.
    pub(super) fn consume(&mut self) -> bool {
        let Some(running) = &mut self.running[MXE] else { return false };
        let Some((stream, left)) = running.stream else { return false };
        if running.chunk == 0 {
            return false;
        }
        let left = left - running.chunk;
        self.fifo_used -= running.chunk;
        running.chunk = 0;
        running.stream = Some((stream, left));
        if left > 0 {
            self.enter(MXE, State::Memory);
            self.feed(None);
            return true;
        }
        if let Some(running) = self.running[MXE].take() {
            self.retire(MXE, running.step, running.start);
        }
        self.enter(MXE, State::Stalled(Cause::Idle));
        true
    }
}
