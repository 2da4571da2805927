//! The DMA queues in front of one channel.
//!
//! In: pieces of requests (a contiguous run of local indices), one first-in first-out list per queue. Out: the next burst
//! for the controller. Always holds: a queue's bursts leave in order; queues take turns of [`TURN`] bursts, and a queue
//! that cannot enter (its direction is full, its time has not come) does not hold up the others.

use std::collections::VecDeque;
use std::ops::Range;

/// Bursts that a queue may send before the next one gets its turn: one row of 2 KiB.
pub(crate) const TURN: u64 = 64;

/// The part of a request that falls into one channel.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) request: u32,
    pub(crate) write: bool,
    pub(crate) clock: u64,
    pub(crate) bursts: Range<u64>,
}

/// See the module documentation.
pub(crate) struct Ports {
    queues: Vec<VecDeque<Piece>>,
    current: usize,
    left: u64,
    pieces: usize,
}

impl Ports {
    pub(crate) fn new(queues: usize) -> Ports {
        Ports { queues: vec![VecDeque::new(); queues.max(1)], current: 0, left: TURN, pieces: 0 }
    }

    pub(crate) fn push(&mut self, queue: usize, piece: Piece) {
        if queue >= self.queues.len() {
            self.queues.resize_with(queue + 1, VecDeque::new);
        }
        self.queues[queue].push_back(piece);
        self.pieces += 1;
    }

    /// True when a queue has at least two pieces.
    pub(crate) fn has_two(&self, queue: usize) -> bool {
        self.queues[queue].len() > 1
    }

    /// The queue that may send a burst now: its time is before `clock` and `room` holds for its direction.
    #[inline]
    pub(crate) fn choose(&mut self, clock: u64, room: impl Fn(bool) -> bool) -> Option<usize> {
        if self.pieces == 0 {
            return None;
        }
        let may = |queue: &VecDeque<Piece>| queue.front().is_some_and(|p| p.clock < clock && room(p.write));
        if self.left > 0 && may(&self.queues[self.current]) {
            return Some(self.current);
        }
        let count = self.queues.len();
        let next = (1..=count).map(|i| (self.current + i) % count).find(|i| may(&self.queues[*i]))?;
        (self.current, self.left) = (next, TURN);
        Some(next)
    }

    /// The piece at the head of a queue.
    #[inline]
    pub(crate) fn head(&self, queue: usize) -> Option<&Piece> {
        self.queues[queue].front()
    }

    /// Removes the burst that was just sent from the head of a queue.
    #[inline]
    pub(crate) fn sent(&mut self, queue: usize) {
        self.left = self.left.saturating_sub(1);
        let Some(piece) = self.queues[queue].front_mut() else { return };
        piece.bursts.start += 1;
        if piece.bursts.is_empty() {
            self.queues[queue].pop_front();
            self.pieces -= 1;
        }
    }

    /// The next clock at which a head that has room may enter.
    pub(crate) fn next_entry(&self, clock: u64, room: impl Fn(bool) -> bool) -> u64 {
        if self.pieces == 0 {
            return u64::MAX;
        }
        let heads = self.queues.iter().filter_map(VecDeque::front).filter(|p| room(p.write));
        heads.map(|p| p.clock.max(clock) + 1).min().unwrap_or(u64::MAX)
    }
}
