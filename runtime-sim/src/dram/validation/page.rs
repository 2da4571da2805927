//! The tables of the validation page, as markdown. In: the folder with the anchor's data. Out: text without clocks or
//! machine names, so that it changes only when a figure does (speeds are measured by `examples/validation.rs`).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::super::sheet::{RefreshMode, Sheet};
use super::super::trace::{Trace, TraceRequest};
use super::super::{Mode, run_trace};
use super::{Comparison, Spread, command_counts, fast, golden, laws, lpddr6, micro};

/// A bar with what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bar {
    /// Its name.
    pub name: String,
    /// What the issue demands.
    pub wanted: String,
    /// What was measured.
    pub found: String,
    /// Whether that is met.
    pub met: bool,
}

impl Bar {
    /// A bar that is met or missed.
    pub fn new(name: &str, wanted: &str, found: String, met: bool) -> Bar {
        Bar { name: name.to_owned(), wanted: wanted.to_owned(), found, met }
    }

    /// Its row in the table of bars.
    pub fn row(&self) -> String {
        let met = if self.met { "met" } else { "**missed**" };
        format!("| {} | {} | {} | {met} |\n", self.name, self.wanted, self.found)
    }
}

/// A part of the page: its bars, and the tables behind them.
#[derive(Clone, Debug, Default)]
pub struct Chapter {
    /// For the table at the top.
    pub bars: Vec<Bar>,
    /// Sections in markdown.
    pub details: String,
}

/// The memory model.
///
/// # Errors
/// The data cannot be read.
pub fn chapter(folder: &Path) -> Result<Chapter, String> {
    let exact = golden(folder, Mode::Exact, |_, _, _| true)?;
    let quick = fast(folder)?;
    let six = lpddr6(folder)?;
    let mut bars = anchor_bars(folder, &exact, &quick, &six)?;
    bars.extend(law_bars()?);
    let mut details = String::new();
    by_configuration(&mut details, &exact);
    fast_cases(&mut details, &quick);
    misses(&mut details, &exact, &six);
    bars.push(ceiling(&mut details)?);
    Ok(Chapter { bars, details })
}

fn percent(value: f64) -> String {
    format!("{:.3} %", value * 100.0)
}

fn anchor_bars(
    folder: &Path,
    exact: &[Comparison],
    quick: &[Comparison],
    six: &[Comparison],
) -> Result<Vec<Bar>, String> {
    let mut bars = Vec::new();
    let mut line = |name: &str, wanted: &str, found: String, met: bool| bars.push(Bar::new(name, wanted, found, met));
    let requests = micro(folder)?;
    let mut cases: BTreeMap<&str, bool> = BTreeMap::new();
    for r in &requests {
        *cases.entry(&r.case).or_insert(true) &= r.done.0 == r.done.1;
    }
    let equal = cases.values().filter(|holds| **holds).count();
    let found = format!("{equal} of {} cases ({} requests)", cases.len(), requests.len());
    line("D1 micro-cases, completion clocks equal", "44 of 44", found, equal == 44 && cases.len() == 44);
    let same = exact.iter().filter(|c| c.clocks.0 == c.clocks.1).count();
    line(
        "D2 golden cases with equal clocks",
        "the more the better",
        format!("{same} of {}", exact.len()),
        same == exact.len(),
    );
    let s = Spread::of(exact.iter().map(|c| c.bandwidth_error));
    let found = format!("median {}, max {}", percent(s.median), percent(s.max));
    line("D2 bandwidth", "median ≤ 1 %, max ≤ 5 %", found, s.median <= 0.01 && s.max <= 0.05);
    let s = Spread::of(exact.iter().map(|c| c.latency_error));
    let found = format!("median {}, max {} (the data is rounded to 0.1 ns)", percent(s.median), percent(s.max));
    line("D2 read latency", "median ≤ 2 %, max ≤ 10 %", found, s.median <= 0.02 && s.max <= 0.1);
    let s = Spread::of(exact.iter().map(|c| c.hits_error));
    line("D2 row hits", "≤ 2 %", format!("max {}", percent(s.max)), s.max <= 0.02);
    let counts = command_counts(folder)?;
    let error = |c: &super::CommandCount| (c.count.0 as f64 - c.count.1 as f64) / (c.count.1.max(1)) as f64;
    let s = Spread::of(counts.iter().map(error));
    line("D3 command counts", "≤ 2 %", format!("max {} of {} counts", percent(s.max), counts.len()), s.max <= 0.02);
    let s = Spread::of(six.iter().map(|c| c.bandwidth_error));
    line("D4 LPDDR6 bandwidth", "≤ 5 %", format!("max {} of {} cases", percent(s.max), six.len()), s.max <= 0.05);
    let s = Spread::of(quick.iter().map(|c| c.bandwidth_error));
    let found = format!("mean {}, max {} of {} cases", percent(s.mean), percent(s.max), quick.len());
    line("D5 fast mode, streams and blocks", "mean ≤ 3 %, max ≤ 8 %", found, s.mean <= 0.03 && s.max <= 0.08);
    Ok(bars)
}

