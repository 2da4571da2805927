//! The memory model against the anchor's data (bars D1 to D5). Needs `../shared/dram` or `$NARAE_SHARED/dram`; skipped
//! loudly without. The whole table as a page: `cargo run --release --example validation`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests talk to whoever runs them")]

use std::path::PathBuf;

use narae_sim::dram::Mode;
use narae_sim::dram::validation::{self, Comparison, Spread};

fn folder() -> Option<PathBuf> {
    narae_testing::shared_or_skip("dram")
}

#[test]
fn d1_micro_cases() {
    let Some(folder) = folder() else { return };
    let requests = validation::micro(&folder).unwrap();
    let wrong: Vec<_> = requests.iter().filter(|r| r.done.0 != r.done.1).collect();
    assert!(requests.len() >= 380 && wrong.is_empty(), "{wrong:?}");
}

fn d2(wanted: impl Fn(&str, &str, u32) -> bool + Sync, cases: usize) {
    let Some(folder) = folder() else { return };
    let all = validation::golden(&folder, Mode::Exact, wanted).unwrap();
    assert!(all.len() >= cases, "{} cases", all.len());
    let different: Vec<&Comparison> = all.iter().filter(|c| c.clocks.0 != c.clocks.1).collect();
    assert!(different.is_empty(), "clocks differ from the anchor's: {different:#?}");
    assert!(Spread::of(all.iter().map(|c| c.latency_error)).max < 0.002);
    assert_eq!(Spread::of(all.iter().map(|c| c.hits_error)).max, 0.0);
}

#[test]
fn d2_base_on_one_channel() {
    d2(|_, config, channels| config == "base" && channels == 1, 104);
}

#[test]
fn d2_base_on_two_channels() {
    d2(|_, config, channels| config == "base" && channels == 2, 48);
}

#[test]
fn d2_base_on_four_channels() {
    d2(|_, config, channels| config == "base" && channels == 4, 90);
}

#[test]
fn d2_sensitivities() {
    d2(|_, config, _| config != "base", 93);
}

#[test]
fn d3_command_counts() {
    let Some(folder) = folder() else { return };
    let counts = validation::command_counts(&folder).unwrap();
    let wrong: Vec<_> = counts.iter().filter(|c| c.count.0 != c.count.1).collect();
    assert!(counts.len() >= 240 && wrong.is_empty(), "{wrong:?}");
}

#[test]
fn d4_lpddr6() {
    let Some(folder) = folder() else { return };
    let all = validation::lpddr6(&folder).unwrap();
    let different: Vec<&Comparison> = all.iter().filter(|c| c.clocks.0 != c.clocks.1).collect();
    assert!(all.len() >= 30 && different.is_empty(), "{different:#?}");
}

#[test]
fn d5_fast_mode() {
    let Some(folder) = folder() else { return };
    let all = validation::fast(&folder).unwrap();
    let spread = Spread::of(all.iter().map(|c| c.bandwidth_error));
    assert!(all.len() >= 100 && spread.mean <= 0.03 && spread.max <= 0.08, "{} cases: {spread:?}", all.len());
}
