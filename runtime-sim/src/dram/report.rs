//! Running a trace and saying what happened.

use narae_isa::Diagnostics;
use rayon::prelude::*;

use super::channel::Channel;
use super::counts::{Clocks, Counts, Latencies};
use super::reader::diagnostics;
use super::replay::{Fifo, replay};
use super::sheet::Sheet;
use super::trace::Trace;

/// How precisely a trace is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Every burst.
    Exact,
    /// Rows and streams.
    Fast,
}

/// What a trace did.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceReport {
    /// Bytes.
    pub bytes: u64,
    /// Clocks until the last access was complete.
    pub clocks: u64,
    /// Bytes per second.
    pub bytes_per_second: f64,
    /// Part of the peak of all channels.
    pub part_of_peak: f64,
    /// Mean read latency in ns.
    pub read_latency_ns: f64,
    /// Commands and events of all channels.
    pub counts: Counts,
    /// Clocks of all channels.
    pub spent: Clocks,
    /// Latencies.
    pub latencies: Latencies,
    /// Completion clock of each request.
    pub done: Vec<u64>,
}

/// Runs a trace.
///
/// # Errors
/// An address is unaligned or outside the memory.
pub fn run_trace(sheet: &Sheet, file: &str, trace: &Trace, _mode: Mode) -> Result<TraceReport, Diagnostics> {
    trace.check(file, sheet).map_err(diagnostics)?;
    let channels: Vec<(Channel, Vec<u64>)> = (0..sheet.mapping.channels())
        .into_par_iter()
        .map(|index| {
            let mut channel = Channel::new(sheet);
            let mut done = vec![0; trace.requests.len()];
            replay(&mut channel, &mut Fifo::new(sheet, index, &trace.requests), &mut done);
            (channel, done)
        })
        .collect();
    let clocks = channels.iter().map(|(c, _)| c.finished_at).max().unwrap_or(0);
    let mut counts = Counts::default();
    let mut spent = Clocks::default();
    let mut latencies = Latencies::default();
    let mut done = vec![0; trace.requests.len()];
    for (channel, d) in channels {
        let (c, s) = channel.accounts_at(clocks);
        counts.add(&c);
        spent.add(&s);
        latencies.add(&channel.latencies);
        for (a, b) in done.iter_mut().zip(d) {
            *a = (*a).max(b);
        }
    }
    let seconds = clocks as f64 * sheet.timing.clock_ps as f64 * 1e-12;
    let bytes_per_second = trace.bytes() as f64 / seconds;
    Ok(TraceReport {
        bytes: trace.bytes(),
        clocks,
        bytes_per_second,
        part_of_peak: bytes_per_second / (sheet.peak_bytes_per_second() * f64::from(sheet.mapping.channels())),
        read_latency_ns: counts.read_latency as f64 / counts.reads_done.max(1) as f64 * sheet.timing.clock_ps as f64
            / 1000.0,
        counts,
        spent,
        latencies,
        done,
    })
}
