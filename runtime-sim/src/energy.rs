//! Joules: counts of events times the table in the chip sheet, and the LPDDR model's own energy.
//!
//! In: a timing, and the sheet. Out: energy by part, each with its band, for the run and for each of its usages. Always: the parts add up to
//! the total, and the usages to the run; what a constant rests on stands in the sheet beside it.
//!
//! - LPDDR: commands, background, refresh and pins as the memory model counts them (its sheet's table is calibrated so that a sequential
//!   stream costs the sheet's pJ per bit); the band is that of the sheet, as factors on all classes.
//! - SRAM, crossbar, engines, control unit: events × the chip sheet's energies, low and high as there.
//! - Static: the sheet's watts × time, without a band.
//!
//! For one instruction: what its events cost; commands and pins of LPDDR by its share of the bytes; background, refresh and static power by
//! its share of the critical path, which is the time that the run would be shorter without it.

use crate::timing::{Counts, Timing, Usage};
use narae_isa::chip::{Chip, Energy, EnergyTable};
use schemars::JsonSchema;
use serde::Serialize;

/// An energy in joules with its band.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Joules {
    /// The value to use.
    pub typical: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Joules {
    fn of(energy: &Energy, events: u64) -> Joules {
        let joules = |picojoules: f64| picojoules * events as f64 * 1e-12;
        Joules { typical: joules(energy.typical), low: joules(energy.low), high: joules(energy.high) }
    }

    fn banded(typical: f64, (low, high): (f64, f64)) -> Joules {
        Joules { typical, low: typical * low, high: typical * high }
    }

    /// The sum of two energies: ends of bands add.
    #[must_use]
    pub fn plus(self, other: Joules) -> Joules {
        Joules { typical: self.typical + other.typical, low: self.low + other.low, high: self.high + other.high }
    }

    /// A multiple or a part.
    #[must_use]
    pub fn times(self, factor: f64) -> Joules {
        Joules { typical: self.typical * factor, low: self.low * factor, high: self.high * factor }
    }
}

/// Energy by part of the chip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct EnergyParts {
    /// Everything.
    pub total: Joules,
    /// LPDDR device, PHY and controller.
    pub dram: Joules,
    /// SRAM banks.
    pub sram: Joules,
    /// Crossbar.
    pub crossbar: Joules,
    /// Matrix, attention and vector engines.
    pub engines: Joules,
    /// Control unit.
    pub control: Joules,
    /// Power that does not depend on work.
    pub static_power: Joules,
}

impl EnergyParts {
    /// The parts without the total, with the names of reports.
    pub fn named(&self) -> [(&'static str, Joules); 6] {
        [
            ("dram", self.dram),
            ("sram", self.sram),
            ("crossbar", self.crossbar),
            ("engines", self.engines),
            ("control", self.control),
            ("static_power", self.static_power),
        ]
    }

    fn summed(mut self) -> EnergyParts {
        self.total = self.named().into_iter().fold(Joules::default(), |sum, (_, part)| sum.plus(part));
        self
    }
}

/// A named part of a part.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct NamedJoules {
    /// Command class or state (LPDDR), or kind of event (engines).
    pub name: &'static str,
    /// How often, for events that are counted.
    pub events: Option<u64>,
    /// Its energy.
    #[serde(flatten)]
    pub joules: Joules,
}

/// The energy of a run.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct EnergyReport {
    /// By part of the chip.
    #[serde(flatten)]
    pub parts: EnergyParts,
    /// LPDDR by command class, background, refresh and pins; adds up to `dram`.
    pub dram_classes: Vec<NamedJoules>,
    /// Engines by kind of event; adds up to `engines`.
    pub engine_events: Vec<NamedJoules>,
}

