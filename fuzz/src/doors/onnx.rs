//! ONNX files: bytes as they are read from a disk.

use narae::compiler::graph::verify::verify;
use narae::compiler::onnx::{Limits, Model, import, survey};

use super::running;
use crate::Outcome;

/// Scans, decodes, lists what is needed, imports.
pub fn wire(bytes: &[u8]) -> Outcome {
    let model = Model::from_bytes(bytes.to_vec(), &Limits::default())?;
    let found = survey(&model);
    let graph = import(&model)?;
    assert!(found.problems.is_empty(), "a survey refuses what the importer takes: {}", found.problems[0]);
    if let Err(problems) = verify(&graph) {
        panic!("the importer made a graph that does not verify: {problems}");
    }
    Ok(())
}

/// Imports, compiles, runs and times.
pub fn compile(bytes: &[u8]) -> Outcome {
    let graph = import(&Model::from_bytes(bytes.to_vec(), &Limits::default())?)?;
    running::compile_and_run(graph, running::number(bytes))
}
