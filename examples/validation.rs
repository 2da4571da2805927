//! Writes docs/validation.md: `cargo run --release --example validation [FOLDER OF ../shared/dram]`.
//!
//! The tables come from `narae_sim::dram::validation`; this program adds the speeds (bar D7), which depend on the machine.
#![expect(clippy::print_stderr, reason = "a program that reports what it does")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use narae_sim::dram::sheet::Sheet;
use narae_sim::dram::trace::{Trace, TraceRequest};
use narae_sim::dram::{Dram, ExactDram, FastDram, Mode, Request, run_trace, validation};

fn main() -> ExitCode {
    match write_page() {
        Ok(path) => {
            eprintln!("wrote {}", path.display());
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn write_page() -> Result<PathBuf, String> {
    let given = std::env::args_os().nth(1).map(PathBuf::from);
    let folder =
        given.or_else(validation::shared_folder).ok_or("no ../shared/dram; name the folder or set NARAE_SHARED")?;
    let mut page = String::from(
        "# Validation\n\nWritten by `cargo run --release --example validation`. Every bar with its figure, misses included.\n\n",
    );
    page.push_str(&validation::markdown(&folder)?);
    speeds(&mut page)?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/validation.md");
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).map_err(|e| e.to_string())?;
    std::fs::write(&path, page).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

fn speeds(page: &mut String) -> Result<(), String> {
    page.push_str("\n## Speed (bar D7: exact ≥ 3.4 M bursts/s, fast ≥ 300 M bursts/s on streams)\n\n");
    page.push_str("CPU time of one thread on the machine that wrote this page; the anchor does 0.34 M bursts/s there (SIMULATORS.md).\n\n");
    page.push_str("| what | mode | M bursts per CPU second |\n|---|---|---|\n");
    let one = rayon_pool()?;
    for name in ["compat-lpddr5-6400", "lpddr5x-8533"] {
        let sheet = Sheet::built_in(name).ok_or("no sheet")?;
        for (what, count, streams, size, mode) in [
            ("16 MiB stream", 8192, 1, 2048, Mode::Exact),
            ("16 MiB in 8 streams", 32_768, 8, 512, Mode::Exact),
            ("512 MiB stream", 262_144, 1, 2048, Mode::Fast),
            ("512 MiB in 8 streams", 1_048_576, 8, 512, Mode::Fast),
        ] {
            let address = |i: u64| i % streams * ((1 << 26) + 6400) + i / streams * size;
            let request = |i: u64| TraceRequest { clock: 0, write: false, address: address(i), bytes: size, line: 0 };
            let trace = Trace { requests: (0..count).map(request).collect() };
            let run = || one.install(|| run_trace(&sheet, "speed", &trace, mode).map(|r| r.clocks));
            let seconds = cpu_seconds_of(|| run().map_err(|e| e.to_string()))?;
            let bursts = (count * size / 32) as f64;
            let _ = writeln!(page, "| {what}, {name} | {mode} | {:.1} |", bursts / seconds / 1e6);
        }
    }
    token(page)
}

/// 512 MB of weights over 32 channels through the interface that chip timing uses.
fn token(page: &mut String) -> Result<(), String> {
    let sheet = Sheet::built_in("lpddr5x-8533").ok_or("no sheet")?.with_channels(32, 512)?;
    let bytes = 512u64 << 20;
    for exact in [true, false] {
        let seconds = cpu_seconds_of(|| {
            let mut dram: Box<dyn Dram> =
                if exact { Box::new(ExactDram::new(&sheet, 1)) } else { Box::new(FastDram::new(&sheet, 1)) };
            for piece in 0..128 {
                let address = piece * (bytes / 128);
                dram.submit(Request { queue: 0, time: 0, write: false, address, bytes: bytes / 128 });
            }
            let mut last = 0;
            while let Some(done) = dram.next_completion(u64::MAX) {
                last = done.at;
            }
            Ok(last)
        })?;
        let mode = if exact { "exact" } else { "fast" };
        let rate = bytes as f64 / 32.0 / seconds / 1e6;
        let _ = writeln!(
            page,
            "| 512 MiB in 128 requests over 32 channels, `Dram` ({seconds:.3} s) | {mode} | {rate:.1} |"
        );
    }
    Ok(())
}

fn rayon_pool() -> Result<rayon::ThreadPool, String> {
    rayon::ThreadPoolBuilder::new().num_threads(1).build().map_err(|error| error.to_string())
}

/// CPU seconds of one run, the mean over at least half a second.
fn cpu_seconds_of(mut run: impl FnMut() -> Result<u64, String>) -> Result<f64, String> {
    let start = cpu_seconds()?;
    let mut runs = 0;
    loop {
        run()?;
        runs += 1;
        let elapsed = cpu_seconds()? - start;
        if elapsed > 0.5 {
            return Ok(elapsed / f64::from(runs));
        }
    }
}

/// User and system time of this process, from /proc.
fn cpu_seconds() -> Result<f64, String> {
    let text = std::fs::read_to_string("/proc/self/stat").map_err(|error| format!("/proc/self/stat: {error}"))?;
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).ok_or("unexpected /proc/self/stat");
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}