/// The kinds of events of engines with their energies.
fn engine_events(table: &EnergyTable, counts: &Counts) -> [(&'static str, Joules, u64); 7] {
    let row = |name, energy: &Energy, events| (name, Joules::of(energy, events), events);
    [
        row("lut_plane", &table.lut_plane, counts.lut_planes),
        row("f16_mac", &table.f16_mac, counts.f16_macs),
        row("f32_mac", &table.f32_mac, counts.f32_macs),
        row("f64_mac", &table.f64_mac, counts.f64_macs),
        row("integer_mac", &table.integer_mac, counts.integer_macs),
        row("vector_operation", &table.vector_operation, counts.vector_operations),
        row("transcendental", &table.transcendental, counts.transcendentals),
    ]
}

/// What events cost, LPDDR and static power aside.
fn events(table: &EnergyTable, counts: &Counts) -> EnergyParts {
    let engines = engine_events(table, counts).into_iter().fold(Joules::default(), |sum, row| sum.plus(row.1));
    EnergyParts {
        sram: Joules::of(&table.sram_byte, counts.sram_bytes),
        crossbar: Joules::of(&table.crossbar_byte, counts.crossbar_bytes),
        engines,
        control: Joules::of(&table.instruction, counts.instructions),
        ..EnergyParts::default()
    }
}

fn static_power(chip: &Chip, timing: &Timing) -> Joules {
    Joules::banded(chip.power.static_watts * timing.end as f64 * 1e-12, (1.0, 1.0))
}

/// The energy of a run.
pub fn energy(chip: &Chip, timing: &Timing) -> EnergyReport {
    let band = timing.dram.energy_band;
    let class = |(name, joules)| NamedJoules { name, events: None, joules: Joules::banded(joules, band) };
    let dram_classes: Vec<NamedJoules> = timing.dram.energy.named().into_iter().map(class).collect();
    let dram = dram_classes.iter().fold(Joules::default(), |sum, class| sum.plus(class.joules));
    let parts = EnergyParts { dram, static_power: static_power(chip, timing), ..events(&chip.energy, &timing.counts) };
    let event = |(name, joules, events)| NamedJoules { name, events: Some(events), joules };
    let engine_events = engine_events(&chip.energy, &timing.counts).into_iter().map(event).collect();
    EnergyReport { parts: parts.summed(), dram_classes, engine_events }
}

/// Deals the energy of a run out to its usages.
#[derive(Clone, Debug)]
pub struct Shares<'a> {
    chip: &'a Chip,
    bytes: f64,
    end: f64,
    /// LPDDR: what moving bytes costs, and what time costs.
    moving: Joules,
    waiting: Joules,
    static_power: Joules,
}

impl<'a> Shares<'a> {
    /// The shares of a run.
    pub fn new(chip: &'a Chip, timing: &Timing) -> Shares<'a> {
        let moves = |name: &str| ["activate", "read", "write", "io", "wck_sync"].contains(&name);
        let bytes = timing.dram_bytes_read + timing.dram_bytes_written;
        let (mut moving, mut waiting) = (0.0, 0.0);
        for (name, joules) in timing.dram.energy.named() {
            *(if moves(name) && bytes > 0 { &mut moving } else { &mut waiting }) += joules;
        }
        let band = timing.dram.energy_band;
        Shares {
            chip,
            bytes: (bytes.max(1)) as f64,
            end: (timing.end.max(1)) as f64,
            moving: Joules::banded(moving, band),
            waiting: Joules::banded(waiting, band),
            static_power: static_power(chip, timing),
        }
    }

    /// The energy of a usage, or of a sum of usages.
    pub fn of(&self, usage: &Usage) -> EnergyParts {
        let bytes = (usage.dram_bytes_read + usage.dram_bytes_written) as f64 / self.bytes;
        let time = usage.critical.total() as f64 / self.end;
        let parts = EnergyParts {
            dram: self.moving.times(bytes).plus(self.waiting.times(time)),
            static_power: self.static_power.times(time),
            ..events(&self.chip.energy, &usage.counts)
        };
        parts.summed()
    }
}
