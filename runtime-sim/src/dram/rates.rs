//! Data rates of mixtures of streams, measured with the exact channel.
//!
//! In: a [`Mixture`]: how many queues read and write, and how long the contiguous runs of their requests are in one
//! channel. Out: its [`Rate`]: bursts per clock, and commands and lost clocks per burst. Always holds: a rate is measured
//! once, on a fixed sequence of addresses, so it is the same in every run; it never exceeds one burst per data slot.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::counts::{Clocks, Counts};
use super::exact::Lane;
use super::ports::Piece;
use super::sheet::{RefreshMode, Sheet};

/// Runs of 2^10 bursts and more count as endless streams.
pub(crate) const STREAM_CLASS: u8 = 10;
/// More queues than this of one direction behave like this many.
const MOST_QUEUES: u32 = 4;
const WARM_UP: u64 = 2048;
const MEASURED: u64 = 8192;

/// The kind of traffic in a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mixture {
    reads: u8,
    writes: u8,
    /// log2 of the bursts of a contiguous run.
    class: u8,
}

impl Mixture {
    pub(crate) fn new(reads: u32, writes: u32, class: u32) -> Mixture {
        Mixture {
            reads: reads.min(MOST_QUEUES) as u8,
            writes: writes.min(MOST_QUEUES) as u8,
            // Every second length is enough: rates differ little in between.
            class: (class.div_ceil(2) * 2).min(u32::from(STREAM_CLASS)) as u8,
        }
    }

    /// A dense number.
    pub(crate) fn index(self) -> usize {
        let queues = MOST_QUEUES as usize + 1;
        (usize::from(self.class) * queues + usize::from(self.reads)) * queues + usize::from(self.writes)
    }

    /// One endless stream of reads.
    pub(crate) fn stream() -> Mixture {
        Mixture::new(1, 0, u32::from(STREAM_CLASS))
    }
}

/// What was measured.
#[derive(Clone, Debug)]
pub(crate) struct Rate {
    pub(crate) bursts_per_clock: f64,
    /// Where the clocks of the measured stretch went.
    pub(crate) clocks: Clocks,
    counts: Counts,
    bursts: u64,
}

impl Rate {
    /// Adds what this many bursts cost.
    pub(crate) fn account(&self, bursts: f64, counts: &mut Counts, clocks: &mut Clocks) {
        let factor = bursts / self.bursts as f64;
        let part = |value: u64| (value as f64 * factor).round() as u64;
        let mut scaled = self.counts.clone();
        scaled.scale(part);
        counts.add(&scaled);
        clocks.data += part(self.clocks.data);
        clocks.refresh += part(self.clocks.refresh);
        clocks.turnaround += part(self.clocks.turnaround);
        clocks.rows += part(self.clocks.rows);
    }
}

/// The rates of one sheet, measured when first needed.
pub(crate) struct Rates {
    sheet: Sheet,
    /// By [`Mixture::index`].
    measured: Vec<Option<Rate>>,
}

impl Rates {
    pub(crate) fn new(sheet: &Sheet) -> Rates {
        let last = Mixture { reads: MOST_QUEUES as u8, writes: MOST_QUEUES as u8, class: STREAM_CLASS };
        Rates { sheet: sheet.clone(), measured: vec![None; last.index() + 1] }
    }

    pub(crate) fn of(&mut self, mixture: Mixture) -> &Rate {
        self.measured[mixture.index()].get_or_insert_with(|| remembered(&self.sheet, mixture))
    }

    /// The rates measured so far, with the index of their mixture.
    pub(crate) fn all(&self) -> impl Iterator<Item = (usize, &Rate)> {
        self.measured.iter().enumerate().filter_map(|(index, rate)| rate.as_ref().map(|r| (index, r)))
    }

    /// Bursts per clock of the data bus.
    pub(crate) fn peak(&self) -> f64 {
        1.0 / self.sheet.timing.burst_min as f64
    }

    /// From the last burst's turn to its data: opening a row, and the access.
    pub(crate) fn access_latency(&self) -> f64 {
        let t = &self.sheet.timing;
        (t.rcd_read + t.rl + t.burst_min) as f64
    }

    /// Entries of the read queue.
    pub(crate) fn queue_depth(&self) -> f64 {
        f64::from(self.sheet.controller.read_queue)
    }

    /// Adds what idle clocks cost: refresh and power-down.
    pub(crate) fn account_idle(&self, clocks: u64, counts: &mut Counts) {
        let t = &self.sheet.timing;
        let ranks = u64::from(self.sheet.organization.ranks);
        let banks = u64::from(self.sheet.organization.bank_groups * self.sheet.organization.banks);
        counts.clocks_powered_down += clocks;
        match self.sheet.controller.refresh {
            RefreshMode::None => {}
            RefreshMode::AllBank => counts.refresh_all += clocks / t.refi * ranks,
            RefreshMode::PerBank => {
                counts.refresh_bank += clocks * banks / t.refi * ranks;
                counts.refreshed_banks += clocks * banks / t.refi * ranks;
            }
            RefreshMode::BankPairs => {
                counts.refresh_bank += clocks * banks / 2 / t.refi * ranks;
                counts.refreshed_banks += clocks * banks / t.refi * ranks;
            }
        }
    }
}

