//! N4 and channel balance: matrix-vector products run at the rate of the memory or of the matrix engine, whichever is slower, and every channel
//! carries the same. The bound is the larger of bytes / peak rate and the written formula; a product of 4 MB and more stays below 1.1 × it,
//! fetch of code, descriptors and the vector included.

use super::support::{CHIPS, WEIGHTS, chip, steps, time_steps};
use narae_isa::WeightFormat;
use narae_isa::chip::Chip;
use narae_sim::timing::{Cause, Timing};

const FORMATS: [&str; 8] = ["u2:g64", "u3:g128", "u4:g128", "u4:g32", "u8:g128", "f16", "bf16", "f32"];
/// Widths of well-known models, and some that divide by nothing.
const SHAPES: [(u64, u64); 9] = [
    (4096, 4096),
    (11008, 4096),
    (4096, 11008),
    (6656, 6656),
    (17920, 6656),
    (32000, 2048),
    (2048, 8192),
    (5001, 3001),
    (128_256, 2048),
];

/// One product: the vector comes from LPDDR, the result goes there.
fn product(format: &str, x: &str, n: u64, k: u64) -> String {
    format!(
        ".row in tensor dram {x} [1, {k}] at 0x100000
         .row out tensor dram {x} [1, {n}] at 0x200000
         .row x tensor sram {x} [1, {k}] at 0x0
         .row y tensor sram {x} [1, {n}] at 0x40000
         .row w weight {format} [{n}, {k}] at {WEIGHTS}
         ldd d2, w, _\nldw d2\nldd d0, x, _\nldd d3, in, _\ntransfer d0, d3 @signal(s0, 1)
         ldd d1, y, _\nlinear d1, d0, d2, _ @wait(s0, 1) @signal(s1, 1)
         ldd d4, out, _\ntransfer d4, d1 @wait(s1, 1)\nhalt"
    )
}

/// Picoseconds that no machine with this sheet can beat.
fn bound(chip: &Chip, format: &str, x: &str, n: u64, k: u64, timing: &Timing) -> f64 {
    let bytes = WeightFormat::from_name(format).expect("a format").packed_bytes(n, k);
    let slices = n.div_ceil(32).div_ceil(chip.tiles.count);
    let clocks = match format.strip_prefix('u') {
        Some(bits) => slices * k.div_ceil(4) * bits[..1].parse::<u64>().expect("bits").div_ceil(chip.mxe.lut_planes),
        None if format == "f32" || x == "f32" => (slices * 32 * k).div_ceil(chip.mxe.f32_macs),
        None => (slices * 32 * k).div_ceil(chip.mxe.f16_macs),
    };
    (bytes as f64 / timing.dram_peak * 1e12).max((clocks * timing.clock) as f64)
}

fn check(name: &str, exact: bool, formats: &[&str], shapes: &[(u64, u64)]) {
    let chip = chip(name);
    let mut offences = Vec::new();
    for format in formats {
        for (n, k) in shapes {
            let bytes = WeightFormat::from_name(format).expect("a format").packed_bytes(*n, *k);
            if bytes < 4 << 20 {
                continue;
            }
            let x = if *format == "f32" { "f32" } else { "f16" };
            let timing = time_steps(&chip, &steps(&chip, &product(format, x, *n, *k)), exact);
            let ratio = timing.end as f64 / bound(&chip, format, x, *n, *k, &timing);
            let imbalance = timing.dram.imbalance();
            assert!(ratio >= 1.0, "{name} {format} [{n}, {k}] is faster than possible: {ratio}");
            if ratio > 1.1 || imbalance > 0.02 {
                offences.push(format!("{name} {format} [{n}, {k}]: {ratio:.3} x the bound, imbalance {imbalance:.4}"));
            }
        }
    }
    assert!(offences.is_empty(), "{offences:#?}");
}

#[test]
fn products_run_at_the_bound_on_the_server_card() {
    check("narae-1", false, &FORMATS, &SHAPES);
}

