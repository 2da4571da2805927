//! E1: ten programs whose joules are worked out by hand from the sheet of narae-1 and from the command counts of its memory. In: nothing. Out:
//! [`MicroTrace`]s and what the energy model says of them. Always: every burst is simulated.
//!
//! Energies of the sheet in picojoules: SRAM 1.75 a byte, crossbar 0.8 a byte, a plane of a weight 0.07, multiply-adds 0.72 (f16), 1.69 (f32),
//! 6.8 (f64), 0.1 (integers), a vector operation 0.8, a transcendental function 8, an instruction 50; 10 W of static power.

use super::programs::{WEIGHTS, chip, steps, time_steps};
use crate::energy::{EnergyParts, EnergyReport, energy};
use crate::timing::Timing;

/// The part that follows from the time alone.
pub const STATIC: &str = "static";

/// A program and its joules by hand.
#[derive(Clone, Debug)]
pub struct MicroTrace {
    /// What it does.
    pub name: &'static str,
    text: String,
    by_hand: Hand,
}

/// Picojoules by hand; control and static power follow from instructions and time.
#[derive(Clone, Copy, Debug, Default)]
struct Hand {
    sram: f64,
    crossbar: f64,
    engines: f64,
    instructions: u64,
    /// LPDDR, where the trace is about it.
    dram: Option<fn(&Timing) -> f64>,
}

/// A part of the energy: by hand, and as found, in picojoules.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    /// Which part.
    pub name: &'static str,
    /// By hand.
    pub hand: f64,
    /// As found.
    pub found: f64,
}

impl Part {
    /// The difference as a part of the figure by hand.
    pub fn error(&self) -> f64 {
        (self.found - self.hand).abs() / self.hand.max(1e-6)
    }
}

impl MicroTrace {
    /// The run with its energy.
    pub fn run(&self) -> (EnergyReport, Timing) {
        let chip = chip("narae-1");
        let timing = time_steps(&chip, &steps(&chip, &self.text), true);
        (energy(&chip, &timing), timing)
    }

    /// The parts that were worked out.
    pub fn parts(&self, found: &EnergyParts, timing: &Timing) -> Vec<Part> {
        let part = |name, hand, joules: f64| Part { name, hand, found: joules * 1e12 };
        let hand = &self.by_hand;
        let mut parts = vec![
            part("SRAM", hand.sram, found.sram.typical),
            part("crossbar", hand.crossbar, found.crossbar.typical),
            part("engines", hand.engines, found.engines.typical),
            part("control", 50.0 * hand.instructions as f64, found.control.typical),
            part(STATIC, 10.0 * timing.end as f64, found.static_power.typical),
        ];
        parts.extend(hand.dram.map(|dram| part("LPDDR", dram(timing), found.dram.typical)));
        parts
    }
}

/// The ten.
pub fn micro_traces() -> [MicroTrace; 10] {
    [
        nothing_but_control(),
        a_sum_of_vectors_that_lie_alike(),
        a_sum_of_vectors_that_do_not(),
        exponentials(),
        a_move_into_sram(),
        a_look_up_product(),
        a_plain_product(),
        a_batched_product_in_f64(),
        attention_over_a_cache(),
        lpddr_by_command(),
    ]
}

fn nothing_but_control() -> MicroTrace {
    let by_hand = Hand { instructions: 3, ..Hand::default() };
    MicroTrace { name: "nothing but control", text: "li r0, value=1\nli r1, value=2\nhalt".to_string(), by_hand }
}

/// 1024 f32: 4096 bytes are read twice and written once, all in their tiles.
fn a_sum_of_vectors_that_lie_alike() -> MicroTrace {
    let text = ".row a tensor sram f32 [1024] at 0x0\n.row b tensor sram f32 [1024] at 0x1000\n.row y tensor sram f32 [1024] at 0x2000
        ldd d0, a, _\nldd d1, b, _\nldd d2, y, _\nbinary add, d2, d0, d1\nhalt";
    let by_hand = Hand { sram: 1.75 * 3.0 * 4096.0, engines: 0.8 * 1024.0, instructions: 5, ..Hand::default() };
    MicroTrace { name: "a sum of vectors that lie alike", text: text.to_string(), by_hand }
}

