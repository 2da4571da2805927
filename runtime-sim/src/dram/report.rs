//! Running a trace and saying what happened, as text and as JSON.
//!
//! In: a sheet, a trace, a mode. Out: [`TraceReport`]. Always holds: bytes in = bytes out; the parts of the energy and of
//! the clocks add up to their totals; the same trace gives the same report on any number of threads.

use std::fmt;

use narae_isa::Diagnostics;
use rayon::prelude::*;

use super::channel::Channel;
use super::counts::{Clocks, Counts, Latencies};
use super::energy::EnergyReport;
use super::replay::{Fifo, replay};
use super::sampled::{Plan, replay_sampled};
use super::sheet::Sheet;
use super::trace::Trace;

/// How precisely a trace is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Every burst.
    Exact,
    /// Stretches that repeat are measured and skipped (`sampled.rs`); the rest burst by burst.
    Fast,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Exact => "exact",
            Mode::Fast => "fast",
        })
    }
}

/// What a trace did.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceReport {
    /// Name of the sheet.
    pub sheet: String,
    /// Address mapping.
    pub mapping: String,
    /// How precisely it was run.
    pub mode: Mode,
    /// Length of a clock.
    pub clock_ps: u64,
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
    /// Energy by class.
    pub energy: EnergyReport,
    /// Read latencies.
    pub latencies: Latencies,
    /// Completion clock of each request.
    pub done: Vec<u64>,
}

/// Runs a trace; `file` is its name in messages.
///
/// # Errors
/// An address is unaligned or outside the memory.
pub fn run_trace(sheet: &Sheet, file: &str, trace: &Trace, mode: Mode) -> Result<TraceReport, Diagnostics> {
    trace.check(file, sheet)?;
    let plan = match mode {
        Mode::Exact => None,
        Mode::Fast => Some(Plan::new(&trace.requests)),
    };
    let runs: Vec<ChannelRun> = (0..sheet.mapping.channels())
        .into_par_iter()
        .map(|index| match &plan {
            None => run_exactly(sheet, trace, index),
            Some(plan) => run_sampled(sheet, trace, plan, index),
        })
        .collect();
    Ok(gather(sheet, trace, mode, runs))
}

/// Loads a sheet (a file or the name of a built-in one) and a trace, and runs it: the whole of `narae dram`.
///
/// # Errors
/// Every problem of the sheet or of the trace, with file, line and key.
pub fn run_trace_files(sheet: &str, trace: &str, mode: Mode) -> Result<TraceReport, Diagnostics> {
    let loaded = Sheet::load(sheet)?;
    let requests = Trace::load(trace)?;
    run_trace(&loaded, trace, &requests, mode)
}

/// One channel after its run.
struct ChannelRun {
    channel: Channel,
    /// Completion clock of each request, 0 where it had no part in this channel.
    done: Vec<u64>,
    last: u64,
}

fn run_exactly(sheet: &Sheet, trace: &Trace, index: u32) -> ChannelRun {
    let mut channel = Channel::new(sheet);
    let mut done = vec![0; trace.requests.len()];
    replay(&mut channel, &mut Fifo::new(sheet, index, &trace.requests), &mut done);
    let last = channel.finished_at;
    ChannelRun { channel, done, last }
}

fn run_sampled(sheet: &Sheet, trace: &Trace, plan: &Plan<'_>, index: u32) -> ChannelRun {
    let mut channel = Channel::new(sheet);
    let mut pieces = vec![0; plan.requests.len()];
    let last = replay_sampled(&mut channel, sheet, index, plan, &mut pieces);
    let Some(origin) = &plan.origin else { return ChannelRun { channel, done: pieces, last } };
    let mut done = vec![0; trace.requests.len()];
    for (piece, origin) in pieces.into_iter().zip(origin) {
        let request: &mut u64 = &mut done[*origin as usize];
        *request = piece.max(*request);
    }
    ChannelRun { channel, done, last }
}

