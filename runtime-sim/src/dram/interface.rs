//! How the rest of the simulator uses the memory: many DMA queues submit requests and learn when they are complete.
//!
//! In: [`Request`]s with non-decreasing times. Out: [`Completion`]s in the order of their times. Both implementations,
//! [`ExactDram`](super::ExactDram) (every burst) and [`FastDram`](super::FastDram) (rates of streams, measured with the
//! exact model), follow the same protocol, so that a simulator does not know which one it has:
//!
//! ```
//! use narae_sim::dram::{Dram, FastDram, Request, sheet::Sheet};
//!
//! let mut dram = FastDram::new(&Sheet::built_in("lpddr5x-8533").unwrap(), 2);
//! let id = dram.submit(Request { queue: 0, time: 0, write: false, address: 0, bytes: 1 << 20 });
//! // "What happens until then?" Nothing yet after 1 µs; the model has now advanced to that time.
//! assert_eq!(dram.next_completion(1_000_000), None);
//! let done = dram.next_completion(u64::MAX).unwrap();
//! assert_eq!(done.id, id);
//! assert_eq!(done.spent.total(), done.at);
//! ```
//!
//! Always holds: times are picoseconds; `submit` must not be earlier than the last completion returned or the last
//! `until`; requests of one queue are served in order, queues take turns; the parts of [`Spent`] add up to the time from
//! submission to completion. Choose the granularity freely: a request may be 64 bytes or a weight of hundreds of MB.

use super::counts::{Clocks, Counts};
use super::energy::EnergyReport;

/// A time or duration in picoseconds.
pub type Picoseconds = u64;

/// Names a request until its completion is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A contiguous range to read or write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The DMA queue that asks.
    pub queue: usize,
    /// When it asks.
    pub time: Picoseconds,
    /// True for a write.
    pub write: bool,
    /// First byte; bursts that are only partly covered are transferred whole.
    pub address: u64,
    /// Number of bytes, at least one.
    pub bytes: u64,
}

/// A request that is done: the last data has arrived, or the controller has taken it. (Real controllers answer writes early: later reads are
/// answered from the write queue, so nobody can see that the data is not in its row yet.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Which request.
    pub id: RequestId,
    /// When.
    pub at: Picoseconds,
    /// What the time since its submission went into.
    pub spent: Spent,
}

/// What the time of a request went into; the parts add up to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Data moved at the peak rate: this request's or another's before it.
    pub bandwidth: Picoseconds,
    /// The latency of an access: row opening, read latency, first burst.
    pub latency: Picoseconds,
    /// A refresh was in the way.
    pub refresh: Picoseconds,
    /// The bus turned between reading and writing.
    pub turnaround: Picoseconds,
    /// Rows were being opened and closed.
    pub rows: Picoseconds,
}

impl Spent {
    /// The sum of the parts.
    #[must_use]
    pub fn total(&self) -> Picoseconds {
        self.bandwidth + self.latency + self.refresh + self.turnaround + self.rows
    }

    /// Another duration in the same proportions; all latency if there are none. The parts add up to it.
    #[must_use]
    pub fn scaled_to(&self, duration: Picoseconds) -> Spent {
        let total = u128::from(self.total().max(1));
        let share = |part: u64| (u128::from(duration) * u128::from(part) / total) as u64;
        let [bandwidth, refresh, turnaround, rows] =
            [self.bandwidth, self.refresh, self.turnaround, self.rows].map(share);
        Spent { bandwidth, latency: duration - bandwidth - refresh - turnaround - rows, refresh, turnaround, rows }
    }

    /// Splits a duration: first the latency, then the rest in the proportions of the busy clocks of the data bus.
    pub(crate) fn split(duration: Picoseconds, latency: Picoseconds, clocks: &Clocks) -> Spent {
        let latency = latency.min(duration);
        let rest = duration - latency;
        let busy = clocks.data + clocks.refresh + clocks.turnaround + clocks.rows;
        let share = |part: u64| (u128::from(rest) * u128::from(part) / u128::from(busy.max(1))) as u64;
        let (refresh, turnaround, rows) = (share(clocks.refresh), share(clocks.turnaround), share(clocks.rows));
        Spent { bandwidth: rest - refresh - turnaround - rows, latency, refresh, turnaround, rows }
    }
}

/// What a memory did up to some time.
#[derive(Clone, Debug, PartialEq)]
pub struct DramReport {
    /// Bytes moved by each channel.
    pub channel_bytes: Vec<u64>,
    /// Commands and events of all channels.
    pub counts: Counts,
    /// Clocks of the data buses of all channels, by what they went into.
    pub clocks: Clocks,
    /// Energy by class.
    pub energy: EnergyReport,
    /// Lower and upper end of the energy's band, as factors on every class.
    pub energy_band: (f64, f64),
}

impl DramReport {
    /// The largest difference of a channel from the mean, as a part of the mean.
    #[must_use]
    pub fn imbalance(&self) -> f64 {
        let mean = self.channel_bytes.iter().sum::<u64>() as f64 / self.channel_bytes.len().max(1) as f64;
        let worst = self.channel_bytes.iter().map(|b| (*b as f64 - mean).abs()).fold(0.0, f64::max);
        if mean > 0.0 { worst / mean } else { 0.0 }
    }
}

/// A memory with several DMA queues in front of it. See the module documentation for the protocol.
pub trait Dram {
    /// Accepts a request.
    fn submit(&mut self, request: Request) -> RequestId;

    /// The earliest completion that has not been returned yet and lies at or before `until`; without one, the model has
    /// advanced to `until` and nothing before it can change any more.
    fn next_completion(&mut self, until: Picoseconds) -> Option<Completion>;

    /// Requests submitted whose completion has not been returned yet.
    fn outstanding(&self) -> usize;

    /// What happened up to `end`, which must not be earlier than the last completion returned.
    fn report(&self, end: Picoseconds) -> DramReport;

    /// The largest data rate of all channels together, in bytes per second.
    fn peak_bytes_per_second(&self) -> f64;
}

impl<D: Dram + ?Sized> Dram for Box<D> {
    fn submit(&mut self, request: Request) -> RequestId {
        (**self).submit(request)
    }

    fn next_completion(&mut self, until: Picoseconds) -> Option<Completion> {
        (**self).next_completion(until)
    }

    fn outstanding(&self) -> usize {
        (**self).outstanding()
    }

    fn report(&self, end: Picoseconds) -> DramReport {
        (**self).report(end)
    }

    fn peak_bytes_per_second(&self) -> f64 {
        (**self).peak_bytes_per_second()
    }
}
