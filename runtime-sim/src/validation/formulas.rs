//! N1: the cycles of an engine are the written formulas, exactly. The formulas of DESIGN §3 and of the sheets are written here a second time,
//! from their text, and compared with what engines were busy for. In: nothing. Out: [`FAMILIES`]: a grid of shapes, types and chips for each kind of work.

use narae_isa::chip::Chip;
use rayon::prelude::*;

use super::programs::{CHIPS, WEIGHTS, chip, time};
use crate::timing::Picoseconds;

const DMAA: usize = 2;
const MXE: usize = 3;
const ATE: usize = 4;
const VPE: usize = 5;

/// One point of the grid.
#[derive(Clone, Debug)]
pub struct Case {
    /// What is worked on.
    pub name: String,
    /// On which chip.
    pub chip: &'static str,
    /// By which engine.
    engine: usize,
    text: String,
    /// The clocks of the written formula.
    pub clocks: u64,
}

impl Case {
    /// The picoseconds for which the engine was busy, and those of the formula.
    pub fn measure(&self) -> (Picoseconds, Picoseconds) {
        let timing = time(&chip(self.chip), &self.text);
        let of_spans: u64 = timing.spans.iter().filter(|s| usize::from(s.agent) == self.engine).map(|s| s.busy).sum();
        assert_eq!(
            timing.accounts[self.engine].busy, of_spans,
            "an engine with one instruction at a time is busy for its instructions"
        );
        (of_spans, self.clocks * timing.clock)
    }
}

/// A kind of work with its grid.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// The kind.
    pub name: &'static str,
    /// Adds its points on one chip.
    points: fn(&Chip, &mut Add<'_>),
}

/// Takes the engine, what is worked on, the program and the clocks of the formula.
type Add<'a> = dyn FnMut(usize, String, String, u64) + 'a;

impl Family {
    /// The grid on all chips.
    pub fn cases(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for name in CHIPS {
            (self.points)(&chip(name), &mut |engine, what, text, clocks| {
                cases.push(Case { name: what, chip: name, engine, text, clocks });
            });
        }
        cases
    }

    /// The cases whose engine is not busy for exactly the clocks of the formula, with what it was busy for.
    pub fn mismatches(&self) -> Vec<(Case, Picoseconds)> {
        let measured = self.cases().into_par_iter().map(|case| (case.measure(), case));
        measured.filter(|((busy, want), _)| busy != want).map(|((busy, _), case)| (case, busy)).collect()
    }
}

/// Every kind of work.
pub const FAMILIES: [Family; 6] = [
    Family { name: "look-up products", points: look_up_products },
    Family { name: "plain products", points: plain_products },
    Family { name: "batched products, convolution", points: batched_products_and_convolutions },
    Family { name: "vectors", points: vectors },
    Family { name: "moves", points: moves },
    Family { name: "attention", points: attention },
];

fn linear(chip: &Chip, format: &str, x: &str, t: u64, n: u64, k: u64) -> String {
    format!(
        ".row x tensor sram {x} [{t}, {k}] at 0x0
         .row y tensor sram {x} [{t}, {n}] at {}
         .row w weight {format} [{n}, {k}] at {WEIGHTS}
         ldd d0, x, _\nldd d1, y, _\nldd d2, w, _\nldw d2\nlinear d1, d0, d2, _\nhalt",
        chip.sram_bytes() / 2,
    )
}

fn look_up_products(chip: &Chip, add: &mut Add<'_>) {
    let (tiles, per_clock) = (chip.tiles.count, chip.mxe.lut_tokens);
    for (format, planes) in [("u2:g32", 2u64), ("u3:g128", 3), ("u4:g128", 4), ("u8:g64", 8)] {
        for (n, k) in [(1u64, 1u64), (32, 128), (33, 100), (512, 256), (544, 1000), (6656, 640)] {
            for t in [1, per_clock, per_clock + 1, 40] {
                let tile_outputs = n.div_ceil(32).div_ceil(tiles) * 32;
                let want = tile_outputs.div_ceil(32) * k.div_ceil(4) * planes.div_ceil(4) * t.div_ceil(per_clock) + 24;
                add(MXE, format!("{format} [{t}, {k}] x [{n}, {k}]"), linear(chip, format, "f32", t, n, k), want);
            }
        }
    }
}

fn plain_products(chip: &Chip, add: &mut Add<'_>) {
    for (format, x, rate) in [
        ("f16", "f16", chip.mxe.f16_macs),
        ("bf16", "bf16", chip.mxe.f16_macs),
        ("f16", "f32", chip.mxe.f32_macs),
        ("f32", "f32", chip.mxe.f32_macs),
    ] {
        for (n, k) in [(1u64, 1u64), (33, 100), (512, 640), (1000, 257)] {
            for t in [1, 3, 40] {
                let slices = n.div_ceil(32).div_ceil(chip.tiles.count);
                let want = (slices * 32 * k * t).div_ceil(rate) + 24;
                add(MXE, format!("{format} {x} [{t}, {k}] x [{n}, {k}]"), linear(chip, format, x, t, n, k), want);
            }
        }
    }
}

