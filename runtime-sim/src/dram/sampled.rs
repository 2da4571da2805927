//! The fast mode of a trace: stretches that repeat are run exactly until their rate is known, and then skipped.
//!
//! A *stretch* is a sequence of *laps* of up to [`LONGEST_LAP`] requests: the same directions and sizes, every address
//! advanced by the same step from lap to lap (one stream, eight interleaved streams, nine reads and a write …). After a
//! warm-up, one *window* is run exactly: a whole number of laps that takes every step round the banks and meets enough
//! refreshes. The windows that follow cost the same; they are added to clocks, counts and latencies instead of being run.
//! What does not repeat (random blocks, open-loop arrivals) is run burst by burst, so its figures are the exact ones.
//!
//! In: requests. Out: what `replay` gives. Always holds: every request is either run or belongs to a skipped window.

use std::borrow::Cow;

use super::channel::Channel;
use super::counts::{Clocks, Counts, Latencies};
use super::mapping::Field;
use super::replay::Fifo;
use super::sheet::{RefreshMode, Setting, Sheet};
use super::trace::TraceRequest;

const LONGEST_LAP: usize = 64;
/// A lap with as many repetitions needs no better explanation.
const LONG: usize = 64;
/// Bursts of one channel that are run before anything is measured, and that a window has at least.
const WARM_UP: u64 = 2048;
const WINDOW: u64 = 4096;
/// Refreshes that a window meets at least: of single banks or pairs, and of all banks.
const REFRESHES: (u64, u64) = (64, 16);
/// Requests longer than this are cut, so that one long request is a stretch.
const CUT: u64 = 8192;

/// `laps` repetitions of `lap` requests from `start` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stretch {
    start: usize,
    lap: usize,
    laps: usize,
}

/// A trace prepared for fast runs.
pub(crate) struct Plan<'a> {
    /// The requests, long ones cut.
    pub(crate) requests: Cow<'a, [TraceRequest]>,
    /// The request of the trace that each one belongs to; none when nothing was cut.
    pub(crate) origin: Option<Vec<u32>>,
    stretches: Vec<Stretch>,
}

impl Plan<'_> {
    pub(crate) fn new(requests: &[TraceRequest]) -> Plan<'_> {
        if requests.iter().all(|r| r.bytes <= CUT) {
            let stretches = find_stretches(requests);
            return Plan { requests: Cow::Borrowed(requests), origin: None, stretches };
        }
        let (mut cut, mut origin) = (Vec::new(), Vec::new());
        for (index, request) in requests.iter().enumerate() {
            let piece = CUT.max((request.bytes >> 20).next_power_of_two());
            let mut offset = 0;
            while offset < request.bytes {
                let bytes = piece.min(request.bytes - offset);
                cut.push(TraceRequest { address: request.address + offset, bytes, ..*request });
                origin.push(index as u32);
                offset += bytes;
            }
        }
        let stretches = find_stretches(&cut);
        Plan { requests: Cow::Owned(cut), origin: Some(origin), stretches }
    }
}

/// Greedily, from the front: at each position the lap that explains most of what follows.
fn find_stretches(requests: &[TraceRequest]) -> Vec<Stretch> {
    let mut stretches = Vec::new();
    let mut at = 0;
    while at < requests.len() {
        match best_stretch(&requests[at..], at) {
            Some(stretch) => {
                at += stretch.lap * stretch.laps;
                stretches.push(stretch);
            }
            None => at += 1,
        }
    }
    stretches
}

fn best_stretch(requests: &[TraceRequest], start: usize) -> Option<Stretch> {
    let mut best: Option<Stretch> = None;
    for lap in (1..=LONGEST_LAP).filter(|lap| may_repeat(requests, *lap)) {
        let stretch = Stretch { start, lap, laps: count_laps(requests, lap) };
        let explains = |s: &Stretch| s.lap * s.laps;
        if stretch.laps >= 4 && best.as_ref().is_none_or(|b| explains(&stretch) > explains(b)) {
            best = Some(stretch);
        }
        if stretch.laps >= LONG {
            break;
        }
    }
    best
}

