//! `narae run`: one call of an image, or of an ONNX file that is compiled on the fly. In: arrays by input name. Out: arrays by
//! output name.

use std::path::{Path, PathBuf};

use narae::npz::{self, Arrays};
use narae::session::{Reference, Session};
use narae::settings;
use narae_compiler::bounds::Unsaid;
use narae_compiler::compile::{KvCache, Options, Precision};
use narae_compiler::compress::policy::Policy;
use narae_isa::image::Entry;
use narae_isa::{Diagnostics, HostTensor};
use narae_sim::session::Lengths;

use super::lengths::{self, LengthOptions};
use super::options::CompileOptions;
use super::output::{self, Place};
use super::progress::Progress;
use super::report::{ReportOptions, Reporter};
use super::running::RunOptions;
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
    /// An image (.narae), a model (.onnx), or a folder with one
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
    #[arg(long, conflicts_with_all = ["entry", "mode", "report", "trace", "dram_trace", "baseline", "max_instructions"])]
    evaluator: bool,
    /// functional (values), timing (cycles) or both; what reports implies both
    #[arg(long, value_enum, default_value_t, value_name = "MODE", hide_possible_values = true)]
    mode: Mode,
    #[command(flatten)]
    lengths: LengthOptions,
    #[command(flatten)]
    report: ReportOptions,
    #[command(flatten)]
    running: RunOptions,
    #[command(flatten)]
    compile: CompileOptions,
}

/// Runs one call.
pub fn run(mut arguments: Arguments, voice: Voice) -> Outcome {
    arguments.file = settings::model_file(&arguments.file)?;
    check_places(&arguments)?;
    match (arguments.mode, arguments.lengths.timing_only()) {
        (Mode::Timing, _) => return time(&arguments, voice),
        (Mode::Functional | Mode::Both, Some(option)) => {
            return Err(super::wrong_option(option, "…", &"it belongs to --mode timing"));
        }
        (Mode::Functional | Mode::Both, None) => {}
    }
    let reporter = arguments.report.prepare()?;
    let place = arguments.output.as_deref().map(Place::reserve).transpose()?;
    let inputs = inputs(&arguments)?;
    let outputs = match arguments.evaluator {
        true => evaluate(&arguments, &inputs, voice)?,
        false => execute(&arguments, &inputs, reporter, voice)?,
    };
    match (place, &arguments.output) {
        (Some(place), Some(path)) => {
            place.write(&npz::to_bytes(&outputs).map_err(|error| output::cannot_write(path, &error))?)
        }
        _ => output::to_stdout(summary(&outputs).as_bytes()),
    }
}

/// The graph's own meaning.
fn evaluate(arguments: &Arguments, inputs: &Arrays, voice: Voice) -> Result<Arrays, Diagnostics> {
    let _line = Progress::phase(voice, "evaluating the graph");
    reference(arguments, inputs, voice)?.run(inputs)
}

/// Where first values are printed, standard output is taken. (That results go to different places is checked in `inputs`.)
fn check_places(arguments: &Arguments) -> Outcome {
    if arguments.output.is_none() && arguments.mode != Mode::Timing {
        arguments.report.leaves_stdout_to("the outputs")?;
    }
    Ok(())
}

/// Runs on the chip, with timing if anything asks for it.
fn execute(arguments: &Arguments, inputs: &Arrays, reporter: Reporter, voice: Voice) -> Result<Arrays, Diagnostics> {
    let mut session = session(arguments, inputs, voice)?;
    arguments.running.limit(&mut session);
    session.set_timing(arguments.report.timing());
    let entry = arguments.entry.as_deref();
    let _line = Progress::phase(voice, "computing on the simulated chip");
    if let Some(path) = arguments.lengths.record() {
        let (outputs, recording) = session.run_recording(entry, inputs)?;
        lengths::write(path, &recording)?;
        return Ok(outputs);
    }
    if arguments.mode == Mode::Functional && !arguments.report.wants_timing() {
        return session.run(entry, inputs);
    }
    let timed = session.run_timed(entry, inputs, tokens(inputs))?;
    let report = reporter.write(&session, &timed, None, None)?;
    voice.say(report.to_text().trim_end());
    Ok(timed.outputs)
}