/// The second operand begins in another tile: 15/16 of its 4096 bytes cross.
fn a_sum_of_vectors_that_do_not() -> MicroTrace {
    let text = ".row a tensor sram f32 [1024] at 0x0\n.row b tensor sram f32 [1024] at 0x1040\n.row y tensor sram f32 [1024] at 0x3000
        ldd d0, a, _\nldd d1, b, _\nldd d2, y, _\nbinary add, d2, d0, d1\nhalt";
    let (sram, crossbar) = (1.75 * 3.0 * 4096.0, 0.8 * 3840.0);
    let by_hand = Hand { sram, crossbar, engines: 0.8 * 1024.0, instructions: 5, dram: None };
    MicroTrace { name: "a sum of vectors that do not", text: text.to_string(), by_hand }
}

/// 4 clocks of a lane for each of 512 elements count as 4 operations, and one function each.
fn exponentials() -> MicroTrace {
    let text = ".row a tensor sram f16 [512] at 0x0\nldd d0, a, _\nunary exp, d0, d0\nhalt";
    let (sram, engines) = (1.75 * 2.0 * 1024.0, 512.0 * (4.0 * 0.8 + 8.0));
    let by_hand = Hand { sram, engines, instructions: 3, ..Hand::default() };
    MicroTrace { name: "exponentials", text: text.to_string(), by_hand }
}

/// 8192 bytes cross from LPDDR and are written; 15/16 of them to another tile than the one they come in at.
fn a_move_into_sram() -> MicroTrace {
    let text = ".row a tensor dram f32 [2048] at 0x100000\n.row y tensor sram f32 [2048] at 0x0\nldd d0, a, _\nldd d1, y, _\ntransfer d1, d0\nhalt";
    let by_hand = Hand { sram: 1.75 * 8192.0, crossbar: 0.8 * 7680.0, instructions: 4, ..Hand::default() };
    MicroTrace { name: "a move into SRAM", text: text.to_string(), by_hand }
}

/// [512, 256] u4:g128 takes 512·256/2 bytes of codes and 16 + 8 bits for each of 1024 groups: 68,608 bytes that cross, are written and are
/// read. x: 1024 bytes, read once (one slice for each of 16 tiles) and sent to all 16 tiles. y: 2048 bytes, 15/16 of them cross.
fn a_look_up_product() -> MicroTrace {
    let text = format!(
        ".row x tensor sram f32 [1, 256] at 0x0\n.row y tensor sram f32 [1, 512] at 0x1000\n.row w weight u4:g128 [512, 256] at {WEIGHTS}
         ldd d0, x, _\nldd d1, y, _\nldd d2, w, _\nldw d2\nlinear d1, d0, d2, _\nhalt"
    );
    let weights = 68_608.0;
    let by_hand = Hand {
        sram: 1.75 * (2.0 * weights + 1024.0 + 2048.0),
        crossbar: 0.8 * (weights + 16.0 * 1024.0 + 1920.0),
        engines: 0.07 * 512.0 * 256.0 * 4.0,
        instructions: 6,
        dram: None,
    };
    MicroTrace { name: "a look-up product", text, by_hand }
}

/// [64, 32] f16: 4096 bytes; two slices, so one for each of two tiles: x (64 bytes) once, to all tiles; y 128 bytes.
fn a_plain_product() -> MicroTrace {
    let text = format!(
        ".row x tensor sram f16 [1, 32] at 0x0\n.row y tensor sram f16 [1, 64] at 0x1000\n.row w weight f16 [64, 32] at {WEIGHTS}
         ldd d0, x, _\nldd d1, y, _\nldd d2, w, _\nldw d2\nlinear d1, d0, d2, _\nhalt"
    );
    let by_hand = Hand {
        sram: 1.75 * (2.0 * 4096.0 + 64.0 + 128.0),
        crossbar: 0.8 * (4096.0 + 16.0 * 64.0 + 120.0),
        engines: 0.72 * 64.0 * 32.0,
        instructions: 6,
        dram: None,
    };
    MicroTrace { name: "a plain product", text, by_hand }
}