/// A quick look at the first request of three laps.
fn may_repeat(requests: &[TraceRequest], lap: usize) -> bool {
    let Some(third) = requests.get(2 * lap) else { return false };
    let step = requests[lap].address.wrapping_sub(requests[0].address);
    requests[0].write == third.write && third.address.wrapping_sub(requests[lap].address) == step
}

fn count_laps(requests: &[TraceRequest], lap: usize) -> usize {
    let step = |i: usize| requests[i + lap].address.wrapping_sub(requests[i].address);
    let same = |i: usize| {
        let (a, b) = (&requests[i], &requests[i - lap]);
        a.write == b.write && a.bytes == b.bytes && a.clock == b.clock
    };
    let repeats = |i: usize| same(i) && (i < 2 * lap || step(i - lap) == step(i - 2 * lap));
    let agreeing = (lap..requests.len()).take_while(|i| repeats(*i)).count();
    (lap + agreeing) / lap
}

/// What a channel had done at some moment.
struct Snapshot {
    clock: u64,
    counts: Counts,
    clocks: Clocks,
    latencies: Latencies,
}

impl Snapshot {
    fn of(channel: &Channel, clock: u64) -> Snapshot {
        let (counts, clocks) = (channel.counts.clone(), channel.clocks);
        Snapshot { clock, counts, clocks, latencies: channel.latencies.clone() }
    }
}

/// Where in a stretch a channel measures, and how much it then skips.
struct Schedule {
    measure_from: usize,
    measure_to: usize,
    windows: usize,
    window: usize,
}

/// Requests of a warm-up and a window in this stretch, if skipping anything pays.
fn schedule(sheet: &Sheet, requests: &[TraceRequest], stretch: &Stretch) -> Option<Schedule> {
    let lap = &requests[stretch.start..stretch.start + stretch.lap];
    let next = &requests[stretch.start + stretch.lap..stretch.start + 2 * stretch.lap];
    let burst_bytes = u64::from(sheet.organization.burst_bytes);
    let channels = u64::from(sheet.mapping.channels());
    let bursts = lap.iter().map(|r| r.bytes.div_ceil(burst_bytes)).sum::<u64>() as f64 / channels as f64;
    // The addresses repeat in the banks after this many bytes.
    let round = burst_bytes << sheet.mapping.bits_below(Field::Row);
    let steps = lap.iter().zip(next).fold(round, |all, (a, b)| all | b.address.wrapping_sub(a.address));
    let laps_of_round = round >> steps.trailing_zeros().min(round.trailing_zeros());
    let c = &sheet.controller;
    let (interval, refreshes) = match c.refresh {
        RefreshMode::None => (0, 0),
        RefreshMode::AllBank => (sheet.timing.refi, REFRESHES.1),
        RefreshMode::PerBank | RefreshMode::BankPairs => (sheet.timing.refi_bank, REFRESHES.0),
    };
    let slot = sheet.timing.burst_min;
    let least = WINDOW.max(refreshes * interval / slot) as f64;
    let window_laps = ((least / bursts).ceil() as u64).next_multiple_of(laps_of_round) as usize;
    let postponed = if c.setting == Setting::Jedec { (c.refresh_postpone + 1) * interval / slot } else { 0 };
    let warm_laps = (WARM_UP.max(postponed) as f64 / bursts).ceil() as usize;
    // One window is left to run at the end, so that what follows meets a busy channel.
    let windows = (stretch.laps.saturating_sub(warm_laps) / window_laps).saturating_sub(2);
    (windows > 0).then(|| Schedule {
        measure_from: stretch.start + warm_laps * stretch.lap,
        measure_to: stretch.start + (warm_laps + window_laps) * stretch.lap,
        windows,
        window: window_laps * stretch.lap,
    })
}

