//! `narae run`: one call of an image, or of an ONNX file that is compiled on the fly. In: arrays by input name. Out: arrays by
//! output name.

use std::path::{Path, PathBuf};

use narae::npz::{self, Arrays};
use narae::session::{Reference, Session};
use narae_compiler::bounds::Rest;
use narae_compiler::compile::KvCache;
use narae_isa::{Diagnostics, HostTensor};

use super::options::CompileOptions;
use super::output::{self, Place};
use super::report::{ReportOptions, Reporter};
use super::{Outcome, Voice};

/// What the simulator answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    /// What is computed.
    #[default]
    Functional,
    /// When, without computing: of the inputs only dims and lengths matter, and there are no outputs.
    Timing,
    /// What is computed, and when.
    Both,
}

/// What to run, on what, and where results go.
#[derive(clap::Args)]
pub struct Arguments {
    /// An image (.narae), or a model (.onnx)
    file: PathBuf,
    /// Inputs: an .npz whose keys are the input names
    #[arg(long, value_name = "NPZ")]
    inputs: Option<PathBuf>,
    /// Take the keys below this prefix: `set0/call0` reads `set0/call0/in/…`
    #[arg(long, value_name = "PREFIX", requires = "inputs")]
    call: Option<String>,
    /// Where outputs go (.npz, `-`: standard output); without it their first values are printed
    #[arg(short, long, value_name = "NPZ")]
    output: Option<PathBuf>,
    /// The entry of the image, where there are several
    #[arg(long, value_name = "NAME")]
    entry: Option<String>,
    /// Run the reference evaluator on the graph instead of the chip
    #[arg(long, conflicts_with_all = ["entry", "mode", "report", "trace", "dram_trace", "baseline"])]
    evaluator: bool,
    /// functional (values), timing (cycles) or both; what reports implies both
    #[arg(long, value_enum, default_value_t, value_name = "MODE", hide_possible_values = true)]
    mode: Mode,
    #[command(flatten)]
    report: ReportOptions,
    #[command(flatten)]
    compile: CompileOptions,
}

/// Runs one call.
pub fn run(arguments: Arguments, voice: Voice) -> Outcome {
    if arguments.mode == Mode::Timing && arguments.output.is_some() {
        return Err(super::wrong_option("--mode", "timing", &"it computes no outputs; leave -o out, or use --mode both"));
    }
    let reporter = arguments.report.prepare()?;
    let place = arguments.output.as_deref().map(Place::reserve).transpose()?;
    let inputs = inputs(&arguments)?;
    let outputs = match arguments.evaluator {
        true => Reference::open(&arguments.file)?.run(&inputs)?,
        false => execute(&arguments, &inputs, reporter, voice)?,
    };
    match (place, &arguments.output) {
        (Some(place), Some(path)) => {
            place.write(&npz::to_bytes(&outputs).map_err(|error| output::cannot_write(path, &error))?)
        }
        _ => output::to_stdout(summary(&outputs).as_bytes()),
    }
}

/// Runs on the chip, with timing if anything asks for it.
fn execute(arguments: &Arguments, inputs: &Arrays, reporter: Reporter, voice: Voice) -> Result<Arrays, Diagnostics> {
    let mut session = session(arguments, inputs, voice)?;
    session.set_timing(arguments.report.timing());
    let entry = arguments.entry.as_deref();
    let timed = match arguments.mode {
        Mode::Functional if !arguments.report.wants_timing() => return session.run(entry, inputs),
        Mode::Timing => session.time(entry, inputs, tokens(inputs))?,
        Mode::Functional | Mode::Both => session.run_timed(entry, inputs, tokens(inputs))?,
    };
    let report = reporter.write(&session, &timed, None, None)?;
    voice.say(report.to_text().trim_end());
    Ok(timed.outputs)
}

/// The tokens of a call: those of its ids, if it has any.
fn tokens(inputs: &Arrays) -> Option<u64> {
    let ids = inputs.iter().find(|(name, tensor)| name.contains("ids") && !name.contains("position") && tensor.rank() == 2);
    ids.map(|(_, tensor)| tensor.len() as u64)
}

fn inputs(arguments: &Arguments) -> Result<Arrays, Diagnostics> {
    let Some(path) = &arguments.inputs else { return Ok(Arrays::new()) };
    npz::read_call(path, arguments.call.as_deref(), "in")
}

/// Whether a path is a model to compile; everything else is an image.
pub fn is_model(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "onnx")
}

fn session(arguments: &Arguments, inputs: &Arrays, voice: Voice) -> Result<Session, Diagnostics> {
    if is_model(&arguments.file) {
        let mut options = arguments.compile.resolve(&arguments.file, KvCache::Io)?;
        // Lengths without a bound take it from the inputs that are given.
        if options.maxima.rest == Rest::Refused {
            options.maxima.rest = Rest::Fitting;
        }
        options.maxima.shapes.push(inputs.iter().map(|(name, tensor)| (name.clone(), tensor.dims.clone())).collect());
        voice.detail(format_args!("compiling {}", arguments.file.display()));
        let mut watcher = arguments.compile.watch.watcher(voice, Some(inputs))?;
        return Ok(Session::compile_observed(&arguments.file, &options, &mut watcher)?.0);
    }
    let session = Session::open(&arguments.file)?;
    if let Some(chip) = arguments.compile.asked_chip()? {
        session.image().check_chip(&chip)?;
    }
    Ok(session)
}

/// A few words about each output: for eyes, not for programs.
fn summary(outputs: &Arrays) -> String {
    let line = |(name, tensor): (&String, &HostTensor)| {
        format!("{name}: {} {:?} {}\n", tensor.element.name(), tensor.dims, first_values(tensor))
    };
    outputs.iter().map(line).collect()
}

fn first_values(tensor: &HostTensor) -> String {
    let value = |index| match tensor.element.is_float() {
        true => format!("{:.6}", tensor.get_f64(index)),
        false => tensor.get_i64(index).to_string(),
    };
    let shown: Vec<String> = (0..tensor.len().min(8)).map(value).collect();
    let more = if tensor.len() > 8 { ", …" } else { "" };
    format!("[{}{more}]", shown.join(", "))
}