/// [1, 2, 3] × [1, 3, 4]: one slice, so a (48 bytes) is read once, b (96) once, y 64 bytes; nothing lies in its tile: 15/16 cross.
fn a_batched_product_in_f64() -> MicroTrace {
    let text = ".row a tensor sram f64 [1, 2, 3] at 0x0\n.row b tensor sram f64 [1, 3, 4] at 0x400\n.row y tensor sram f64 [1, 2, 4] at 0x800
        ldd d0, a, _\nldd d1, b, _\nldd d2, y, _\nmatmul d2, d0, d1, _\nhalt";
    let (sram, crossbar, engines) = (1.75 * 208.0, 0.8 * (45.0 + 90.0 + 60.0), 6.8 * 24.0);
    let by_hand = Hand { sram, crossbar, engines, instructions: 5, dram: None };
    MicroTrace { name: "a batched product in f64", text: text.to_string(), by_hand }
}

/// 2 query heads on 1 KV head of 64 keys, 16 wide: 2 pairs of (query, block): 2·64·32 multiply-adds, 128 exponentials. q and y: 64 bytes each.
fn attention_over_a_cache() -> MicroTrace {
    let text = ".row q tensor sram f16 [1, 2, 1, 16] at 0x0\n.row k tensor dram f16 [1, 1, 64, 16] at 0x100000\n.row y tensor sram f16 [1, 2, 1, 16] at 0x400
        ldd d0, q, _\nldd d1, k, _\nldd d2, y, _\nattend d2, d0, d1, d1, _, _, _, _, scale=0.25, _, _, causal\nhalt";
    let (sram, crossbar, engines) = (1.75 * 128.0, 0.8 * 120.0, 0.72 * 4096.0 + 8.0 * 128.0);
    let by_hand = Hand { sram, crossbar, engines, instructions: 5, dram: None };
    MicroTrace { name: "attention over a cache", text: text.to_string(), by_hand }
}

/// 64 KiB of a weight [64, 512] f16: two slices; x (1024 bytes) is read once and goes to all tiles, y takes 128 bytes.
fn lpddr_by_command() -> MicroTrace {
    let text = format!(
        ".row x tensor sram f16 [1, 512] at 0x0\n.row y tensor sram f16 [1, 64] at 0x1000\n.row w weight f16 [64, 512] at {WEIGHTS}
         ldd d0, x, _\nldd d1, y, _\nldd d2, w, _\nldw d2\nlinear d1, d0, d2, _\nhalt"
    );
    let by_hand = Hand {
        sram: 1.75 * (2.0 * 65_536.0 + 1024.0 + 128.0),
        crossbar: 0.8 * (65_536.0 + 16.0 * 1024.0 + 120.0),
        engines: 0.72 * 64.0 * 512.0,
        instructions: 6,
        dram: Some(picojoules_by_command),
    };
    MicroTrace { name: "LPDDR by command", text, by_hand }
}

/// Commands × the memory's table, background × time. The sheet of lpddr5x-8533: ACT 1800, CAS 60, refresh of a bank 6000 pJ; 45, 32 and 6 mW;
/// read 480 + 880.85 pJ, of which 46.098 go to refreshing the second rank: 16 banks of 6000 pJ every 4165 clocks, 2 clocks a burst.
fn picojoules_by_command(timing: &Timing) -> f64 {
    let c = &timing.dram.counts;
    let n = |count: u64| count as f64;
    let background = n(c.clocks_active) * 45.0 + n(c.clocks_precharged) * 32.0 + n(c.clocks_powered_down) * 6.0;
    let picoseconds_a_clock = 938.0;
    n(c.activate1) * 1800.0
        + n(c.read + c.read_auto) * 1314.752
        + n(c.cas_read + c.cas_write) * 60.0
        + n(c.refreshed_banks) * 6000.0
        + background * picoseconds_a_clock * 1e-3
}

/// Picojoules per bit of a weight stream of 64 MiB through the chip; the sheet says 6.
pub fn stream_picojoules_per_bit(exact: bool) -> f64 {
    let chip = chip("narae-1");
    let text = format!(
        ".row x tensor sram f16 [1, 4096] at 0x0\n.row y tensor sram f16 [1, 8192] at 0x40000\n.row w weight f16 [8192, 4096] at {WEIGHTS}
         ldd d0, x, _\nldd d1, y, _\nldd d2, w, _\nldw d2\nlinear d1, d0, d2, _\nhalt"
    );
    let timing = time_steps(&chip, &steps(&chip, &text), exact);
    energy(&chip, &timing).parts.dram.typical * 1e12 / (8.0 * timing.dram_bytes_read as f64)
}
