//! The zoo of `../shared/models` through the front end and the reference evaluator.

mod shared;

use narae_compiler::onnx::{Limits, Model, import};
use std::time::Instant;

#[test]
fn every_file_of_the_zoo_imports() {
    let Some(zoo) = shared::folder("models/zoo") else { return };
    let filter = std::env::var("NARAE_ZOO").unwrap_or_default();
    let mut failed = Vec::new();
    let mut count = 0;
    for name in shared::zoo_files(&zoo).into_iter().filter(|name| name.contains(&filter)) {
        count += 1;
        let started = Instant::now();
        let model = Model::open(zoo.join(&name), &Limits::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let opened = started.elapsed();
        match import(&model) {
            Ok(graph) => println!(
                "{name}: {} nodes, opened in {opened:?}, imported in {:?}; {}",
                graph.node_count(),
                started.elapsed() - opened,
                graph.symbols.notes().join(", ")
            ),
            Err(error) => {
                let lines: Vec<String> = error.iter().take(4).map(|one| format!("  {one}")).collect();
                println!("{name}: REFUSED\n{}", lines.join("\n"));
                failed.push(name);
            }
        }
    }
    println!("{} of {count} files import", count - failed.len());
}
