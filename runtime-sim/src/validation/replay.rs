//! The requests of a run, written down and replayed by the memory model alone. In: a chip, a program. Out: [`Replay`]. Always: every burst is
//! simulated; the run has a queue for each engine, the replay one list for each channel, which is all that a trace knows.

use super::programs::{chip, steps};
use crate::dram::trace::Trace;
use crate::dram::{Dram, ExactDram, Mode, Recorder, TraceReport, run_trace};
use crate::session::memory_sheet;
use crate::timing::{Places, Timing, dram_queues, simulate};

/// A run and its replay.
#[derive(Clone, Debug)]
pub struct Replay {
    /// The run.
    pub timing: Timing,
    /// Bytes of its channels.
    pub channel_bytes: Vec<u64>,
    /// Its requests, as they stand in a file.
    pub trace: Trace,
    /// Their replay.
    pub replayed: TraceReport,
    /// Clocks of the memory from the start of the run to its end.
    pub run_clocks: u64,
}

impl Replay {
    /// How much longer the replay took, as a part of the run.
    pub fn difference(&self) -> f64 {
        self.replayed.clocks as f64 / self.run_clocks as f64 - 1.0
    }
}

/// Runs a program, writes its requests as text, reads the text and replays it.
pub fn replay(name: &str, text: &str) -> Replay {
    let chip = chip(name);
    let sheet = memory_sheet(&chip).expect("a built-in chip names a built-in memory");
    let mut memory = Recorder::new(ExactDram::new(&sheet, dram_queues(&chip)), &sheet);
    let places = Places { code: 0, rows: 0x8_0000 };
    let timing = simulate(&chip, &mut memory, steps(&chip, text), places).expect("the program comes to its end");
    let channel_bytes = memory.report(timing.end).channel_bytes;
    let written = memory.into_trace().to_text("a run");
    let trace = Trace::parse("run.csv", &written).expect("what is written can be read");
    let replayed = run_trace(&sheet, "run.csv", &trace, Mode::Exact).expect("a run asks for what the memory has");
    let run_clocks = timing.end.div_ceil(sheet.timing.clock_ps);
    Replay { timing, channel_bytes, trace, replayed, run_clocks }
}
