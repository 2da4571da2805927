//! `narae opt`: parses graphs and tile programs (their text, or an ONNX file), verifies them, runs passes, prints them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use narae_compiler::compile::{KvCache, Options};
use narae_compiler::compress::Sources;
use narae_compiler::pipeline::{self, Context, Module, PASSES};
use narae::settings;
use narae_isa::{Diagnostic, Diagnostics, Place, codes};

use super::options::CompileOptions;
use super::run::is_model;
use super::{Outcome, Voice, output};

/// What stands between several modules of one text; mlir-opt's `--split-input-file` takes the same.
pub const SPLIT: &str = "// -----\n";

/// What to read, what to run.
#[derive(clap::Args)]
pub struct Arguments {
    /// The text of a graph or of tile programs (`-`: standard input), or an ONNX file
    #[arg(required_unless_present = "list_passes")]
    file: Option<PathBuf>,
    /// Passes in order
    #[arg(long, value_delimiter = ',', value_name = "PASS,…")]
    passes: Vec<String>,
    /// Print what passes there are, in the order in which `compile` runs them
    #[arg(long)]
    list_passes: bool,
    /// Where the text goes
    #[arg(short, long, default_value = "-", value_name = "FILE")]
    output: PathBuf,
    /// Print the ONNX nodes that each operation comes from
    #[arg(long)]
    locations: bool,
    #[command(flatten)]
    compile: CompileOptions,
}

/// Parses, verifies, runs passes, verifies, prints.
pub fn run(arguments: Arguments, voice: Voice) -> Outcome {
    let Some(file) = arguments.file.as_ref().filter(|_| !arguments.list_passes) else {
        return output::to_stdout(list().as_bytes());
    };
    let passes = arguments.passes.iter().map(|name| pipeline::find(name)).collect::<Result<Vec<_>, _>>()?;
    let file = &settings::model_file(file)?;
    let options = arguments.compile.resolve(file, KvCache::Io)?;
    let mut watcher = arguments.compile.watch.watcher(voice, None)?;
    let mut texts = Vec::new();
    for module in read(file, &options)? {
        module.verify().map_err(|problems| of_the_text(problems, file))?;
        let module = pipeline::run(module, passes.iter().copied(), &mut Context::new(&options), &mut watcher)?;
        module.verify()?;
        texts.push(module.print(arguments.locations));
    }
    watcher.all_ran()?;
    output::write(&arguments.output, texts.join(SPLIT).as_bytes())
}

fn list() -> String {
    PASSES.iter().fold(String::new(), |mut out, pass| {
        let _ = writeln!(out, "{:<13} {:<14} {}", pass.name, pass.work.forms(), pass.doc);
        out
    })
}

/// Modules from text, or from an ONNX file by its name.
fn read(path: &Path, options: &Options) -> Result<Vec<Module>, Diagnostics> {
    if is_model(path) {
        return Ok(vec![Module::Graph(narae::session::import_for(path, options)?)]);
    }
    let text = super::asm::read_text(path)?;
    let mut modules = Vec::new();
    let mut before = 0;
    for part in text.split(SPLIT) {
        if !part.trim().is_empty() {
            let module = Module::parse(part, &Sources::new());
            modules.push(module.map_err(|problem| in_file(problem, path, before))?);
        }
        before += part.lines().count() + 1;
    }
    Ok(modules)
}

/// What is wrong with a module that was just read is wrong with its text, not with us.
fn of_the_text(problems: Diagnostics, path: &Path) -> Diagnostics {
    let own = |problem: Diagnostic| match problem.code == &codes::E0999 && !is_model(path) {
        true => Diagnostic { code: &codes::E0304, place: problem.place.or(Some(in_whole(path))), ..problem },
        false => problem,
    };
    Diagnostics(problems.0.into_iter().map(own).collect())
}

fn in_whole(path: &Path) -> Place {
    Place::File { path: path.display().to_string() }
}

/// The problem at its line of the file, of which a module is a part.
fn in_file(mut problem: Diagnostic, path: &Path, before: usize) -> Diagnostic {
    if let Some(Place::Line { file, line, .. }) = &mut problem.place {
        *file = path.display().to_string();
        *line += before;
    }
    problem
}
