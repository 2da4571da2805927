//! D6: laws that hold for any traffic, as figures. In: nothing, or a run. Out: what a run breaks, and what the extremes reach. Always: the
//! property tests hold the same laws on traces of their own.

use super::super::sheet::Sheet;
use super::super::trace::{Trace, TraceRequest};
use super::super::{Mode, TraceReport, run_trace};

/// A trace from (write, address, bytes), all at clock 0.
pub fn trace(requests: impl IntoIterator<Item = (bool, u64, u64)>) -> Trace {
    let request = |(write, address, bytes)| TraceRequest { clock: 0, write, address, bytes, line: 0 };
    Trace { requests: requests.into_iter().map(request).collect() }
}

/// A fixed sequence that looks random (splitmix64).
pub fn scatter(i: u64) -> u64 {
    let mut z = i.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// Sheets and mappings on which the laws are held.
pub const SHEETS: [(&str, &str); 5] = [
    ("lpddr5x-8533", "o16 x4 b2 c1 g2 x2 + xor2"),
    ("compat-lpddr5-6400", "o16 b2 x5 c2 x1 g2 + xor1"),
    ("lpddr6-10667", "o16 b2 x6 g2"),
    ("lpddr4-3200", "o16 b3 x6 c1"),
    ("compat-cap4", "o16 b2 x6 g2"),
];

/// The law that a run breaks, if it breaks one: bytes in are bytes out, never above the peak, every clock of every channel is accounted for.
pub fn broken(sheet: &Sheet, trace: &Trace, report: &TraceReport) -> Option<&'static str> {
    let c = &report.counts;
    let bursts: u64 = trace.requests.iter().map(|r| r.bytes.div_ceil(32)).sum();
    let channels = u64::from(sheet.mapping.channels());
    // A slot may reach past the last completion (compat: writes are complete when issued).
    let (ends, total) = (channels * report.clocks, report.spent.total());
    let laws = [
        ("bytes in = bytes out", c.reads_moved() + c.writes_moved() + c.forwarded + c.coalesced == bursts),
        ("accesses add up", c.row_hits + c.row_misses + c.row_conflicts == c.reads_moved() + c.writes_moved()),
        ("ACT1 = ACT2", c.activate1 == c.activate2),
        ("never above the peak", report.part_of_peak <= 1.0 || c.forwarded + c.coalesced > 0),
        ("causes add up", total >= ends && total <= ends + channels * sheet.timing.burst_min),
        ("states add up", c.clocks_active + c.clocks_precharged + c.clocks_powered_down == ends),
        ("every request ends in the run", report.done.iter().all(|clock| *clock > 0 && *clock <= report.clocks)),
    ];
    laws.into_iter().find(|(_, holds)| !holds).map(|(law, _)| law)
}

/// Runs that break a law, among `count` runs of random traffic in each mode on each of [`SHEETS`].
///
/// # Errors
/// A sheet is not there.
pub fn broken_runs(count: u64) -> Result<Vec<String>, String> {
    let mut broken_runs = Vec::new();
    for (name, mapping) in SHEETS {
        let sheet = super::sheet(name, mapping)?;
        for (seed, mode) in (0..count).flat_map(|seed| [(seed, Mode::Exact), (seed, Mode::Fast)]) {
            let of = |i: u64| scatter(seed * 1000 + i);
            let request = |i| (of(i) % 3 == 0, of(i + 300) % (1 << 24) * 32, 1 + of(i + 600) % 5000);
            let trace = trace((0..120).map(request));
            let report = super::run(&sheet, &trace, mode)?;
            let law = broken(&sheet, &trace, &report);
            broken_runs.extend(law.map(|law| format!("{name}, {mode}, seed {seed}: {law}")));
        }
    }
    Ok(broken_runs)
}

/// The part of the peak of a sequential read stream without refresh, compat setting.
///
/// # Errors
/// The sheet is not there.
pub fn sequential_without_refresh() -> Result<f64, String> {
    let sheet = Sheet::built_in("compat-noref").ok_or("no sheet")?;
    let stream = trace((0..4096).map(|i| (false, i * 2048, 2048)));
    run_trace(&sheet, "stream", &stream, Mode::Exact).map(|report| report.part_of_peak).map_err(|e| e.to_string())
}

/// The part of the peak of reads of 64 bytes at random places, with the bank group in the lowest bits: bound by four activates.
///
/// # Errors
/// The sheet is not there.
pub fn scattered(name: &str) -> Result<f64, String> {
    let sheet = super::sheet(name, "o16 b2 x6 g2")?;
    let blocks = trace((0..8192).map(|i| (false, scatter(i) % (1 << 30) / 64 * 64, 64)));
    super::run(&sheet, &blocks, Mode::Exact).map(|report| report.part_of_peak)
}
