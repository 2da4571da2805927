//! E1: the joules of ten programs are those worked out by hand, to 0.1 %; sums add up; a stream costs what the sheet says.

use narae_sim::energy::{EnergyParts, EnergyReport, Shares};
use narae_sim::timing::Timing;
use narae_sim::validation::energy::{MicroTrace, micro_traces, stream_picojoules_per_bit};
use narae_sim::validation::programs::chip;

#[test]
fn ten_micro_traces_cost_what_was_worked_out() {
    for trace in micro_traces() {
        let (report, timing) = trace.run();
        for part in trace.parts(&report.parts, &timing) {
            assert!(part.error() <= 1e-3, "{}: {part:?}", trace.name);
        }
        sums_add_up(&trace, &report, &timing);
    }
}

/// Parts to the total, classes and events to their parts, usages to the run, at both ends of the band.
fn sums_add_up(trace: &MicroTrace, report: &EnergyReport, timing: &Timing) {
    let close = |a: f64, b: f64| assert!((a - b).abs() <= 1e-9 * b.abs(), "{}: {a} instead of {b}", trace.name);
    let parts = &report.parts;
    close(parts.named().iter().map(|p| p.1.typical).sum(), parts.total.typical);
    close(parts.named().iter().map(|p| p.1.low).sum(), parts.total.low);
    close(parts.named().iter().map(|p| p.1.high).sum(), parts.total.high);
    close(report.dram_classes.iter().map(|c| c.joules.typical).sum(), parts.dram.typical);
    let events = report.engine_events.iter().map(|e| e.joules.typical).sum::<f64>();
    close(events.max(1e-30), parts.engines.typical.max(1e-30));
    let chip = chip("narae-1");
    let shares = Shares::new(&chip, timing);
    let of: Vec<EnergyParts> = timing.usages.iter().map(|usage| shares.of(usage)).collect();
    close(of.iter().map(|p| p.total.typical).sum(), parts.total.typical);
    close(of.iter().map(|p| p.dram.typical).sum(), parts.dram.typical);
}

#[test]
fn every_byte_and_every_clock_of_the_memory_is_counted() {
    let trace = micro_traces().into_iter().next_back().expect("ten traces");
    let (report, timing) = trace.run();
    let c = &timing.dram.counts;
    // In bursts of 32: the weight, three rows of 128, two blocks of code.
    assert_eq!(c.read + c.read_auto, (65536 + 3 * 128 + 2 * 1024) / 32);
    let clocks = c.clocks_active + c.clocks_precharged + c.clocks_powered_down;
    assert_eq!(clocks, 32 * timing.end.div_ceil(938), "every channel is in some state at every clock");
    let dram = &report.parts.dram;
    let band = (dram.low / dram.typical, dram.high / dram.typical);
    assert!((band.0 - 0.75).abs() < 1e-9 && (band.1 - 1.25).abs() < 1e-9, "4.5 to 7.5 around 6 pJ a bit: {band:?}");
}

#[test]
fn a_weight_stream_costs_what_the_sheet_says() {
    for exact in [false, true] {
        let each = stream_picojoules_per_bit(exact);
        assert!((each / 6.0 - 1.0).abs() < 0.02, "{each} pJ a bit, exact: {exact}");
    }
}
