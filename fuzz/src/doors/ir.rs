//! The texts of graphs and tile programs, as `opt` reads them.

use narae::compiler::compress::Sources;
use narae::compiler::pipeline::{self, Context, Module, Unobserved};
use narae::isa::{Diagnostic, Diagnostics, codes};

use super::running;
use crate::Outcome;
use crate::random::Random;

fn module(bytes: &[u8]) -> Result<Module, Diagnostics> {
    let module = Module::parse(&String::from_utf8_lossy(bytes), &Sources::new())?;
    // What is wrong with a module that was just read is wrong with its text, as `opt` says it.
    module.verify().map_err(|_| Diagnostic::new(&codes::E0304, "the text does not verify"))?;
    Ok(module)
}

/// Parses, verifies, prints; the print parses to what prints the same.
pub fn read(bytes: &[u8]) -> Outcome {
    let module = module(bytes)?;
    let text = module.print(true);
    match Module::parse(&text, &Sources::new()) {
        Ok(again) => assert!(again.print(true) == text, "a module prints otherwise after it was printed and parsed"),
        Err(problem) => panic!("our own text does not parse: {problem}"),
    }
    Ok(())
}

/// Compiles a graph with all its passes, and runs it.
pub fn compile(bytes: &[u8]) -> Outcome {
    match module(bytes)? {
        Module::Graph(graph) => running::compile_and_run(graph, running::number(bytes)),
        Module::Tile(..) => Ok(()),
    }
}

/// Places a tile program.
pub fn place(bytes: &[u8]) -> Outcome {
    let options = running::options(&mut Random::new(running::number(bytes)));
    let place = pipeline::find("place")?;
    let placed = pipeline::run(module(bytes)?, [place], &mut Context::new(&options), &mut Unobserved)?;
    if let Err(problems) = placed.verify() {
        panic!("a placed program does not verify: {problems}");
    }
    let _ = placed.print(false);
    Ok(())
}