/// Random runs on each sheet in each mode.
const LAW_RUNS: u64 = 20;

fn law_bars() -> Result<Vec<Bar>, String> {
    let broken = laws::broken_runs(LAW_RUNS)?;
    let runs = LAW_RUNS as usize * 2 * laws::SHEETS.len();
    let found = format!("{} of {runs} runs of random traffic break a law", broken.len());
    let sequential = laws::sequential_without_refresh()?;
    let scattered = laws::scattered("lpddr5-6400")?;
    Ok(vec![
        Bar::new("D6 never above the peak; bytes in = bytes out; sums", "always", found, broken.is_empty()),
        Bar::new("D6 sequential without refresh", "≥ 99.9 %", percent(sequential), (0.999..=1.0).contains(&sequential)),
        Bar::new("D6 random 64 B, bank group lowest", "≤ 50 %", percent(scattered), scattered <= 0.5),
    ])
}

fn by_configuration(page: &mut String, exact: &[Comparison]) {
    page.push_str("\n## Golden cases by configuration, exact mode\n\n");
    page.push_str("| configuration | channels | cases | equal clocks | bandwidth max | latency max | row hits max |\n");
    page.push_str("|---|---|---|---|---|---|---|\n");
    let mut groups: BTreeMap<(&str, u32), Vec<&Comparison>> = BTreeMap::new();
    for c in exact {
        groups.entry((&c.config, c.channels)).or_default().push(c);
    }
    for ((config, channels), cases) in groups {
        let same = cases.iter().filter(|c| c.clocks.0 == c.clocks.1).count();
        let worst = |f: fn(&Comparison) -> f64| percent(Spread::of(cases.iter().map(|c| f(c))).max);
        let _ = writeln!(
            page,
            "| {config} | {channels} | {} | {same} | {} | {} | {} |",
            cases.len(),
            worst(|c| c.bandwidth_error),
            worst(|c| c.latency_error),
            worst(|c| c.hits_error)
        );
    }
}

fn fast_cases(page: &mut String, quick: &[Comparison]) {
    page.push_str("\n## Fast mode by trace\n\n| trace | channels | cases | mean | max | worst case |\n|---|---|---|---|---|---|\n");
    let mut groups: BTreeMap<(&str, u32), Vec<&Comparison>> = BTreeMap::new();
    for c in quick {
        groups.entry((&c.trace, c.channels)).or_default().push(c);
    }
    for ((trace, channels), cases) in groups {
        let s = Spread::of(cases.iter().map(|c| c.bandwidth_error));
        let worst = cases.iter().max_by(|a, b| a.bandwidth_error.abs().total_cmp(&b.bandwidth_error.abs()));
        let name = worst.map_or("", |c| c.name.as_str());
        let (mean, max) = (percent(s.mean), percent(s.max));
        let _ = writeln!(page, "| {trace} | {channels} | {} | {mean} | {max} | {name} |", cases.len());
    }
}

fn misses(page: &mut String, exact: &[Comparison], six: &[Comparison]) {
    let different: Vec<&Comparison> = exact.iter().chain(six).filter(|c| c.clocks.0 != c.clocks.1).collect();
    let _ = writeln!(page, "\n## Cases whose clocks differ in exact mode: {}\n", different.len());
    for c in different {
        let _ = writeln!(page, "- {}: {} clocks, the anchor {}", c.name, c.clocks.0, c.clocks.1);
    }
}

