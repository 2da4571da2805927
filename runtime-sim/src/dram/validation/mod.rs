//! Comparison with the anchor's data in `../shared/dram`: the figures of bars D1 to D5, and the laws of D6.
//!
//! In: the folder with the data. Out: one [`Comparison`] per case, and a [`Chapter`] of the page ([`chapter`]).
//! Always holds: nothing is left out; a case that is missed is in its table like any other. What the figures do not
//! prove is said on the page itself.

pub mod laws;
mod page;

use std::path::Path;

use rayon::prelude::*;

use super::sheet::Sheet;
use super::trace::Trace;
use super::{Mode, TraceReport, run_trace};

pub use page::{Bar, Chapter, NOT_PROVEN, chapter};

/// One case, ours against the anchor's.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Trace, configuration, channels, mapping.
    pub name: String,
    /// The trace.
    pub trace: String,
    /// The configuration.
    pub config: String,
    /// Number of channels.
    pub channels: u32,
    /// Clocks of the run.
    pub clocks: (u64, u64),
    /// Relative error of the bandwidth.
    pub bandwidth_error: f64,
    /// Relative error of the mean read latency (0 where there are no reads).
    pub latency_error: f64,
    /// Relative error of the row hits (of all accesses).
    pub hits_error: f64,
}

/// The rows of a CSV file without comments: the header, and the cells of each row.
fn table(folder: &Path, file: &str) -> Result<(Vec<String>, Vec<Vec<String>>), String> {
    let path = folder.join(file);
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let cells = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<String>>();
    let header = lines.next().map(cells).ok_or_else(|| format!("{}: empty", path.display()))?;
    Ok((header, lines.map(cells).collect()))
}

/// A row whose cells are found by the names of the header.
struct Row<'a> {
    header: &'a [String],
    cells: &'a [String],
}

impl Row<'_> {
    fn text(&self, column: &str) -> Result<&str, String> {
        let at = self.header.iter().position(|name| name == column);
        at.and_then(|i| self.cells.get(i)).map(String::as_str).ok_or_else(|| format!("no column {column}"))
    }

    fn number(&self, column: &str) -> Result<f64, String> {
        let text = self.text(column)?;
        text.parse().map_err(|_| format!("column {column}: `{text}` is not a number"))
    }
}

fn sheet(name: &str, mapping: &str) -> Result<Sheet, String> {
    Sheet::built_in(name).ok_or_else(|| format!("no sheet {name}"))?.with_mapping(mapping)
}

fn load(folder: &Path, kind: &str, trace: &str) -> Result<Trace, String> {
    let path = folder.join(kind).join(format!("{trace}.csv"));
    Trace::load(&path.display().to_string()).map_err(|problems| problems.to_string())
}

fn run(sheet: &Sheet, trace: &Trace, mode: Mode) -> Result<TraceReport, String> {
    run_trace(sheet, "trace", trace, mode).map_err(|problems| problems.to_string())
}

/// The sheet of an anchor configuration.
fn sheet_of_config(config: &str) -> String {
    match config {
        "base" => "compat-lpddr5-6400".to_owned(),
        "lp5x8533" => "compat-lpddr5x-8533".to_owned(),
        "lp6" => "compat-lpddr6-10667".to_owned(),
        other => format!("compat-{other}"),
    }
}

/// D2, D5: the golden cases that `wanted` chooses by (trace, configuration, channels).
///
/// # Errors
/// The data cannot be read.
pub fn golden(
    folder: &Path,
    mode: Mode,
    wanted: impl Fn(&str, &str, u32) -> bool + Sync,
) -> Result<Vec<Comparison>, String> {
    let (header, rows) = table(folder, "golden_lpddr5_6400.csv")?;
    let compared: Result<Vec<Option<Comparison>>, String> = rows
        .par_iter()
        .map(|cells| {
            let row = Row { header: &header, cells };
            let (trace, config, channels) = (row.text("trace")?, row.text("config")?, row.number("nch")? as u32);
            if !wanted(trace, config, channels) {
                return Ok(None);
            }
            let mapping = row.text("mapping_msb_to_lsb")?;
            let sheet = sheet(&sheet_of_config(config), mapping)?;
            let report = run(&sheet, &load(folder, "traces", trace)?, mode)?;
            let latency = row.number("avg_rd_lat_ns")?;
            let hits = (row.number("row_hits")?, row.number("row_misses")?, row.number("row_conflicts")?);
            compare(&row, &report, format!("{trace} · {config} · {channels} · {mapping}"), channels, latency, hits)
                .map(Some)
        })
        .collect();
    Ok(compared?.into_iter().flatten().collect())
}

fn compare(
    row: &Row<'_>,
    report: &TraceReport,
    name: String,
    channels: u32,
    latency: f64,
    hits: (f64, f64, f64),
) -> Result<Comparison, String> {
    let clocks = row.number("ck_total")?;
    let accesses = hits.0 + hits.1 + hits.2;
    Ok(Comparison {
        name,
        trace: row.text("trace")?.to_owned(),
        config: row.text("config")?.to_owned(),
        channels,
        clocks: (report.clocks, clocks as u64),
        bandwidth_error: clocks / report.clocks as f64 - 1.0,
        latency_error: if latency > 0.0 { report.read_latency_ns / latency - 1.0 } else { 0.0 },
        hits_error: (report.counts.row_hits as f64 - hits.0) / accesses,
    })
}

