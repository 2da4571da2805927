//! `narae chips`: the built-in data sheets, or one of them as a complete TOML file to start an own one from.

use std::fmt::Write as _;

use narae_isa::Chip;
use narae_isa::chip::BUILT_IN;

use super::{Outcome, Voice, output};

/// Which sheet.
#[derive(clap::Args)]
pub struct Arguments {
    /// A built-in sheet or the path of one; without it a table of the built-in ones
    chip: Option<String>,
}

/// Prints a table or a sheet.
pub fn run(arguments: Arguments, _voice: Voice) -> Outcome {
    let text = match &arguments.chip {
        None => table(),
        Some(name) => match BUILT_IN.iter().find(|(built_in, _)| built_in == name) {
            Some((_, text)) => (*text).to_string(), // with its comments
            None => Chip::load(name)?.to_toml(),
        },
    };
    output::to_stdout(text.as_bytes())
}

fn table() -> String {
    let mut out = format!("{:<12} {:>6} {:>8} {:>9} {:>9} {:>9}  what it is\n", "chip", "tiles", "MHz", "SRAM MiB", "LPDDR GiB", "GB/s");
    for chip in BUILT_IN.iter().filter_map(|(name, _)| Chip::built_in(name)) {
        let _ = writeln!(
            out,
            "{:<12} {:>6} {:>8.0} {:>9.1} {:>9.0} {:>9.1}  {}",
            chip.chip.name,
            chip.tiles.count,
            chip.tiles.clock_mhz,
            chip.sram_bytes() as f64 / f64::from(1 << 20),
            chip.dram_bytes() as f64 / f64::from(1 << 30),
            chip.dram.gigabytes_per_second,
            chip.chip.description,
        );
    }
    out + "\n`narae chips NAME > my.toml` writes a sheet to start from; use it with --chip my.toml.\n"
}
