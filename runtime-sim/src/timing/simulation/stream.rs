//! Weight streams: DMAW fills the FIFO in chunks while there is room; the matrix engine works on chunks as they come.
//!
//! In: weights to stream, products that consume them in the same order. Out: chunks. Always: room in the FIFO is taken when a chunk is
//! requested and given back when the matrix engine has worked on it; one stream is requested completely before the next one begins.

use super::memory::{Asker, Purpose};
use super::{Cause, Chip, DMAW, MXE, Obstacle, Picoseconds, Simulation, Spent, State, VecDeque};
use crate::timing::ledger::Chunk;

/// A weight on its way.
#[derive(Debug)]
struct Stream {
    span: u32,
    base: u64,
    total: u64,
    requested: u64,
    arrived: u64,
    /// Chunks that lie in the FIFO: number and bytes.
    chunks: VecDeque<(u32, u64)>,
}

/// The FIFO and the streams through it.
#[derive(Debug)]
pub(super) struct Fifo {
    capacity: u64,
    used: u64,
    chunk: u64,
    /// Streams that are not consumed, oldest first; the first one has this number.
    streams: VecDeque<Stream>,
    first: u64,
    /// The number of the stream that the next product consumes.
    consuming: u64,
    /// Chunks that were requested and have not arrived.
    in_flight: usize,
    /// The last chunk that made room: when, which, how much.
    released: Option<(Picoseconds, u32, u64)>,
    /// The chunk that the matrix engine works on.
    working: u32,
}

impl Fifo {
    pub fn new(chip: &Chip) -> Fifo {
        let capacity = chip.dmaw.fifo_bytes_per_tile * chip.tiles.count;
        // Small enough that the matrix engine starts early, large enough to cost little.
        let chunk = (capacity / 16).clamp(4096, 65536);
        let streams = VecDeque::new();
        Fifo { capacity, used: 0, chunk, streams, first: 0, consuming: 0, in_flight: 0, released: None, working: 0 }
    }

    /// Whether every stream that has begun was requested completely.
    pub fn is_requested(&self) -> bool {
        self.streams.back().is_none_or(|stream| stream.requested == stream.total)
    }

    /// Whether the stream that the product at work consumes has begun.
    pub fn has_begun(&self) -> bool {
        self.consuming < self.first + self.streams.len() as u64
    }

    fn current(&mut self) -> Option<&mut Stream> {
        let index = (self.consuming - self.first) as usize;
        self.streams.get_mut(index)
    }

    /// The chunk without whose consumption there would be no room now for so many bytes.
    fn room_of(&self, bytes: u64, now: Picoseconds) -> Option<u32> {
        let (_, chunk, released) = self.released.filter(|(at, ..)| *at == now)?;
        (self.used + bytes + released > self.capacity).then_some(chunk)
    }
}

