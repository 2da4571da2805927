//! E1: ten programs whose joules are worked out by hand from the sheet of narae-1 and from the command counts of its memory; and sums.
//!
//! Energies of the sheet in picojoules: SRAM 1.75 a byte, crossbar 0.8 a byte, a plane of a weight 0.07, multiply-adds 0.72 (f16), 1.69 (f32),
//! 6.8 (f64), 0.1 (integers), a vector operation 0.8, a transcendental function 8, an instruction 50; 10 W of static power.

use super::support::{WEIGHTS, chip, steps, time_steps};
use narae_sim::energy::{EnergyParts, EnergyReport, Shares, energy};
use narae_sim::timing::Timing;

fn run(text: &str) -> (EnergyReport, Timing) {
    let chip = chip("narae-1");
    let timing = time_steps(&chip, &steps(&chip, text), true);
    let report = energy(&chip, &timing);
    let parts = report.parts;
    let close = |a: f64, b: f64| assert!((a - b).abs() <= 1e-9 * b.abs(), "{a} instead of {b}");
    // Sums: parts to the total, classes and events to their parts, usages to the run, at both ends of the band.
    close(parts.named().iter().map(|p| p.1.typical).sum(), parts.total.typical);
    close(parts.named().iter().map(|p| p.1.low).sum(), parts.total.low);
    close(parts.named().iter().map(|p| p.1.high).sum(), parts.total.high);
    close(report.dram_classes.iter().map(|c| c.joules.typical).sum(), parts.dram.typical);
    close(
        report.engine_events.iter().map(|e| e.joules.typical).sum::<f64>().max(1e-30),
        parts.engines.typical.max(1e-30),
    );
    let shares = Shares::new(&chip, &timing);
    let of: Vec<EnergyParts> = timing.usages.iter().map(|usage| shares.of(usage)).collect();
    close(of.iter().map(|p| p.total.typical).sum(), parts.total.typical);
    close(of.iter().map(|p| p.dram.typical).sum(), parts.dram.typical);
    (report, timing)
}

/// Checks what a program costs beside LPDDR, in picojoules, to 0.1 %.
#[track_caller]
fn check(text: &str, sram: f64, crossbar: f64, engines: f64, instructions: u64) {
    let (EnergyReport { parts, .. }, timing) = run(text);
    let close = |name: &str, joules: f64, picojoules: f64| {
        let found = joules * 1e12;
        assert!(
            (found - picojoules).abs() <= 1e-3 * picojoules.max(1e-6),
            "{name}: {found} instead of {picojoules} pJ"
        );
    };
    close("sram", parts.sram.typical, sram);
    close("crossbar", parts.crossbar.typical, crossbar);
    close("engines", parts.engines.typical, engines);
    close("control", parts.control.typical, 50.0 * instructions as f64);
    close("static", parts.static_power.typical, 10.0 * timing.end as f64);
}

#[test]
fn nothing_but_control() {
    check("li r0, value=1\nli r1, value=2\nhalt", 0.0, 0.0, 0.0, 3);
}

#[test]
fn a_sum_of_vectors_that_lie_alike() {
    // 1024 f32: 4096 bytes are read twice and written once, all in their tiles.
    let text = ".row a tensor sram f32 [1024] at 0x0\n.row b tensor sram f32 [1024] at 0x1000\n.row y tensor sram f32 [1024] at 0x2000
        ldd d0, a, _\nldd d1, b, _\nldd d2, y, _\nbinary add, d2, d0, d1\nhalt";
    check(text, 1.75 * 3.0 * 4096.0, 0.0, 0.8 * 1024.0, 5);
}

