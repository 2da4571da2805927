//! The fast memory: streams share the data rate that the exact model measures for their mixture. Implements [`Dram`].
//!
//! In a channel, each DMA queue with work has a *head*, the piece of its oldest request. Heads share the channel's rate
//! equally; the rate belongs to the mixture of heads (how many read, how many write, how long their contiguous runs are)
//! and is measured once per sheet and mixture by running that mixture through the exact channel ([`rates`](super::rates)).
//! A read is complete one access latency after its last burst; one that comes to a busy channel first waits for the
//! controller's queue. So time only advances from event to event: a stream of any length costs as much as one burst.
//!
//! Always holds: rates never exceed the peak; every byte is served once; results are the same on every machine.
//! Not modelled here: which rows two particular requests share (the mixture stands for all of its kind), and power-down.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::counts::{Clocks, Counts};
use super::energy::EnergyReport;
use super::interface::{Completion, Dram, DramReport, Picoseconds, Request, RequestId, Spent};
use super::rates::{Mixture, Rates, STREAM_CLASS};
use super::sheet::Sheet;

/// Less than this many bursts left is rounding.
const DONE: f64 = 1e-3;

/// A piece of a request in one channel.
#[derive(Clone, Copy, Debug)]
struct Piece {
    request: u64,
    write: bool,
    class: u8,
    /// Bursts left.
    left: f64,
    /// It is a head and has its share of the rate.
    started: bool,
    /// Not before this clock.
    start: f64,
    /// Clocks from its last burst to its completion.
    latency: f64,
}

/// One channel: a fluid server.
#[derive(Clone, Debug)]
struct Server {
    queues: Vec<VecDeque<Piece>>,
    /// One past the last local index that each queue asked for.
    ends: Vec<u64>,
    now: f64,
    /// When the next head is done (or the next piece starts) if nothing is submitted before.
    next: f64,
    mixture: Mixture,
    /// Bursts per clock of this mixture, of all heads together.
    rate: f64,
    heads: f64,
    /// Bursts left in all queues.
    backlog: f64,
    bursts: u64,
}

/// A request that is under way.
#[derive(Clone, Copy, Debug)]
struct Open {
    submitted: Picoseconds,
    pieces: u32,
    last: f64,
    mixture: Mixture,
}

/// A completion: when, which, and what its time went into. Ordered by the first two.
#[derive(Clone, Copy, Debug)]
struct Complete(Picoseconds, u64, Spent);

impl Complete {
    fn key(&self) -> (Picoseconds, u64) {
        (self.0, self.1)
    }
}

impl PartialEq for Complete {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Complete {}

impl PartialOrd for Complete {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Complete {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// See the module documentation.
pub struct FastDram {
    sheet: Sheet,
    rates: Rates,
    servers: Vec<Server>,
    /// Requests by number, from the oldest one that is under way on.
    open: VecDeque<Open>,
    oldest: u64,
    /// The server with the nearest event.
    nearest: usize,
    /// Complete, not yet returned: the earliest first.
    complete: BinaryHeap<Reverse<Complete>>,
    /// Scratch: the pieces of a request.
    pieces: Vec<(usize, std::ops::Range<u64>)>,
    /// Bursts served, by mixture.
    served: Vec<f64>,
    next_id: u64,
}

impl FastDram {
    /// A memory with this sheet and this many DMA queues.
    #[must_use]
    pub fn new(sheet: &Sheet, queues: usize) -> FastDram {
        let server = Server {
            queues: vec![VecDeque::new(); queues.max(1)],
            ends: vec![u64::MAX; queues.max(1)],
            now: 0.0,
            next: f64::INFINITY,
            mixture: Mixture::default(),
            rate: 1.0 / sheet.timing.burst_min as f64,
            heads: 0.0,
            backlog: 0.0,
            bursts: 0,
        };
        FastDram {
            sheet: sheet.clone(),
            rates: Rates::new(sheet),
            servers: vec![server; sheet.mapping.channels() as usize],
            open: VecDeque::new(),
            oldest: 0,
            nearest: 0,
            complete: BinaryHeap::new(),
            pieces: Vec::new(),
            served: Vec::new(),
            next_id: 0,
        }
    }

