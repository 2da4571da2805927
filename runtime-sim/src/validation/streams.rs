//! N4, channel balance and the ceiling of the weight path: matrix-vector products run at the rate of the memory or of the matrix engine, whichever
//! is slower, and every channel carries the same. In: a chip by name, formats, shapes. Out: times beside their analytic bounds. Always: the
//! bound is the larger of bytes / peak rate and the written formula; times include the fetch of code, descriptors and the vector.

use narae_isa::WeightFormat;
use narae_isa::chip::Chip;

use super::programs::{Random, WEIGHTS, chip, steps, time, time_steps};
use crate::timing::{Account, Picoseconds, Timing};

/// Formats of weights.
pub const FORMATS: [&str; 8] = ["u2:g64", "u3:g128", "u4:g128", "u4:g32", "u8:g128", "f16", "bf16", "f32"];

/// Outputs and inputs: widths of well-known models, and some that divide by nothing.
pub const SHAPES: [(u64, u64); 9] = [
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

/// The bar applies to products of at least so many bytes of weights.
pub const LEAST_BYTES: u64 = 4 << 20;

/// One product and how long it took.
#[derive(Clone, Debug)]
pub struct Product {
    /// Format of the weight.
    pub format: &'static str,
    /// Outputs and inputs.
    pub shape: (u64, u64),
    /// Picoseconds from the first fetch to the end.
    pub time: Picoseconds,
    /// Clock cycles of it.
    pub cycles: u64,
    /// The time over that which no machine with this sheet can beat.
    pub ratio: f64,
    /// The largest difference of a channel's bytes from the mean, as a part of the mean.
    pub imbalance: f64,
    /// What the critical path went into.
    pub causes: Account,
}

impl Product {
    /// Whether it lies between the bound and 1.1 × it.
    pub fn holds(&self) -> bool {
        (1.0..=1.1).contains(&self.ratio)
    }

    /// What it lost most of its time to, beside moving data and computing.
    pub fn cause(&self) -> &'static str {
        let lost = self.causes.stalls.iter().filter(|(cause, _)| **cause != crate::timing::Cause::DramBandwidth);
        lost.max_by_key(|(_, time)| **time).map_or("nothing", |(cause, _)| cause.name())
    }
}

fn activation(format: &str) -> &'static str {
    if format == "f32" { "f32" } else { "f16" }
}

/// The program of one product: the vector comes from LPDDR, the result goes there.
pub fn program(format: &str, (n, k): (u64, u64)) -> String {
    let x = activation(format);
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

fn weight_bytes(format: &str, (n, k): (u64, u64)) -> u64 {
    WeightFormat::from_name(format).expect("bars are measured on formats that exist").packed_bytes(n, k)
}

/// Picoseconds that no machine with this sheet can beat.
fn bound(chip: &Chip, format: &str, (n, k): (u64, u64), timing: &Timing) -> f64 {
    let slices = n.div_ceil(32).div_ceil(chip.tiles.count);
    let planes = format.strip_prefix('u').and_then(|rest| rest[..1].parse::<u64>().ok());
    let clocks = match planes {
        Some(planes) => slices * k.div_ceil(4) * planes.div_ceil(chip.mxe.lut_planes),
        None if format == "f32" => (slices * 32 * k).div_ceil(chip.mxe.f32_macs),
        None => (slices * 32 * k).div_ceil(chip.mxe.f16_macs),
    };
    (weight_bytes(format, (n, k)) as f64 / timing.dram_peak * 1e12).max((clocks * timing.clock) as f64)
}

/// The products of at least [`LEAST_BYTES`] among formats × shapes.
pub fn products(name: &str, exact: bool, formats: &[&'static str], shapes: &[(u64, u64)]) -> Vec<Product> {
    let chip = chip(name);
    let all = formats.iter().flat_map(|format| shapes.iter().map(move |shape| (*format, *shape)));
    let measure = |(format, shape)| {
        let timing = time_steps(&chip, &steps(&chip, &program(format, shape)), exact);
        let mut causes = Account::default();
        timing.critical_path.iter().for_each(|segment| causes.add(&segment.account));
        Product {
            format,
            shape,
            time: timing.end,
            cycles: timing.end.div_ceil(timing.clock),
            ratio: timing.end as f64 / bound(&chip, format, shape, &timing),
            imbalance: timing.dram.imbalance(),
            causes,
        }
    };
    all.filter(|(format, shape)| weight_bytes(format, *shape) >= LEAST_BYTES).map(measure).collect()
}

/// The imbalance of streams of `count` large u4 weights of arbitrary size and place.
pub fn imbalances(name: &str, count: usize) -> Vec<f64> {
    let (chip, mut random) = (chip(name), Random(1));
    let mut one = || {
        let (n, k) = (2000 + random.below(3000), 2000 + random.below(2000));
        let text = format!(
            ".row x tensor sram f16 [1, {k}] at 0x0\n.row y tensor sram f16 [1, {n}] at 0x40000
             .row w weight u4:g128 [{n}, {k}] at {}
             ldd d2, w, _\nldw d2\nldd d0, x, _\nldd d1, y, _\nlinear d1, d0, d2, _\nhalt",
            WEIGHTS + random.below(4096) * 64,
        );
        time(&chip, &text).dram.imbalance()
    };
    (0..count).map(|_| one()).collect()
}

/// The part of the peak that ten products, one after the other, reach in the sheet's default (JEDEC) setting, every burst simulated.
pub fn long_stream(name: &str) -> f64 {
    let chip = chip(name);
    let weight = |i: u64| {
        let base = WEIGHTS + i * (16 << 20);
        format!(".row w{i} weight u4:g128 [4096, 4096] at {base}\nldd d{}, w{i}, _\nldw d{}\n", 2 + i, 2 + i)
    };
    let weights: String = (0..10).map(weight).collect();
    let linears: String = (0..10).map(|i| format!("linear d1, d0, d{}, _\n", 2 + i)).collect();
    let text = format!(
        ".row x tensor sram f16 [1, 4096] at 0x0\n.row y tensor sram f16 [1, 4096] at 0x40000
         ldd d0, x, _\nldd d1, y, _\n{weights}{linears}halt"
    );
    let timing = time_steps(&chip, &steps(&chip, &text), true);
    timing.dram_bytes_read as f64 / (timing.dram_peak * timing.end as f64 * 1e-12)
}
