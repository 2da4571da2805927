//! What the laws recover from the decoder files of the model zoo, whatever exporter wrote them.

use std::path::{Path, PathBuf};

use narae_compiler::graph::Graph;
use narae_compiler::onnx::{Limits, Model, import};
use narae_compiler::passes::canonicalize::canonicalize;
use narae_compiler::rewrite::{self, Options, Report};

/// The folder of shared models, if it is there.
fn shared() -> Option<PathBuf> {
    let root = std::env::var_os("NARAE_SHARED").map_or_else(|| PathBuf::from("/work/shared"), PathBuf::from);
    root.join("models").is_dir().then_some(root)
}

/// All files below a folder whose path contains `llama`.
fn llamas(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            llamas(&path, found);
        } else if path.extension().is_some_and(|end| end == "onnx") && path.to_string_lossy().contains("llama") {
            found.push(path);
        }
    }
}

fn imported(path: &Path) -> Graph {
    let model = Model::open(path, &Limits::default()).unwrap();
    let mut graph = import(&model).unwrap();
    canonicalize(&mut graph).unwrap();
    graph
}

fn recovered(graph: &Graph) -> (Graph, Report) {
    let mut graph = graph.clone();
    let report = rewrite::recover(&mut graph, &Options::default()).unwrap();
    canonicalize(&mut graph).unwrap();
    (graph, report)
}

#[test]
fn report() {
    let Some(shared) = shared() else { return };
    let mut files = vec![];
    llamas(&shared.join("models/zoo"), &mut files);
    files.push(shared.join("models/real/tinylm/model.onnx"));
    files.push(shared.join("models/real/stories260K/model.onnx"));
    files.push(shared.join("models/real/tinylm/genai_int4/model.onnx"));
    files.push(shared.join("models/real/tinylm/model_fp16.onnx"));
    for path in files {
        let name = path.strip_prefix(&shared).unwrap().display().to_string();
        let start = std::time::Instant::now();
        let graph = imported(&path);
        let import = start.elapsed();
        let (_, report) = recovered(&graph);
        let region = &report.regions[0];
        println!("{name}: import {import:?}, recover {:?}", start.elapsed() - import);
        println!("   {:?} {:?} {} layers {:x?}", region.nodes, region.saturated, region.iterations, region.layers);
        println!("   {:?}", region.ops);
        for note in region.notes.iter().take(5) {
            println!("   ! {note}");
        }
    }
}