/// What was measured in this process, so that many short runs measure once. A rate depends on the sheet and the mixture alone.
static REMEMBERED: Mutex<Vec<(Sheet, BTreeMap<usize, Rate>)>> = Mutex::new(Vec::new());

fn remembered(sheet: &Sheet, mixture: Mixture) -> Rate {
    let known = |all: &[(Sheet, BTreeMap<usize, Rate>)]| all.iter().position(|(other, _)| other == sheet);
    let mut all = REMEMBERED.lock().unwrap_or_else(PoisonError::into_inner);
    let index = known(&all).unwrap_or_else(|| {
        all.push((sheet.clone(), BTreeMap::new()));
        all.len() - 1
    });
    let rates = &mut all[index].1;
    rates.entry(mixture.index()).or_insert_with(|| measure(sheet, mixture)).clone()
}

/// Runs a mixture through one exact channel.
fn measure(sheet: &Sheet, mixture: Mixture) -> Rate {
    let queues = usize::from(mixture.reads + mixture.writes);
    let mut lane = Lane::new(sheet, queues);
    let mut feeders: Vec<Feeder> = (0..queues).map(|q| Feeder::new(sheet, q, mixture)).collect();
    // Postponed refreshes must have come due before, and enough of them must fall into the measured stretch.
    let t = &sheet.timing;
    let (interval, refreshes) = match sheet.controller.refresh {
        RefreshMode::None => (0, 0),
        RefreshMode::AllBank => (t.refi, 24),
        RefreshMode::PerBank | RefreshMode::BankPairs => (t.refi_bank, 32),
    };
    let warm_clocks = interval * (sheet.controller.refresh_postpone.min(8) + 2);
    let before = run_until(sheet, &mut lane, &mut feeders, WARM_UP, warm_clocks);
    let measured_to = before.0 + refreshes * interval;
    let after = run_until(sheet, &mut lane, &mut feeders, WARM_UP + MEASURED, measured_to);
    let mut clocks = Clocks::default();
    clocks.add_difference(&after.2, &before.2, 1);
    let mut counts = Counts::default();
    counts.add_difference(&after.1, &before.1, 1);
    let bursts = counts.read + counts.write + counts.read_auto + counts.write_auto;
    let peak = 1.0 / sheet.timing.burst_min as f64;
    let bursts_per_clock = (bursts as f64 / clocks.total() as f64).min(peak);
    Rate { bursts_per_clock, clocks, counts, bursts }
}

/// Clock, counts and clocks at some point of a run.
type Stretch = (u64, Counts, Clocks);

/// Advances until this many bursts have been moved and this clock has come; returns clock, counts and clocks there.
fn run_until(sheet: &Sheet, lane: &mut Lane, feeders: &mut [Feeder], bursts: u64, least: u64) -> Stretch {
    loop {
        for (queue, feeder) in feeders.iter_mut().enumerate() {
            if lane.ports.head(queue).is_none_or(|p| p.bursts.end - p.bursts.start < 64) && !lane.ports.has_two(queue) {
                lane.ports.push(queue, feeder.next_piece());
            }
        }
        let clock = lane.next;
        lane.advance(sheet, clock);
        lane.forget();
        let counts = &lane.channel.counts;
        if counts.read + counts.write + counts.read_auto + counts.write_auto >= bursts && clock >= least {
            let mut counts = counts.clone();
            // The state clocks are only known where the state changed; the run is busy throughout.
            counts.clocks_active = clock;
            (counts.clocks_precharged, counts.clocks_powered_down) = (0, 0);
            return (clock, counts, lane.channel.clocks);
        }
    }
}

/// Makes the pieces of one queue.
struct Feeder {
    write: bool,
    length: u64,
    stream: bool,
    next: u64,
    state: u64,
    limit: u64,
}

impl Feeder {
    fn new(sheet: &Sheet, queue: usize, mixture: Mixture) -> Feeder {
        let limit = sheet.mapping.bursts_per_channel();
        let mut feeder = Feeder {
            write: queue >= usize::from(mixture.reads),
            length: 1 << mixture.class,
            stream: mixture.class == STREAM_CLASS,
            next: 0,
            state: 0x9e37_79b9_7f4a_7c15 ^ (queue as u64) << 32,
            limit,
        };
        feeder.next = feeder.random();
        feeder
    }

    /// A multiple of the run length, from a fixed sequence (splitmix64).
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) % (self.limit / self.length)) * self.length
    }

    fn next_piece(&mut self) -> Piece {
        let start = if self.stream { self.next % (self.limit - self.length) } else { self.random() };
        self.next = start + self.length;
        Piece { request: 0, write: self.write, clock: 0, bursts: start..start + self.length }
    }
}
