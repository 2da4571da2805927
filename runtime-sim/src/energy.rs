//! Joules: counts of events times the table in the chip sheet.
//!
//! In: the counts of a timing, and the sheet. Out: energy by part, each with its band. Always: the parts add up to the total; what a constant
//! rests on stands in the sheet beside it.

use crate::timing::Timing;
use narae_isa::chip::{Chip, Energy};
use serde::Serialize;

/// An energy in joules with its band.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Joules {
    /// The value to use.
    pub typical: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Joules {
    fn of(energy: &Energy, events: f64) -> Joules {
        let joules = |picojoules: f64| picojoules * events * 1e-12;
        Joules { typical: joules(energy.typical), low: joules(energy.low), high: joules(energy.high) }
    }

    fn add(self, other: Joules) -> Joules {
        Joules { typical: self.typical + other.typical, low: self.low + other.low, high: self.high + other.high }
    }
}

/// Energy by part.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EnergyReport {
    /// Everything.
    pub total: Joules,
    /// LPDDR device, PHY and controller.
    pub dram: Joules,
    /// SRAM and crossbar.
    pub sram: Joules,
    /// Matrix, attention and vector engines.
    pub engines: Joules,
    /// Control unit.
    pub control: Joules,
    /// Power that does not depend on work.
    pub static_power: Joules,
}

/// The energy of a run.
pub fn energy(chip: &Chip, timing: &Timing) -> EnergyReport {
    let (table, counts) = (&chip.energy, &timing.counts);
    let dram_bits = 8.0 * (timing.dram_bytes_read + timing.dram_bytes_written) as f64;
    let dram = Joules::of(&table.dram_bit, dram_bits);
    let sram_bytes = counts.sram_bytes as f64;
    let sram = Joules::of(&table.sram_byte, sram_bytes).add(Joules::of(&table.crossbar_byte, sram_bytes));
    let engines = [
        (&table.lut_plane, counts.lut_planes),
        (&table.f16_mac, counts.f16_macs),
        (&table.f32_mac, counts.f32_macs),
        (&table.f64_mac, counts.f64_macs),
        (&table.integer_mac, counts.integer_macs),
        (&table.vector_operation, counts.vector_operations),
        (&table.transcendental, counts.transcendentals),
    ];
    let engines =
        engines.iter().fold(Joules::default(), |sum, (energy, events)| sum.add(Joules::of(energy, *events as f64)));
    let control = Joules::of(&table.instruction, counts.instructions as f64);
    let watts = chip.power.static_watts * timing.end as f64 * 1e-12;
    let static_power = Joules { typical: watts, low: watts, high: watts };
    let total = [sram, engines, control, static_power].into_iter().fold(dram, Joules::add);
    EnergyReport { total, dram, sram, engines, control, static_power }
}
