//! `narae compile`: an ONNX file to an image, or to the text of a form on the way.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use narae_compiler::bounds::{self, Unsaid};
use narae_compiler::compile::{Findings, KvCache, Options, compile_graph, optimise};
use narae_compiler::compress::decide::Decision;
use narae_compiler::compress::policy::{Policy, Storage};
use narae_compiler::image::Compiled;
use narae_compiler::pipeline::Module;
use narae::settings;
use narae_isa::table::WORD_BYTES;
use narae_isa::text::disassemble_image;
use narae_isa::Image;

use super::options::CompileOptions;
use super::opt::SPLIT;
use super::output::bytes;
use super::{Outcome, Voice, inputs, output};

/// What to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// The graph after all laws, as MLIR text.
    Graph,
    /// The placed program of each entry, as MLIR text.
    Tile,
    /// Assembly.
    Asm,
    /// The image.
    #[default]
    Image,
}

/// What to compile, and how.
#[derive(clap::Args)]
pub struct Arguments {
    /// The model (.onnx), or a folder with one
    model: PathBuf,
    /// Where the result goes (`-`: standard output)
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// What to write: graph or tile (MLIR text), asm or image
    #[arg(long, value_enum, default_value_t, value_name = "FORM", hide_possible_values = true)]
    emit: Form,
    /// Write what compiling found and decided (.json; see docs/report.md)
    #[arg(long, value_name = "JSON")]
    report: Option<PathBuf>,
    #[command(flatten)]
    compile: CompileOptions,
}

/// Compiles.
pub fn run(arguments: Arguments, voice: Voice) -> Outcome {
    check_report(&arguments)?;
    let model = settings::model_file(&arguments.model)?;
    inputs::note(&model);
    inputs::refuse_as_output(&arguments.output)?;
    let mut options = arguments.compile.resolve(&model, KvCache::Io)?;
    options.maxima.unsaid = Unsaid::Chosen { positions: settings::settings(&model)?.positions };
    let mut watcher = arguments.compile.watch.watcher(voice, None)?;
    watcher.phase("reading the model");
    let graph = narae::session::import_for(&model, &options)?;
    graph.sources.paths().iter().for_each(|path| inputs::note(path));
    inputs::refuse_as_output(&arguments.output)?;
    for idle in bounds::idle(&graph, &options.maxima) {
        voice.note(idle);
    }
    if arguments.emit == Form::Graph {
        let (graph, _) = optimise(graph, &options, &mut watcher)?;
        watcher.all_ran()?;
        graph.sources.unchanged()?;
        return output::write(&arguments.output, Module::Graph(graph).print(voice.is_verbose()).as_bytes());
    }
    let (compiled, findings) = compile_graph(graph, &options, &mut watcher)?;
    watcher.all_ran()?;
    match arguments.emit {
        Form::Tile => {
            let texts: Vec<String> = compiled.modules().map(|module| module.print(voice.is_verbose())).collect();
            output::write(&arguments.output, texts.join(SPLIT).as_bytes())?;
        }
        Form::Asm => {
            let image = Image::from_bytes(&options.name, compiled.to_bytes_observed(&mut watcher)?)?;
            output::write(&arguments.output, disassemble_image(&image).as_bytes())?;
        }
        Form::Graph | Form::Image if output::is_stream(&arguments.output) => {
            output::to_stdout(&compiled.to_bytes_observed(&mut watcher)?)?;
        }
        Form::Graph | Form::Image => compiled.write_to_observed(&arguments.output, &mut watcher)?,
    }
    drop(watcher);
    tell(voice, &arguments.output, &compiled, &findings);
    uncoded(voice, &options, &findings);
    match &arguments.report {
        Some(path) => output::write(path, report(&options, &compiled, &findings).as_bytes()),
        None => Ok(()),
    }
}

/// The report has a form that is there, and a place of its own.
fn check_report(arguments: &Arguments) -> Outcome {
    let Some(path) = &arguments.report else { return Ok(()) };
    let shown = path.display().to_string();
    if *path == arguments.output {
        return Err(super::wrong_option("--report", &shown, &"the result goes there (-o); choose another file"));
    }
    let json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    if json || output::is_stream(path) {
        return Ok(());
    }
    let reason = "the name must end in .json; pages are made of runs: narae run --report r.html";
    Err(super::wrong_option("--report", &shown, &reason))
}

/// A line about the result.
fn tell(voice: Voice, path: &Path, compiled: &Compiled, findings: &Findings) {
    voice.say(format_args!(
        "{}: {} instructions in {}, weights {}",
        path.display(),
        compiled.content.words.len(),
        bytes((compiled.content.words.len() * WORD_BYTES) as u64),
        bytes(compiled.weight_bytes()),
    ));
    if let Some(chosen) = &findings.chosen {
        voice.note(chosen);
    }
    for note in findings.notes.iter().filter(|note| Some(*note) != findings.chosen.as_ref()) {
        voice.detail(format_args!("note: {note}"));
    }
    for note in findings.recovered.regions.iter().flat_map(|region| &region.notes) {
        voice.say(format_args!("note: {note}"));
    }
}

/// Says so where --quant has nothing to act on.
fn uncoded(voice: Voice, options: &Options, findings: &Findings) {
    let coded = |decision: &Decision| decision.chosen.storage.starts_with('u') && decision.chosen.storage.contains(':');
    let floats = |storage: &Storage| storage.planes() == 0;
    let asked = match &options.quant {
        Policy::None => false,
        Policy::Auto => true,
        Policy::Format(rows) | Policy::Patterns(rows) => !rows.iter().all(|(_, storage)| floats(storage)),
    };
    if asked && !findings.decisions.iter().any(coded) {
        voice.say(format_args!("note: --quant stores no weight of this model as codes; `narae explain` of the image says why"));
    }
}

/// The compile report; docs/report.md is its schema.
fn report(options: &Options, compiled: &Compiled, findings: &Findings) -> String {
    let entries: Vec<&str> = compiled.content.metadata.entries.iter().map(|entry| entry.name.as_str()).collect();
    let value = serde_json::json!({
        "model": options.name,
        "chip": options.chip.chip.name,
        "entries": entries,
        "code_bytes": compiled.content.words.len() * WORD_BYTES,
        "descriptor_rows": compiled.content.rows.len(),
        "weight_bytes": compiled.weight_bytes(),
        "recovered": findings.recovered,
        "decisions": findings.decisions,
        "wide": findings.wide,
        "notes": findings.notes,
    });
    format!("{value:#}\n")
}
