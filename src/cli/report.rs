//! What a timed run is shown as: `--report`, `--trace`, `--baseline`. In: a timed call. Out: pages, JSON, traces in files.
//!
//! Always holds: wrong names and places that cannot be written are errors before anything runs; files appear complete or not at all.

use std::path::{Path, PathBuf};

use narae::session::{Session, Timed};
use narae_isa::Diagnostics;
use narae_sim::report::baseline::{self, Gpu};
use narae_sim::report::{Generation, Report, page};
use narae_sim::session::{DramModel, TimingOptions, memory_sheet};

use super::output::Place;
use super::wrong_option;

/// Options of subcommands that time.
#[derive(clap::Args, Clone, Default)]
#[command(next_help_heading = "Report options")]
pub struct ReportOptions {
    /// Write the report of the timed run: a page (.html) or data (.json; see docs/report.md); may be repeated
    #[arg(long, value_name = "FILE")]
    report: Vec<PathBuf>,
    /// Write a trace of the timed run that Perfetto opens (.json)
    #[arg(long, value_name = "JSON", hide_short_help = true)]
    trace: Option<PathBuf>,
    /// How LPDDR is timed: fast (streams at measured rates) or exact (every burst)
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "MODEL",
        hide_possible_values = true,
        hide_short_help = true
    )]
    dram: DramName,
    /// Write every request of the timed run to LPDDR (.csv); `narae dram` replays them
    #[arg(long, value_name = "CSV", hide_short_help = true)]
    dram_trace: Option<PathBuf>,
    /// Compare the timed run with a GPU: a100-fp16, h100-fp16 … (an unknown name lists them)
    #[arg(long, value_name = "GPU")]
    baseline: Option<String>,
}

/// `--dram`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum DramName {
    /// Streams.
    #[default]
    Fast,
    /// Bursts.
    Exact,
}

/// The form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Page,
    Json,
}

/// Places that are reserved for what was asked for.
pub struct Reporter {
    reports: Vec<(Form, Place)>,
    trace: Option<Place>,
    requests: Option<Place>,
    baseline: Option<(String, Gpu)>,
}

impl ReportOptions {
    /// Whether anything needs a timing.
    pub fn wants_timing(&self) -> bool {
        self.wants_report() || self.trace.is_some() || self.dram_trace.is_some() || self.dram == DramName::Exact
    }

    /// How a session is to time its runs.
    pub fn timing(&self) -> TimingOptions {
        let dram = match self.dram {
            DramName::Fast => DramModel::Fast,
            DramName::Exact => DramModel::Exact,
        };
        TimingOptions { dram, requests: self.dram_trace.is_some(), moves: true }
    }

    /// Whether anything needs the whole of a generation.
    pub fn wants_report(&self) -> bool {
        !self.report.is_empty() || self.baseline.is_some()
    }

    /// The files that are written.
    pub fn files(&self) -> impl Iterator<Item = (&str, &Path)> {
        let reports = self.report.iter().map(|path| ("--report", path.as_path()));
        let trace = self.trace.iter().map(|path| ("--trace", path.as_path()));
        reports.chain(trace).chain(self.dram_trace.iter().map(|path| ("--dram-trace", path.as_path())))
    }

    /// Nothing is written to standard output but `what`.
    pub fn leaves_stdout_to(&self, what: &str) -> Result<(), Diagnostics> {
        match self.files().find(|(_, path)| super::output::is_stream(path)) {
            Some((option, _)) => {
                Err(wrong_option(option, "-", &format_args!("standard output is for {what}; give a file")))
            }
            None => Ok(()),
        }
    }

    /// Checks names and reserves places.
    pub fn prepare(&self) -> Result<Reporter, Diagnostics> {
        let baseline = match &self.baseline {
            Some(name) => Some((name.clone(), baseline::find(name)?)),
            None => None,
        };
        let forms: Result<Vec<Form>, Diagnostics> = self.report.iter().map(|path| form(path)).collect();
        let reports = forms?.into_iter().zip(&self.report).map(|(form, path)| Ok((form, Place::reserve(path)?)));
        let reports: Result<Vec<(Form, Place)>, Diagnostics> = reports.collect();
        let trace = self.trace.as_deref().map(Place::reserve).transpose()?;
        let requests = self.dram_trace.as_deref().map(Place::reserve).transpose()?;
        Ok(Reporter { reports: reports?, trace, requests, baseline })
    }
}

/// The form that a file's name asks for; standard output gets JSON.
fn form(path: &Path) -> Result<Form, Diagnostics> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("html" | "htm") => Ok(Form::Page),
        Some("json") => Ok(Form::Json),
        None if super::output::is_stream(path) => Ok(Form::Json),
        _ => Err(wrong_option("--report", &path.display().to_string(), &"the name must end in .html or .json")),
    }
}

impl Reporter {
    /// Makes the report of a timed call, and writes everything that was asked for. `past` is the number of tokens before the call,
    /// where that is known.
    pub fn write(
        self,
        session: &Session,
        timed: &Timed,
        past: Option<u64>,
        generation: Option<Generation>,
    ) -> Result<Report, Diagnostics> {
        let mut report = session.report(timed)?;
        (report.past, report.generation) = (past, generation);
        if let Some((name, gpu)) = &self.baseline {
            report.compare_with(name, gpu);
        }
        if let Some(place) = self.trace {
            place.write(session.trace(timed)?.as_bytes())?;
        }
        if let (Some(place), Some(requests)) = (self.requests, &timed.timed.requests) {
            let chip = session.image().chip();
            let mapping = memory_sheet(chip)?.mapping;
            let replay = format!("narae dram FILE --config {}\nchannels and addresses: {mapping}", chip.chip.name);
            place.write(requests.to_text(&replay).as_bytes())?;
        }
        for (form, place) in self.reports {
            let text = match form {
                Form::Page => page::page(&report),
                Form::Json => report.to_json(),
            };
            place.write(text.as_bytes())?;
        }
        Ok(report)
    }
}