/// Times without computing: no tensor is read, no weight is looked at.
fn time(arguments: &Arguments, voice: Voice) -> Outcome {
    if arguments.output.is_some() {
        return Err(super::wrong_option("--mode", "timing", &"it computes no outputs; leave -o out, or use --mode both"));
    }
    let reporter = arguments.report.prepare()?;
    let (compile, call) = (&arguments.compile, arguments.call.as_deref());
    let model = is_model(&arguments.file);
    // The dims that a model is compiled for are no lengths of its program any more.
    let named = if model { &[] } else { compile.named_lengths() };
    let lengths = arguments.lengths.lengths(arguments.inputs.as_deref(), call, named)?;
    let mut session = match model {
        true => compile_for_timing(arguments, &lengths, voice)?,
        false => open(arguments)?,
    };
    arguments.running.limit(&mut session);
    session.set_timing(arguments.report.timing());
    let entry = session.entry_name(arguments.entry.as_deref())?;
    let line = Progress::phase(voice, "timing on the simulated chip");
    let mut timed = session.time(Some(&entry), &lengths, None)?;
    drop(line);
    timed.tokens = tokens_of(session.image().entry(&entry)?, &timed.timed.lengths);
    let past = arguments.lengths.past().and_then(|past| u64::try_from(past).ok());
    let report = reporter.write(&session, &timed, past, None)?;
    voice.say(report.to_text().trim_end());
    Ok(())
}

/// The tokens of a call with these lengths: those of its ids, if it has any.
fn tokens_of(entry: &Entry, lengths: &[i64]) -> Option<u64> {
    let ids = entry.inputs.iter().find(|info| is_ids(&info.name, info.dims.len()))?;
    ids.dims_at(lengths).ok().map(|dims| dims.iter().product::<usize>() as u64)
}

fn is_ids(name: &str, rank: usize) -> bool {
    name.contains("ids") && !name.contains("position") && rank == 2
}

/// The tokens of a call: those of its ids, if it has any.
fn tokens(inputs: &Arrays) -> Option<u64> {
    let ids = inputs.iter().find(|(name, tensor)| is_ids(name, tensor.rank()));
    ids.map(|(_, tensor)| tensor.len() as u64)
}

fn inputs(arguments: &Arguments) -> Result<Arrays, Diagnostics> {
    let Some(path) = &arguments.inputs else { return Ok(Arrays::new()) };
    npz::read_call(path, arguments.call.as_deref(), "in")
}

/// Whether a path is a model to compile, or a folder with one; everything else is an image.
pub fn is_model(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx")) || path.is_dir()
}

/// The evaluator on the graph: as the file has it, or with the rounding that the user asks for.
fn reference(arguments: &Arguments, inputs: &Arrays, voice: Voice) -> Result<Reference, Diagnostics> {
    let options = options(arguments, inputs)?;
    if options.quant == Policy::None && options.precision == Precision::Auto {
        return Reference::open_for(&arguments.file, &options);
    }
    let mut watcher = arguments.compile.watch.watcher(voice, Some(inputs))?;
    Reference::optimised(&arguments.file, &options, &mut watcher)
}

/// What a model is compiled with for these inputs.
fn options(arguments: &Arguments, inputs: &Arrays) -> Result<Options, Diagnostics> {
    let mut options = arguments.compile.resolve(&arguments.file, KvCache::Io)?;
    // Lengths without a bound take it from the inputs that are given; an input that is not given is what is wrong, not its bound.
    options.maxima.unsaid = Unsaid::Chosen { positions: None };
    options.maxima.given.push(narae::session::shapes(inputs));
    Ok(options)
}

fn session(arguments: &Arguments, inputs: &Arrays, voice: Voice) -> Result<Session, Diagnostics> {
    if is_model(&arguments.file) {
        let options = options(arguments, inputs)?;
        voice.detail(format_args!("compiling {}", arguments.file.display()));
        let mut watcher = arguments.compile.watch.watcher(voice, Some(inputs))?;
        let (session, _) = Session::compile_observed(&arguments.file, &options, &mut watcher)?;
        watcher.all_ran()?;
        return Ok(session);
    }
    open(arguments)
}

/// Compiles without reading a weight.
fn compile_for_timing(arguments: &Arguments, lengths: &Lengths, voice: Voice) -> Result<Session, Diagnostics> {
    let mut options = arguments.compile.resolve(&arguments.file, KvCache::Io)?;
    options.maxima.given.push(lengths.shapes.clone());
    options.maxima.past = options.maxima.past.or(lengths.past.map(|past| past.saturating_add(1)));
    options.maxima.unsaid = Unsaid::Chosen { positions: None };
    let mut watcher = arguments.compile.watch.watcher(voice, None)?;
    let (session, _) = Session::compile_for_timing(&arguments.file, &options, &mut watcher)?;
    watcher.all_ran()?;
    Ok(session)
}

/// Opens an image for the chip that was asked for.
fn open(arguments: &Arguments) -> Result<Session, Diagnostics> {
    arguments.compile.set_jobs();
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
