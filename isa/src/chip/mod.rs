//! Data sheets: the numbers that distinguish one chip from another. The instruction set is the same for all.
//!
//! In: the name of a built-in sheet, or TOML. Out: [`Chip`], or every problem of the sheet with file, line and key. Always:
//! every key is given, none is unknown, every value is in range, and the values agree with each other.

use std::fmt::Write as _;
use std::path::Path;

use crate::codes;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::files;
use crate::sheet::{Reader, SheetKind};

/// What the sheets of chips are called, and their error codes.
const KIND: SheetKind = SheetKind {
    what: "a chip sheet",
    syntax: &codes::E0702,
    unknown: &codes::E0703,
    missing: &codes::E0704,
    value: &codes::E0705,
    inconsistent: &codes::E0706,
};

/// The built-in sheets: name and text.
pub const BUILT_IN: [(&str, &str); 3] = [
    ("narae-1", include_str!("../chips/narae-1.toml")),
    ("narae-edge", include_str!("../chips/narae-edge.toml")),
    ("narae-fpga", include_str!("../chips/narae-fpga.toml")),
];

/// One value of a sheet.
trait Value: Sized {
    fn read(reader: &mut Reader, key: &str, low: f64, high: f64) -> Self;
    fn write(&self) -> String;
}

impl Value for u64 {
    fn read(reader: &mut Reader, key: &str, low: f64, high: f64) -> u64 {
        reader.integer(key, low as u64, high as u64)
    }
    fn write(&self) -> String {
        self.to_string()
    }
}

impl Value for f64 {
    fn read(reader: &mut Reader, key: &str, low: f64, high: f64) -> f64 {
        reader.number(key, low, high)
    }
    fn write(&self) -> String {
        format!("{self:?}")
    }
}

impl Value for String {
    fn read(reader: &mut Reader, key: &str, _low: f64, _high: f64) -> String {
        reader.text(key)
    }
    fn write(&self) -> String {
        toml::Value::String(self.clone()).to_string()
    }
}

/// An energy with its band and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Energy {
    /// The value to use, in picojoules per the unit that the key names.
    pub typical: f64,
    /// Lower end of the band.
    pub low: f64,
    /// Upper end of the band.
    pub high: f64,
    /// Source, or the assumption behind it.
    pub source: String,
}

impl Energy {
    fn read(reader: &mut Reader, key: &str) -> Energy {
        let mut number = |part: &str| reader.number(&format!("{key}.{part}"), 0.0, 1e9);
        let (typical, low, high) = (number("typical"), number("low"), number("high"));
        let source = reader.text(&format!("{key}.source"));
        if reader.is_clean() && !(low <= typical && typical <= high) {
            let message = format!("the band {low} … {high} does not contain the typical value {typical}");
            reader.contradiction(&format!("{key}.typical"), message);
        }
        Energy { typical, low, high, source }
    }
}

