//! The exact memory: every channel clock by clock behind its DMA queues. Implements [`Dram`].
//!
//! Channels do not influence each other between two completions, so each is advanced alone, up to a clock before which
//! no request can complete (a bound from the bursts that are left). Always holds: no channel runs past a completion that
//! has not been returned, so a new request never comes too late; results do not depend on threads or on the order of
//! channels.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::channel::Channel;
use super::counts::{Clocks, Counts};
use super::energy::EnergyReport;
use super::interface::{Completion, Dram, DramReport, Picoseconds, Request, RequestId, Spent};
use super::ports::{Piece, Ports};
use super::sheet::Sheet;

/// Clocks of all channels together from which on they are advanced in parallel.
const WORTH_THREADS: u64 = 20_000;

/// One channel with its queues.
pub(crate) struct Lane {
    pub(crate) channel: Channel,
    pub(crate) ports: Ports,
    /// The next clock to visit.
    pub(crate) next: u64,
    bytes: u64,
    /// Bursts of writes that the controller has taken: request and clock.
    taken: Vec<(u32, u64)>,
}

/// A request that is under way.
struct Open {
    id: RequestId,
    write: bool,
    bursts: std::ops::Range<u64>,
    /// An older write to the same bytes is under way, so that bursts may be answered from the write queue at any time.
    overlaps: bool,
    submitted: Picoseconds,
    bursts_left: u64,
    channels: u64,
    last: u64,
    clocks_before: Clocks,
}

/// See the module documentation.
pub struct ExactDram {
    sheet: Sheet,
    lanes: Vec<Lane>,
    open: BTreeMap<u32, Open>,
    /// Complete, not yet returned: (clock, request).
    complete: BTreeMap<(u64, u64), Completion>,
    next_id: u64,
    /// All channels have been advanced to this clock.
    clock: u64,
    latency: u64,
    done_after: u64,
}

impl ExactDram {
    /// A memory with this sheet and this many DMA queues.
    #[must_use]
    pub fn new(sheet: &Sheet, queues: usize) -> ExactDram {
        let t = &sheet.timing;
        let lane = || Lane::new(sheet, queues);
        let lanes: Vec<Lane> = (0..sheet.mapping.channels()).map(|_| lane()).collect();
        let done_after = lanes.iter().map(|l| l.channel.rules.read_done.min(l.channel.rules.write_done)).min();
        ExactDram {
            sheet: sheet.clone(),
            lanes,
            open: BTreeMap::new(),
            complete: BTreeMap::new(),
            next_id: 0,
            clock: 0,
            latency: t.rcd_read + t.rl + t.burst_min,
            done_after: done_after.unwrap_or(0),
        }
    }

    fn clocks(&self) -> Clocks {
        let mut sum = Clocks::default();
        for lane in &self.lanes {
            sum.add(&lane.channel.clocks);
        }
        sum
    }

    /// No request that is still open can complete before this clock: each channel moves one burst per data slot.
    fn horizon(&self) -> u64 {
        let burst = self.sheet.timing.burst_min;
        let bound = |o: &Open| match o.overlaps {
            true => self.clock + 1,
            // The controller may take them at any clock.
            false if o.write => self.clock + 1,
            false => self.clock + self.done_after + (o.bursts_left.div_ceil(o.channels) - 1) * burst,
        };
        self.open.values().map(bound).min().unwrap_or(u64::MAX)
    }

    fn advance(&mut self, target: u64) {
        let sheet = &self.sheet;
        if (target - self.clock) * self.lanes.len() as u64 >= WORTH_THREADS {
            self.lanes.par_iter_mut().for_each(|lane| lane.advance(sheet, target));
        } else {
            self.lanes.iter_mut().for_each(|lane| lane.advance(sheet, target));
        }
        for lane in &mut self.lanes {
            let reads = lane.channel.done.drain(..).filter(|done| !done.write).map(|done| (done.id, done.at));
            for (id, at) in reads.chain(lane.taken.drain(..)) {
                let Some(open) = self.open.get_mut(&id) else { continue };
                open.bursts_left -= 1;
                open.last = open.last.max(at);
            }
        }
        self.clock = target;
        let ps = self.sheet.timing.clock_ps;
        let finished: Vec<u32> = self.open.iter().filter(|(_, o)| o.bursts_left == 0).map(|(k, _)| *k).collect();
        let now = if finished.is_empty() { Clocks::default() } else { self.clocks() };
        for key in finished {
            let Some(open) = self.open.remove(&key) else { continue };
            let at = (open.last * ps).max(open.submitted);
            let mut clocks = Clocks::default();
            clocks.add_difference(&now, &open.clocks_before, 1);
            let spent = Spent::split(at - open.submitted, self.latency * ps, &clocks);
            self.complete.insert((open.last, open.id.0), Completion { id: open.id, at, spent });
        }
    }
}

