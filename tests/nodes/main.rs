//! ONNX's own backend node tests through the whole road: import, compile, encode, open, simulate, compare by the suite's tolerances.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests talk to whoever runs them")]

mod archive;
mod judge;
#[path = "../support/mod.rs"]
mod support;

use narae::isa::chip::Chip;
use rayon::prelude::*;

#[test]
fn node_cases_run_as_instructions() {
    let archive = support::shared("conformance/onnx_node_1.23.2.tar.gz").unwrap();
    let filter = std::env::var("NARAE_NODES").unwrap_or_default();
    let chip = Chip::load("narae-1").expect("the sheet comes built in");
    let cases: Vec<_> = archive::cases(&archive).into_iter().filter(|case| case.name.contains(&filter)).collect();
    let results: Vec<(String, Result<(), String>)> = cases
        .par_iter()
        .map(|case| {
            let t = std::time::Instant::now();
            let result = std::panic::catch_unwind(|| judge::judge(case, &chip)).unwrap_or_else(|_| Err("PANIC".into()));
            if t.elapsed().as_millis() > 300 {
                eprintln!("SLOW {} {:?}", case.name, t.elapsed());
            }
            (case.name.clone(), result)
        })
        .collect();
    for (name, result) in &results {
        match result {
            Ok(()) => println!("R pass {name}"),
            Err(problem) => println!("R FAIL {name}: {}", problem.chars().take(500).collect::<String>()),
        }
    }
}