impl Simulation<'_> {
    /// `ldw` has started.
    pub(super) fn begin_stream(&mut self, span: u32, total: u64) {
        let lane = self.lanes[DMAW].back_mut();
        let base = lane.map_or(0, |lane| {
            // One request stands for the whole stream until the last byte has arrived.
            lane.outstanding = 1;
            lane.instruction.work.reads.first().map_or(0, |range| range.0)
        });
        self.fifo.streams.push_back(Stream { span, base, total, requested: 0, arrived: 0, chunks: VecDeque::new() });
        self.look_at(MXE);
    }

    /// Requests what there is room for.
    pub(super) fn stream_weights(&mut self) {
        while let Some(stream) = self.fifo.streams.back() {
            let bytes = (stream.total - stream.requested).min(self.fifo.chunk);
            let lane = self.lanes[DMAW].back().filter(|lane| lane.span == stream.span && !lane.is_active());
            let (Some(lane), true) = (lane, bytes > 0 && self.fifo.used + bytes <= self.fifo.capacity) else { break };
            let (span, address) = (stream.span, stream.base + stream.requested);
            let number = self.fifo.first + self.fifo.streams.len() as u64 - 1;
            let chunk = self.ledger.chunks.len() as u32;
            let purpose = Purpose::Chunk { stream: number, chunk, bytes };
            let asker = Asker { queue: DMAW, usage: lane.instruction.usage, span: Some(span), purpose };
            self.request(&asker, false, address, bytes);
            let room_of = self.fifo.room_of(bytes, self.now);
            self.ledger.chunks.push(Chunk { stream: span, requested: self.now, room_of, ..Chunk::default() });
            self.ledger.details[span as usize].last_chunk = Some(chunk);
            self.fifo.used += bytes;
            self.fifo.in_flight += 1;
            if let Some(stream) = self.fifo.streams.back_mut() {
                stream.requested += bytes;
            }
            if self.fifo.is_requested() {
                self.freed[DMAW] = self.happens(Obstacle::Predecessor(span));
            }
        }
    }

    pub(super) fn chunk_arrived(&mut self, number: u64, chunk: u32, bytes: u64, spent: &Spent) {
        self.fifo.in_flight -= 1;
        self.arrived(DMAW, spent);
        let row = &mut self.ledger.chunks[chunk as usize];
        (row.arrived, row.spent) = (self.now, *spent);
        let stream = &mut self.fifo.streams[(number - self.fifo.first) as usize];
        stream.arrived += bytes;
        stream.chunks.push_back((chunk, bytes));
        if stream.arrived == stream.total {
            let span = stream.span;
            if let Some(lane) = self.lanes[DMAW].iter_mut().find(|lane| lane.span == span) {
                lane.outstanding = 0;
                if let Some(since) = lane.waiting.take() {
                    self.ledger.waited(span, self.now - since, spent);
                }
            }
        }
        self.feed();
        self.look_at(DMAW);
        self.look_at(MXE);
    }

    /// What DMAW does now.
    pub(super) fn stream_state(&self, blocked: Cause) -> State {
        if self.fifo.in_flight > 0 {
            State::Memory
        } else if self.lanes[DMAW].iter().any(super::Lane::is_active) {
            State::Busy
        } else if !self.fifo.is_requested() {
            State::Stalled(Cause::FifoFull)
        } else {
            State::Stalled(blocked)
        }
    }

    /// A product with streamed weights has started.
    pub(super) fn begin_product(&mut self, weight_bytes: u64) {
        if let Some(lane) = self.lanes[MXE].front_mut() {
            lane.weights = Some((weight_bytes, 0));
        }
        self.feed();
    }

    /// Starts work on the next chunk that has arrived, if the matrix engine waits for one.
    fn feed(&mut self) {
        let Some(lane) = self.lanes[MXE].front() else { return };
        let (Some((left, 0)), span) = (lane.weights, lane.span) else { return };
        let Some(stream) = self.fifo.current() else { return };
        let total = stream.total;
        let Some((chunk, bytes)) = stream.chunks.pop_front() else { return };
        let work = self.chunk_work(total - left, bytes, total);
        let row = &mut self.ledger.chunks[chunk as usize];
        (row.product, row.begun) = (span, self.now);
        let spent = row.spent;
        self.fifo.working = chunk;
        let detail = &mut self.ledger.details[span as usize];
        detail.last_chunk = Some(chunk);
        // The time before this moment belongs to the state that ends here.
        self.arrived(MXE, &spent);
        self.enter(MXE, State::Busy);
        if let Some(lane) = self.lanes[MXE].front_mut() {
            lane.weights = Some((left, bytes));
            lane.remaining = work;
        }
        self.schedule(MXE, 0);
        self.contention = true;
    }

    /// Work of the bytes from `done` on: cumulative, so that the rounding of the parts adds up to the written formula.
    fn chunk_work(&self, done: u64, bytes: u64, total: u64) -> u64 {
        let clocks = self.lanes[MXE].front().map_or(0, |lane| lane.instruction.work.clocks);
        let fill = self.chip.mxe.fill_clocks.min(clocks);
        let at = |done: u64| (u128::from((clocks - fill) * self.clock) * u128::from(done) / u128::from(total)) as u64;
        let drain = if done + bytes == total { fill * self.clock } else { 0 };
        at(done + bytes) - at(done) + drain
    }

    /// The chunk in work is done: room in the FIFO, the next chunk, or the end of the product.
    pub(super) fn consume(&mut self) {
        let Some(lane) = self.lanes[MXE].front_mut() else { return };
        let Some((left, bytes)) = lane.weights.filter(|(_, chunk)| *chunk > 0) else { return };
        let left = left - bytes;
        lane.weights = (left > 0).then_some((left, 0));
        let chunk = self.fifo.working;
        self.ledger.chunks[chunk as usize].ended = self.now;
        self.fifo.used -= bytes;
        self.fifo.released = Some((self.now, chunk, bytes));
        self.look_at(DMAW);
        if left > 0 {
            self.feed();
            return;
        }
        self.fifo.consuming += 1;
        while self.fifo.first < self.fifo.consuming {
            self.fifo.streams.pop_front();
            self.fifo.first += 1;
        }
    }
}
