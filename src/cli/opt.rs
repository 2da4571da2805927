//! `narae opt`: parses a graph (its text, or an ONNX file), verifies it, runs passes, prints it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use narae_compiler::compress::Sources;
use narae_compiler::graph::Graph;
use narae_compiler::graph::text::{Options as TextOptions, parse, print};
use narae_compiler::graph::verify::verify;
use narae_compiler::pipeline::{self, PASSES};
use narae_isa::Diagnostics;

use super::watch::WatchOptions;
use super::{Outcome, Voice, output};

/// What to read, what to run.
#[derive(clap::Args)]
pub struct Arguments {
    /// The text of a graph (`-`: standard input), or an ONNX file
    #[arg(required_unless_present = "list_passes")]
    file: Option<PathBuf>,
    /// Passes in order
    #[arg(long, value_delimiter = ',', value_name = "PASS,…")]
    passes: Vec<String>,
    /// Print the names of all passes
    #[arg(long)]
    list_passes: bool,
    /// Where the text goes
    #[arg(short, long, default_value = "-", value_name = "FILE")]
    output: PathBuf,
    /// Print the ONNX nodes that each node comes from
    #[arg(long)]
    locations: bool,
    #[command(flatten)]
    watch: WatchOptions,
}

/// Parses, verifies, runs passes, verifies, prints.
pub fn run(arguments: Arguments, voice: Voice) -> Outcome {
    let Some(file) = arguments.file.as_ref().filter(|_| !arguments.list_passes) else {
        return output::to_stdout(list().as_bytes());
    };
    let passes = arguments.passes.iter().map(|name| pipeline::find(name)).collect::<Result<Vec<_>, _>>()?;
    let mut graph = read(file)?;
    verify(&graph)?;
    let mut watcher = arguments.watch.watcher(voice)?;
    pipeline::run(&mut graph, passes, &arguments.watch.settings(), &mut watcher)?;
    output::write(&arguments.output, print(&graph, TextOptions { locations: arguments.locations }).as_bytes())
}

fn list() -> String {
    PASSES.iter().fold(String::new(), |mut out, pass| {
        let _ = writeln!(out, "{:<20} {}", pass.name, pass.doc);
        out
    })
}

/// A graph from text, or from an ONNX file by its name.
fn read(path: &Path) -> Result<Graph, Diagnostics> {
    if path.extension().is_some_and(|extension| extension == "onnx") {
        return narae::session::import(path);
    }
    let text = super::asm::read_text(path)?;
    Ok(parse(&text, &Sources::new())?)
}
