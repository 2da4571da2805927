//! `narae dram`: the LPDDR model alone. In: a trace of requests (`clock,R|W,address,bytes` a line) and a sheet. Out: bandwidth,
//! latency, row hits, commands.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use narae_isa::{Chip, Diagnostics, files};
use narae_sim::dram::sheet::Sheet;
use narae_sim::dram::trace::Trace;
use narae_sim::dram;
use narae_sim::session::memory_sheet;

use super::{Outcome, Voice, output};

/// How precisely.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Every burst.
    #[default]
    Exact,
    /// Rows and streams.
    Fast,
}

/// The trace and the memory.
#[derive(clap::Args)]
pub struct Arguments {
    /// The trace (.csv)
    trace: PathBuf,
    /// The memory: a built-in one, that of a built-in chip with all its channels and ranks (what `run --dram-trace` writes is for that), or
    /// the TOML sheet of either
    #[arg(long, value_name = "SHEET", default_value = "lpddr5x-8533")]
    config: String,
    /// The address mapping, from the most significant bit, instead of the sheet's
    #[arg(long, value_name = "BITS")]
    mapping: Option<String>,
    /// exact (every burst) or fast (rows and streams)
    #[arg(long, value_enum, default_value_t, value_name = "MODE", hide_possible_values = true)]
    mode: Mode,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the trace.
pub fn run(arguments: Arguments, _voice: Voice) -> Outcome {
    let mut sheet = sheet(&arguments.config)?;
    if let Some(mapping) = &arguments.mapping {
        sheet = sheet.with_mapping(mapping).map_err(|reason| super::wrong_option("--mapping", mapping, &reason))?;
    }
    let file = arguments.trace.display().to_string();
    let trace = Trace::load(&file)?;
    let mode = match arguments.mode {
        Mode::Exact => dram::Mode::Exact,
        Mode::Fast => dram::Mode::Fast,
    };
    let report = dram::run_trace(&sheet, &file, &trace, mode)?;
    let text = if arguments.json { format!("{:#}\n", report.to_json()) } else { format!("{report}\n") };
    output::to_stdout(text.as_bytes())
}

/// The sheet of a memory, or of the memory of a chip.
fn sheet(name: &str) -> Result<Sheet, Diagnostics> {
    let of_chip = Chip::built_in(name).is_some()
        || files::read_text(Path::new(name), files::MOST_SHEET_BYTES).is_ok_and(|text| Chip::is_described_by(&text));
    match of_chip {
        true => memory_sheet(&Chip::load(name)?),
        false => Sheet::load(name),
    }
}
