//! Every zoo file with a reference through the whole road: compile once, then all stored calls on the simulator.
//!
//! `NARAE_ZOO=llama` selects files whose name contains the text. A file of [`MISSING`] that passes fails the test, so that the
//! list stays true.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests talk to whoever runs them")]

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use narae::compiler::compile::{Options, Precision, compile};
use narae::compiler::onnx::{Limits, Model};
use narae::compiler::pipeline::Unobserved;
use narae::isa::chip::Chip;
use narae::isa::image::Image;
use narae::npz::{self, Arrays};
use narae::sim::Machine;
use support::compare::{Tolerance, compare_all};

/// Files that do not run yet, and why.
const MISSING: &[(&str, &str)] = &[
    ("torch_dynamo/qwen3_moe_nocache.onnx", "a GatherND over all experts exceeds SRAM and is not cut"),
    ("torch_ts_odd/scripted_loop_sequence.onnx", "sequences do not exist on the chip"),
    ("torch_ts_odd/scripted_split_sequence.onnx", "sequences do not exist on the chip"),
];

struct File {
    name: String,
    reference: Option<String>,
    calls: Vec<String>,
    relative: f64,
    absolute: BTreeMap<String, f64>,
}

fn manifest(zoo: &Path) -> Vec<File> {
    let text = std::fs::read_to_string(zoo.join("manifest.json")).expect("the zoo has a manifest");
    let rows: serde_json::Value = serde_json::from_str(&text).expect("the manifest is JSON");
    let text = |value: &serde_json::Value| value.as_str().map(str::to_string);
    let rows = rows.as_array().expect("the manifest is a list");
    rows.iter()
        .map(|row| File {
            name: text(&row["file"]).expect("a row names its file"),
            reference: text(&row["ref"]),
            calls: row["calls"].as_array().map(|calls| calls.iter().filter_map(text).collect()).unwrap_or_default(),
            relative: row["tolerance"]["rtol"].as_f64().unwrap_or(1e-3),
            absolute: row["tolerance"]["atol"]
                .as_object()
                .map(|map| map.iter().map(|(name, value)| (name.clone(), value.as_f64().unwrap_or(1e-4))).collect())
                .unwrap_or_default(),
        })
        .collect()
}

fn call(arrays: &Arrays, prefix: &str) -> Arrays {
    arrays.iter().filter_map(|(name, value)| Some((name.strip_prefix(prefix)?.to_string(), value.clone()))).collect()
}

fn run(zoo: &Path, file: &File) -> Result<(usize, f64), String> {
    let shown = |problems: narae::isa::Diagnostics| problems.to_string();
    let reference = file.reference.as_ref().ok_or("no reference")?;
    let arrays = npz::read(&zoo.join(reference)).map_err(shown)?;
    let calls: Vec<(Arrays, Arrays)> = file
        .calls
        .iter()
        .map(|name| (call(&arrays, &format!("{name}/in/")), call(&arrays, &format!("{name}/out/"))))
        .collect();
    let model = Model::open(zoo.join(&file.name), &Limits::default()).map_err(shown)?;
    let mut options = Options::new(Chip::load("narae-1").map_err(shown)?);
    options.precision = Precision::F32;
    options.verify_each = true;
    options.maxima.shapes = calls
        .iter()
        .map(|(inputs, _)| inputs.iter().map(|(name, tensor)| (name.clone(), tensor.dims.clone())).collect())
        .collect();
    let (compiled, _) = compile(&model, &options, &mut Unobserved).map_err(shown)?;
    let image = Image::from_bytes(&file.name, compiled.to_bytes().map_err(shown)?).map_err(shown)?;
    let mut machine = Machine::new(Arc::new(image), narae::sim::Limits::default()).map_err(shown)?;
    let mut worst = 0f64;
    for ((inputs, wanted), name) in calls.iter().zip(&file.calls) {
        let typed: Arrays = machine
            .image()
            .entry("main")
            .map_err(|p| p.to_string())?
            .inputs
            .clone()
            .iter()
            .filter_map(|info| {
                let tensor = inputs.get(&info.name)?.clone();
                Some((info.name.clone(), npz::reinterpret(tensor.clone(), info.element).unwrap_or(tensor)))
            })
            .collect();
        let outcome = machine.run("main", &typed).map_err(|problems| format!("{name}: {problems}"))?;
        let tolerance = |output: &str| Tolerance {
            relative: file.relative,
            absolute: file.absolute.get(output).copied().unwrap_or(1e-4),
        };
        let delta =
            compare_all(&outcome.outputs, wanted, inputs, tolerance).map_err(|text| format!("{name}: {text}"))?;
        worst = worst.max(delta);
    }
    Ok((calls.len(), worst))
}

#[test]
fn zoo_files_run_as_instructions() {
    let Some(zoo) = support::shared("models/zoo") else { return support::skip("the zoo") };
    let filter = std::env::var("NARAE_ZOO").unwrap_or_default();
    let files: Vec<File> = manifest(&zoo).into_iter().filter(|file| file.name.contains(&filter)).collect();
    let (mut passed, mut failed) = (0, Vec::new());
    for file in &files {
        if file.reference.is_none() {
            continue;
        }
        match run(&zoo, file) {
            Ok(_) if MISSING.iter().any(|(name, _)| *name == file.name) => {
                eprintln!("UNEXPECTED PASS {}: take it off the list", file.name);
                failed.push(file.name.clone());
            }
            Ok((calls, worst)) => {
                passed += 1;
                eprintln!("pass {} ({calls} calls, max |Δ| {worst:.2e})", file.name);
            }
            Err(_) if MISSING.iter().any(|(name, _)| *name == file.name) => {
                eprintln!("missing {}", file.name);
            }
            Err(problem) => {
                let short: String = problem.lines().take(12).collect::<Vec<_>>().join("\n     ");
                eprintln!("FAIL {}: {short}", file.name);
                failed.push(file.name.clone());
            }
        }
    }
    eprintln!("{passed} of {} files pass", passed + failed.len());
    assert!(failed.is_empty(), "{failed:?}");
}
