//! A memory that writes down every request that it is given, so that a run can be replayed elsewhere.
//!
//! In: any [`Dram`]. Out: the same behaviour, and the requests as a [`Trace`] (`Trace::to_text` writes the format of
//! `../shared/dram`). Always holds: recording changes nothing; times become memory clocks, rounded up.

use super::interface::{Completion, Dram, DramReport, Picoseconds, Request, RequestId};
use super::sheet::Sheet;
use super::trace::{Trace, TraceRequest};

/// See the module documentation.
pub struct Recorder<D> {
    dram: D,
    clock_ps: u64,
    burst_bytes: u64,
    trace: Trace,
}

impl<D: Dram> Recorder<D> {
    /// Records what `dram`, a memory with this sheet, is asked for.
    pub fn new(dram: D, sheet: &Sheet) -> Recorder<D> {
        let burst_bytes = u64::from(sheet.organization.burst_bytes);
        Recorder { dram, clock_ps: sheet.timing.clock_ps, burst_bytes, trace: Trace::default() }
    }

    /// The requests, in order of submission.
    pub fn into_trace(self) -> Trace {
        self.trace
    }

    /// The requests so far, in order of submission.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }
}

impl<D: Dram> Dram for Recorder<D> {
    fn submit(&mut self, request: Request) -> RequestId {
        // A trace knows whole bursts only; partly covered ones are transferred whole anyway.
        let address = request.address / self.burst_bytes * self.burst_bytes;
        let bytes = request.address + request.bytes - address;
        let clock = request.time.div_ceil(self.clock_ps);
        self.trace.requests.push(TraceRequest { clock, write: request.write, address, bytes, line: 0 });
        self.dram.submit(request)
    }

    fn next_completion(&mut self, until: Picoseconds) -> Option<Completion> {
        self.dram.next_completion(until)
    }

    fn outstanding(&self) -> usize {
        self.dram.outstanding()
    }

    fn report(&self, end: Picoseconds) -> DramReport {
        self.dram.report(end)
    }

    fn peak_bytes_per_second(&self) -> f64 {
        self.dram.peak_bytes_per_second()
    }
}