#[test]
fn products_run_at_the_bound_on_the_edge_chip() {
    check("narae-edge", false, &FORMATS, &SHAPES);
}

#[test]
fn products_run_at_the_bound_on_the_prototype() {
    check("narae-fpga", false, &FORMATS, &SHAPES);
}

#[test]
fn every_burst_says_the_same() {
    for name in CHIPS {
        check(name, true, &["u4:g128", "f16"], &[(4096, 4096), (2048, 8192)]);
    }
}

#[test]
fn a_product_that_is_slower_names_the_cause() {
    // The vector is made by a long chain of vector instructions, longer than the stream: the product waits for it.
    let chip = chip("narae-1");
    let chain = "unary exp, d0, d0\n".repeat(1000);
    let slow = product("u4:g128", "f16", 4096, 4096)
        .replace("@signal(s0, 1)", "@signal(s2, 1)")
        .replace("ldd d1, y, _", &format!("sync vpe @wait(s2, 1)\n{chain}sync vpe @signal(s0, 1)\nldd d1, y, _"));
    let timing = time_steps(&chip, &steps(&chip, &slow), false);
    let share = |agent: u8| {
        let segments = timing.critical_path.iter().filter(|segment| segment.agent == agent);
        segments.map(|segment| segment.end - segment.start).sum::<u64>() as f64 / timing.end as f64
    };
    assert!(share(5) > 0.6, "the critical path leads through the vector engine: {}", share(5));
    let waiting = timing.accounts[1].stalls.get(&Cause::FifoFull).copied().unwrap_or(0);
    assert!(waiting > timing.end / 4, "the stream waits for room: {:?}", timing.accounts[1]);
}

#[test]
fn streams_of_any_large_weight_load_all_channels_alike() {
    for name in CHIPS {
        let chip = chip(name);
        let mut seed = 1u64;
        for _ in 0..40 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let (n, k) = (2000 + (seed >> 40) % 3000, 2000 + (seed >> 20) % 2000);
            let text = format!(
                ".row x tensor sram f16 [1, {k}] at 0x0\n.row y tensor sram f16 [1, {n}] at 0x40000
                 .row w weight f16 [{n}, {k}] at {}
                 ldd d2, w, _\nldw d2\nldd d0, x, _\nldd d1, y, _\nlinear d1, d0, d2, _\nhalt",
                WEIGHTS + (seed >> 33) % 4096 * 64,
            );
            let timing = time_steps(&chip, &steps(&chip, &text), false);
            assert!(timing.dram.imbalance() < 0.02, "{name} [{n}, {k}]: {}", timing.dram.imbalance());
        }
    }
}

#[test]
fn a_long_stream_reaches_95_percent_of_the_peak() {
    // The weight path of the sheet's default (JEDEC) setting, every burst: ten products, one after the other.
    for name in CHIPS {
        let chip = chip(name);
        let products: String = (0..10)
            .map(|i| {
                let base = WEIGHTS + i * (16 << 20);
                format!(".row w{i} weight u4:g128 [4096, 4096] at {base}\nldd d{}, w{i}, _\nldw d{}\n", 2 + i, 2 + i)
            })
            .collect();
        let linears: String = (0..10).map(|i| format!("linear d1, d0, d{}, _\n", 2 + i)).collect();
        let text = format!(
            ".row x tensor sram f16 [1, 4096] at 0x0\n.row y tensor sram f16 [1, 4096] at 0x40000
             ldd d0, x, _\nldd d1, y, _\n{products}{linears}halt"
        );
        let timing = time_steps(&chip, &steps(&chip, &text), true);
        let part = timing.dram_bytes_read as f64 / (timing.dram_peak * timing.end as f64 * 1e-12);
        let floor = if name == "narae-fpga" { 0.90 } else { 0.95 };
        assert!(part > floor && part <= 1.0, "{name}: {:.2} % of the peak", 100.0 * part);
    }
}