    /// The part of the peak that one sequential stream of reads gets.
    pub fn stream_efficiency(&mut self) -> f64 {
        let rate = self.rates.of(Mixture::stream()).bursts_per_clock;
        rate * self.sheet.timing.burst_min as f64
    }

    /// Advances one server to its next event and takes what has finished there.
    fn step(&mut self, index: usize) {
        let server = &mut self.servers[index];
        server.advance(server.next, &mut self.served);
        let ps = self.sheet.timing.clock_ps;
        for queue in 0..server.queues.len() {
            let Some(piece) = server.queues[queue].front().copied() else { continue };
            if !piece.started || piece.left > DONE {
                continue;
            }
            server.queues[queue].pop_front();
            let open = &mut self.open[(piece.request - self.oldest) as usize];
            open.pieces -= 1;
            open.last = open.last.max(server.now + piece.latency);
            if open.pieces == 0 {
                let open = *open;
                let at = ((open.last * ps as f64).ceil() as u64).max(open.submitted);
                let clocks = self.rates.of(open.mixture).clocks;
                let latency = (piece.latency * ps as f64) as u64;
                let spent = Spent::split(at - open.submitted, latency, &clocks);
                self.complete.push(Reverse(Complete(at, piece.request, spent)));
            }
        }
        while self.open.front().is_some_and(|open| open.pieces == 0) {
            self.open.pop_front();
            self.oldest += 1;
        }
        self.servers[index].plan(&mut self.rates);
        self.replanned(index);
    }

    /// The next event of a server has changed: finds the nearest one again.
    fn replanned(&mut self, index: usize) {
        let next = |index: usize| self.servers[index].next;
        if index == self.nearest {
            let all = 0..self.servers.len();
            self.nearest = all.min_by(|a, b| next(*a).total_cmp(&next(*b))).unwrap_or(0);
        } else if (next(index), index) < (next(self.nearest), self.nearest) {
            self.nearest = index;
        }
    }
}

impl Server {
    /// Serves the heads up to `clock`; adds the bursts served to those of its mixture.
    fn advance(&mut self, clock: f64, served: &mut Vec<f64>) {
        let elapsed = clock - self.now;
        self.now = clock;
        if elapsed <= 0.0 || self.heads == 0.0 {
            return;
        }
        let bursts = self.rate * elapsed;
        let share = bursts / self.heads;
        for piece in self.queues.iter_mut().filter_map(VecDeque::front_mut).filter(|p| p.started) {
            piece.left = (piece.left - share).max(0.0);
        }
        self.backlog = (self.backlog - bursts).max(0.0);
        let index = self.mixture.index();
        if index >= served.len() {
            served.resize(index + 1, 0.0);
        }
        served[index] += bursts;
    }

    /// Finds the mixture of heads from now on, and the next event.
    fn plan(&mut self, rates: &mut Rates) {
        let (mut reads, mut writes, mut classes) = (0u32, 0u32, 0u32);
        let (mut least, mut next_start) = (f64::INFINITY, f64::INFINITY);
        for piece in self.queues.iter_mut().filter_map(VecDeque::front_mut) {
            piece.started = piece.start <= self.now;
            if !piece.started {
                next_start = next_start.min(piece.start);
                continue;
            }
            if piece.write {
                writes += 1
            } else {
                reads += 1
            }
            classes += u32::from(piece.class);
            least = least.min(piece.left);
        }
        let heads = reads + writes;
        self.heads = f64::from(heads);
        self.next = next_start;
        if let Some(class) = (classes + heads / 2).checked_div(heads) {
            self.mixture = Mixture::new(reads, writes, class);
            self.rate = rates.of(self.mixture).bursts_per_clock;
            self.next = self.next.min(self.now + least * self.heads / self.rate);
        } else {
            self.rate = rates.peak();
            self.backlog = self.queues.iter().flatten().map(|p| p.left).sum();
        }
    }
}

impl Dram for FastDram {
    fn submit(&mut self, request: Request) -> RequestId {
        assert!(request.bytes > 0, "a request has at least one byte");
        let key = self.next_id;
        self.next_id += 1;
        let burst_bytes = u64::from(self.sheet.organization.burst_bytes);
        let clock = request.time as f64 / self.sheet.timing.clock_ps as f64;
        let first = request.address / burst_bytes;
        let end = (request.address + request.bytes).div_ceil(burst_bytes);
        let mut open = Open { submitted: request.time, pieces: 0, last: 0.0, mixture: Mixture::default() };
        // While its pieces are dealt out, it counts as under way.
        self.open.push_back(Open { pieces: u32::MAX, ..open });
        let mut pieces = std::mem::take(&mut self.pieces);
        self.sheet.mapping.for_each_channel(first, end, |channel, bursts| pieces.push((channel as usize, bursts)));
        for (index, bursts) in pieces.drain(..) {
            open.pieces += 1;
            // Everything that ends before this request starts keeps its old mixture.
            while self.servers[index].next <= clock {
                self.step(index);
            }
            let server = &mut self.servers[index];
            server.advance(clock.max(server.now), &mut self.served);
            server.accept(&request, key, bursts, clock, &self.rates);
            server.plan(&mut self.rates);
            open.mixture = server.mixture;
            self.replanned(index);
        }
        self.pieces = pieces;
        if let Some(place) = self.open.back_mut() {
            *place = open;
        }
        RequestId(key)
    }

