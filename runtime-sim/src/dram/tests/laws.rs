//! Laws that hold for any traffic (bar D6), as properties.

use proptest::prelude::*;

use super::super::sheet::{RefreshMode, Sheet};
use super::super::trace::{Trace, TraceRequest};
use super::super::validation::laws::{SHEETS, broken, scattered, sequential_without_refresh};
use super::super::{Mode, TraceReport, run_trace};
use super::{scatter, trace};

fn run(sheet: &Sheet, trace: &Trace, mode: Mode) -> TraceReport {
    run_trace(sheet, "law", trace, mode).unwrap()
}

fn sheet(name: &str, mapping: &str) -> Sheet {
    Sheet::built_in(name).unwrap().with_mapping(mapping).unwrap()
}

fn any_trace() -> impl Strategy<Value = Trace> {
    let request = (0u64..500, any::<bool>(), 0u64..1 << 24, 1u64..5000, any::<bool>());
    prop::collection::vec(request, 1..120).prop_map(|list| {
        let mut requests: Vec<TraceRequest> = list
            .into_iter()
            .map(|(clock, write, at, bytes, open)| TraceRequest {
                clock: if open { clock } else { 0 },
                write,
                address: at * 32,
                bytes,
                line: 0,
            })
            .collect();
        requests.sort_by_key(|r| r.clock);
        Trace { requests }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn bytes_in_are_bytes_out_and_clocks_add_up(which in 0..SHEETS.len(), trace in any_trace(), fast: bool) {
        let sheet = sheet(SHEETS[which].0, SHEETS[which].1);
        let report = run(&sheet, &trace, if fast { Mode::Fast } else { Mode::Exact });
        prop_assert_eq!(broken(&sheet, &trace, &report), None);
    }

    #[test]
    fn fast_equals_exact_where_nothing_repeats(trace in any_trace()) {
        let sheet = sheet("lpddr5x-8533", "o16 x4 b2 c1 g2 x2 + xor2");
        let exact = run(&sheet, &trace, Mode::Exact);
        let fast = run(&sheet, &trace, Mode::Fast);
        prop_assert_eq!(exact.clocks, fast.clocks);
        prop_assert_eq!(exact.counts, fast.counts);
    }
}

fn stream(write: bool) -> Trace {
    trace((0..4096).map(|i| (write, i * 2048, 2048)))
}

#[test]
fn a_stream_without_refresh_reaches_the_peak() {
    let mut jedec = Sheet::built_in("lpddr5x-8533").unwrap();
    jedec.controller.refresh = RefreshMode::None;
    let plain = sheet("lpddr5x-8533", "o16 b2 x6 g2");
    let compat = sequential_without_refresh().unwrap();
    assert!((0.999..=1.0).contains(&compat), "{compat}");
    for (sheet, least) in [(plain, 0.999), (jedec, 0.998)] {
        let part = run(&sheet, &stream(false), Mode::Exact).part_of_peak;
        assert!(part >= least && part <= 1.0, "{}: {part}", sheet.mapping);
    }
}

#[test]
fn a_weight_stream_sustains_95_percent_with_refresh() {
    for name in ["lpddr5x-8533", "lpddr5-6400"] {
        let base = Sheet::built_in(name).unwrap();
        for channels in [1, 2, 32] {
            let sheet = base.clone().with_channels(channels, 512).unwrap();
            for mode in [Mode::Exact, Mode::Fast] {
                let report = run(&sheet, &stream(false), mode);
                assert!(report.part_of_peak >= 0.95, "{name} {channels} {mode}: {}", report.part_of_peak);
                let due = report.clocks * u64::from(channels) / sheet.timing.refi * 16;
                assert!(
                    report.counts.refreshed_banks + 40 * u64::from(channels) >= due,
                    "{name} {channels} {mode}: {} of {due}",
                    report.counts.refreshed_banks
                );
            }
        }
    }
}

#[test]
fn all_bank_refresh_costs_its_share() {
    let sheet = Sheet::built_in("compat-allbank").unwrap();
    let part = run(&sheet, &stream(false), Mode::Exact).part_of_peak;
    let share = sheet.timing.rfc_all as f64 / sheet.timing.refi as f64;
    assert!(part <= 1.0 - share && part >= 1.0 - share - 0.02, "{part}");
}

#[test]
fn scattered_bursts_are_bound_by_four_activates() {
    for name in ["compat-lpddr5-6400", "lpddr5-6400"] {
        let part = scattered(name).unwrap();
        assert!(part <= 0.5, "{name}: {part}");
    }
}

#[test]
fn threads_do_not_matter() {
    let sheet = sheet("lpddr5x-8533", "o16 x4 b2 c3 g2 x2 + xor2");
    let blocks = trace((0..2000).map(|i| (i % 7 == 0, scatter(i) % (1 << 30) / 64 * 64, 512)));
    let run_on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| run(&sheet, &blocks, Mode::Exact))
    };
    assert_eq!(run_on(1), run_on(4));
}