fn batched_products_and_convolutions(chip: &Chip, add: &mut Add<'_>) {
    for (element, rate) in [("f16", chip.mxe.f16_macs), ("f32", chip.mxe.f32_macs), ("f64", chip.mxe.f64_macs)] {
        for (b, m, n, k) in [(1u64, 1u64, 1u64, 1u64), (2, 3, 33, 20), (4, 16, 64, 48), (1, 1, 1000, 128)] {
            let text = format!(
                ".row a tensor sram {element} [{b}, {m}, {k}] at 0x0
                 .row b tensor sram {element} [{b}, {k}, {n}] at 0x40000
                 .row y tensor sram {element} [{b}, {m}, {n}] at 0x180000
                 ldd d0, a, _\nldd d1, b, _\nldd d2, y, _\nmatmul d2, d0, d1, _\nhalt"
            );
            let units = (b * m * n.div_ceil(32)).div_ceil(chip.tiles.count);
            let want = (units * 32 * k).div_ceil(rate) + 24;
            add(MXE, format!("{element} {b} {m} {n} {k}"), text, want);
        }
    }
    // 8 channels of 6 × 6 from 3 channels by 3 × 3 kernels: 36 positions, 27 terms.
    let text = "
        .row x tensor sram f32 [1, 1, 3, 8, 8] at 0x0
        .row w tensor sram f32 [1, 8, 3, 3, 3] at 0x10000
        .row y tensor sram f32 [1, 1, 8, 6, 6] at 0x20000
        .row window window kernel [3, 3, 1] stride [1, 1, 1] dilation [1, 1, 1] pad [0, 0, 0] pad-after [0, 0, 0] upsample [1, 1, 1]
        ldd d0, x, _\nldd d1, w, _\nldd d2, y, _\nldd d3, window, _\nconv d2, d0, d1, _, _, _, d3\nhalt";
    let want = (36u64.div_ceil(chip.tiles.count) * 32 * 27).div_ceil(chip.mxe.f32_macs) + 24;
    add(MXE, "convolution".to_string(), text.to_string(), want);
}

fn vectors(chip: &Chip, add: &mut Add<'_>) {
    let lanes = |element: &str| match element {
            "f16" | "i8" => chip.vpe.f16_lanes,
            "f32" | "i32" => chip.vpe.f32_lanes,
            _ => chip.vpe.f64_lanes,
        } * chip.tiles.count;
    for element in ["f16", "i8", "f32", "i32", "f64", "i64"] {
        for n in [1u64, 255, 2048, 5000] {
            let rows =
                format!(".row a tensor sram {element} [{n}] at 0x0\n.row y tensor sram {element} [{n}] at 0x20000\n");
            for (body, per_element) in [
                ("binary add, d1, d0, d0", 1),
                ("copy d1, d0", 1),
                ("softmax d1, d0, axes={0}", 3 + chip.vpe.transcendental_clocks),
                ("unary exp, d1, d0", chip.vpe.transcendental_clocks),
            ] {
                if !element.starts_with('f') && (body.starts_with("softmax") || body.starts_with("unary")) {
                    continue;
                }
                let text = format!("{rows}ldd d0, a, _\nldd d1, y, _\n{body}\nhalt");
                let want = n.div_ceil(lanes(element)) * per_element + chip.vpe.fill_clocks;
                add(VPE, format!("{element} {n} {body}"), text, want);
            }
        }
    }
}

fn moves(chip: &Chip, add: &mut Add<'_>) {
    for n in [1u64, 64, 1000, 50_000] {
        for (to, from) in [("sram", "dram"), ("dram", "sram"), ("sram", "sram")] {
            let place = |memory: &str, offset: u64| if memory == "sram" { offset } else { 0x10_0000 + offset };
            let text = format!(
                ".row a tensor {from} f32 [{n}] at {}\n.row y tensor {to} f32 [{n}] at {}\nldd d0, a, _\nldd d1, y, _\ntransfer d1, d0\nhalt",
                place(from, 0),
                place(to, 0x80000),
            );
            let want = (4 * n).div_ceil(chip.dmaa.bytes_per_clock) + chip.dmaa.start_clocks;
            add(DMAA, format!("{n} {from} to {to}"), text, want);
        }
    }
}

fn attention(chip: &Chip, add: &mut Add<'_>) {
    for (element, rate) in [("f16", chip.ate.f16_macs), ("f32", chip.ate.f32_macs)] {
        for (heads, kv_heads, queries, keys) in [(8u64, 2u64, 1u64, 100u64), (16, 16, 1, 64), (4, 4, 5, 130)] {
            let text = format!(
                ".row q tensor sram {element} [1, {heads}, {queries}, 64] at 0x0
                 .row k tensor dram {element} [1, {kv_heads}, {keys}, 64] at 0x100000
                 .row v tensor dram {element} [1, {kv_heads}, {keys}, 64] at 0x400000
                 .row y tensor sram {element} [1, {heads}, {queries}, 64] at 0x40000
                 ldd d0, q, _\nldd d1, k, _\nldd d2, v, _\nldd d3, y, _
                 attend d3, d0, d1, d2, _, _, _, _, scale=0.125, _, _, causal\nhalt"
            );
            // Query i sees keys − queries + i + 1 keys, in blocks of 64.
            let seen = |i: u64| (keys - queries + i + 1).div_ceil(64);
            let pairs = heads * (0..queries).map(seen).sum::<u64>();
            let pairs = pairs.div_ceil(chip.tiles.count);
            let blocks = (kv_heads * keys.div_ceil(64)).div_ceil(chip.tiles.count);
            let want = (pairs * 64 * 128).div_ceil(rate)
                + (pairs * 64).div_ceil(chip.ate.exponentials)
                + blocks * chip.ate.block_clocks;
            add(ATE, format!("{element} {heads} {kv_heads} {queries} {keys}"), text, want);
        }
    }
}