impl Lane {
    pub(crate) fn new(sheet: &Sheet, queues: usize) -> Lane {
        Lane { channel: Channel::new(sheet), ports: Ports::new(queues), next: 1, bytes: 0, taken: Vec::new() }
    }

    /// Visits every clock up to and including `target` at which something can happen.
    pub(crate) fn advance(&mut self, sheet: &Sheet, target: u64) {
        while self.next <= target {
            let clock = self.next;
            self.fill(sheet, clock);
            let tick = self.channel.tick(clock);
            self.next = tick.next.min(self.ports.next_entry(clock, |write| self.channel.has_room(write)));
        }
    }

    /// Drops what is complete, for those who only count.
    pub(crate) fn forget(&mut self) {
        self.channel.done.clear();
        self.taken.clear();
    }

    fn fill(&mut self, sheet: &Sheet, clock: u64) {
        let o = &sheet.organization;
        while let Some(queue) = self.ports.choose(clock, |write| self.channel.has_room(write)) {
            let Some(piece) = self.ports.head(queue) else { return };
            let (local, write, id) = (piece.bursts.start, piece.write, piece.request);
            let place = sheet.mapping.locate(local);
            let bank = (place.rank * o.bank_groups + place.group) * o.banks + place.bank;
            if !self.channel.enter(bank as usize, place.row, local, write, id, clock - 1) {
                return;
            }
            self.ports.sent(queue);
            if write {
                self.taken.push((id, clock));
            }
        }
    }
}

impl Dram for ExactDram {
    fn submit(&mut self, request: Request) -> RequestId {
        assert!(request.bytes > 0, "a request has at least one byte");
        let id = RequestId(self.next_id);
        self.next_id += 1;
        let key = id.0 as u32;
        let burst_bytes = u64::from(self.sheet.organization.burst_bytes);
        let clock = request.time.div_ceil(self.sheet.timing.clock_ps).max(self.clock);
        let first = request.address / burst_bytes;
        let end = (request.address + request.bytes).div_ceil(burst_bytes);
        let clocks_before = self.clocks();
        let meets = |o: &Open| o.write && o.bursts.start < end && first < o.bursts.end;
        let overlaps = self.open.values().any(meets);
        let mut channels = 0;
        let lanes = &mut self.lanes;
        self.sheet.mapping.for_each_channel(first, end, |channel, bursts| {
            let lane = &mut lanes[channel as usize];
            channels += 1;
            lane.bytes += (bursts.end - bursts.start) * burst_bytes;
            lane.next = lane.next.min(clock + 1);
            lane.ports.push(request.queue, Piece { request: key, write: request.write, clock, bursts });
        });
        let open = Open {
            id,
            write: request.write,
            bursts: first..end,
            overlaps,
            submitted: request.time,
            bursts_left: end - first,
            channels,
            last: 0,
            clocks_before,
        };
        self.open.insert(key, open);
        id
    }

    fn next_completion(&mut self, until: Picoseconds) -> Option<Completion> {
        let last = until / self.sheet.timing.clock_ps;
        loop {
            let horizon = self.horizon();
            let first = self.complete.first_key_value().map(|(key, completion)| (*key, *completion));
            if let Some((key, completion)) = first.filter(|(key, _)| key.0 <= horizon) {
                if completion.at > until {
                    return None;
                }
                self.complete.remove(&key);
                return Some(completion);
            }
            if self.open.is_empty() || self.clock >= last {
                return None;
            }
            let known = first.map_or(u64::MAX, |(key, _)| key.0);
            self.advance(horizon.min(known).min(last).max(self.clock + 1));
        }
    }

    fn outstanding(&self) -> usize {
        self.open.len() + self.complete.len()
    }

    fn report(&self, end: Picoseconds) -> DramReport {
        let clock = end.div_ceil(self.sheet.timing.clock_ps);
        let mut counts = Counts::default();
        let mut clocks = Clocks::default();
        for lane in &self.lanes {
            let (c, k) = lane.channel.accounts_at(clock);
            counts.add(&c);
            clocks.add(&k);
        }
        let energy = EnergyReport::new(&self.sheet, &counts);
        DramReport {
            channel_bytes: self.lanes.iter().map(|l| l.bytes).collect(),
            counts,
            clocks,
            energy,
            energy_band: self.sheet.energy.band(),
        }
    }

    fn peak_bytes_per_second(&self) -> f64 {
        self.sheet.peak_bytes_per_second() * self.lanes.len() as f64
    }
}