/// What a sequential read stream reaches, and what each measure is worth.
fn ceiling(page: &mut String) -> Result<Bar, String> {
    page.push_str("\n## The ceiling of a weight stream (LPDDR5X-8533, 64 MiB read in order, one channel)\n\n");
    page.push_str("| setting | % of peak | lost to refresh | lost to rows | pJ/bit |\n|---|---|---|---|---|\n");
    let base = Sheet::built_in("lpddr5x-8533").ok_or("no sheet")?;
    let with = |change: &dyn Fn(&mut Sheet)| {
        let mut sheet = base.clone();
        change(&mut sheet);
        sheet
    };
    let mapped = |bits: &str| base.clone().with_mapping(bits);
    let settings = [
        ("JEDEC default: bank pairs in any order, 8 postponed, queue 64", base.clone()),
        ("… without refresh", with(&|s| s.controller.refresh = RefreshMode::None)),
        ("… nothing postponed", with(&|s| s.controller.refresh_postpone = 0)),
        ("… all-bank refresh", with(&|s| s.controller.refresh = RefreshMode::AllBank)),
        ("… queue of 32", with(&|s| s.controller.read_queue = 32)),
        ("… queue of 8", with(&|s| s.controller.read_queue = 8)),
        ("… mapping `o16 b2 x6 g2`", mapped("o16 b2 x6 g2")?),
        ("… mapping `o16 b2 g2 x6` (a row after the other; a queue of 64 sees two)", mapped("o16 b2 g2 x6")?),
        ("… the same with a queue of 32", {
            let mut sheet = mapped("o16 b2 g2 x6")?;
            sheet.controller.read_queue = 32;
            sheet
        }),
        ("… mapping `g2 b2 o16 x6` (one bank only)", mapped("g2 b2 o16 x6")?),
        ("compat (the anchor's behaviour)", Sheet::built_in("compat-lpddr5x-8533").ok_or("no sheet")?),
    ];
    let request = |i: u64| TraceRequest { clock: 0, write: false, address: i * 2048, bytes: 2048, line: 0 };
    let stream = Trace { requests: (0..32_768).map(request).collect() };
    let mut default = None;
    for (name, sheet) in settings {
        let report = run_trace(&sheet, "stream", &stream, Mode::Exact).map_err(|e| e.to_string())?;
        let part = |clocks: u64| percent(clocks as f64 / report.clocks as f64);
        let _ = writeln!(
            page,
            "| {name} | {:.2} | {} | {} | {:.2} |",
            report.part_of_peak * 100.0,
            part(report.spent.refresh),
            part(report.spent.rows),
            report.picojoules_per_bit()
        );
        default = default.or(Some(report.part_of_peak));
    }
    page.push_str(CEILING);
    let part = default.unwrap_or(0.0);
    Ok(Bar::new(
        "item 3: sequential weight stream, one channel, JEDEC",
        "≥ 95 % of the peak",
        percent(part),
        part >= 0.95,
    ))
}

const CEILING: &str = "
The reasons stand in the documentation of `narae_sim::dram`: bank-group rotation in the mapping, queues long enough to
open the next rows in time, and refresh of the banks that the stream has just left.
";

/// What agreement with another model does not prove.
pub const NOT_PROVEN: &str = "
## What agreement with another model does not prove

- The anchor is another model, Ramulator 2.1 (commit c5b1c3a4), not silicon. Equal clocks prove that the same rules were
  applied in the same order; a rule that is wrong there is wrong here in the `compat` setting. 2.1 was itself corrected in
  June 2026.
- The `jedec` setting has no anchor. Every command that it sends is checked against the timing rules, written a second
  time (`tests/legality.rs`), and every bank is refreshed in time; but which command real controllers choose is not public.
- The LPDDR5X-8533 timings are from memory of JESD209-5B and not verified against the standard; which banks a REFpb pairs is
  an assumption (same bank, groups g and g + 2); LPDDR6 refresh per bank is unpublished.
- Energy has one anchor: the total of a sequential stream is set to 6 pJ/bit (band 4.5 to 7.5, device, PHY and controller;
  CHIP.md section 6; LPDDR4 13). The split among commands has no primary source.
- The fast mode is measured against the same golden cases; where nothing repeats it runs every burst, so agreement there
  says nothing about skipping. Longer streams than the traces have were compared with the exact mode only.
- Not modelled at all: ODT, BL32, 8-bank and 16-bank modes, link ECC, DVFS, temperature derating, RFM, self-refresh, errors.
";