    fn next_completion(&mut self, until: Picoseconds) -> Option<Completion> {
        let last = until as f64 / self.sheet.timing.clock_ps as f64;
        loop {
            let index = self.nearest;
            let next = self.servers[index].next;
            if let Some(Reverse(Complete(at, id, spent))) = self.complete.peek()
                && (*at as f64 <= next * self.sheet.timing.clock_ps as f64)
            {
                let completion = Completion { id: RequestId(*id), at: *at, spent: *spent };
                if completion.at > until {
                    return None;
                }
                self.complete.pop();
                return Some(completion);
            }
            if next > last || next == f64::INFINITY {
                return None;
            }
            self.step(index);
        }
    }

    fn outstanding(&self) -> usize {
        self.open.iter().filter(|open| open.pieces > 0).count() + self.complete.len()
    }

    fn report(&self, end: Picoseconds) -> DramReport {
        let burst_bytes = u64::from(self.sheet.organization.burst_bytes);
        let end_clocks = end / self.sheet.timing.clock_ps;
        let (mut counts, mut clocks) = (Counts::default(), Clocks::default());
        for (mixture, rate) in self.rates.all() {
            let bursts = self.served.get(mixture).copied().unwrap_or(0.0);
            rate.account(bursts, &mut counts, &mut clocks);
        }
        let total = end_clocks * self.servers.len() as u64;
        let busy = clocks.total().min(total);
        clocks.idle += total - busy;
        self.rates.account_idle(total - busy, &mut counts);
        let energy = EnergyReport::new(&self.sheet, &counts);
        let channel_bytes = self.servers.iter().map(|s| s.bursts * burst_bytes).collect();
        DramReport { channel_bytes, counts, clocks, energy, energy_band: self.sheet.energy.band() }
    }

    fn peak_bytes_per_second(&self) -> f64 {
        self.sheet.peak_bytes_per_second() * self.servers.len() as f64
    }
}

impl Server {
    fn accept(&mut self, request: &Request, key: u64, bursts: std::ops::Range<u64>, clock: f64, rates: &Rates) {
        if request.queue >= self.queues.len() {
            self.queues.resize_with(request.queue + 1, VecDeque::new);
            self.ends.resize(request.queue + 1, u64::MAX);
        }
        let length = bursts.end - bursts.start;
        let follows = self.ends[request.queue] == bursts.start;
        self.ends[request.queue] = bursts.end;
        let class = if follows { STREAM_CLASS } else { (length.ilog2() as u8).min(STREAM_CLASS) };
        let alone = self.queues[request.queue].is_empty();
        // A newcomer stands behind what the other queues already have in the controller.
        let others = if alone { self.backlog.min(rates.queue_depth()) } else { 0.0 };
        let wait = others / self.rate;
        // A write is complete when the controller has taken its last burst.
        let latency = if request.write { 0.0 } else { rates.access_latency() + wait };
        self.backlog += length as f64;
        self.queues[request.queue].push_back(Piece {
            request: key,
            write: request.write,
            class,
            left: length as f64,
            started: false,
            start: clock,
            latency,
        });
        self.bursts += length;
    }
}