fn gather(sheet: &Sheet, trace: &Trace, mode: Mode, runs: Vec<ChannelRun>) -> TraceReport {
    let clocks = runs.iter().map(|run| run.last).max().unwrap_or(0);
    let (mut counts, mut spent, mut latencies) = (Counts::default(), Clocks::default(), Latencies::default());
    let mut done = vec![0; trace.requests.len()];
    for run in runs {
        // What was skipped is in the counts but not in the channel's own clock.
        let own_end = clocks - (run.last - run.channel.finished_at);
        let (c, s) = run.channel.accounts_at(own_end);
        counts.add(&c);
        spent.add(&s);
        latencies.add(&run.channel.latencies);
        for (all, one) in done.iter_mut().zip(run.done) {
            *all = one.max(*all);
        }
    }
    let bytes_per_second = trace.bytes() as f64 / (clocks.max(1) as f64 * sheet.timing.clock_ps as f64 * 1e-12);
    let mean = counts.read_latency as f64 / counts.reads_done.max(1) as f64;
    TraceReport {
        sheet: sheet.name.clone(),
        mapping: sheet.mapping.to_string(),
        mode,
        clock_ps: sheet.timing.clock_ps,
        bytes: trace.bytes(),
        clocks,
        bytes_per_second,
        part_of_peak: bytes_per_second / (sheet.peak_bytes_per_second() * f64::from(sheet.mapping.channels())),
        read_latency_ns: mean * sheet.timing.clock_ps as f64 / 1000.0,
        energy: EnergyReport::new(sheet, &counts),
        counts,
        spent,
        latencies,
        done,
    }
}

impl TraceReport {
    /// The report as JSON.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let map = |pairs: &[(&str, u64)]| -> serde_json::Value {
            pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), serde_json::Value::from(*v)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        let joules: serde_json::Map<String, serde_json::Value> =
            self.energy.named().iter().map(|(k, v)| ((*k).to_owned(), (*v).into())).collect();
        serde_json::json!({
            "sheet": self.sheet,
            "mapping": self.mapping,
            "mode": self.mode.to_string(),
            "clock_ps": self.clock_ps,
            "bytes": self.bytes,
            "clocks": self.clocks,
            "seconds": self.seconds(),
            "bytes_per_second": self.bytes_per_second,
            "percent_of_peak": self.part_of_peak * 100.0,
            "read_latency_ns": {
                "mean": self.read_latency_ns,
                "p50": self.latency_ns(0.5),
                "p99": self.latency_ns(0.99),
            },
            "counts": map(&self.counts.named()),
            "bus_clocks": map(&self.spent.named()),
            "energy_joules": joules,
            "energy_joules_total": self.energy.total(),
            "picojoules_per_bit": self.picojoules_per_bit(),
        })
    }

    /// How long the run took.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.clocks as f64 * self.clock_ps as f64 * 1e-12
    }

    /// A quantile of the read latencies.
    #[must_use]
    pub fn latency_ns(&self, part: f64) -> f64 {
        self.latencies.quantile(part) as f64 * self.clock_ps as f64 / 1000.0
    }

    /// Energy per bit moved.
    #[must_use]
    pub fn picojoules_per_bit(&self) -> f64 {
        self.energy.total() * 1e12 / (self.bytes.max(1) as f64 * 8.0)
    }
}

impl fmt::Display for TraceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} · mapping {} · {} mode", self.sheet, self.mapping, self.mode)?;
        writeln!(
            f,
            "{} bytes in {} clocks ({:.3} µs): {:.3} GB/s, {:.2} % of peak",
            self.bytes,
            self.clocks,
            self.seconds() * 1e6,
            self.bytes_per_second / 1e9,
            self.part_of_peak * 100.0
        )?;
        if self.counts.reads_done > 0 {
            let (p50, p99) = (self.latency_ns(0.5), self.latency_ns(0.99));
            writeln!(
                f,
                "read latency: mean {:.1} ns, median {p50:.1} ns, 99 % within {p99:.1} ns",
                self.read_latency_ns
            )?;
        }
        let c = &self.counts;
        writeln!(f, "rows: {} hits, {} misses, {} conflicts", c.row_hits, c.row_misses, c.row_conflicts)?;
        let total = self.spent.total().max(1) as f64;
        let parts = self.spent.named().map(|(name, clocks)| format!("{name} {:.2} %", clocks as f64 / total * 100.0));
        writeln!(f, "data bus: {}", parts.join(", "))?;
        let commands: Vec<String> =
            c.named()[..12].iter().filter(|(_, n)| *n > 0).map(|(name, n)| format!("{name} {n}")).collect();
        writeln!(f, "commands: {}", commands.join(", "))?;
        let joules = self.energy.named().map(|(name, joules)| format!("{name} {:.3}", joules * 1e6));
        writeln!(f, "energy: {:.3} µJ, {:.3} pJ/bit", self.energy.total() * 1e6, self.picojoules_per_bit())?;
        write!(f, "energy in µJ: {}", joules.join(", "))
    }
}