#[test]
fn a_sum_of_vectors_that_do_not() {
    // The second operand begins in another tile: 15/16 of its 4096 bytes cross.
    let text = ".row a tensor sram f32 [1024] at 0x0\n.row b tensor sram f32 [1024] at 0x1040\n.row y tensor sram f32 [1024] at 0x3000
        ldd d0, a, _\nldd d1, b, _\nldd d2, y, _\nbinary add, d2, d0, d1\nhalt";
    check(text, 1.75 * 3.0 * 4096.0, 0.8 * 3840.0, 0.8 * 1024.0, 5);
}

#[test]
fn exponentials() {
    // 4 clocks of a lane for each of 512 elements count as 4 operations, and one function each.
    let text = ".row a tensor sram f16 [512] at 0x0\nldd d0, a, _\nunary exp, d0, d0\nhalt";
    check(text, 1.75 * 2.0 * 1024.0, 0.0, 512.0 * (4.0 * 0.8 + 8.0), 3);
}

#[test]
fn a_move_into_sram() {
    // 8192 bytes cross from LPDDR and are written; 15/16 of them to another tile than the one they come in at.
    let text = ".row a tensor dram f32 [2048] at 0x100000\n.row y tensor sram f32 [2048] at 0x0\nldd d0, a, _\nldd d1, y, _\ntransfer d1, d0\nhalt";
    check(text, 1.75 * 8192.0, 0.8 * 7680.0, 0.0, 4);
}

#[test]
fn a_look_up_product() {
    // [512, 256] u4:g128 takes 512·256/2 bytes of codes and 16 + 8 bits for each of 1024 groups: 68,608 bytes that cross, are written and are
    // read. x: 1024 bytes, read once (one slice for each of 16 tiles) and sent to all 16 tiles. y: 2048 bytes, 15/16 of them cross.
    let text = format!(
        ".row x tensor sram f32 [1, 256] at 0x0\n.row y tensor sram f32 [1, 512] at 0x1000\n.row w weight u4:g128 [512, 256] at {WEIGHTS}
         ldd d0, x, _\nldd d1, y, _\nldd d2, w, _\nldw d2\nlinear d1, d0, d2, _\nhalt"
    );
    let weights = 68_608.0;
    let sram = 1.75 * (2.0 * weights + 1024.0 + 2048.0);
    check(&text, sram, 0.8 * (weights + 16.0 * 1024.0 + 1920.0), 0.07 * 512.0 * 256.0 * 4.0, 6);
}

#[test]
fn a_plain_product() {
    // [64, 32] f16: 4096 bytes; two slices, so one for each of two tiles: x (64 bytes) once, to all tiles; y 128 bytes.
    let text = format!(
        ".row x tensor sram f16 [1, 32] at 0x0\n.row y tensor sram f16 [1, 64] at 0x1000\n.row w weight f16 [64, 32] at {WEIGHTS}
         ldd d0, x, _\nldd d1, y, _\nldd d2, w, _\nldw d2\nlinear d1, d0, d2, _\nhalt"
    );
    let sram = 1.75 * (2.0 * 4096.0 + 64.0 + 128.0);
    check(&text, sram, 0.8 * (4096.0 + 16.0 * 64.0 + 120.0), 0.72 * 64.0 * 32.0, 6);
}

#[test]
fn a_batched_product_in_f64() {
    // [1, 2, 3] × [1, 3, 4]: one slice, so a (48 bytes) is read once, b (96) once, y 64 bytes; nothing lies in its tile: 15/16 cross.
    let text = ".row a tensor sram f64 [1, 2, 3] at 0x0\n.row b tensor sram f64 [1, 3, 4] at 0x400\n.row y tensor sram f64 [1, 2, 4] at 0x800
        ldd d0, a, _\nldd d1, b, _\nldd d2, y, _\nmatmul d2, d0, d1, _\nhalt";
    check(text, 1.75 * 208.0, 0.8 * (45.0 + 90.0 + 60.0), 6.8 * 24.0, 5);
}

