//! Lengths of a call that is only timed, as they stand on a command line. In: text, and the headers of an npz. Out: [`Lengths`].
//!
//! Always holds: of an npz only dims and integers of rank 0 or 1 are read.

use std::path::{Path, PathBuf};

use narae::npz;
use narae_isa::{Diagnostic, Diagnostics, codes, files};
use narae_sim::machine::Recording;
use narae_sim::session::Lengths;

use super::options::{named_length, once};
use super::output;

/// Options of a run without tensors, and of the run that it is recorded from.
#[derive(clap::Args, Clone, Default)]
#[command(next_help_heading = "Timing options")]
pub struct LengthOptions {
    /// With --mode timing: tokens before the call, of every sequence; other lengths come from --dim or from the dims of --inputs
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..), allow_negative_numbers = true)]
    past: Option<i64>,
    /// With --mode timing: a length that data would decide; may be repeated
    #[arg(long = "assume", value_name = "NAME=N", value_parser = named_length, hide_short_help = true)]
    assumed: Vec<(String, i64)>,
    /// Write down the scalars that the program loads (.json), for --recorded
    #[arg(long, value_name = "JSON", conflicts_with = "recorded", hide_short_help = true)]
    record: Option<PathBuf>,
    /// With --mode timing: take the scalars that data decides from such a record
    #[arg(long, value_name = "JSON", hide_short_help = true)]
    recorded: Option<PathBuf>,
}

impl LengthOptions {
    /// The lengths of a call: of its inputs, and as named.
    pub fn lengths(
        &self,
        inputs: Option<&Path>,
        call: Option<&str>,
        named: &[(String, i64)],
    ) -> Result<Lengths, Diagnostics> {
        once("--assume", &self.assumed)?;
        let (shapes, values) = inputs.map(|path| npz::read_lengths(path, call)).transpose()?.unwrap_or_default();
        Ok(Lengths {
            shapes,
            values,
            named: named.iter().cloned().collect(),
            past: self.past,
            assumed: self.assumed.iter().cloned().collect(),
            recorded: self.recorded.as_deref().map(read).transpose()?,
        })
    }

    /// Tokens before the call.
    pub fn past(&self) -> Option<i64> {
        self.past
    }

    /// Where the record of a functional run goes.
    pub fn record(&self) -> Option<&Path> {
        self.record.as_deref()
    }

    /// The option that only means something with --mode timing, if one was given.
    pub fn timing_only(&self) -> Option<&'static str> {
        match self {
            LengthOptions { past: Some(_), .. } => Some("--past"),
            LengthOptions { recorded: Some(_), .. } => Some("--recorded"),
            LengthOptions { assumed, .. } if !assumed.is_empty() => Some("--assume"),
            LengthOptions { .. } => None,
        }
    }
}

/// Writes a record.
pub fn write(path: &Path, recording: &Recording) -> Result<(), Diagnostics> {
    let text = serde_json::to_string(recording).unwrap_or_else(|error| unreachable!("a record is plain data: {error}"));
    output::write(path, text.as_bytes())
}

fn read(path: &Path) -> Result<Recording, Diagnostics> {
    let refused = |reason: String| {
        Diagnostic::new(&codes::E0803, format!("the record cannot be read: {reason}"))
            .at_file(path.display().to_string())
            .help("write one with --record and a run that computes")
    };
    let text = files::read_text(path, files::MOST_TEXT_BYTES).map_err(|error| refused(error.to_string()))?;
    Ok(serde_json::from_str(&text).map_err(|error| refused(error.to_string()))?)
}