/// Expands the table of sections and keys into structs, reading and writing.
macro_rules! sheet {
    ($(
        $(#[doc = $section_doc:literal])*
        $section:ident: $name:ident {
            $($(#[doc = $doc:literal])* $key:ident: $type:ty [$low:literal, $high:literal],)*
        }
    )*) => {
        $(
            $(#[doc = $section_doc])*
            #[derive(Clone, Debug, PartialEq)]
            pub struct $name { $($(#[doc = $doc])* pub $key: $type,)* }

            impl $name {
                fn read(reader: &mut Reader) -> $name {
                    $name {
                        $($key: <$type>::read(
                            reader, concat!(stringify!($section), ".", stringify!($key)), $low as f64, $high as f64,
                        ),)*
                    }
                }

                fn write(&self, out: &mut String) {
                    writeln!(out, "\n[{}]", stringify!($section)).ok();
                    $(writeln!(out, "{} = {}", stringify!($key), self.$key.write()).ok();)*
                }
            }
        )*

        /// A chip.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Chip {
            $($(#[doc = $section_doc])* pub $section: $name,)*
            /// What events cost.
            pub energy: EnergyTable,
        }

        impl Chip {
            fn read(reader: &mut Reader) -> Chip {
                Chip { $($section: $name::read(reader),)* energy: EnergyTable::read(reader) }
            }

            fn write_sections(&self, out: &mut String) {
                $(self.$section.write(out);)*
            }
        }
    };
}

/// Expands the table of energies.
macro_rules! energies {
    ($($(#[doc = $doc:literal])* $key:ident,)*) => {
        /// What events cost, each with a band and its source.
        #[derive(Clone, Debug, PartialEq)]
        pub struct EnergyTable { $($(#[doc = $doc])* pub $key: Energy,)* }

        impl EnergyTable {
            fn read(reader: &mut Reader) -> EnergyTable {
                EnergyTable { $($key: Energy::read(reader, concat!("energy.", stringify!($key))),)* }
            }

            /// All rows: key and energy.
            pub fn rows(&self) -> Vec<(&'static str, &Energy)> {
                vec![$((stringify!($key), &self.$key),)*]
            }
        }
    };
}

sheet! {
    /// What it is.
    chip: Identity {
        /// Name, as in `--chip`.
        name: String [0, 0],
        /// One line about it.
        description: String [0, 0],
    }
    /// Tiles and clock.
    tiles: Tiles {
        /// Number of tiles.
        count: u64 [1, 1024],
        /// Clock of all engines, in MHz.
        clock_mhz: f64 [1.0, 10000.0],
    }
    /// SRAM: one address space, banked by tile.
    sram: Sram {
        /// Bytes of one tile.
        bytes_per_tile: u64 [65536, 1073741824],
        /// Banks of one tile.
        banks_per_tile: u64 [1, 256],
        /// Bytes that one bank delivers or takes per clock.
        bank_bytes_per_clock: u64 [1, 4096],
        /// Bytes per clock between a tile and all others.
        crossbar_bytes_per_clock: u64 [1, 65536],
        /// Tiles that one read may feed at once.
        broadcast_tiles: u64 [1, 1024],
    }
    /// Control unit.
    scu: ControlUnit {
        /// Clocks of a taken branch.
        branch_clocks: u64 [1, 1000],
        /// Clocks of a scalar load or store, or of a descriptor load, beyond the memory's own time.
        load_clocks: u64 [1, 1000],
        /// Bytes of the instruction buffer, two blocks of a fetch at least; code that fits is fetched once.
        instruction_buffer_bytes: u64 [2048, 16777216],
        /// Clocks from dispatch to the start of an instruction on an idle engine.
        dispatch_clocks: u64 [0, 1000],
        /// Instructions that wait in the queue of each engine.
        queue_depth: u64 [1, 1024],
    }
    /// Weight streams.
    dmaw: WeightDma {
        /// Bytes of the weight FIFO of one tile.
        fifo_bytes_per_tile: u64 [1024, 1073741824],
        /// Clocks from the start of a stream to its first byte beyond the memory's own latency.
        start_clocks: u64 [0, 10000],
    }
    /// Activations, KV cache, rows.
    dmaa: ActivationDma {
        /// Moves that run at the same time.
        queues: u64 [1, 64],
        /// Clocks from the start of a move to its first byte beyond the memory's own latency.
        start_clocks: u64 [0, 10000],
        /// Bytes per clock of one queue.
        bytes_per_clock: u64 [1, 65536],
    }
    /// Matrix engine; all rates per tile and clock.
    mxe: MatrixEngine {
        /// LUT mode: outputs.
        lut_outputs: u64 [1, 4096],
        /// LUT mode: inputs of one table (µ).
        lut_inputs: u64 [1, 16],
        /// LUT mode: planes.
        lut_planes: u64 [1, 16],
        /// LUT mode: tokens.
        lut_tokens: u64 [1, 1024],
        /// Multiply-adds of f16 and bf16 products.
        f16_macs: u64 [1, 65536],
        /// Multiply-adds of f32 products.
        f32_macs: u64 [1, 65536],
        /// Multiply-adds of f64 and i64 products.
        f64_macs: u64 [1, 65536],
        /// Multiply-adds of integers of at most 16 bits.
        integer_macs: u64 [1, 65536],
        /// Clocks to fill and drain the pipeline.
        fill_clocks: u64 [0, 10000],
    }
    /// Attention engine; all rates per tile and clock.
    ate: AttentionEngine {
        /// Multiply-adds of f16, bf16 and 8-bit operands.
        f16_macs: u64 [1, 65536],
        /// Multiply-adds of f32 operands.
        f32_macs: u64 [1, 65536],
        /// Scores through the exponential.
        exponentials: u64 [1, 65536],
        /// Clocks to fill and drain the pipeline, once per block of keys.
        block_clocks: u64 [0, 10000],
    }
    /// Vector engine; all rates per tile and clock.
    vpe: VectorEngine {
        /// Lanes of f16, bf16 and narrower types.
        f16_lanes: u64 [1, 65536],
        /// Lanes of f32 and 32-bit integers.
        f32_lanes: u64 [1, 65536],
        /// Lanes of f64 and i64.
        f64_lanes: u64 [1, 65536],
        /// Clocks per element of a transcendental function in one lane.
        transcendental_clocks: u64 [1, 1000],
        /// Clocks per element of a gather or scatter in one lane.
        indexed_clocks: u64 [1, 1000],
        /// Clocks per element and pass of sort and top-k in one lane.
        sort_clocks: u64 [1, 1000],
        /// Clocks to fill and drain the pipeline.
        fill_clocks: u64 [0, 10000],
    }
    /// LPDDR.
    dram: Dram {
        /// Name of the memory's own sheet: timing, queues, mapping.
        device: String [0, 0],
        /// Channels.
        channels: u64 [1, 1024],
        /// Data bits of one channel.
        channel_bits: u64 [8, 64],
        /// Transfers per second and pin, in millions.
        megatransfers: u64 [100, 20000],
        /// Bandwidth of all channels, in 10^9 bytes per second; must agree with the three values above.
        gigabytes_per_second: f64 [0.1, 100000.0],
        /// Bytes in all.
        capacity_bytes: u64 [1048576, 1099511627776.0],
        /// Consecutive bytes on one channel before the next one follows.
        stripe_bytes: u64 [32, 65536],
        /// Latency of the controller and the crossbar, in nanoseconds, beyond the device's own.
        controller_ns: f64 [0.0, 10000.0],
    }
    /// Power that does not depend on work.
    power: Power {
        /// Watts of the idle chip, memory's background excluded.
        static_watts: f64 [0.0, 10000.0],
    }
}

energies! {
    /// DRAM device, PHY and controller, per bit, for estimates; timing takes the energy of the memory's own sheet.
    dram_bit,
    /// Reading or writing SRAM, per byte.
    sram_byte,
    /// Moving through the crossbar, per byte.
    crossbar_byte,
    /// LUT read and add, per weight and plane and token.
    lut_plane,
    /// Multiply-add of f16 or bf16 with f32 accumulation.
    f16_mac,
    /// Multiply-add of f32.
    f32_mac,
    /// Multiply-add of f64.
    f64_mac,
    /// Multiply-add of integers of at most 16 bits.
    integer_mac,
    /// One elementwise operation of a lane.
    vector_operation,
    /// One transcendental function of a lane.
    transcendental,
    /// Fetching, decoding and dispatching an instruction.
    instruction,
}

impl Chip {
    /// The built-in chip of this name.
    pub fn built_in(name: &str) -> Option<Chip> {
        let (_, text) = BUILT_IN.iter().find(|(built_in, _)| *built_in == name)?;
        match Chip::parse(name, text) {
            Ok(chip) => Some(chip),
            Err(problems) => unreachable!("the built-in sheet {name} is valid: {problems}"),
        }
    }

    /// The chip of `--chip`: a built-in name or the path of a sheet.
    pub fn load(name_or_path: &str) -> Result<Chip, Diagnostics> {
        if let Some(chip) = Chip::built_in(name_or_path) {
            return Ok(chip);
        }
        let text = files::read_text(Path::new(name_or_path), files::MOST_SHEET_BYTES).map_err(|error| {
            let names: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
            Diagnostic::new(&codes::E0701, format!("no built-in chip of this name, and as a file: {error}"))
                .at_file(name_or_path)
                .help(format!("give {} or the path of a chip sheet", names.join(", ")))
        })?;
        Chip::parse(name_or_path, &text)
    }

    /// Whether a TOML text is the sheet of a chip, right or wrong, and not of something else: it has tiles.
    pub fn is_described_by(text: &str) -> bool {
        toml::de::DeTable::parse(text).is_ok_and(|table| table.get_ref().contains_key("tiles"))
    }

    /// Reads a sheet; `file` is used in messages.
    pub fn parse(file: &str, text: &str) -> Result<Chip, Diagnostics> {
        let mut reader = Reader::new(&KIND, file, text)?;
        let chip = Chip::read(&mut reader);
        if reader.is_clean() {
            chip.check(&mut reader);
        }
        reader.finish(chip)
    }

    /// The complete sheet as TOML; parses back to the same chip.
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        self.write_sections(&mut out);
        for (key, energy) in self.energy.rows() {
            let Energy { typical, low, high, source } = energy;
            let source = source.write();
            write!(out, "\n[energy.{key}]\ntypical = {typical:?}\nlow = {low:?}\nhigh = {high:?}\nsource = {source}\n")
                .ok();
        }
        out.trim_start().to_string()
    }

    /// What single values cannot say.
    fn check(&self, reader: &mut Reader) {
        let dram = &self.dram;
        let bandwidth = (dram.channels * dram.channel_bits * dram.megatransfers) as f64 / 8000.0;
        if (bandwidth - dram.gigabytes_per_second).abs() > 0.005 * bandwidth {
            let message = format!(
                "{} GB/s do not agree with {} channels of {} bits at {} MT/s, which are {bandwidth:.1} GB/s",
                dram.gigabytes_per_second, dram.channels, dram.channel_bits, dram.megatransfers
            );
            reader.contradiction("dram.gigabytes_per_second", message);
        }
        if !dram.stripe_bytes.is_power_of_two() {
            let message = format!("stripes of {} bytes are not a power of two", dram.stripe_bytes);
            reader.contradiction("dram.stripe_bytes", message);
        }
        if !dram.capacity_bytes.is_multiple_of(dram.channels) {
            let message = format!("{} bytes do not divide among {} channels", dram.capacity_bytes, dram.channels);
            reader.contradiction("dram.capacity_bytes", message);
        }
        if !dram.channels.is_power_of_two() {
            let message = format!("{} channels; addresses are dealt out to a power of two", dram.channels);
            reader.contradiction("dram.channels", message);
        }
        let (line, banks) = (self.sram.bank_bytes_per_clock, self.sram.banks_per_tile);
        if !line.is_power_of_two() {
            let message = format!("{line} bytes a clock are not a power of two");
            reader.contradiction("sram.bank_bytes_per_clock", message);
        }
        if !self.sram.bytes_per_tile.is_multiple_of(banks * line) {
            let message = format!(
                "{} bytes do not divide among {banks} banks of lines of {line} bytes",
                self.sram.bytes_per_tile
            );
            reader.contradiction("sram.bytes_per_tile", message);
        }
        if !self.dmaw.fifo_bytes_per_tile.is_multiple_of(line) {
            let message =
                format!("{} bytes are no whole number of lines of {line} bytes", self.dmaw.fifo_bytes_per_tile);
            reader.contradiction("dmaw.fifo_bytes_per_tile", message);
        }
        if self.dmaw.fifo_bytes_per_tile >= self.sram.bytes_per_tile {
            let message = "the weight FIFO is part of the SRAM and must be smaller than it".to_string();
            reader.contradiction("dmaw.fifo_bytes_per_tile", message);
        }
        if self.sram.broadcast_tiles > self.tiles.count {
            let message = format!("a read cannot feed more than all {} tiles", self.tiles.count);
            reader.contradiction("sram.broadcast_tiles", message);
        }
    }

    /// Bytes of the SRAM that programs can address: all tiles, without the weight FIFOs.
    pub fn sram_bytes(&self) -> u64 {
        self.tiles.count * (self.sram.bytes_per_tile - self.dmaw.fifo_bytes_per_tile)
    }

    /// Bytes of the DRAM.
    pub fn dram_bytes(&self) -> u64 {
        self.dram.capacity_bytes
    }

    /// DRAM bytes per clock of the engines.
    pub fn dram_bytes_per_clock(&self) -> f64 {
        self.dram.gigabytes_per_second * 1000.0 / self.tiles.clock_mhz
    }
}

#[cfg(test)]
mod tests;
