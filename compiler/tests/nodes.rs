//! ONNX's own backend node tests through importer and reference evaluator: an early judge of the operator rows.
//!
//! Every in-scope case of `shared/conformance` is imported, run on its stored inputs, which are run-time inputs, and compared by the
//! suite's tolerances. `NARAE_NODES=text` limits it to case names with that text; `NARAE_NODES_LIST=1` prints every failure.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests talk to whoever runs them")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use narae_compiler::graph::eval::evaluate;
use narae_compiler::onnx::tensor::read_tensor;
use narae_compiler::onnx::{Limits, Model, import};
use narae_compiler::passes::canonicalize::canonicalize;
use narae_isa::HostTensor;

/// At least so many in-scope cases pass; raise it with every improvement.
const FLOOR: usize = 1460;

fn archive() -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let places = [
        std::env::var_os("NARAE_SHARED").map(PathBuf::from),
        Some(workspace.join("../shared")),
        Some("/work/shared".into()),
    ];
    places.into_iter().flatten().map(|shared| shared.join("conformance")).find(|path| path.exists())
}

/// The folders of the cases, unpacked once into the target folder.
fn unpack(archive: &Path) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("onnx_node_1.23.2");
    if !target.join("done").exists() {
        std::fs::create_dir_all(&target).expect("the target folder is writable");
        let status = Command::new("tar")
            .arg("-xzf")
            .arg(archive.join("onnx_node_1.23.2.tar.gz"))
            .arg("-C")
            .arg(&target)
            .status()
            .expect("tar runs");
        assert!(status.success(), "tar unpacks the archive");
        std::fs::write(target.join("done"), "").expect("the target folder is writable");
    }
    target
}

fn tensors(folder: &Path, kind: &str) -> Result<Vec<HostTensor>, String> {
    let mut found = Vec::new();
    for number in 0.. {
        let path = folder.join(format!("{kind}_{number}.pb"));
        let Ok(bytes) = std::fs::read(&path) else { break };
        found.push(read_tensor(&bytes).map_err(|error| format!("{kind} {number}: {error}"))?);
    }
    Ok(found)
}

fn close(got: &HostTensor, want: &HostTensor, (relative, absolute): (f64, f64)) -> Result<(), String> {
    if got.dims != want.dims || got.element != want.element {
        return Err(format!("{}{:?} instead of {}{:?}", got.element, got.dims, want.element, want.dims));
    }
    for index in 0..want.len() {
        let (a, b) = (got.get_f64(index), want.get_f64(index));
        let exact = !want.element.is_float();
        if exact && got.get_i64(index) != want.get_i64(index) {
            return Err(format!("element {index} is {} instead of {}", got.get_i64(index), want.get_i64(index)));
        }
        if !exact && a != b && !(a.is_nan() && b.is_nan()) && !((a - b).abs() <= absolute + relative * b.abs()) {
            return Err(format!("element {index} is {a} instead of {b}"));
        }
    }
    Ok(())
}

fn run(case: &Path) -> Result<(), String> {
    let model = Model::open(case.join("model.onnx"), &Limits::default()).map_err(|error| error.to_string())?;
    let mut graph = import(&model).map_err(|error| error.to_string().lines().take(4).collect::<Vec<_>>().join(" "))?;
    canonicalize(&mut graph).map_err(|error| format!("canonicalize: {error}"))?;
    let tolerance = std::fs::read_to_string(case.join("tolerance.json")).unwrap_or_default();
    let tolerance: serde_json::Value = serde_json::from_str(&tolerance).unwrap_or_default();
    let tolerance = (tolerance["rtol"].as_f64().unwrap_or(1e-3), tolerance["atol"].as_f64().unwrap_or(1e-7));
    for number in 0.. {
        let folder = case.join(format!("test_data_set_{number}"));
        if !folder.exists() {
            break;
        }
        let (inputs, wanted) = (tensors(&folder, "input")?, tensors(&folder, "output")?);
        let names = graph.inputs().iter().map(|port| port.name.clone());
        let inputs: BTreeMap<String, HostTensor> = names.zip(inputs).collect();
        let outputs = evaluate(&graph, &inputs).map_err(|error| format!("run: {error}"))?;
        for (port, want) in graph.outputs().iter().zip(&wanted) {
            let got = outputs.get(&port.name).ok_or("an output is missing")?;
            close(got, want, tolerance).map_err(|problem| format!("{}: {problem}", port.name))?;
        }
    }
    Ok(())
}

#[test]
fn in_scope_cases_evaluate() {
    let Some(archive) = archive() else {
        eprintln!("SKIPPED: shared/conformance not found; set NARAE_SHARED to the folder that holds it");
        return;
    };
    let text = std::fs::read_to_string(archive.join("in_scope_1.23.json")).expect("the list is readable");
    let list: serde_json::Value = serde_json::from_str(&text).expect("the list is JSON");
    let scope: BTreeSet<&str> =
        list["cases_list"].as_array().into_iter().flatten().filter_map(|case| case["name"].as_str()).collect();
    let folder = unpack(&archive);
    let filter = std::env::var("NARAE_NODES").unwrap_or_default();
    let (mut passed, mut failures) = (0, BTreeMap::new());
    for kind in ["node", "simple"] {
        let mut cases: Vec<PathBuf> =
            std::fs::read_dir(folder.join(kind)).expect("cases").map(|entry| entry.expect("an entry").path()).collect();
        cases.sort();
        for case in cases {
            let name = case.file_name().expect("a name").to_string_lossy().into_owned();
            if !scope.contains(name.as_str()) || !name.contains(&filter) {
                continue;
            }
            match std::panic::catch_unwind(|| run(&case)) {
                Ok(Ok(())) => passed += 1,
                Ok(Err(problem)) => drop(failures.insert(name, problem)),
                Err(_) => drop(failures.insert(name, "PANIC".to_string())),
            }
        }
    }
    println!("{passed} of {} in-scope cases pass", passed + failures.len());
    if std::env::var_os("NARAE_NODES_LIST").is_some() {
        failures
            .iter()
            .for_each(|(name, problem)| println!("{name}: {}", problem.chars().take(300).collect::<String>()));
    }
    let panics: Vec<&String> =
        failures.iter().filter(|(_, problem)| *problem == "PANIC").map(|(name, _)| name).collect();
    assert!(panics.is_empty(), "panics: {panics:?}");
    assert!(!filter.is_empty() || passed >= FLOOR, "only {passed} cases pass, {FLOOR} did before");
}