/// D4: the LPDDR6 cases.
///
/// # Errors
/// The data cannot be read.
pub fn lpddr6(folder: &Path) -> Result<Vec<Comparison>, String> {
    let (header, rows) = table(folder, "ramulator2_lpddr6.csv")?;
    rows.par_iter()
        .map(|cells| {
            let row = Row { header: &header, cells };
            let (trace, channels) = (row.text("trace")?, row.number("nch")? as u32);
            let mapping = mapping_of_name(row.text("mapping")?, channels)?;
            let report = run(&sheet("compat-lpddr6-10667", &mapping)?, &load(folder, "traces", trace)?, Mode::Exact)?;
            let hits = (row.number("row_hits")?, row.number("row_misses")?, row.number("row_conf")?);
            let latency = row.number("avg_rd_lat_ns")?;
            compare(&row, &report, format!("{trace} · {mapping}"), channels, latency, hits)
        })
        .collect()
}

/// The names that some files use for mappings (README of the data).
fn mapping_of_name(name: &str, channels: u32) -> Result<String, String> {
    let c = channels.max(1).ilog2();
    Ok(match name {
        "RoBaRaCoCh32" => format!("o16 b2 g2 x6 c{c}"),
        "ChRaBaRoCo" => format!("c{c} g2 b2 o16 x6"),
        "RoBaCoBgCh32" => format!("o16 b2 x6 g2 c{c}"),
        "RoBaCoChBg256" => format!("o16 b2 x5 c{c} x1 g2"),
        "RoBaCoChBg256x" => format!("o16 b2 x5 c{c} x1 g2 + xor1"),
        "RoCoBaBgCh" => format!("o16 x6 b2 g2 c{c}"),
        "RoCoBaBgCo4" => format!("o16 x4 b2 g2 c{c} x2"),
        other => return Err(format!("unknown mapping {other}")),
    })
}

/// One request of a micro-case.
#[derive(Clone, Debug)]
pub struct MicroRequest {
    /// Case and WCK mode.
    pub case: String,
    /// Which request.
    pub index: usize,
    /// Completion clock, ours and the anchor's.
    pub done: (u64, u64),
}

/// D1: every request of every micro-case.
///
/// # Errors
/// The data cannot be read.
pub fn micro(folder: &Path) -> Result<Vec<MicroRequest>, String> {
    let (header, rows) = table(folder, "ramulator2_lpddr5_micro.csv")?;
    let mut runs = std::collections::BTreeMap::new();
    let mut requests = Vec::new();
    for cells in &rows {
        let row = Row { header: &header, cells };
        let (name, wck) = (row.text("case")?.to_owned(), row.text("wck_mode")?.to_owned());
        let case = format!("{name} · {wck}");
        if !runs.contains_key(&case) {
            let mut sheet = sheet("compat-noref", "o16 b2 x6 g2")?;
            sheet.controller.wck_always_on = wck == "always_on";
            runs.insert(case.clone(), run(&sheet, &load(folder, "micro", &name)?, Mode::Exact)?);
        }
        let (index, wanted) = (row.number("req_index")? as usize, row.number("done_ck")? as u64);
        let done = runs[&case].done.get(index).copied().unwrap_or(0);
        requests.push(MicroRequest { case, index, done: (done, wanted) });
    }
    Ok(requests)
}

/// One command count of one case.
#[derive(Clone, Debug)]
pub struct CommandCount {
    /// Trace and mapping.
    pub case: String,
    /// The command.
    pub command: &'static str,
    /// How often, ours and the anchor's.
    pub count: (u64, u64),
}

/// D3: every command count.
///
/// # Errors
/// The data cannot be read.
pub fn command_counts(folder: &Path) -> Result<Vec<CommandCount>, String> {
    let (header, rows) = table(folder, "ramulator2_lpddr5_cmdcounts.csv")?;
    let counted: Result<Vec<Vec<CommandCount>>, String> = rows
        .par_iter()
        .map(|cells| {
            let row = Row { header: &header, cells };
            let (trace, mapping) = (row.text("trace")?, mapping_of_name(row.text("mapping")?, 1)?);
            let report = run(&sheet("compat-lpddr5-6400", &mapping)?, &load(folder, "traces", trace)?, Mode::Exact)?;
            let of = |(command, ours): &(&'static str, u64)| {
                let wanted = row.number(command)? as u64;
                Ok(CommandCount { case: format!("{trace} · {mapping}"), command, count: (*ours, wanted) })
            };
            report.counts.named()[..12].iter().map(of).collect()
        })
        .collect();
    Ok(counted?.into_iter().flatten().collect())
}

/// The traces of bar D5.
pub const STREAM_AND_BLOCK_TRACES: [&str; 7] = [
    "a_seq_read",
    "a2_seq_write",
    "b_8streams_aligned",
    "b2_8streams_skewed",
    "d_rand2k",
    "e_mix90_10",
    "f_decode_like",
];

/// D5: the fast mode on streams and blocks at 1 and 4 channels.
///
/// # Errors
/// The data cannot be read.
pub fn fast(folder: &Path) -> Result<Vec<Comparison>, String> {
    golden(folder, Mode::Fast, |trace, config, channels| {
        config == "base" && (channels == 1 || channels == 4) && STREAM_AND_BLOCK_TRACES.contains(&trace)
    })
}

/// Median, mean and largest of the absolute values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The middle one.
    pub median: f64,
    /// The mean.
    pub mean: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// The spread of some errors.
    #[must_use]
    pub fn of(errors: impl Iterator<Item = f64>) -> Spread {
        let mut all: Vec<f64> = errors.map(f64::abs).collect();
        all.sort_by(f64::total_cmp);
        let mean = all.iter().sum::<f64>() / all.len().max(1) as f64;
        Spread { median: all.get(all.len() / 2).copied().unwrap_or(0.0), mean, max: all.last().copied().unwrap_or(0.0) }
    }
}
