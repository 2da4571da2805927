//! Energy of ten micro-traces, computed by hand from the table of `compat-lpddr5-6400` (bar E1):
//! ACT 1800 pJ, read 480 + 835.6 pJ, write 520 + 795.6 pJ, WCK synchronisation 60 pJ, REFpb 6000 pJ; a clock of 1.25 ns
//! costs 45 mW × 1.25 ns = 56.25 pJ with a row open and 32 mW × 1.25 ns = 40 pJ without.

use super::super::sheet::Sheet;
use super::super::trace::Trace;
use super::super::{Mode, run_trace};

const ACTIVATE: f64 = 1800.0;
const READ: f64 = 1315.6;
const WRITE: f64 = 1315.6;
const SYNC: f64 = 60.0;
const REFRESH: f64 = 6000.0;
const OPEN: f64 = 56.25;
const CLOSED: f64 = 40.0;

#[track_caller]
fn check(name: &str, lines: &str, picojoules: f64) {
    let sheet = Sheet::built_in(name).unwrap();
    let trace = Trace::parse("micro", lines).unwrap();
    let report = run_trace(&sheet, "micro", &trace, Mode::Exact).unwrap();
    let total = report.energy.total() * 1e12;
    assert!((total - picojoules).abs() <= picojoules * 1e-3, "{total} instead of {picojoules}: {:?}", report.counts);
    let sum: f64 = report.energy.named().iter().map(|(_, joules)| joules * 1e12).sum();
    assert!((sum - total).abs() <= 1e-9 * total);
}

#[test]
fn one_read() {
    // ACT1 at 1, CAS 16, RD 17, data until 36: 1 clock closed, 35 open.
    check("compat-noref", "0,R,8000,32", ACTIVATE + READ + SYNC + CLOSED + 35.0 * OPEN);
}

#[test]
fn one_write() {
    // ACT1 at 1, CAS 16, WR 17, complete when issued.
    check("compat-noref", "0,W,8000,32", ACTIVATE + WRITE + SYNC + CLOSED + 16.0 * OPEN);
}

#[test]
fn two_hits_in_one_row() {
    // As one read; the second RD at 21, data until 40.
    check("compat-noref", "0,R,8000,32\n0,R,8080,32", ACTIVATE + 2.0 * READ + SYNC + CLOSED + 39.0 * OPEN);
}

#[test]
fn a_row_conflict() {
    // RD 17; PRE at 35 (tRAS 34), ACT1 at 50, CAS 65 (WCK has stopped at 37), RD 66, data until 85; closed for 1 + 15.
    let energy = 2.0 * ACTIVATE + 2.0 * READ + 2.0 * SYNC + 16.0 * CLOSED + (34.0 + 35.0) * OPEN;
    check("compat-noref", "0,R,8000,32\n0,R,10000,32", energy);
}

#[test]
fn wck_that_never_stops_needs_no_synchronisation() {
    // Refresh comes due at 391 only. ACT1 at 1, RD 16, data until 35.
    check("compat-wckon", "0,R,8000,32", ACTIVATE + READ + CLOSED + 34.0 * OPEN);
}

#[test]
fn a_late_read_pays_for_waiting() {
    // It enters at 200: ACT1 at 201, data until 236.
    check("compat-noref", "200,R,8000,32", ACTIVATE + READ + SYNC + 201.0 * CLOSED + 35.0 * OPEN);
}

#[test]
fn a_refresh_in_between() {
    // REFpb of bank 0 at 391 (closed); the read enters another bank at 500, ACT1 at 501, data until 536.
    check("compat-lpddr5-6400", "500,R,8020,32", ACTIVATE + READ + SYNC + REFRESH + 501.0 * CLOSED + 35.0 * OPEN);
}

#[test]
fn read_then_write_after_the_turnaround() {
    // RD 17, then the write enters at 40: WCK ended at 17 + 20 = 37, so CAS at 41, WR at 42.
    check("compat-noref", "0,R,8000,32\n40,W,8080,32", ACTIVATE + READ + WRITE + 2.0 * SYNC + CLOSED + 41.0 * OPEN);
}

#[test]
fn auto_precharge_after_four_accesses() {
    // RD 17 21 25 29 in one bank group; the fifth, at 33, is RDA and closes the row; data until 52.
    let lines = "0,R,8000,32\n0,R,8080,32\n0,R,8100,32\n0,R,8180,32\n0,R,8200,32";
    let energy = ACTIVATE + 5.0 * READ + SYNC + CLOSED + (33.0 - 1.0) * OPEN + (52.0 - 33.0) * CLOSED;
    check("compat-cap4", lines, energy);
}

#[test]
fn power_down_between_two_reads() {
    // JEDEC, no refresh due before 390. Read at 17, empty from then; after 64 clocks (at 81) the channel powers down with
    // its row open, until the next read enters at 300. tXP 6: CAS at 306, RD at 307, data until 326. Power-down 6 mW.
    let sheet_power_down = 6.0 * 1.25;
    let energy = ACTIVATE
        + 2.0 * READ
        + 2.0 * SYNC
        + CLOSED
        + (81.0 - 1.0) * OPEN
        + (300.0 - 81.0) * sheet_power_down
        + (326.0 - 300.0) * OPEN;
    check("lpddr5-6400", "0,R,8000,32\n300,R,8020,32", energy);
}

#[test]
fn a_sequential_stream_costs_what_the_sheet_says() {
    let mut wrong = Vec::new();
    for name in ["lpddr5x-8533", "lpddr5-6400", "lpddr6-10667", "lpddr4-3200"] {
        let sheet = Sheet::built_in(name).unwrap();
        let stream = super::trace((0..8192).map(|i| (false, i * 2048, 2048)));
        let report = run_trace(&sheet, "stream", &stream, Mode::Exact).unwrap();
        let wanted = sheet.energy.stream_pj_per_bit;
        let found = report.picojoules_per_bit();
        if (found / wanted - 1.0).abs() > 0.002 {
            wrong.push(format!("{name}: {found} pJ/bit instead of {wanted}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}