#[test]
fn attention_over_a_cache() {
    // 2 query heads on 1 KV head of 64 keys, 16 wide: 2 pairs of (query, block): 2·64·32 multiply-adds, 128 exponentials. q and y: 64 bytes each.
    let text = ".row q tensor sram f16 [1, 2, 1, 16] at 0x0\n.row k tensor dram f16 [1, 1, 64, 16] at 0x100000\n.row y tensor sram f16 [1, 2, 1, 16] at 0x400
        ldd d0, q, _\nldd d1, k, _\nldd d2, y, _\nattend d2, d0, d1, d1, _, _, _, _, scale=0.25, _, _, causal\nhalt";
    check(text, 1.75 * 128.0, 0.8 * 120.0, 0.72 * 4096.0 + 8.0 * 128.0, 5);
}

#[test]
fn lpddr_by_command() {
    // 64 KiB of a weight, by the counts of the memory: commands × the memory's table, background × time. The sheet of lpddr5x-8533: ACT 1800, CAS
    // 60, refresh of a bank 6000 pJ; 45, 32 and 6 mW; read 480 + 880.85 pJ, of which 46.098 go to refreshing the second rank: 16 banks of 6000 pJ
    // every 4165 clocks, 2 clocks a burst.
    let text = format!(
        ".row x tensor sram f16 [1, 512] at 0x0\n.row y tensor sram f16 [1, 64] at 0x1000\n.row w weight f16 [64, 512] at {WEIGHTS}
         ldd d0, x, _\nldd d1, y, _\nldd d2, w, _\nldw d2\nlinear d1, d0, d2, _\nhalt"
    );
    let (report, timing) = run(&text);
    let c = &timing.dram.counts;
    // Every byte in bursts of 32: the weight, three rows of 128, two blocks of code.
    assert_eq!(c.read + c.read_auto, (65536 + 3 * 128 + 2 * 1024) / 32);
    let n = |count: u64| count as f64;
    let ps = 938.0;
    let background = n(c.clocks_active) * 45.0 + n(c.clocks_precharged) * 32.0 + n(c.clocks_powered_down) * 6.0;
    let want = n(c.activate1) * 1800.0
        + n(c.read + c.read_auto) * 1314.752
        + n(c.cas_read + c.cas_write) * 60.0
        + n(c.refreshed_banks) * 6000.0
        + background * ps * 1e-3;
    let found = report.parts.dram.typical * 1e12;
    assert!((found - want).abs() <= 1e-3 * want, "{found} instead of {want} pJ");
    // Every channel is in some state at every clock.
    let clocks = c.clocks_active + c.clocks_precharged + c.clocks_powered_down;
    assert_eq!(clocks, 32 * timing.end.div_ceil(938));
    let band = (report.parts.dram.low / report.parts.dram.typical, report.parts.dram.high / report.parts.dram.typical);
    assert!((band.0 - 0.75).abs() < 1e-9 && (band.1 - 1.25).abs() < 1e-9, "4.5 to 7.5 around 6 pJ a bit: {band:?}");
}

#[test]
fn a_weight_stream_costs_what_the_sheet_says() {
    // 64 MiB through the chip: 6 pJ a bit within 2 %, fast and exact.
    let chip = chip("narae-1");
    let text = format!(
        ".row x tensor sram f16 [1, 4096] at 0x0\n.row y tensor sram f16 [1, 8192] at 0x40000\n.row w weight f16 [8192, 4096] at {WEIGHTS}
         ldd d0, x, _\nldd d1, y, _\nldd d2, w, _\nldw d2\nlinear d1, d0, d2, _\nhalt"
    );
    let steps = steps(&chip, &text);
    for exact in [false, true] {
        let timing = time_steps(&chip, &steps, exact);
        let bits = 8.0 * timing.dram_bytes_read as f64;
        let each = energy(&chip, &timing).parts.dram.typical * 1e12 / bits;
        assert!((each / 6.0 - 1.0).abs() < 0.02, "{each} pJ a bit, exact: {exact}");
    }
}
