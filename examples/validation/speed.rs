//! D7 and N5: how fast the models are, on one core. In: synthetic traces and the programs of `narae_sim::validation::token`. Out: bars and their
//! tables, in CPU seconds of the machine that runs this.

use std::fmt::Write as _;

use narae_sim::dram::sheet::Sheet;
use narae_sim::dram::trace::{Trace, TraceRequest};
use narae_sim::dram::validation::{Bar, Chapter};
use narae_sim::dram::{Dram, ExactDram, FastDram, Mode, Request, run_trace};
use narae_sim::validation::programs::{chip, steps, time_steps};
use narae_sim::validation::token::{SMALL_INSTRUCTIONS, shapes, token};

use super::clock::cpu_seconds_of;

/// The speeds.
pub fn chapter() -> Result<Chapter, String> {
    let mut chapter = Chapter::default();
    memory(&mut chapter)?;
    timing(&mut chapter)?;
    Ok(chapter)
}

/// A stream, or several at once, of requests of one size.
struct Streams {
    name: &'static str,
    requests: u64,
    streams: u64,
    size: u64,
    mode: Mode,
}

const STREAMS: [Streams; 4] = [
    Streams { name: "16 MiB stream", requests: 8192, streams: 1, size: 2048, mode: Mode::Exact },
    Streams { name: "16 MiB in 8 streams", requests: 32_768, streams: 8, size: 512, mode: Mode::Exact },
    Streams { name: "512 MiB stream", requests: 262_144, streams: 1, size: 2048, mode: Mode::Fast },
    Streams { name: "512 MiB in 8 streams", requests: 1_048_576, streams: 8, size: 512, mode: Mode::Fast },
];

/// D7.
fn memory(chapter: &mut Chapter) -> Result<(), String> {
    let Chapter { bars, details } = chapter;
    details.push_str(
        "\n## Speed of the memory model (D7)\n\nOne thread; Ramulator 2.1 does 0.34 M bursts/s on such a machine (SIMULATORS.md).\n\n\
         | what | mode | M bursts per CPU second |\n|---|---|---|\n",
    );
    let mut least = [f64::INFINITY; 2];
    for name in ["compat-lpddr5-6400", "lpddr5x-8533"] {
        let sheet = Sheet::built_in(name).ok_or("no sheet")?;
        for streams in &STREAMS {
            let rate = streams.rate(&sheet)?;
            let _ = writeln!(details, "| {}, {name} | {} | {rate:.1} |", streams.name, streams.mode);
            let least = &mut least[usize::from(matches!(streams.mode, Mode::Fast))];
            *least = least.min(rate);
        }
    }
    for exact in [true, false] {
        let (rate, mode) = (interface_rate(exact)?, if exact { "exact" } else { "fast" });
        let _ =
            writeln!(details, "| 512 MiB in 128 requests over 32 channels, as chip timing asks | {mode} | {rate:.1} |");
    }
    let found = |rate: f64| format!("{rate:.1} M bursts/s, the slowest of its rows");
    bars.push(Bar::new("D7 speed of the exact mode", "≥ 3.4 M bursts/s", found(least[0]), least[0] >= 3.4));
    bars.push(Bar::new("D7 speed of the fast mode on streams", "≥ 300 M bursts/s", found(least[1]), least[1] >= 300.0));
    Ok(())
}

impl Streams {
    /// Millions of bursts per CPU second.
    fn rate(&self, sheet: &Sheet) -> Result<f64, String> {
        let address = |i: u64| i % self.streams * ((1 << 26) + 6400) + i / self.streams * self.size;
        let request = |i| TraceRequest { clock: 0, write: false, address: address(i), bytes: self.size, line: 0 };
        let trace = Trace { requests: (0..self.requests).map(request).collect() };
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().map_err(|error| error.to_string())?;
        let run = || one.install(|| run_trace(sheet, "speed", &trace, self.mode).map(|report| report.clocks));
        let seconds = cpu_seconds_of(|| run().map_err(|problems| problems.to_string()))?;
        Ok((self.requests * self.size / 32) as f64 / seconds / 1e6)
    }
}

/// 512 MiB of weights over 32 channels through the interface that chip timing uses.
fn interface_rate(exact: bool) -> Result<f64, String> {
    let sheet = Sheet::built_in("lpddr5x-8533").ok_or("no sheet")?.with_channels(32, 512)?;
    let bytes = 512u64 << 20;
    let seconds = cpu_seconds_of(|| {
        let mut dram: Box<dyn Dram> =
            if exact { Box::new(ExactDram::new(&sheet, 1)) } else { Box::new(FastDram::new(&sheet, 1)) };
        for piece in 0..128 {
            let address = piece * (bytes / 128);
            dram.submit(Request { queue: 0, time: 0, write: false, address, bytes: bytes / 128 });
        }
        Ok(std::iter::from_fn(|| dram.next_completion(u64::MAX)).last().map_or(0, |done| done.at))
    })?;
    Ok(bytes as f64 / 32.0 / seconds / 1e6)
}

/// N5.
fn timing(chapter: &mut Chapter) -> Result<(), String> {
    let Chapter { bars, details } = chapter;
    let chip = chip("narae-1");
    let token = token(&chip);
    let weights: u64 = shapes().iter().map(|(n, k)| n * k).sum();
    let [fast, exact] = [false, true].map(|exact| cpu_seconds_of(|| Ok(time_steps(&chip, &token, exact).end)));
    let (fast, exact) = (fast?, exact?);
    let small = steps(&chip, SMALL_INSTRUCTIONS);
    let rate = |seconds: f64| small.len() as f64 / seconds / 1e6;
    let control = rate(cpu_seconds_of(|| Ok(steps(&chip, SMALL_INSTRUCTIONS).len() as u64))?);
    let timing = rate(cpu_seconds_of(|| Ok(time_steps(&chip, &small, false).end))?);
    let _ = writeln!(
        details,
        "\n## Speed of chip timing (N5)\n\n| what | measured |\n|---|---|\n\
         | a decode token of {:.2} G u4 weights on narae-1, fast memory | {fast:.3} CPU s |\n\
         | the same, every burst | {exact:.2} CPU s |\n\
         | {} small instructions, the control unit (which makes steps) | {control:.1} M instructions/s |\n\
         | the same, timing (which replays them) | {timing:.1} M instructions/s |\n\n\
         The token is its matrix products, each followed by a vector instruction that waits for it; `cargo run --release --example timing -- IMAGE decode` measures a compiled one.",
        weights as f64 / 1e9,
        small.len(),
    );
    bars.push(Bar::new("N5 a decode token of a 1B u4 model, fast", "≤ 0.3 s", format!("{fast:.3} s"), fast <= 0.3));
    bars.push(Bar::new("N5 a decode token of a 1B u4 model, exact", "≤ 6 s", format!("{exact:.2} s"), exact <= 6.0));
    let found = format!("{timing:.1} M instructions/s");
    bars.push(Bar::new("N5 speed of timing", "≥ 5 M instructions/s", found, timing >= 5.0));
    Ok(())
}