/// Runs a channel over a plan; `done[request]` is raised to the completion clock. Returns the clock of the last
/// completion.
pub(crate) fn replay_sampled(
    channel: &mut Channel,
    sheet: &Sheet,
    index: u32,
    plan: &Plan<'_>,
    done: &mut [u64],
) -> u64 {
    let schedules: Vec<Schedule> = plan.stretches.iter().filter_map(|s| schedule(sheet, &plan.requests, s)).collect();
    let mut fifo = Fifo::new(sheet, index, &plan.requests);
    let mut run = Run { offset: 0, before: 0, boundary: 0, last: 0, next: 0, from: None };
    let mut clock = 1;
    loop {
        run.skip(channel, &mut fifo, &schedules, clock, done);
        while let Some(&b) = fifo.head() {
            let due = b.clock < clock + run.offset;
            if !due || !channel.enter(b.bank as usize, b.row, b.local, b.write, b.id, clock - 1) {
                break;
            }
            fifo.advance();
        }
        let mut next = channel.tick(clock).next;
        run.collect(channel, done);
        match fifo.head() {
            Some(head) if channel.has_room(head.write) => {
                let enters = head.clock.saturating_sub(run.offset);
                next = channel.skip_idle(next.min(enters.max(clock) + 1), enters);
            }
            None if channel.is_empty() => return run.last,
            Some(_) | None => {}
        }
        clock = next;
    }
}

/// The state of a run that skips.
struct Run {
    /// What has been skipped so far, in clocks …
    offset: u64,
    /// … and before the last skip, for requests below `boundary`, which entered before it.
    before: u64,
    boundary: u32,
    last: u64,
    next: usize,
    from: Option<Snapshot>,
}

impl Run {
    fn collect(&mut self, channel: &mut Channel, done: &mut [u64]) {
        for d in channel.done.drain(..) {
            let at = d.at + if d.id < self.boundary { self.before } else { self.offset };
            let request = &mut done[d.id as usize];
            *request = (*request).max(at);
            self.last = self.last.max(at);
        }
    }

    /// At the ends of a window: measures, and then skips.
    fn skip(&mut self, channel: &mut Channel, fifo: &mut Fifo<'_>, all: &[Schedule], clock: u64, done: &mut [u64]) {
        let (Some(s), Some(head)) = (all.get(self.next), fifo.head()) else { return };
        let at = head.id as usize;
        let Some(from) = &self.from else {
            if at >= s.measure_from {
                self.from = Some(Snapshot::of(channel, clock));
            }
            return;
        };
        if at < s.measure_to {
            return;
        }
        let to = Snapshot::of(channel, clock);
        let (times, window) = (s.windows as u64, to.clock - from.clock);
        channel.counts.add_difference(&to.counts, &from.counts, times);
        channel.clocks.add_difference(&to.clocks, &from.clocks, times);
        channel.latencies.add_difference(&to.latencies, &from.latencies, times);
        let skipped = |write| times * fifo.bursts(at - s.window..at, write);
        let moved = [
            to.counts.reads_moved() - from.counts.reads_moved(),
            to.counts.writes_moved() - from.counts.writes_moved(),
        ];
        channel.settle(skipped(false), times * moved[0], skipped(true), times * moved[1]);
        for request in at..at + s.windows * s.window {
            done[request] = done[request - s.window] + window;
        }
        fifo.jump(at + s.windows * s.window);
        (self.before, self.boundary) = (self.offset, at as u32);
        self.offset += times * window;
        self.from = None;
        self.next += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(lines: impl Iterator<Item = (bool, u64, u64)>) -> Vec<TraceRequest> {
        lines.map(|(write, address, bytes)| TraceRequest { clock: 0, write, address, bytes, line: 0 }).collect()
    }

    #[test]
    fn finds_streams_and_interleaved_streams() {
        let one = requests((0..100).map(|i| (false, i * 2048, 2048)));
        assert_eq!(find_stretches(&one), [Stretch { start: 0, lap: 1, laps: 100 }]);
        let eight = requests((0..800).map(|i| (false, i % 8 * (1 << 26) + i / 8 * 512, 512)));
        assert_eq!(find_stretches(&eight), [Stretch { start: 0, lap: 8, laps: 100 }]);
        let random = requests((0..100).map(|i| (false, i * i * i * 64 % 77_777, 64)));
        assert_eq!(find_stretches(&random), []);
    }

    #[test]
    fn cuts_long_requests() {
        let one = requests([(false, 0, 1 << 20)].into_iter());
        let plan = Plan::new(&one);
        assert_eq!(plan.requests.len(), 128);
        assert_eq!(plan.stretches, [Stretch { start: 0, lap: 1, laps: 128 }]);
    }
}
